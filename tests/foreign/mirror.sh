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
: >"$work/seen"
tool -XX:TieredStopAtLevel=1 tests/foreign/Mirror.java "$east" "$west" "$north" >"$work/seen" 2>&1 &
mirror=$!
for _ in $(seq 600); do grep -q '^prepared$' "$work/seen" && break; kill -0 $mirror && sleep 0.1; done
"${CARGO_TARGET_DIR:-target}/debug/strait" run "$work/strait.toml" >"$work/strait.log" 2>&1 &
brokers+=($!)
if ! wait $mirror; then cat "$work/strait.log" "$work/seen"; exit 1; fi
expect "MirrorMaker 2's clients see strait's target" "^all is seen$" <"$work/seen"
