#!/usr/bin/env bash
# Suites of others on broker-lite: `run.sh [SUITE]...`, all of them without. Each runs on a broker that is started for it, or on
# BROKER=HOST:PORT, or with BROKER=kafka on an Apache Kafka that is started for it; BROKER_LITE=PATH is a binary to use.
# Prints a line for each suite, and fails if a test fails that known.txt does not have. What they told stays in target/suites.
# Needs Rust, a C++ compiler, make, perl, Python, Java 17, Maven, and for the clients Node and Go.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD out=${SUITES_DIR:-$PWD/target/suites}
[ $# -gt 0 ] || set -- rust-rdkafka rskafka kafka-tools mirrormaker clients librdkafka
tests/kafka/fetch.sh
[ -n "${BROKER:-}${BROKER_LITE:-}" ] || cargo build -q -p broker-lite
mkdir -p "$out"
. tests/suites/lib.sh

bad=0
for name; do
    (   # In a process of its own: it ends with its brokers.
        work=$(mktemp -d) started=() brokers=0
        trap 'kill "${started[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT
        . "tests/suites/$name.sh"
        suite 3>&1 >"$out/$name.results" || true
    )
    fresh=
    while read -r _ test; do
        grep -qE "^$name $test( |$)" tests/suites/known.txt || fresh+=" $test"
    done < <(grep '^failed ' "$out/$name.results")
    count() { grep -c "^$1 " "$out/$name.results" || true; }
    passed=$(count ok)
    printf '%s: %s passed, %s failed, %s skipped%s\n' "$name" "$passed" "$(count failed)" "$(count skipped)" "${fresh:+; not known:$fresh}"
    [ -z "$fresh" ] && [ "$passed" -gt 0 ] || bad=1
done
exit $bad
