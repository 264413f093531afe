//! What applications do: produce and consume with clients of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, ClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders},
    producer::{
        BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer,
    },
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    model::{self, Record},
    side::Side,
};

/// A Kafka that was killed looks through all its partitions before it serves any.
const PATIENCE: Duration = Duration::from_secs(240);

/// Digests of the records of each partition, in order.
pub type Content = BTreeMap<(String, i32), Vec<String>>;

/// An idempotent producer, so that what arrives at the source is exactly the model.
#[derive(Clone)]
pub struct Application {
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

/// The first record that was not delivered: without it the source is not what the model says.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Option<KafkaError>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(error.clone());
        }
    }
}

impl Application {
    /// Produces to `side`, compressed with `codec`.
    pub fn new(side: &Side, codec: &str) -> Result<Self> {
        let mut config = side.client();
        config
            .set("enable.idempotence", "true")
            .set("compression.codec", codec)
            .set("message.max.bytes", "4000000")
            .set("linger.ms", "5");
        Self::create(&config)
    }

    /// One that writes in transactions.
    pub fn transactional(mut config: ClientConfig, id: &str) -> Result<Self> {
        config
            .set("transactional.id", id)
            // One that was begun and is never ended holds back what follows.
            .set("transaction.timeout.ms", "10000")
            .set("compression.codec", "lz4");
        let application = Self::create(&config)?;
        application
            .producer
            .init_transactions(Duration::from_secs(30))?;
        Ok(application)
    }

    fn create(config: &ClientConfig) -> Result<Self> {
        let deliveries = Deliveries::default();
        Ok(Self {
            producer: config.create_with_context(deliveries.clone())?,
            deliveries,
        })
    }

    /// Produces in order; returns when all is acknowledged.
    pub fn produce(&self, topic: &str, partition: i32, records: &[Record]) -> Result<()> {
        self.send(topic, partition, records)?;
        self.flush()
            .with_context(|| format!("produce to {topic}-{partition}"))
    }

    /// Produces in order, and does not wait unless too much waits already.
    pub fn send(&self, topic: &str, partition: i32, records: &[Record]) -> Result<()> {
        let mut records = records.iter();
        records.try_for_each(|record| self.enqueue(topic, partition, record))
    }

    /// Waits until all is acknowledged.
    pub fn flush(&self) -> Result<()> {
        self.producer.flush(PATIENCE)?;
        let failed = self.deliveries.0.lock();
        let failed = failed.unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    /// The same inside a transaction that is committed or aborted.
    pub fn transaction(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
        commit: bool,
    ) -> Result<()> {
        self.producer.begin_transaction()?;
        self.produce(topic, partition, records)?;
        let timeout = Duration::from_secs(30);
        if commit {
            self.producer.commit_transaction(timeout)?;
        } else {
            self.producer.abort_transaction(timeout)?;
        }
        Ok(())
    }

    fn enqueue(&self, topic: &str, partition: i32, record: &Record) -> Result<()> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: value.as_ref(),
            });
        }
        let mut message = BaseRecord::<Vec<u8>, Vec<u8>>::to(topic)
            .partition(partition)
            .timestamp(record.timestamp)
            .headers(headers);
        message.key = record.key.as_ref();
        message.payload = record.value.as_ref();
        while let Err((error, back)) = self.producer.send(message) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(error == full, "produce to {topic}-{partition}: {error}");
            std::thread::sleep(Duration::from_millis(5));
            message = back;
        }
        Ok(())
    }
}

/// An offset that a consumer's transaction is about to commit for a group, as its producer sends it.
pub struct OpenOffset(BaseProducer);

impl OpenOffset {
    /// Sends it, and leaves the transaction open.
    pub fn send(side: &Side, group: &str, topic: &str, offset: i64) -> Result<Self> {
        let patience = Duration::from_secs(30);
        let consumer: BaseConsumer = side.client().set("group.id", group).create()?;
        let mut config = side.client();
        let producer: BaseProducer = config.set("transactional.id", group).create()?;
        producer.init_transactions(patience)?;
        producer.begin_transaction()?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(offset))?;
        let member = consumer.group_metadata().context("no member")?;
        producer.send_offsets_to_transaction(&offsets, &member, patience)?;
        Ok(Self(producer))
    }

    /// Ends the transaction.
    pub fn end(self, commits: bool) -> Result<()> {
        let patience = Duration::from_secs(30);
        match commits {
            true => self.0.commit_transaction(patience)?,
            false => self.0.abort_transaction(patience)?,
        }
        Ok(())
    }
}

