# For run.sh and secured.sh: tools, and brokers that end with the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/kafka/fetch.sh
[ -d .kafka/venv ] || python3 -m venv .kafka/venv
.kafka/venv/bin/pip install -q 'kafka-python>=2.2,<4'
cargo build -q -p broker-lite

work=$(mktemp -d)
brokers=()
finish() {
    for broker in "${brokers[@]}"; do kill "$broker" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

start() { # NAME ARGUMENTS...: a broker with its data in $work/NAME; sets address
    local name=$1
    shift
    "${CARGO_TARGET_DIR:-target}/debug/broker-lite" --data "$work/$name" "$@" >"$work/$name.ready" 2>"$work/$name.log" &
    brokers+=($!)
    for _ in $(seq 100); do grep -q ready "$work/$name.ready" && break; sleep 0.1; done
    address=$(sed -n 's/.*listen=\([^ ]*\).*/\1/p' "$work/$name.ready")
    [ -n "$address" ] || { cat "$work/$name.log"; exit 1; }
}
tool() { java -Xmx256m -Dlog4j2.configurationFile=tests/kafka/log4j2.properties -cp '.kafka/libs/*' "$@"; }
expect() { # NAME PATTERN: standard input must have it
    local text
    text=$(cat)
    if ! grep -qE "$2" <<<"$text"; then printf 'FAILED %s: no %s in\n%s\n' "$1" "$2" "$text"; exit 1; fi
    echo "ok $1"
}
kafka=org.apache.kafka.tools
