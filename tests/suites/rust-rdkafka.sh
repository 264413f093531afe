# The tests of the crate rdkafka: producers, consumers, admin, transactions. Those of its lib need no broker.
suite() {
    broker num.partitions=3 node.id=0
    local tests; tests=$(crate rdkafka)
    # Two of its files know the broker's address by heart.
    sed -i 's/"localhost")/\&get_bootstrap_server())/' "$tests/tests/test_high_producers.rs"
    sed -i -E "s/(port\(\), )[0-9]+/\1${address##*:}/" "$tests/tests/test_metadata.rs"
    KAFKA_HOST=$address cargo_tests "$tests" --test '*'
}
