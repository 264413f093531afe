//! The application that writes to the source: plain batches, and transactions of which a part is aborted. It never
//! writes the same record twice, so a repeat on the target is none of its own.

use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use host::Host;
use rand::{Rng, SeedableRng, rngs::StdRng};
use wire::{
    TopicPartition,
    client::{Client, ClientSettings, NewTopic},
    record::{BatchBuilder, Codec, Header},
};

use super::{
    model::{Fate, Model},
    plan::{Age, PLAIN, Plan, TRANSACTED},
    transactions::Producer,
    wishes::Wishes,
};

const THREE_DAYS_MS: i64 = 3 * 24 * 3_600_000;
/// Before something that failed is tried again.
pub const REST: Duration = Duration::from_millis(200);

/// A client of a broker.
fn client(host: &Host, broker: &str) -> Client {
    let mut settings = ClientSettings::new(vec![(broker.to_owned(), 9092)], "app");
    settings.request_timeout = Duration::from_secs(5);
    settings.retry_for = Duration::from_secs(5);
    settings.connect_timeout = Duration::from_secs(3);
    Client::new(host.clone(), settings)
}

/// Writes until the model says that it is over.
pub async fn run(plan: Plan, host: Host, model: Model) -> Result<()> {
    let client = client(&host, "source");
    let writer = |name: &'static str| Writer {
        plan: plan.clone(),
        host: host.clone(),
        client: client.clone(),
        model: model.clone(),
        random: StdRng::seed_from_u64(plan.seed ^ u64::from(crc32c::crc32c(name.as_bytes()))),
        topic: name,
        written: 0,
        unpaid: 0,
    };
    let (mut plain, mut transacted) = (writer(PLAIN), writer(TRANSACTED));
    plain.create(plan.partitions[0]).await?;
    model.takes_plain(PLAIN, plan.partitions[0]);
    for partition in model.plain() {
        plain.write(&partition).await?;
    }
    let transacts = plan.partitions[1] > 0;
    if transacts {
        transacted.create(plan.partitions[1]).await?;
    }
    model.ready(1 + usize::from(transacts));
    let wishes = Wishes {
        host: host.clone(),
        source: client.clone(),
        target: self::client(&host, "target"),
        model: model.clone(),
    };
    tokio::spawn(wishes.grant());
    let other = tokio::spawn(async move {
        if transacts {
            transacted.transact().await;
        }
    });
    plain.go_on().await;
    Ok(other.await?)
}

struct Writer {
    plan: Plan,
    host: Host,
    client: Client,
    model: Model,
    random: StdRng,
    topic: &'static str,
    /// Records made so far.
    written: usize,
    /// Of them, those since the last rest.
    unpaid: u64,
}

/// A batch, and how its records are told.
struct Batch {
    bytes: Bytes,
    keys: Vec<Vec<u8>>,
}

impl Writer {
    async fn create(&self, partitions: i32) -> Result<()> {
        self.model.asked(self.topic, partitions);
        let topic = NewTopic {
            name: self.topic.to_owned(),
            partitions,
            replication_factor: -1,
            configs: Vec::new(),
        };
        let outcomes = self.client.create_topics(&[topic], false).await?;
        let outcome = outcomes[0].1.clone();
        outcome.map_err(|error| anyhow!("create {}: {error}", self.topic))
    }

