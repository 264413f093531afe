//! What the scenarios of taking over from MirrorMaker 2 have in common: its positions, and a load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::eventually,
};

/// Of the topic that is mirrored.
pub const PARTITIONS: i32 = 2;

/// As soon as the group is empty: JSON of what was done, which is all of it.
pub async fn taken_over(strait: &Strait, arguments: &[&str]) -> Result<Value> {
    let mut taken = Value::Null;
    eventually(60, "the takeover", async || {
        let (code, text) = strait.checkpoint(arguments)?;
        ensure!(code == 0, "{code}: {text}");
        taken = serde_json::from_str(&text)?;
        Ok(())
    })
    .await?;
    all_are_taken_over(&taken)?;
    Ok(taken)
}

/// None was left, and none begins anew.
pub fn all_are_taken_over(taken: &Value) -> Result<()> {
    let partitions = taken["partitions"].as_array().context("partitions")?;
    ensure!(partitions.len() == PARTITIONS as usize, "{taken}");
    let is_so = |one: &Value| one["outcome"] == "taken_over";
    ensure!(partitions.iter().all(is_so), "{taken}");
    Ok(())
}

/// How many records behind MirrorMaker 2's positions were found on the target.
pub fn recognised(taken: &Value) -> Result<u64> {
    let partitions = taken["partitions"].as_array().context("partitions")?.iter();
    let each: Option<Vec<u64>> = partitions.map(|one| one["recognised"].as_u64()).collect();
    Ok(each
        .with_context(|| format!("not all recognised: {taken}"))?
        .iter()
        .sum())
}

/// Where Kafka Connect keeps how far a source connector is.
pub struct Kept {
    pub offsets_topic: String,
    pub connector: String,
    /// What MirrorMaker 2 calls the source.
    pub alias: String,
}

impl Kept {
    /// Of MirrorMaker 2 on its own.
    pub fn dedicated(alias: &str) -> Self {
        Self {
            offsets_topic: format!("mm2-offsets.{alias}.internal"),
            connector: "MirrorSourceConnector".to_owned(),
            alias: alias.to_owned(),
        }
    }

