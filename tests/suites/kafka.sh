#!/usr/bin/env bash
# Starts Apache Kafka, one node, in a new folder and with settings, and prints one line when it is ready, as broker-lite does.
set -euo pipefail
data=$1; shift
cd "$(dirname "$0")/../.."
port=${PORT:-$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
run() { exec java -Xms128m -Xmx512m -XX:+UseSerialGC -Dlog4j2.configurationFile=tests/kafka/log4j2.properties -cp '.kafka/libs/*' "$@"; }
mkdir -p "$data"
id=1
for setting; do case $setting in node.id=*) id=${setting#*=} ;; esac; done
cat >"$data/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$id@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
log.dirs=$data/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
PROPERTIES
for setting; do case $setting in node.id=*) ;; *) echo "$setting" >>"$data/server.properties" ;; esac; done
(run kafka.tools.StorageTool format -t c3RyYWl0LXRlc3QtY2x1cw -c "$data/server.properties" >&2)
(for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
    sleep 1; echo "ready listen=127.0.0.1:$port") &
exec 3>&1 >&2
run kafka.Kafka "$data/server.properties"
