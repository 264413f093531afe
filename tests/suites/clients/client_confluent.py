"""confluent-kafka on one broker: python3 client_confluent.py HOST:PORT."""

import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

from tools import report

AT = {"bootstrap.servers": sys.argv[1], "broker.address.family": "v4"}
admin = AdminClient(AT)


def create(name, partitions):
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)


def drain(consumers, count, seconds=40):
    got, deadline = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < deadline:
        for one in consumers:
            message = one.poll(0.05)
            if message is not None and message.error() is None:
                got.append(message.value())
    return got


def confluent_admin():
    create("c-admin", 2)
    admin.create_partitions([NewPartitions("c-admin", 5)])["c-admin"].result(20)
    assert len(admin.list_topics("c-admin", 10).topics["c-admin"].partitions) == 5
    resource = ConfigResource(ResourceType.TOPIC, "c-admin")
    shown = list(admin.describe_configs([resource]).values())[0].result(20)
    assert shown["cleanup.policy"].value == "delete"
    latest = {TopicPartition("c-admin", 0): OffsetSpec.latest()}
    assert list(admin.list_offsets(latest).values())[0].result(20).offset == 0
    assert len(admin.describe_cluster().result(20).nodes) == 1
    admin.delete_topics(["c-admin"])["c-admin"].result(20)


def confluent_codecs_and_group():
    create("c-group", 4)
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        producer = Producer({**AT, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20})
        for number in range(200):
            producer.produce("c-group", f"{codec}-{number}", str(number), headers=[("h", b"1"), ("h", b"2")])
        assert producer.flush(20) == 0
    settings = {**AT, "group.id": "c-group", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    members = [Consumer({**settings, "partition.assignment.strategy": "cooperative-sticky"}) for _ in range(2)]
    for one in members:
        one.subscribe(["c-group"])
    got = drain(members, 1000)
    assert len(set(got)) == 1000 == len(got), f"{len(got)} records"
    deadline = time.monotonic() + 20
    while any(len(one.assignment()) != 2 for one in members):
        assert time.monotonic() < deadline, "partitions are not shared"
        drain(members, 1, 0.5)
    for one in members:
        one.commit(asynchronous=False)
        one.close()
    late = Consumer(settings)
    late.subscribe(["c-group"])
    assert drain([late], 1, 4) == [], "what was committed comes again"
    late.close()
    group = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("c-group")])
    assert sum(one.offset for one in group["c-group"].result(20).topic_partitions) == 1000
    admin.delete_consumer_groups(["c-group"])["c-group"].result(20)


def confluent_transactions():
    create("c-in", 1)
    create("c-out", 1)
    producer = Producer({**AT, "transactional.id": "c-transactions"})
    producer.init_transactions(20)
    consumer = Consumer({**AT, "group.id": "c-transactions", "isolation.level": "read_committed", "auto.offset.reset": "earliest"})
    for number in range(4):
        producer.begin_transaction()
        producer.produce("c-out", str(number))
        position = [TopicPartition("c-in", 0, number)]
        producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 20)
        producer.abort_transaction(20) if number % 2 else producer.commit_transaction(20)
    consumer.assign([TopicPartition("c-out", 0, 0)])
    assert drain([consumer], 3, 5) == [b"0", b"2"]
    assert consumer.committed([TopicPartition("c-in", 0)], 10)[0].offset == 2
    Producer({**AT, "transactional.id": "c-transactions"}).init_transactions(20)
    try:
        producer.begin_transaction()
        producer.produce("c-out", "late")
        producer.commit_transaction(20)
    except KafkaException as error:
        assert error.args[0].fatal(), error
    else:
        raise AssertionError("a fenced producer commits")
    consumer.close()


report(confluent_admin, confluent_codecs_and_group, confluent_transactions)
