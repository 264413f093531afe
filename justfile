# Commands of the project; `just` alone lists them.

_default:
    @just --list

# The main job on embedded brokers
demo *arguments:
    cargo run --release -- demo {{arguments}}

# What a change must pass before it is committed
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Everything that needs only Rust and a C compiler
test:
    cargo test --workspace

# The scenarios between two broker-lites over librdkafka
test-librdkafka:
    STRAIT_TEST_TRANSPORT=librdkafka cargo test --test scenarios

# The client and the scenarios on Apache Kafka, alone and with broker-lite on either side (Java 17, Maven)
test-kafka *arguments:
    tests/kafka/fetch.sh
    STRAIT_TEST_KAFKA=1 cargo test -p wire --test real_kafka
    STRAIT_TEST_KAFKA=1 cargo test --test scenarios -- {{arguments}}

# TLS, logins and an authorizer on Apache Kafka (Java 17, Maven)
test-secured *arguments:
    tests/kafka/fetch.sh
    STRAIT_TEST_KAFKA=1 cargo test --test secured -- {{arguments}}

# broker-lite's answers beside those of Apache Kafka (Java 17, Maven)
test-conformance *arguments:
    tests/kafka/fetch.sh
    STRAIT_TEST_KAFKA=1 cargo test --test conformance -- {{arguments}}

# Clients that broker-lite was not written with: Kafka's own tools (Java 17) and a Python client
test-foreign:
    tests/foreign/run.sh

# Suites of others on broker-lite, all or some: rust-rdkafka rskafka kafka-tools mirrormaker clients librdkafka (half an hour; C++, Java 17,
# Maven, Python, Node, Go; BROKER=kafka: on Apache Kafka; TESTS="0001 0012": only these of librdkafka's)
test-suites *names:
    tests/suites/run.sh {{names}}

# Decoders on hostile bytes
fuzz seconds="20":
    FUZZ_SECONDS={{seconds}} cargo test -p wire --test fuzz_decoders
    FUZZ_SECONDS={{seconds}} cargo test -p broker-lite --lib fuzz

# Everything on simulated machines: as many seeds, from one on; `SIM_SEED=17 just sim` repeats one
sim seeds="200" first="1":
    SIM_SEEDS={{seeds}} SIM_FIRST={{first}} cargo test --test simulation

# Longer than CI: five thousand simulations, the scenarios with twenty times the data, ten minutes of chaos with 1,600
# partitions, fifty of upheaval among three brokers on each side and among one, 1,000 groups at any offset, every pair and transport, decoders for
# five minutes, 200 kills of broker-lite under idempotent and as many under transactional load
soak:
    SIM_SEEDS=5000 SIM_FIRST=1000 cargo test --release --test simulation
    tests/kafka/fetch.sh
    STRAIT_TEST_SCALE=20 cargo test --release --test scenarios -- kill_nine
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios -- kill_nine
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios -- kafka_to_kafka::processes_brokers
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 STRAIT_TEST_BROKERS=3 cargo test --release --test scenarios -- --test-threads 1 whatever_dies
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 STRAIT_TEST_BROKERS=3 cargo test --release --test scenarios -- --test-threads 1 kafka_to_kafka::two_that
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios -- --test-threads 1 kafka_to_kafka::fresh_records
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios -- --test-threads 1 kafka_to_kafka::old_records_arrive_once
    STRAIT_TEST_SCALE=20 STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios -- kafka_to_kafka::any_offset
    STRAIT_TEST_PAIRS=all STRAIT_TEST_TRANSPORT=librdkafka cargo test --release --test scenarios
    STRAIT_TEST_PAIRS=all STRAIT_TEST_KAFKA=1 cargo test --release --test scenarios
    FUZZ_SECONDS=300 cargo test --release -p wire --test fuzz_decoders
    FUZZ_SECONDS=300 cargo test --release -p broker-lite --lib fuzz
    STRAIT_TEST_SCALE=40 cargo test --release -p broker-lite --test kill

# What copying costs: strait beside a TCP relay, librdkafka and MirrorMaker 2 (RECORD_BYTES, CODEC, BATCH, PARTITIONS, TLS, COPIERS,
# RECORDS, ROUNDS; MATRIX=full: all, for hours)
bench-copy:
    tests/kafka/fetch.sh
    cargo bench --bench copy

# How much later a record is on the target than on the source (RATES, DURATION in seconds, RECORD_BYTES, PARTITIONS, ROUNDS)
bench-latency:
    tests/kafka/fetch.sh
    cargo bench --bench latency

# Many partitions and several processes (TOPICS, PARTITIONS, PROCESSES, IDLE); the clusters need memory for them
bench-scale:
    tests/kafka/fetch.sh
    _JAVA_OPTIONS=-Xmx2g cargo bench --bench scale

# Ten thousand topics: the plan, the start, and what they cost while nothing happens, MirrorMaker 2 beside (TOPICS, GROUPS, IDLE, LIMIT,
# COPIERS); the clusters need memory for them
bench-topics:
    tests/kafka/fetch.sh
    _JAVA_OPTIONS=-Xmx2g cargo bench --bench topics

# One side behind 25 MB/s and 0 to 150 ms, MirrorMaker 2 beside (BROKERS=kafka|lite, FAR, DELAYS, WORKLOADS, SECONDS)
bench-roundtrip:
    tests/kafka/fetch.sh
    BROKERS=${BROKERS:-kafka} cargo bench --bench roundtrip

# 50 groups move to the target: what they lose and get twice, behind strait and MirrorMaker 2 (RECORDS, GROUPS, COPIERS)
bench-failover:
    tests/kafka/fetch.sh
    cargo bench --bench failover

# broker-lite beside one node of Apache Kafka, with Kafka's own perf tools (CODEC, RECORDS, ROUNDS)
bench-broker:
    tests/kafka/fetch.sh
    cargo bench -p broker-lite --bench broker

# All that CI runs
ci:
    .ci/run
