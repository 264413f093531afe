#!/usr/bin/env bash
# Clients that broker-lite was not written with: Kafka's own command line tools (Java 17, jars of
# tests/kafka/fetch.sh) and a pure Python client (python3; installs kafka-python into .kafka/venv). In plain text first, then
# over TLS with logins and rights (secured.sh).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start open --listen 127.0.0.1:0 --set log.cleaner.backoff.ms=200
at=(--bootstrap-server "$address")

tool $kafka.TopicCommand "${at[@]}" --create --topic t --partitions 3 --config retention.ms=1000000 | expect "create topic" "Created topic t"
tool $kafka.TopicCommand "${at[@]}" --describe --topic t | expect "describe topic" "PartitionCount: 3.*retention.ms=1000000"
tool $kafka.TopicCommand "${at[@]}" --alter --topic t --partitions 4
tool $kafka.TopicCommand "${at[@]}" --describe --topic t | expect "grow topic" "PartitionCount: 4"
tool kafka.admin.ConfigCommand "${at[@]}" --alter --entity-type topics --entity-name t --add-config max.message.bytes=2000000 | expect "alter config" "Completed updating config"
tool kafka.admin.ConfigCommand "${at[@]}" --describe --entity-type topics --entity-name t | expect "describe config" "max.message.bytes=2000000"
tool $kafka.LeaderElectionCommand "${at[@]}" --election-type preferred --topic t --partition 0 | expect "elect leaders" "Valid replica already elected"
{ tool $kafka.AclCommand "${at[@]}" --list 2>&1 || true; } | expect "list rights" "No Authorizer is configured"
seq 1 100 | tool $kafka.ConsoleProducer "${at[@]}" --topic t --compression-codec zstd
tool $kafka.consumer.ConsoleConsumer "${at[@]}" --topic t --from-beginning --group g --max-messages 100 --timeout-ms 20000 2>&1 | sort -n | tail -2 | expect "produce and consume" "^100$"
tool $kafka.consumer.group.ConsumerGroupCommand "${at[@]}" --describe --group g | expect "describe group" "^g +t +[0-3] +"
tool $kafka.consumer.group.ConsumerGroupCommand "${at[@]}" --group g --topic t --reset-offsets --to-earliest --execute | expect "reset offsets" "t +[0-3] +0"
tool $kafka.GetOffsetShell "${at[@]}" --topic t | awk -F: '{n += $3} END {print n}' | expect "get offsets" "^100$"
tool $kafka.ProducerPerformance --topic t --num-records 20000 --record-size 500 --throughput -1 --producer-props "bootstrap.servers=$address" acks=all | expect "producer perf" "^20000 records sent"
tool $kafka.ConsumerPerformance "${at[@]}" --topic t --messages 20000 --timeout 20000 2>&1 | expect "consumer perf" "20[0-9]{3}|2.0E4"
tool $kafka.TopicCommand "${at[@]}" --create --topic keys --config cleanup.policy=compact --config segment.bytes=1048576 --config min.cleanable.dirty.ratio=0 | expect "create compacted topic" "Created topic keys"
awk 'BEGIN {v = sprintf("%999s", ""); gsub(" ", "x", v); for (i = 1; i <= 6000; i++) print i % 10 "," i v}' |
    tool $kafka.ConsoleProducer "${at[@]}" --topic keys --property parse.key=true --property key.separator=, --producer-property linger.ms=0 --producer-property batch.size=4000
for _ in $(seq 100); do [ -e "$work/open/keys-0/cleaner-offset-checkpoint" ] && break; sleep 0.1; done
sleep 1
dump=$(for log in "$work"/open/keys-0/*.log; do tool kafka.tools.DumpLogSegments --files "$log" --deep-iteration; done)
expect "dump compacted log" "lastOffset: 5999 count: [1-9]" <<<"$dump"
{ grep -ciE "isvalid: false|corrupt|exception" <<<"$dump" || true; } | expect "dump finds nothing wrong" "^0$"
grep -cE "^\| offset" <<<"$dump" | awk '{print ($1 < 2000) ? "fewer" : $1}' | expect "compacted" "^fewer$"
indexes=$(printf '%s,' "$work"/open/keys-0/*index); tool kafka.tools.DumpLogSegments --files "${indexes%,}" --index-sanity-check 2>&1 | expect "indexes are sane" "passed sanity check"
tool $kafka.TopicCommand "${at[@]}" --delete --topic keys
tool $kafka.TopicCommand "${at[@]}" --delete --topic t
tool $kafka.TopicCommand "${at[@]}" --list | sed 's/^t$/still there/; $a end' | expect "delete topic" "^end$"
.kafka/venv/bin/python tests/foreign/client.py "$address"
echo "ok python client"
tests/foreign/mirror.sh
tests/foreign/secured.sh
