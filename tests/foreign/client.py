"""A Kafka client that shares no code with strait, librdkafka or the Java clients, against a broker.

Usage: client.py HOST:PORT [JSON]. The JSON has settings that every client gets: how it is secured. Prints nothing but what failed; exit 0 is a pass.
"""

import json
import sys
import uuid

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

common = {"bootstrap_servers": sys.argv[1], **json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}")}
topic = f"foreign-{uuid.uuid4().hex[:8]}"

admin = KafkaAdminClient(**common)
admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
assert topic in admin.list_topics(), "the topic is not listed"

expected = []
for codec in [None, "gzip"]:
    producer = KafkaProducer(**common, compression_type=codec, acks="all")
    for number in range(50):
        key = None if number % 5 == 0 else f"k{number}".encode()
        value = None if key and number % 7 == 0 else f"{codec}-{number}".encode()
        headers = [("a", b"1"), ("a", b"2")] if number % 3 == 0 else []
        timestamp = 1_700_000_000_000 + len(expected)
        producer.send(topic, value=value, key=key, headers=headers, partition=1, timestamp_ms=timestamp)
        expected.append((key, value, headers, timestamp))
    producer.flush()
    producer.close()

consumer = KafkaConsumer(
    topic, **common, group_id=f"{topic}-group",
    auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=5_000,
)
found = []
for record in consumer:
    assert record.partition == 1, record
    assert record.offset == len(found), record
    found.append((record.key, record.value, list(record.headers), record.timestamp))
    if len(found) == len(expected):
        break
assert found == expected, f"{len(found)} of {len(expected)} records, or other ones"
consumer.commit()
partition = TopicPartition(topic, 1)
assert consumer.committed(partition) == len(expected)
at = consumer.offsets_for_times({partition: 1_700_000_000_030})
assert at[partition].offset == 30, at
assert consumer.beginning_offsets([partition]) == {partition: 0}
assert consumer.end_offsets([partition]) == {partition: len(expected)}
consumer.close()
admin.delete_topics([topic])
admin.close()
