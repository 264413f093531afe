//! What is copied: topics of three kinds, whose records carry a number of their own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList},
};

/// Of each topic.
pub const PARTITIONS: i32 = 2;
/// After this something does not work.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// Records of one transaction.
const TRANSACTION: u64 = 500;
/// Where every so manieth transaction is aborted, and every so manieth key is written again.
const EVERY: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No offset is missing.
    Plain,
    /// A quarter of its records is gone before it is copied.
    Compacted,
    /// Markers, and a quarter of its records is aborted.
    Transactional,
}

/// What a consumer gets of each partition: offsets and numbers, in order.
pub type Held = Vec<Vec<(i64, u64)>>;

impl Kind {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Compacted, Self::Transactional];

    pub fn topic(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Compacted => "compacted",
            Self::Transactional => "transactional",
        }
    }

    /// Configs of its topic: it is compacted as soon as that is possible, in the smallest segments there are.
    pub fn configs(self) -> Vec<(String, String)> {
        let configs: &[(&str, &str)] = match self {
            Self::Compacted => &[
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.01"),
                ("segment.bytes", "1048576"),
            ],
            Self::Plain | Self::Transactional => &[],
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        configs.iter().map(owned).collect()
    }

    /// Writes it, so that consumers get `records` of it or a few more; what they get.
    pub fn fill(self, bootstrap: &str, records: u64) -> Result<Held> {
        let each = records.div_ceil(PARTITIONS.unsigned_abs().into());
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "20");
        match self {
            Self::Plain => self.write(&config, each)?,
            Self::Compacted => {
                let written = each * EVERY / (EVERY - 1) + 1;
                self.write(&config, written)?;
                return self.compacted(bootstrap, written);
            }
            Self::Transactional => {
                self.write_transactions(&config, each * EVERY / (EVERY - 1) + TRANSACTION)?;
            }
        }
        let held = read(bootstrap, self.topic())?;
        ensure!(
            held.iter().all(|part| part.len() as u64 >= each),
            "{} holds less than was written",
            self.topic()
        );
        Ok(held)
    }

    fn write(self, config: &ClientConfig, each: u64) -> Result<()> {
        let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
        for number in 0..each {
            for partition in 0..PARTITIONS {
                self.send(&producer, partition, number)?;
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }

    fn write_transactions(self, config: &ClientConfig, each: u64) -> Result<()> {
        let mut config = config.clone();
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.set("transactional.id", "writer").create()?;
        producer.init_transactions(PATIENCE)?;
        for (round, first) in (0..each).step_by(TRANSACTION as usize).enumerate() {
            producer.begin_transaction()?;
            for number in first..each.min(first + TRANSACTION) {
                for partition in 0..PARTITIONS {
                    self.send(&producer, partition, number)?;
                }
            }
            match (round as u64).is_multiple_of(EVERY) {
                true => {
                    producer.flush(PATIENCE)?;
                    producer.abort_transaction(PATIENCE)?;
                }
                false => producer.commit_transaction(PATIENCE)?,
            }
        }
        Ok(())
    }

    /// The last record of each [`EVERY`] has the key of the first.
    fn send(
        self,
        producer: &ThreadedProducer<DefaultProducerContext>,
        partition: i32,
        number: u64,
    ) -> Result<()> {
        let is_again = self == Self::Compacted && number % EVERY == EVERY - 1;
        let key = if is_again { number + 1 - EVERY } else { number };
        let (key, value) = (key.to_be_bytes(), number.to_be_bytes());
        let mut record = BaseRecord::<[u8], [u8]>::to(self.topic())
            .partition(partition)
            .key(&key[..])
            .payload(&value[..]);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(error == full, "produce to {}: {error}", self.topic());
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
        Ok(())
    }

    /// Waits until the source has thrown away what has a newer record of its key, but for its last segments, and
    /// changes no more.
    fn compacted(self, bootstrap: &str, written: u64) -> Result<Held> {
        let deadline = Instant::now() + PATIENCE;
        let most = written * (EVERY - 1) / EVERY + written / 20;
        let mut before = Held::new();
        while Instant::now() < deadline {
            let held = read(bootstrap, self.topic())?;
            let is_compacted = held.iter().all(|part| part.len() as u64 <= most);
            if is_compacted && held == before {
                return Ok(held);
            }
            before = held;
            std::thread::sleep(Duration::from_secs(3));
        }
        let held: Vec<_> = before.iter().map(Vec::len).collect();
        bail!("the source holds {held:?} of {written} records that are to be compacted")
    }
}

/// All that a consumer gets of a topic.
pub fn read(bootstrap: &str, topic: &str) -> Result<Held> {
    let consumer = reader(bootstrap, "reader").create::<BaseConsumer>()?;
    let mut wanted = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        wanted.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&wanted)?;
    let mut held = vec![Vec::new(); PARTITIONS as usize];
    to_end(&consumer, |partition, offset, number| {
        held[partition].push((offset, number));
    })?;
    Ok(held)
}

/// How consumers are configured here; those that find no offset begin at the beginning.
pub fn reader(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20");
    config
}

/// Reads until each partition has ended.
pub fn to_end(consumer: &BaseConsumer, mut got: impl FnMut(usize, i64, u64)) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut ended = 0;
    while ended < PARTITIONS {
        ensure!(
            Instant::now() < deadline,
            "{ended} of {PARTITIONS} partitions ended within {PATIENCE:?}"
        );
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let value = message.payload().context("a value")?.try_into()?;
                got(
                    message.partition().try_into()?,
                    message.offset(),
                    u64::from_be_bytes(value),
                );
            }
        }
    }
    Ok(())
}
