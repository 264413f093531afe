"""Kafka's Java programs as processes, for the suites."""

import json
import re
import signal
import subprocess
import threading
import time
import traceback


class Tools:
    """The classes in Kafka's jars, for one cluster."""

    def __init__(self, address, root):
        self.address, self.root = address, root

    def command(self, name, *arguments, heap=256):
        """A command line. `{at}` stands for the cluster's address."""
        log = f"-Dlog4j2.configurationFile={self.root}/tests/kafka/log4j2.properties"
        java = ["java", f"-Xmx{heap}m", log, "-cp", f"{self.root}/.kafka/libs/*"]
        return [*java, name, *(str(one).format(at=self.address) for one in arguments)]

    def run(self, name, *arguments, text=None, patience=120):
        """Runs one to its end, and returns what it printed."""
        done = subprocess.run(
            self.command(name, *arguments), input=text, capture_output=True, text=True, timeout=patience
        )
        if done.returncode != 0:
            raise AssertionError(f"{name} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def topic(self, *arguments):
        return self.run("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", "{at}", *arguments)

    def consume(self, topic, *arguments, timeout_ms=8000):
        """All records that are there, without their order among partitions."""
        consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
        at = ["--bootstrap-server", "{at}", "--topic", topic, "--from-beginning", "--timeout-ms", timeout_ms]
        lines = self.run(consumer, *at, *arguments).split("\n")[:-1]
        # It logs the time-out that ends it in the same place.
        return [line for line in lines if not re.match(r"\d\d:\d\d:\d\d\.\d\d\d |org\.apache\.", line)]


class Events:
    """A process that prints one JSON object a line."""

    def __init__(self, command):
        self.seen = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.seen.append(json.loads(line))

    def named(self, name):
        return [event for event in list(self.seen) if event.get("name") == name]

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)


def until(what, is_so, seconds=60):
    """Waits until it is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def report(*tests):
    """Runs functions, each a test, and tells of each."""
    for test in tests:
        try:
            test()
            print(f"ok {test.__name__}")
        except Exception:
            print(f"failed {test.__name__}")
            traceback.print_exc()
