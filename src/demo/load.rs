//! The demo's records: what a shop's services write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::task::JoinHandle;
use wire::client::{Client, NewTopic};

use super::DemoError;

/// Topic and codec of its producer.
pub(super) const TOPICS: [(&str, &str); 5] = [
    ("orders", "zstd"),
    ("payments", "lz4"),
    ("clicks", "gzip"),
    ("inventory", "snappy"),
    ("audit", "none"),
];
const PARTITIONS: i32 = 4;
/// Records per topic and pause.
const BURST: u64 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// All codecs in words.
pub(super) fn codecs() -> String {
    TOPICS.map(|(_, codec)| codec).join(", ")
}

/// A running producer.
#[derive(Debug)]
pub(super) struct Load {
    produced: Arc<AtomicU64>,
    task: JoinHandle<Result<(), KafkaError>>,
}

impl Load {
    /// Creates the topics and begins to produce, for `duration`.
    pub(super) async fn start(source: &Client, duration: Duration) -> Result<Self, DemoError> {
        let topics = TOPICS.map(|(name, _)| NewTopic {
            name: name.to_owned(),
            partitions: PARTITIONS,
            replication_factor: -1,
            configs: Vec::new(),
        });
        let created = source.create_topics(&topics, false).await;
        for (name, outcome) in created.map_err(|error| DemoError::Topics(error.to_string()))? {
            outcome.map_err(|error| DemoError::Topics(format!("{name}: {error}")))?;
        }
        let cluster = source.describe_cluster().await;
        let cluster = cluster.map_err(|error| DemoError::Topics(error.to_string()))?;
        let servers: Vec<_> = cluster
            .brokers
            .iter()
            .map(|b| format!("{}:{}", b.host, b.port))
            .collect();
        let servers = servers.join(",");
        let produced = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&produced);
        let task = tokio::task::spawn_blocking(move || produce(&servers, duration, &count));
        Ok(Self { produced, task })
    }

    /// Records so far.
    pub(super) fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until all records are acknowledged; how many they are.
    pub(super) async fn finish(self) -> Result<u64, DemoError> {
        let ended = self
            .task
            .await
            .map_err(|error| DemoError::Topics(error.to_string()))?;
        ended?;
        Ok(self.produced.load(Ordering::Relaxed))
    }
}

fn produce(servers: &str, duration: Duration, produced: &AtomicU64) -> Result<(), KafkaError> {
    let mut producers = Vec::new();
    for (topic, codec) in TOPICS {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("enable.idempotence", "true")
            .set("compression.codec", codec)
            .set("linger.ms", "20")
            .create()?;
        producers.push((topic, producer));
    }
    let end = Instant::now() + duration;
    let mut number = 0;
    while Instant::now() < end {
        for (topic, producer) in &producers {
            for _ in 0..BURST {
                send(producer, topic, number)?;
                number += 1;
            }
        }
        produced.store(number, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    for (_, producer) in &producers {
        producer.flush(Duration::from_secs(30))?;
    }
    Ok(())
}

/// One record; some are tombstones, some have no key, some carry headers twice.
fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    number: u64,
) -> Result<(), KafkaError> {
    let key = format!("customer-{}", number % 997);
    let value = format!(
        "{{\"id\":{number},\"topic\":\"{topic}\",\"amount\":{},\"currency\":\"EUR\",\
         \"note\":\"{}\"}}",
        number * 7919 % 100_000,
        "thank you for your order. ".repeat(1 + (number % 16) as usize)
    );
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "trace",
            value: Some(&number.to_be_bytes()[..]),
        })
        .insert(Header {
            key: "trace",
            value: None::<&[u8]>,
        });
    let mut record = BaseRecord::<String, String>::to(topic)
        .partition((number / 5 % PARTITIONS.unsigned_abs() as u64) as i32)
        .headers(headers);
    record.key = (!number.is_multiple_of(10)).then_some(&key);
    record.payload = (!number.is_multiple_of(50)).then_some(&value);
    while let Err((error, back)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
        record = back;
    }
    Ok(())
}
