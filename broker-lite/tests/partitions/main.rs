//! What partitions answer to raw requests: produce rules, sequences, reading, sessions, offsets, sizes.
//!
//! The answers are compared with those that Apache Kafka 4.1.1 gave to the very same requests
//! (`kafka-4.1.1.txt`). With `PARTITIONS_BOOTSTRAP=HOST:PORT` they are asked of that broker, which must
//! be new, and with `PARTITIONS_RECORD=FILE` written there instead. `epochs.rs` has a recording of its own; `faults.rs`
//! tries what no client can bring about.

#[cfg(test)]
mod batches;
#[cfg(test)]
#[path = "../coordination/client.rs"]
mod client;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod handmade;
#[cfg(test)]
mod offsets;
#[cfg(test)]
mod produce;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod topic_ids;
#[cfg(test)]
mod transactions;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use broker_lite::{Broker, Config};
use client::{Client, Transcript, text};
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, InitProducerIdRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
};

const KAFKA: &str = include_str!("kafka-4.1.1.txt");

fn scenes(address: SocketAddr) -> Vec<String> {
    prepare(address);
    let (mut c, mut t) = (Client::connect(address), Transcript::default());
    produce::envelopes(&mut c, &mut t);
    produce::headers(&mut c, &mut t);
    produce::contents(&mut c, &mut t);
    produce::times(&mut c, &mut t);
    produce::sizes(&mut c, &mut t);
    produce::codecs(&mut c, &mut t);
    sequences::one_epoch(&mut c, &mut t);
    sequences::epochs(&mut c, &mut t);
    sequences::wrapping(&mut c, &mut t);
    reading::ranges(&mut c, &mut t);
    reading::limits(&mut c, &mut t);
    reading::unknown(&mut c, &mut t);
    reading::waiting(&mut c, &mut t);
    sessions::requests(&mut c, &mut t);
    sessions::by_name(address, &mut t);
    sessions::turns(&mut c, &mut t);
    topic_ids::sessions(&mut c, &mut t);
    topic_ids::producing(&mut c, &mut t);
    offsets::specials(&mut c, &mut t);
    offsets::times(&mut c, &mut t);
    offsets::epochs(&mut c, &mut t);
    offsets::deleting(&mut c, &mut t);
    transactions::aborted(&mut c, &mut t);
    sizes::sizes(&mut c, &mut t);
    t.lines
}

/// Lets a broker that has just started find its coordinator of transactions.
fn prepare(address: SocketAddr) {
    let mut c = Client::connect(address);
    let find = FindCoordinatorRequest::default()
        .with_key(text("x"))
        .with_key_type(1);
    until_accepted(|| c.call(2, &find).error_code);
    let producer = InitProducerIdRequest::default()
        .with_transactional_id(Some(text("ready").into()))
        .with_transaction_timeout_ms(1000);
    until_accepted(|| c.call(2, &producer).error_code);
}

fn until_accepted(mut ask: impl FnMut() -> i16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while ask() != 0 {
        assert!(Instant::now() < deadline, "the broker gets ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a topic whose old records stay, and tells its id.
fn topic(c: &mut Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> uuid::Uuid {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    let configs = configs.iter().chain(&[("retention.ms", "-1")]).map(config);
    let topic = CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let create = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(5000);
    let created = c.call(7, &create);
    assert_eq!(created.topics[0].error_code, 0, "{name}");
    // Kafka's partitions take a moment to begin.
    until_accepted(|| (0..partitions).map(|p| offsets::error(c, name, p)).sum());
    created.topics[0].topic_id
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
    let address = std::env::var("PARTITIONS_BOOTSTRAP").ok()?;
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
    if let Ok(path) = std::env::var("PARTITIONS_RECORD") {
        return std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    let kafka: Vec<&str> = KAFKA.lines().collect();
    if let Some(difference) = first_difference(&lines, &kafka) {
        panic!("another answer than Kafka's: {difference}");
    }
}
