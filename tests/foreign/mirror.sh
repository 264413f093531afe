#!/usr/bin/env bash
# MirrorMaker 2's Java clients (connect-mirror-client) on targets of strait: clusters, hops, topics, and translations of
# offsets that are counted independently. Between broker-lites, or given clusters: mirror.sh [EAST WEST NORTH].
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cargo build -q -p strait
if [ $# = 3 ]; then
    east=$1 west=$2 north=$3
else
    start east --listen 127.0.0.1:0; east=$address
    start west --listen 127.0.0.1:0; west=$address
    start north --listen 127.0.0.1:0; north=$address
fi
mirror() { tool tests/foreign/Mirror.java "$@"; }
cat >"$work/strait.toml" <<END
[clusters.east]
bootstrap.servers = "$east"
[clusters.west]
bootstrap.servers = "$west"
[clusters.north]
bootstrap.servers = "$north"
[[flows]]
name = "prefixed"
source = "east"
target = "west"
topics = ["plain", "transactions"]
naming = "prefix"
mm2_heartbeats = true
mm2_checkpoints = true
mm2_offset_syncs = true
[[flows]]
name = "kept"
source = "east"
target = "west"
topics = ["kept"]
mm2_checkpoints = true
[[flows]]
source = "west"
target = "north"
topics = ['east\\..*']
naming = "prefix"
mm2_heartbeats = true
[http]
listen = ""
END
mirror prepare "$east"
"${CARGO_TARGET_DIR:-target}/debug/strait" run "$work/strait.toml" >"$work/strait.log" 2>&1 &
brokers+=($!)
if ! mirror check "$east" "$west" "$north" >"$work/seen" 2>&1; then cat "$work/strait.log" "$work/seen"; exit 1; fi
expect "MirrorMaker 2's clients see strait's target" "^all is seen$" <"$work/seen"
syncs=$(tool $kafka.consumer.ConsoleConsumer --bootstrap-server "$west" --topic mm2-offset-syncs.east.internal --from-beginning \
    --formatter org.apache.kafka.connect.mirror.formatters.OffsetSyncFormatter --timeout-ms 5000 2>/dev/null || true)
expect "offset syncs" "OffsetSync\{topicPartition=plain-0, upstreamOffset=[0-9]+, downstreamOffset=[0-9]+\}" <<<"$syncs"
