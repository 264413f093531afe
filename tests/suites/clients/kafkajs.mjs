// kafkajs on one broker: node kafkajs.mjs HOST:PORT
import { createRequire } from "module";
import assert from "assert";
const require = createRequire(import.meta.url);
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const kafka = new Kafka({ clientId: "probe", brokers: [process.argv[2]], logLevel: logLevel.ERROR });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (what, isSo) => {
  for (let i = 0; i < 400; i++) {
    if (await isSo()) return;
    await sleep(100);
  }
  throw new Error(`not in time: ${what}`);
};
const admin = kafka.admin();
const create = (topic, numPartitions) =>
  admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, replicationFactor: 1 }] });

const tests = {
  async kafkajs_admin() {
    await create("j-admin", 2);
    await admin.createPartitions({ topicPartitions: [{ topic: "j-admin", count: 3 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: ["j-admin"] });
    assert.equal(topics[0].partitions.length, 3);
    const resource = { type: ConfigResourceTypes.TOPIC, name: "j-admin" };
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "5000000" }] }] });
    const shown = await admin.describeConfigs({ includeSynonyms: false, resources: [{ ...resource, configNames: ["retention.ms"] }] });
    assert.equal(shown.resources[0].configEntries[0].configValue, "5000000");
    assert.equal((await admin.fetchTopicOffsets("j-admin")).length, 3);
    await admin.deleteTopics({ topics: ["j-admin"] });
  },
  async kafkajs_group() {
    await create("j-group", 4);
    const producer = kafka.producer({ idempotent: true });
    await producer.connect();
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP])
      for (let i = 0; i < 100; i++) {
        const messages = [{ key: `${i}`, value: `${compression}-${i}`, headers: { h: ["1", "2"] } }];
        await producer.send({ topic: "j-group", compression, messages });
      }
    await producer.disconnect();
    const got = new Set();
    const members = [kafka.consumer({ groupId: "j-group" }), kafka.consumer({ groupId: "j-group" })];
    const shares = [0, 0];
    for (const [i, member] of members.entries()) {
      member.on(member.events.GROUP_JOIN, ({ payload }) => (shares[i] = (payload.memberAssignment["j-group"] ?? []).length));
      await member.connect();
      await member.subscribe({ topics: ["j-group"], fromBeginning: true });
      await member.run({ eachMessage: async ({ message }) => got.add(message.value.toString()) });
    }
    await until("all records", () => got.size === 200);
    await until("partitions are shared", () => shares[0] === 2 && shares[1] === 2);
    for (const member of members) await member.disconnect();
    const offsets = await admin.fetchOffsets({ groupId: "j-group", topics: ["j-group"] });
    assert.equal(offsets[0].partitions.reduce((sum, one) => sum + Number(one.offset), 0), 200);
    await admin.deleteGroups(["j-group"]);
  },
  async kafkajs_transactions() {
    await create("j-out", 1);
    const producer = kafka.producer({ transactionalId: "j-transactions", maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (let i = 0; i < 4; i++) {
      const transaction = await producer.transaction();
      await transaction.send({ topic: "j-out", messages: [{ value: `${i}` }] });
      const topics = [{ topic: "j-out", partitions: [{ partition: 0, offset: `${i}` }] }];
      await transaction.sendOffsets({ consumerGroupId: "j-transactions", topics });
      await (i % 2 ? transaction.abort() : transaction.commit());
    }
    await producer.disconnect();
    const got = [];
    const consumer = kafka.consumer({ groupId: "j-read", readUncommitted: false });
    await consumer.connect();
    await consumer.subscribe({ topics: ["j-out"], fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => void got.push(message.value.toString()) });
    await until("records", () => got.length >= 2);
    await sleep(1000);
    await consumer.disconnect();
    assert.deepEqual(got, ["0", "2"]);
  },
};

await admin.connect();
for (const [name, test] of Object.entries(tests))
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`failed ${name}`);
    console.log(error);
  }
await admin.disconnect();
process.exit(0);
