//! Groups, offsets and transactions asked through raw requests, request version by version.
//!
//! The answers are compared with those that Apache Kafka 4.1.1 gave to the very same requests
//! (`kafka-4.1.1.txt`). With `COORDINATION_BOOTSTRAP=HOST:PORT` they are asked of that broker, and
//! with `COORDINATION_RECORD=FILE` written there instead.

#[cfg(test)]
mod client;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod members;
#[cfg(test)]
mod records;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod transactions;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use broker_lite::{Broker, Config};
use client::{Client, Transcript, text};
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest,
    create_topics_request::CreatableTopic,
};

/// The topic with two partitions that all scenes use.
const TOPIC: &str = "coordination";

/// The topic that records are written to.
const RECORDS: &str = "coordination-records";

const KAFKA: &str = include_str!("kafka-4.1.1.txt");

fn scenes(address: SocketAddr) -> Vec<String> {
    prepare(address);
    let mut transcript = Transcript::default();
    groups::coordinators(address, &mut transcript);
    groups::one_member(address, &mut transcript);
    groups::offsets(address, &mut transcript);
    groups::administration(address, &mut transcript);
    members::two_members(address, &mut transcript);
    members::refusals(address, &mut transcript);
    members::static_members(address, &mut transcript);
    members::leaving(address, &mut transcript);
    transactions::producers(address, &mut transcript);
    transactions::histories(address, &mut transcript);
    transactions::offsets(address, &mut transcript);
    transactions::bumping(address, &mut transcript);
    records::records(address, &mut transcript);
    records::first_writes(address, &mut transcript);
    transcript.lines
}

/// Makes the topic, and lets a broker that has just started find its coordinators.
fn prepare(address: SocketAddr) {
    let mut client = Client::connect(address);
    let topic = |name: &str, partitions| {
        CreatableTopic::default()
            .with_name(text(name).into())
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let create = CreateTopicsRequest::default()
        .with_topics(vec![topic(TOPIC, 2), topic(RECORDS, 1)])
        .with_timeout_ms(5000);
    client.call(5, &create);
    for key_type in [0, 1] {
        let find = FindCoordinatorRequest::default()
            .with_key(text("x"))
            .with_key_type(key_type);
        until_accepted(|| client.call(2, &find).error_code);
    }
    let producer = InitProducerIdRequest::default()
        .with_transactional_id(Some(text("ready").into()))
        .with_transaction_timeout_ms(1000);
    until_accepted(|| client.call(2, &producer).error_code);
    let describe = ListTransactionsRequest::default();
    until_accepted(|| client.call(0, &describe).error_code);
}

fn until_accepted(mut ask: impl FnMut() -> i16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while ask() != 0 {
        assert!(Instant::now() < deadline, "the broker gets ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn first_difference(ours: &[String], kafka: &[&str]) -> Option<String> {
    let longest = ours.len().max(kafka.len());
    let line = |at: usize| {
        let (ours, kafka) = (ours.get(at).map(String::as_str), kafka.get(at).copied());
        (ours != kafka).then(|| format!("line {}\n ours: {ours:?}\nkafka: {kafka:?}", at + 1))
    };
    (0..longest).find_map(line)
}

fn asked() -> Option<SocketAddr> {
    let address = std::env::var("COORDINATION_BOOTSTRAP").ok()?;
    address.to_socket_addrs().ok()?.next()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_those_of_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new("127.0.0.1:0", folder.path());
    let broker = Broker::start(config, host::Host::real()).await.unwrap();
    let address = asked().unwrap_or_else(|| broker.address());
    let lines = tokio::task::spawn_blocking(move || scenes(address));
    let lines = lines.await.unwrap();
    broker.stop().await.unwrap();
    if let Ok(path) = std::env::var("COORDINATION_RECORD") {
        return std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    let kafka: Vec<&str> = KAFKA.lines().collect();
    if let Some(difference) = first_difference(&lines, &kafka) {
        panic!("another answer than Kafka's: {difference}");
    }
}
