# The tests of the crate rskafka, a client in Rust alone.
suite() {
    broker auto.create.topics.enable=false
    local tests; tests=$(crate rskafka)
    # Today's compilers refuse the rsasl that its lock file has.
    (cd "$tests" && cargo update -q -p rsasl --precise 2.3.1)
    TEST_INTEGRATION=1 TEST_BROKER_IMPL=kafka KAFKA_CONNECT=$address cargo_tests "$tests" --test '*'
}
