"""Kafka's system test programs against one broker: python3 kafka_tools.py HOST:PORT ROOT."""

import json
import sys

from tools import Events, Tools, report, until

TOOLS = "org.apache.kafka.tools."
tools = Tools(sys.argv[1], sys.argv[2])


def produce(topic, count, *arguments):
    """Sends the numbers from 0 on, and returns the partitions and offsets that were acknowledged."""
    at = ["--bootstrap-server", "{at}", "--topic", topic, "--max-messages", count]
    lines = tools.run(TOOLS + "VerifiableProducer", *at, *arguments).split("\n")
    events = [json.loads(line) for line in lines if line.startswith("{")]
    sent = [event for event in events if event["name"] == "producer_send_success"]
    assert len(sent) == count, f"{len(sent)} of {count} acknowledged"
    return {(event["partition"], event["offset"]) for event in sent}


def consumer(topic, group, *arguments):
    at = ["--bootstrap-server", "{at}", "--topic", topic, "--group-id", group, "--reset-policy", "earliest"]
    return Events(tools.command(TOOLS + "VerifiableConsumer", *at, "--verbose", *arguments))


def consumed(*members):
    """Partitions and offsets that members got, with repeats."""
    events = [event for member in members for event in member.named("record_data")]
    return [(event["partition"], event["offset"]) for event in events]


def client_compatibility():
    yes = ["offsets-for-times", "cluster-id", "create-topics", "describe-acls", "describe-configs", "idempotent-producer"]
    supported = [word for name in yes for word in (f"--{name}-supported", "true")]
    tools.topic("--create", "--topic", "compatibility", "--partitions", 1)
    at = ["--bootstrap-server", "{at}", "--topic", "compatibility", "--num-cluster-nodes", 1]
    tools.run(TOOLS + "ClientCompatibilityTest", *at, *supported, "--expect-record-too-large-exception", "false")


def verifiable_producer():
    for acks in [-1, 1, 0]:
        sent = produce(f"acks{acks}", 2000, "--acks", acks)
        assert acks == 0 or sent == {(0, offset) for offset in range(2000)}


def group(name, *arguments):
    """Two members share partitions, one takes over from the other, and nothing is lost."""
    tools.topic("--create", "--topic", name, "--partitions", 6)
    sent = produce(name, 6000)
    own = (lambda who: ["--group-instance-id", who]) if "--static" in arguments else (lambda who: [])
    arguments = [one for one in arguments if one != "--static"]
    first = consumer(name, name, *own("one"), *arguments)
    until("the first gets all", lambda: set(consumed(first)) == sent)
    second = consumer(name, name, *own("two"), *arguments)
    held = lambda member: [len(one["partitions"]) for one in member.named("partitions_assigned")]
    until("the second gets partitions", lambda: 3 in held(second))
    sent |= produce(name, 3000)
    until("both get what is new", lambda: set(consumed(first, second)) == sent)
    assert len(set(consumed(second))) > 0, "the second got nothing"
    assert first.end() in (0, 143)
    sent |= produce(name, 3000)
    until("the second gets all", lambda: set(consumed(first, second)) == sent, 90)
    commits = second.named("offsets_committed")
    assert commits and all(one["success"] for one in commits), "commits"
    second.end()
    # Commits follow each batch, so that only what was in flight when members changed may come twice.
    assert len(consumed(first, second)) < len(sent) + 3000


def verifiable_consumer_range():
    group("range", "--assignment-strategy", "org.apache.kafka.clients.consumer.RangeAssignor")


def verifiable_consumer_cooperative():
    group("cooperative", "--assignment-strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")


def verifiable_consumer_static():
    group("static", "--static", "--session-timeout", 10000)


def copier(name, *arguments):
    """Transactions, a part of which is aborted, copy each record once."""
    tools.topic("--create", "--topic", f"{name}-in", "--partitions", 2)
    produce(f"{name}-in", 3000)
    tools.topic("--create", "--topic", f"{name}-out", "--partitions", 2)
    at = ["--broker-list", "{at}", "--input-topic", f"{name}-in", "--output-topic", f"{name}-out"]
    copiers = [
        Events(
            tools.command(
                TOOLS + "TransactionalMessageCopier", *at, "--input-partition", number, "--transaction-size", 100,
                "--consumer-group", name, "--transactional-id", f"{name}-{number}", "--enable-random-aborts", *arguments,
            )
        )
        for number in range(2)
    ]
    for one in copiers:
        assert one.process.wait(120) == 0, "a copier failed"
    copied = tools.consume(f"{name}-out", "--isolation-level", "read_committed")
    assert sorted(map(int, copied)) == list(range(3000)), f"{len(copied)} records"
    assert len(tools.consume(f"{name}-out", "--isolation-level", "read_uncommitted")) >= 3000


def transactional_message_copier():
    copier("copier")


def transactional_message_copier_group_metadata():
    copier("copier-group", "--group-mode", "--use-group-metadata")


report(
    client_compatibility,
    verifiable_producer,
    verifiable_consumer_range,
    verifiable_consumer_cooperative,
    verifiable_consumer_static,
    transactional_message_copier,
    transactional_message_copier_group_metadata,
)