/// Reads all committed records of `topics` with librdkafka.
pub fn consume(side: &Side, topics: &[String]) -> Result<Content> {
    each(side, topics, digest)
}

/// The same: where they lie.
pub fn offsets(side: &Side, topics: &[String]) -> Result<BTreeMap<(String, i32), Vec<i64>>> {
    each(side, topics, |message| message.offset())
}

/// The same of one topic's records: where they lie, and their values.
pub fn values(side: &Side, topic: &str) -> Result<Vec<(i64, Vec<u8>)>> {
    let value = |message: &BorrowedMessage<'_>| message.payload().unwrap_or_default().to_vec();
    let found = each(side, &[topic.to_owned()], |message| {
        (message.offset(), value(message))
    })?;
    Ok(found.into_values().flatten().collect())
}

fn each<T>(
    side: &Side,
    topics: &[String],
    look: impl Fn(&BorrowedMessage<'_>) -> T,
) -> Result<BTreeMap<(String, i32), Vec<T>>> {
    let consumer: BaseConsumer = side
        .client()
        .set("group.id", "scenario-reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    let mut content = BTreeMap::new();
    let mut wanted = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
        for partition in metadata.topics()[0].partitions() {
            wanted.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
            content.insert((topic.clone(), partition.id()), Vec::new());
        }
    }
    consumer.assign(&wanted)?;
    let mut open = content.len();
    let deadline = Instant::now() + Duration::from_secs(120);
    while open > 0 {
        ensure!(
            Instant::now() < deadline,
            "{open} partitions did not end within 120 s"
        );
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => content
                .entry((message.topic().to_owned(), message.partition()))
                .or_default()
                .push(look(&message)),
        }
    }
    Ok(content)
}

/// A member of a consumer group, as applications have them.
pub struct Member {
    consumer: BaseConsumer,
    /// How many partitions its topics have.
    partitions: usize,
}

impl Member {
    /// Joins; whoever was alone in the group before is gone.
    pub fn join(side: &Side, group: &str, topics: &[String]) -> Result<Self> {
        Self::join_by("classic", side, group, topics)
    }

    /// The same by the protocol `classic` or `consumer` (KIP-848).
    pub fn join_by(protocol: &str, side: &Side, group: &str, topics: &[String]) -> Result<Self> {
        let consumer: BaseConsumer = side
            .client()
            .set("group.id", group)
            .set("group.protocol", protocol)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20")
            .create()?;
        let mut partitions = 0;
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
            partitions += metadata.topics()[0].partitions().len();
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Self {
            consumer,
            partitions,
        })
    }

    /// Reads so many records, or all there are, and commits behind them.
    pub fn read(&mut self, most: usize) -> Result<Content> {
        let mut content = Content::new();
        let (mut count, mut ended) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(120);
        while count < most && ended < self.partitions {
            ensure!(
                Instant::now() < deadline,
                "{count} records read within 120 s, {ended} ends"
            );
            match self.consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(message)) => {
                    count += 1;
                    let partition = (message.topic().to_owned(), message.partition());
                    content.entry(partition).or_default().push(digest(&message));
                }
            }
        }
        // Whoever read nothing has nothing to commit.
        if count > 0 {
            self.consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        Ok(content)
    }
}

fn digest(message: &BorrowedMessage<'_>) -> String {
    let headers: Vec<_> = message
        .headers()
        .map(|h| h.iter().collect())
        .unwrap_or_default();
    model::digest(
        message.timestamp().to_millis().unwrap_or(-1),
        message.key(),
        message.payload(),
        headers.iter().map(|h: &Header<'_, &[u8]>| (h.key, h.value)),
    )
}