    /// At least as long as to stay below a thousand records per second: what is checked again and again is to be short.
    async fn rest(&mut self) {
        let drawn = self.random.random_range(0..=self.plan.rest_ms);
        let ms = drawn.max(std::mem::take(&mut self.unpaid));
        self.host.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// The number of the next batch's records.
    fn count(&mut self) -> usize {
        match (self.plan.small, self.random.random_range(0..10)) {
            (true, 0..9) => 1,
            (_, 0..5) => self.random.random_range(1..20),
            _ => self.random.random_range(1..200),
        }
    }

    fn batch(&mut self, producer: Option<(i64, i16, i32)>) -> Batch {
        let codec = [Codec::None, Codec::None, Codec::Lz4, Codec::Zstd];
        let codec = codec[self.random.random_range(0..codec.len())];
        let mut builder = BatchBuilder::new(codec);
        if let Some((id, epoch, sequence)) = producer {
            builder = builder.transactional(true).producer(id, epoch, sequence);
        }
        let now = self.host.clock.wall_ms() - self.age_ms();
        let count = self.count();
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let key = format!("{}/{}", self.topic, self.written).into_bytes();
            self.written += 1;
            self.unpaid += 1;
            let longest = if self.random.random_ratio(1, 50) {
                5_000
            } else {
                200
            };
            let mut value = vec![0; self.random.random_range(0..longest)];
            self.random.fill(&mut value[..]);
            let header = Header {
                key: Bytes::from_static(b"h"),
                value: None,
            };
            let headers = [header];
            let headers = &headers[..self.random.random_range(0..2)];
            let timestamp = now - self.random.random_range(0..60_000);
            let value = (!value.is_empty()).then_some(&value[..]);
            builder.push(timestamp, Some(&key), value, headers);
            keys.push(key);
        }
        let bytes = builder.build(0).expect("records fit into a batch");
        Batch { bytes, keys }
    }

    /// How old the next batch's records are.
    fn age_ms(&mut self) -> i64 {
        let expiration = self.plan.expiration.as_secs_f64() * 1_000.0;
        match (self.plan.age, self.random.random_range(0..10)) {
            (Age::Fresh, _) | (Age::Mixed, 0..6) => 0,
            (Age::Mixed, 6..8) => (expiration * self.random.random_range(0.5..1.3)) as i64,
            (Age::Mixed | Age::Old, _) => THREE_DAYS_MS,
        }
    }

    async fn write(&mut self, partition: &TopicPartition) -> Result<()> {
        let batch = self.batch(None);
        let produced = self.client.produce(partition, batch.bytes).await?;
        self.model
            .told(partition, produced.base_offset, batch.keys, Fate::There);
        Ok(())
    }

    async fn go_on(&mut self) {
        while !self.model.is_over() {
            let all = self.model.plain();
            let partition = &all[self.random.random_range(0..all.len())];
            if self.write(partition).await.is_err() {
                // It may be there or not; it is not written again.
                self.host.clock.sleep(REST).await;
            }
            self.rest().await;
        }
        self.model.ended();
    }

    async fn transact(&mut self) {
        let mut producer = None;
        while !self.model.is_over() {
            let outcome = match &mut producer {
                None => self.begin().await.map(|begun| producer = Some(begun)),
                Some(producer) => self.transaction(producer).await,
            };
            if outcome.is_err() {
                producer = None;
                self.host.clock.sleep(REST).await;
            }
            self.rest().await;
        }
        // What is open is aborted.
        while self.begin().await.is_err() {
            self.host.clock.sleep(REST).await;
        }
        self.model.ended();
    }

    /// A new epoch of the producer; aborts what is open.
    async fn begin(&self) -> Result<Producer> {
        Producer::begin(&self.client, usize::try_from(self.plan.partitions[1])?).await
    }

    /// One or a few batches; an error leaves it to the next epoch.
    async fn transaction(&mut self, producer: &mut Producer) -> Result<()> {
        let mut written = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let number = self.random.random_range(0..self.plan.partitions[1]);
            producer.add(number).await?;
            let sequence = &mut producer.sequences[usize::try_from(number)?];
            let batch = self.batch(Some((producer.id, producer.epoch, *sequence)));
            *sequence += i32::try_from(batch.keys.len())?;
            let offset = producer.produce(number, batch.bytes).await?;
            written.push((number, offset, batch.keys));
            self.rest().await;
        }
        let commits = self.random.random_bool(0.7);
        producer.end(commits).await?;
        let fate = if commits { Fate::There } else { Fate::Gone };
        for (number, offset, keys) in written {
            let partition = TopicPartition::new(self.topic, number);
            self.model.told(&partition, offset, keys, fate);
        }
        Ok(())
    }
}
