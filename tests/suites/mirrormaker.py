"""MirrorMaker 2 from one broker to another: python3 mirrormaker.py SOURCE TARGET ROOT FOLDER."""

import atexit
import subprocess
import sys

from tools import Tools, report, until

SOURCE, TARGET, ROOT, FOLDER = sys.argv[1:]
source, target = Tools(SOURCE, ROOT), Tools(TARGET, ROOT)
CONFIG = "kafka.admin.ConfigCommand"
ACLS = "org.apache.kafka.tools.AclCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
PROPERTIES = f"""
clusters = A, B
A.bootstrap.servers = {SOURCE}
B.bootstrap.servers = {TARGET}
A->B.enabled = true
A->B.topics = .*
B->A.enabled = false
B->A.emit.heartbeats.enabled = false
tasks.max = 2
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
refresh.topics.interval.seconds = 2
refresh.groups.interval.seconds = 2
sync.topic.acls.interval.seconds = 2
sync.topic.configs.interval.seconds = 2
emit.checkpoints.interval.seconds = 1
sync.group.offsets.enabled = true
sync.group.offsets.interval.seconds = 1
offset.lag.max = 0
B.offset.flush.interval.ms = 1000
A.consumer.isolation.level = read_committed
B.exactly.once.source.support = enabled
dedicated.mode.enable.internal.rest = true
listeners = http://127.0.0.1:0
"""


class MirrorMaker:
    process = None

    @classmethod
    def start(cls):
        path = f"{FOLDER}/mm2.properties"
        with open(path, "w", encoding="utf-8") as file:
            file.write(PROPERTIES)
        log = open(f"{FOLDER}/mm2.log", "ab")
        main = "org.apache.kafka.connect.mirror.MirrorMaker"
        cls.process = subprocess.Popen(source.command(main, path, heap=1024), stdout=log, stderr=log)

    @classmethod
    def kill(cls):
        if cls.process:
            cls.process.kill()
            cls.process.wait()


atexit.register(MirrorMaker.kill)


def produce(numbers):
    text = "".join(f"{number % 7}:{number}\n" for number in numbers)
    at = ["--bootstrap-server", "{at}", "--topic", "t", "--property", "parse.key=true", "--property", "key.separator=:"]
    source.run("org.apache.kafka.tools.ConsoleProducer", *at, text=text)


def copied():
    lines = target.consume("A.t", "--isolation-level", "read_committed")
    return sorted(int(line) for line in lines)


def topics():
    """Topics come with as many partitions, also where they grow."""
    source.topic("--create", "--topic", "t", "--partitions", 3, "--config", "retention.ms=1234567000")
    produce(range(2000))
    MirrorMaker.start()
    shown = lambda: target.topic("--describe", "--topic", "A.t") if "A.t" in target.topic("--list").split() else ""
    until("the topic is there", lambda: "PartitionCount: 3" in shown(), 120)
    source.topic("--alter", "--topic", "t", "--partitions", 4)
    until("the topic grows", lambda: "PartitionCount: 4" in shown())
    listed = target.topic("--list").split()
    assert "heartbeats" in listed and "A.checkpoints.internal" in listed, listed


def configs():
    """Configs come, and follow."""
    on = ["--bootstrap-server", "{at}", "--entity-type", "topics", "--entity-name"]
    shown = lambda: target.run(CONFIG, *on, "A.t", "--describe")
    until("retention", lambda: "retention.ms=1234567000" in shown())
    source.run(CONFIG, *on, "t", "--alter", "--add-config", "max.message.bytes=777777")
    until("max.message.bytes", lambda: "max.message.bytes=777777" in shown())


def rights():
    """Rights on a topic are those on its copy, but for writing."""
    at = ["--bootstrap-server", "{at}"]
    rule = ["--add", "--allow-principal", "User:anna", "--operation"]
    source.run(ACLS, *at, *rule, "Read", "--operation", "Write", "--topic", "t")
    shown = lambda: target.run(ACLS, *at, "--list", "--topic", "A.t")
    until("the rule is there", lambda: "User:anna" in shown() and "operation=READ" in shown())
    assert "operation=WRITE" not in shown()


def records():
    """All records are copied, those of later too."""
    until("the first records", lambda: copied() == list(range(2000)))
    produce(range(2000, 3000))
    until("more records", lambda: copied() == list(range(3000)))


def group_offsets():
    """A group goes on at the target where it was."""
    read = source.consume("t", "--group", "g", "--max-messages", 3000)
    assert len(read) == 3000
    on = ["--bootstrap-server", "{at}", "--describe", "--group", "g"]

    def lags():
        try:
            lines = target.run(GROUPS, *on).split("\n")
        except AssertionError:
            return []
        rows = [line.split() for line in lines if " A.t " in line]
        return [int(row[5]) for row in rows if row[5].isdigit()]

    # Behind the last record of a partition stands the end of its transaction.
    until("the group is at the end", lambda: lags() and max(lags()) <= 1, 120)
    assert target.consume("A.t", "--group", "g", "--isolation-level", "read_committed") == []


def exactly_once():
    """What is killed copies nothing twice, and no record is lost."""
    for round in range(2):
        produce(range(3000 + 1000 * round, 4000 + 1000 * round))
        MirrorMaker.kill()
        MirrorMaker.start()
    until("all of it once", lambda: copied() == list(range(5000)), 180)


report(topics, configs, rights, records, group_offsets, exactly_once)
