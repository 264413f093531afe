"""aiokafka on one broker: python3 client_aiokafka.py HOST:PORT."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tools import report

AT = sys.argv[1]


async def create(name, partitions):
    admin = AIOKafkaAdminClient(bootstrap_servers=AT)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()


async def codecs_and_group():
    await create("a-group", 4)
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        producer = AIOKafkaProducer(bootstrap_servers=AT, compression_type=codec, enable_idempotence=True, linger_ms=20)
        await producer.start()
        sent = [await producer.send("a-group", f"{codec}-{number}".encode(), b"k") for number in range(200)]
        await asyncio.gather(*sent)
        await producer.stop()
    members = [
        AIOKafkaConsumer("a-group", bootstrap_servers=AT, group_id="a-group", auto_offset_reset="earliest", enable_auto_commit=False)
        for _ in range(2)
    ]
    await asyncio.gather(*(one.start() for one in members))
    got = []
    for _ in range(60):
        for one in members:
            records = await one.getmany(timeout_ms=200)
            got += [record.value for batch in records.values() for record in batch]
        if len(set(got)) == 1000 and all(len(one.assignment()) == 2 for one in members):
            break
    assert len(set(got)) == 1000, f"{len(set(got))} records"
    assert all(len(one.assignment()) == 2 for one in members), "partitions are not shared"
    for one in members:
        await one.commit()
        await one.stop()


async def transactions():
    await create("a-out", 1)
    producer = AIOKafkaProducer(bootstrap_servers=AT, transactional_id="a-transactions")
    await producer.start()
    for number in range(4):
        await producer.begin_transaction()
        await producer.send_and_wait("a-out", str(number).encode())
        await producer.send_offsets_to_transaction({TopicPartition("a-out", 0): number}, "a-transactions")
        await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    await producer.stop()
    consumer = AIOKafkaConsumer(
        "a-out", bootstrap_servers=AT, group_id="a-transactions-read", isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    got = []
    for _ in range(15):
        records = await consumer.getmany(timeout_ms=200)
        got += [record.value for batch in records.values() for record in batch]
    await consumer.stop()
    assert got == [b"0", b"2"], got


def aiokafka_codecs_and_group():
    asyncio.run(codecs_and_group())


def aiokafka_transactions():
    asyncio.run(transactions())


report(aiokafka_codecs_and_group, aiokafka_transactions)
