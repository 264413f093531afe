# Programs that Kafka's own system tests are made of: ClientCompatibilityTest, VerifiableProducer, VerifiableConsumer,
# TransactionalMessageCopier. What they print is checked here.
suite() {
    broker num.partitions=1
    python3 -u "$root/tests/suites/kafka_tools.py" "$address" "$root" 2>&1 | tee "$out/kafka-tools.log" |
        sed -nE 's/^(ok|failed) ([^ :]+).*/\1 \2/p'
}
