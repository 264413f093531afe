# The C client's own suite: all of its tests that need a broker, one process each; TESTS="0001 0012" runs only these.
# Where a test calls scripts of Kafka's it gets Kafka's tools from the jars.
suite() {
    local tests number path="$out/kafka-path" makes_topics makes_none takes_logins scenario version quick what name
    tests="$(crate rdkafka-sys)/librdkafka/tests"
    runner "$tests" >"$out/librdkafka.build" 2>&1 || { tail -5 "$out/librdkafka.build"; return 1; } >&2
    scripts "$path/bin"
    ln -sfn "$root/.kafka/libs" "$path/libs"
    # As in the suite's own clusters there is an authorizer, that lets everyone do what no rule forbids.
    local rights=(authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
        allow.everyone.if.no.acl.found=true num.partitions=4)
    broker "${rights[@]}" && makes_topics=$address
    broker "${rights[@]}" auto.create.topics.enable=false && makes_none=$address
    # Logins only where the broker is ours.
    local logins=(listeners=LOGINS://127.0.0.1:0 listener.security.protocol.map=LOGINS:SASL_PLAINTEXT
        sasl.enabled.mechanisms=PLAIN connections.max.reauth.ms=10000
        'listener.name.logins.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_probe="secret";')
    [ -n "${BROKER:-}" ] || broker "${logins[@]}" && takes_logins=$address
    : >"$out/librdkafka.log"
    cd "$tests"
    entries | while read -r number scenario; do
        [[ " ${TESTS:-$number} " == *" $number "* ]] || continue
        [ "$scenario" = default ] && address=$makes_topics || address=$makes_none
        printf 'metadata.broker.list=%s\nbroker.address.family=v4\ntest.topic.random=true\n' "$address" >test.conf
        version=4.1.0 quick=-Q
        case $number in
        # Groups have configs since Kafka 4.0 (KIP-848), and none on broker-lite.
        0081) [ -n "${BROKER:-}" ] || version=3.9.0 ;;
        # It starts Java four times in 20 s.
        0119) echo test.timeout.multiplier=3 >>test.conf ;;
        0082) quick= ;;
        0135 | 0142) [ -n "${BROKER:-}" ] || {
            address=$takes_logins
            printf '%s\n' "metadata.broker.list=$address" broker.address.family=v4 test.topic.random=true security.protocol=SASL_PLAINTEXT \
                sasl.mechanism=PLAIN sasl.username=probe sasl.password=secret >test.conf
        } ;;
        esac
        TESTS=$number BROKERS=$address KAFKA_PATH=$path TEST_KAFKA_VERSION=$version LD_LIBRARY_PATH=../src:../src-cpp \
            timeout -k 5 170 ./test-runner -p1 $quick -E -L -K -s $scenario >"$work/one" 2>&1 </dev/null || true
        sed -E 's/\x1b\[[0-9;]*m//g' "$work/one" >"$work/plain"
        sed -nE 's/^\| +([0-9]{4}_[^ ]+) +\| +(PASSED|FAILED|SKIPPED) .*/\2 \1/p' "$work/plain" | while read -r what name; do
            # Those that are skipped without a reason are without a broker, or of another scenario.
            [ "$what" != SKIPPED ] || grep -E "^.$name .*SKIPPING TEST" "$work/plain" | grep -qv "negative test flags" || continue
            echo "$what $name"
        done | sed 's/^PASSED/ok/; s/^FAILED/failed/; s/^SKIPPED/skipped/' >"$work/told"
        # A test that hangs or dies leaves no summary.
        grep -q . "$work/told" || sed -nE 's/.*Test "([0-9]{4}_[^ "]+).*failed at.*/failed \1/p' "$work/plain" | sort -u >"$work/told"
        grep -q . "$work/told" || echo "failed $number" >"$work/told"
        cat "$work/told"
        { echo "=== $number"; cat "$work/plain"; } >>"$out/librdkafka.log"
    done
    rm -f stats_*.json
}

# Numbers of the tests that are not without a broker, manual, or about a network that breaks; and the scenario of each.
entries() {
    tr '\n' ' ' <test.c | sed 's/_TEST(/\n/g' | grep -E '^[0-9]{4}_' |
        grep -vE '^[a-z0-9_]*_mock,|TEST_F_(LOCAL|MANUAL|SOCKEM|KNOWN_ISSUE *[,)|])' |
        awk '{ print substr($0, 1, 4), (/noautocreate/ ? "noautocreate" : "default") }' | sort -u
}

# Builds the test runner, once; in a process of its own, for it changes the folder.
runner() ( # FOLDER
    [ -x "$1/test-runner" ] && exit
    cd "$1"
    # Kafka has no segments below 1 MiB since 4.0: they are filled with so much more.
    sed -i 's/segment.bytes=10000/segment.bytes=1048576/; s/partition, 20, 1024)/partition, 20, 102400)/' 0077-compaction.c
    sed -i 's/"segment.bytes", "20000"/"segment.bytes", "1048576"/' 0129-fetch_aborted_msgs.c
    # One node has one replica.
    sed -i -E '/create_topic/s/, 3(, 5000)?\)/, 1\1)/' [0-9]*.c [0-9]*.cpp
    # Statistics are read with RapidJSON, whose headers come with its Python package.
    python3 -m pip download -q --no-deps --no-binary :all: python-rapidjson==1.20 -d "$out"
    tar -xzf "$out"/python_rapidjson-1.20.tar.gz -C "$out"
    cd .. && chmod +x configure lds-gen.py
    CPPFLAGS="-I$out/python_rapidjson-1.20/rapidjson/include" ./configure --disable-curl --disable-gssapi
    make -j2 libs && make -j2 -C tests test-runner
)

# What stands in bin/ of a Kafka distribution, as far as it is called.
scripts() { # FOLDER
    mkdir -p "$1"
    local name class
    while read -r name class; do
        printf '#!/bin/sh\nexec java -Xmx256m -Dlog4j2.configurationFile=%s -cp "$CLASSPATH:%s/*" %s "$@"\n' \
            "$root/tests/kafka/log4j2.properties" "$root/.kafka/libs" "$class" >"$1/$name.sh"
        chmod +x "$1/$name.sh"
    done <<'SCRIPTS'
kafka-topics org.apache.kafka.tools.TopicCommand
kafka-acls org.apache.kafka.tools.AclCommand
kafka-configs kafka.admin.ConfigCommand
kafka-run-class
SCRIPTS
}