    /// The last record that is said to be copied, read by another client from the topic; -1: none.
    pub fn position(&self, pair: &Pair, topic: &str, partition: i32) -> Result<i64> {
        let wanted = self.key(topic, partition);
        let Ok(count) = pair.target.partition_count(&self.offsets_topic) else {
            return Ok(-1);
        };
        let consumer: BaseConsumer = pair
            .target
            .client()
            .set("group.id", "positions")
            .set("enable.partition.eof", "true")
            .create()?;
        let mut all = TopicPartitionList::new();
        for index in 0..i32::try_from(count)? {
            all.add_partition_offset(&self.offsets_topic, index, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        let (mut open, mut found) = (count, -1);
        while open > 0 {
            let polled = consumer.poll(Duration::from_secs(30));
            match polled.context("neither records nor ends come")? {
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => return Err(error.into()),
                Ok(message) if message.key() == Some(wanted.as_bytes()) => {
                    let value = message.payload().context("a value")?;
                    let value: Value = serde_json::from_slice(value)?;
                    found = value["offset"].as_i64().context("an offset")?;
                }
                Ok(_) => {}
            }
        }
        Ok(found)
    }

    /// Makes the topic as Kafka Connect does.
    pub async fn create(&self, pair: &Pair) -> Result<()> {
        let compact = [("cleanup.policy", "compact")];
        pair.target
            .create_topic(&self.offsets_topic, 25, &compact)
            .await
    }

    /// Writes a position as Kafka Connect does.
    pub fn put(&self, pair: &Pair, topic: &str, partition: i32, offset: i64) -> Result<()> {
        // The partitioner of Kafka's own clients.
        let producer: BaseProducer = pair
            .target
            .client()
            .set("partitioner", "murmur2_random")
            .create()?;
        let (key, value) = (
            self.key(topic, partition),
            format!("{{\"offset\":{offset}}}"),
        );
        let record = BaseRecord::to(&self.offsets_topic)
            .key(&key)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        Ok(producer.flush(Duration::from_secs(30))?)
    }

    /// Waits until each partition of the target holds a hundred records that no position tells of.
    pub async fn await_beyond(
        &self,
        pair: &Pair,
        topic: &str,
        log: impl Fn() -> String,
    ) -> Result<()> {
        eventually(180, "positions, and records behind them", async || {
            for partition in 0..PARTITIONS {
                let position = self.position(pair, topic, partition)?;
                let end = pair.target.end(topic, partition)?;
                ensure!(
                    end > position + 100 && position > 0,
                    "{partition}: {position}, {end}\n{}",
                    log()
                );
            }
            Ok(())
        })
        .await
    }

    fn key(&self, topic: &str, partition: i32) -> String {
        let Self {
            connector, alias, ..
        } = self;
        format!(
            "[\"{connector}\",{{\"cluster\":\"{alias}\",\"partition\":{partition},\"topic\":\"{topic}\"}}]"
        )
    }
}

/// Waits until the target holds as many records as are expected. MirrorMaker 2 takes its time to start, in which a reader
/// that is a JVM of its own would take from it.
pub async fn await_ends(pair: &Pair, expected: &Content, log: impl Fn() -> String) -> Result<()> {
    eventually(90, "MirrorMaker 2 to have copied all", async || {
        for ((topic, partition), records) in expected {
            let (end, wanted) = (pair.target.end(topic, *partition)?, records.len() as i64);
            ensure!(end >= wanted, "{end} of {wanted}\n{}", log());
        }
        Ok(())
    })
    .await
}

/// For a second.
pub async fn write_more(pair: &Pair, topic: &str, expected: &mut Content) -> Result<()> {
    let load = Load::begin(pair, topic, expected[&(topic.to_owned(), 0)].len())?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (partition, records) in load.end().await? {
        expected.entry(partition).or_default().extend(records);
    }
    Ok(())
}

/// Has `expected` on the target, and repeats only of those who said that they may.
pub async fn await_repeated(pair: &Pair, expected: &Content, repeated: usize) -> Result<()> {
    let verdict = pair.await_equal(expected, 60).await?;
    ensure!(
        verdict.repeated == repeated,
        "{verdict:?}, {repeated} may be repeated"
    );
    Ok(())
}

/// An application that goes on writing until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<std::sync::Mutex<Content>>,
    task: JoinHandle<Result<()>>,
}

impl Load {
    /// Records of every partition from the `first` on.
    pub fn begin(pair: &Pair, topic: &str, first: usize) -> Result<Self> {
        let application = Application::new(&pair.source, "lz4")?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let load = (Arc::clone(&stop), Arc::clone(&written));
        let topic = topic.to_owned();
        let task = tokio::task::spawn_blocking(move || {
            let (stop, written): (Arc<AtomicBool>, Arc<std::sync::Mutex<Content>>) = load;
            let mut next = first;
            while !stop.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let records = model::mixed(9, partition, next, 40);
                    application.produce(&topic, partition, &records)?;
                    let mut written = written
                        .lock()
                        .map_err(|_| anyhow::anyhow!("a writer failed"))?;
                    let all = written.entry((topic.clone(), partition)).or_default();
                    all.extend(digests(&records));
                }
                next += 40;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        });
        Ok(Self {
            stop,
            written,
            task,
        })
    }

    pub fn so_far(&self) -> Content {
        self.written
            .lock()
            .map(|written| written.clone())
            .unwrap_or_default()
    }

    pub async fn end(self) -> Result<Content> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        let written = self
            .written
            .lock()
            .map_err(|_| anyhow::anyhow!("a writer failed"))?;
        Ok(written.clone())
    }
}
