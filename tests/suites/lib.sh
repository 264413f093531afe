# What the suites share. Sourced by run.sh, which sets $root, $out (a folder that stays) and $work (one that goes).

# Starts a broker with settings for --set and sets $address; with BROKER=HOST:PORT it takes that one, and with BROKER=kafka it
# starts Apache Kafka. It ends when run.sh does.
broker() {
    local log="$work/broker.$((++brokers))" setting arguments=()
    case "${BROKER:-}" in
    '') for setting; do arguments+=(--set "$setting"); done
        "${BROKER_LITE:-$root/target/debug/broker-lite}" --listen 127.0.0.1:0 --data "$log.data" "${arguments[@]}" >"$log.ready" 2>"$log.log" & ;;
    kafka) "$root/tests/suites/kafka.sh" "$log.data" "$@" >"$log.ready" 2>"$log.log" & ;;
    *) address=$BROKER; return ;;
    esac
    started+=($!)
    for _ in $(seq 600); do grep -q ready "$log.ready" && break; sleep 0.1; done
    address=$(sed -n 's/.*listen=\([^ ]*\).*/\1/p' "$log.ready")
    [ -n "$address" ] || { cat "$log.log"; echo "the broker did not start"; exit 1; }
}

# Copies the source of a crate that cargo has fetched to $out/NAME, once for each version, and says where.
crate() { # NAME
    local manifest from to
    manifest=$(cargo metadata -q --format-version 1 --manifest-path "$root/tests/suites/crates/Cargo.toml" |
        python3 -c 'import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$1")
    from=$(dirname "$manifest") to="$out/$(basename "$(dirname "$manifest")")"
    if [ ! -e "$to" ]; then
        cp -r "$from" "$to.new" && chmod -R u+w "$to.new" && rm -f "$to.new/rust-toolchain.toml"
        # It is in this repository's folder, and not in its workspace.
        printf '\n[workspace]\n' >>"$to.new/Cargo.toml" && mv "$to.new" "$to"
    fi
    echo "$to"
}

# Runs the tests of a crate, and tells of each: ok NAME, failed NAME, skipped NAME.
cargo_tests() { # FOLDER ARGUMENTS...
    local folder=$1; shift
    (cd "$folder" && CARGO_TARGET_DIR="$out/build" CARGO_PROFILE_DEV_DEBUG=0 cargo test --locked --no-fail-fast "$@" 2>&1) |
        tee "$out/$name.log" | sed -nE 's/^test ([^ ]+)( - should panic)? \.\.\. (ok|FAILED|ignored).*/\3 \1/p' | sed 's/^FAILED/failed/; s/^ignored/skipped/'
}

# Kafka's tools, and others from its jars.
java_class() { java -Xmx256m -Dlog4j2.configurationFile="$root/tests/kafka/log4j2.properties" -cp "$root/.kafka/libs/*" "$@"; }
