//! The topic itself: made, read, written.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use host::BoxFuture;
use wire::{
    Class, Isolation, TopicPartition,
    client::{Client, FetchRequest, NewTopic, OffsetSpec},
    error::{ApiError, ClientError},
    record::{BatchBuilder, Codec},
};

use super::{
    anchor::{Entry, key, parse, value},
    ladder::Ladder,
};

/// Of one Fetch.
const FETCH_BYTES: i32 = 4 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Reads that bring nothing before the end, in a row, until it is an error.
const MAX_EMPTY: u32 = 20;
/// Of one batch that is written, well below the smallest usual limit of a topic.
const BATCH_BYTES: usize = 256 << 10;
/// Partitions that the map may be about; each takes a few KB of memory.
const MAX_PARTITIONS: usize = 200_000;
const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;
/// Only closed segments are compacted, and whoever starts reads what is not: small ones, closed soon.
const CONFIGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16777216"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// Why the map cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MapError {
    /// The cluster failed or refused.
    #[error("offset map {topic}: {error}")]
    Client {
        /// Its topic.
        topic: String,
        /// What the client said.
        error: ClientError,
    },
    /// It holds what this version does not understand, or more than it may.
    #[error("offset map {topic}, offset {offset}: {reason}")]
    Unknown {
        /// Its topic.
        topic: String,
        /// The offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// It was deleted, and is empty now.
    #[error("offset map {topic} was deleted; it is made anew")]
    Lost {
        /// Its topic.
        topic: String,
    },
}

impl MapError {
    /// Whether a later try may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Client { error, .. } => error.class() != Class::Fatal,
            Self::Lost { .. } => true,
            Self::Unknown { .. } => false,
        }
    }
}

/// Where the records of units are written; [`OffsetMap`] is.
pub trait Anchors: Send + Sync + std::fmt::Debug {
    /// Writes entries of units, by their target partitions; all are acknowledged when this returns.
    fn write<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Entry)],
        now_ms: i64,
    ) -> BoxFuture<'a, Result<(), MapError>>;

    /// What the map holds of a target partition, as of the last [`OffsetMap::refresh`].
    fn ladder(&self, target: &TopicPartition) -> Option<Ladder>;
}

/// The offset map of one flow.
#[derive(Debug)]
pub struct OffsetMap {
    client: Client,
    partition: TopicPartition,
    replication_factor: i16,
    view: Mutex<Arc<View>>,
    /// Held while the topic is read, so that each record is taken in once.
    reading: tokio::sync::Mutex<()>,
}

/// What was read of the topic.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The offset to read next.
    next: i64,
    ladders: BTreeMap<TopicPartition, Ladder>,
}

impl View {
    /// What is known of a target partition.
    pub fn ladder(&self, target: &TopicPartition) -> Option<&Ladder> {
        self.ladders.get(target)
    }
}

/// What the offset map of `flow` is called.
pub fn name(flow: &str) -> String {
    format!("strait.{flow}.offset-map")
}

impl OffsetMap {
    /// Of `flow` on the target behind `client`. If it has to be made, it gets so many replicas.
    pub fn new(client: Client, flow: &str, replication_factor: i16) -> Self {
        Self {
            client,
            partition: TopicPartition::new(name(flow), 0),
            replication_factor,
            view: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// What was read last.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.lock())
    }

    /// Makes the topic if it does not exist; whether it did.
    ///
    /// # Errors
    /// If the target cannot be reached or refuses.
    pub async fn create(&self) -> Result<bool, MapError> {
        let configs = CONFIGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let topic = NewTopic {
            name: self.partition.topic.clone(),
            partitions: 1,
            replication_factor: self.replication_factor,
            configs: configs.to_vec(),
        };
        let names = [topic.name.clone()];
        let found = self.client.topics(Some(&names)).await;
        let found = found.map_err(|error| self.failed(error))?;
        // Whoever may not create it may use one that is there.
        if found.iter().any(|topic| topic.error.is_none()) {
            return Ok(false);
        }
        let outcomes = self.client.create_topics(&[topic], false).await;
        for (_, outcome) in outcomes.map_err(|error| self.failed(error))? {
            match outcome {
                Err(error) if error.code != TOPIC_ALREADY_EXISTS => {
                    return Err(self.refused(error));
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// Reads what came since the last time.
    ///
    /// # Errors
    /// If the target does not answer, or the topic holds what this version does not understand.
    pub async fn refresh(&self) -> Result<Arc<View>, MapError> {
        let _reading = self.reading.lock().await;
        let start = self.offset(OffsetSpec::Earliest).await?;
        let end = self.offset(OffsetSpec::Latest).await?;
        let mut view = self.view();
        if end < view.next {
            // Another topic of that name.
            view = Arc::default();
        }
        let mut next = view.next.max(start);
        let mut empty = 0;
        while next < end {
            let request = FetchRequest {
                partition: self.partition.clone(),
                offset: next,
                max_bytes: FETCH_BYTES,
                max_wait: FETCH_WAIT,
                isolation: Isolation::ReadCommitted,
            };
            let fetched = self.client.fetch(request).await;
            let fetched = fetched.map_err(|error| self.failed(error))?;
            let committed = fetched.committed(next, Isolation::ReadCommitted);
            let committed = committed.map_err(|error| self.failed(error))?;
            let new = Arc::make_mut(&mut view);
            for record in &committed.records {
                let unknown = |reason| self.unknown(record.offset, reason);
                let parsed = parse(record.key.as_deref(), record.value.as_deref());
                let (target, slot, entry) = parsed.map_err(unknown)?;
                new.ladders.entry(target).or_default().apply(slot, entry);
                if new.ladders.len() > MAX_PARTITIONS {
                    let reason = format!("it is about more than {MAX_PARTITIONS} partitions");
                    return Err(self.unknown(record.offset, reason));
                }
            }
            let stuck = committed.next_offset <= next;
            empty = if stuck { empty + 1 } else { 0 };
            if empty > MAX_EMPTY {
                return Err(self.unknown(next, format!("nothing is read before its end {end}")));
            }
            next = committed.next_offset;
            new.next = next;
        }
        *self.lock() = Arc::clone(&view);
        Ok(view)
    }

    async fn write_all(
        &self,
        entries: &[(TopicPartition, Entry)],
        now_ms: i64,
    ) -> Result<(), MapError> {
        let mut batch = BatchBuilder::new(Codec::None);
        for (target, entry) in entries {
            let (key, value) = (key(target, entry.slot()), value(entry));
            batch.push(now_ms, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            if batch.plain_len() >= BATCH_BYTES {
                self.produce(std::mem::replace(
                    &mut batch,
                    BatchBuilder::new(Codec::None),
                ))
                .await?;
            }
        }
        if batch.count() > 0 {
            self.produce(batch).await?;
        }
        Ok(())
    }

    async fn produce(&self, batch: BatchBuilder) -> Result<(), MapError> {
        let bytes: Bytes = batch
            .build(0)
            .map_err(|error| self.unknown(-1, error.to_string()))?;
        let Err(error) = self.client.produce(&self.partition, bytes).await else {
            return Ok(());
        };
        if error
            .api_error()
            .is_none_or(|error| error.code != UNKNOWN_TOPIC)
        {
            return Err(self.failed(error));
        }
        self.create().await?;
        Err(MapError::Lost {
            topic: self.partition.topic.clone(),
        })
    }

    async fn offset(&self, spec: OffsetSpec) -> Result<i64, MapError> {
        let wanted = [(self.partition.clone(), spec)];
        let listed = self
            .client
            .list_offsets(&wanted, Isolation::ReadCommitted)
            .await;
        match listed.map_err(|error| self.failed(error))?.pop() {
            Some((_, Ok(listed))) => Ok(listed.offset),
            Some((_, Err(error))) => Err(self.refused(error)),
            None => Err(self.unknown(-1, "the target did not answer for it".to_owned())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: ClientError) -> MapError {
        MapError::Client {
            topic: self.partition.topic.clone(),
            error,
        }
    }

    fn refused(&self, error: ApiError) -> MapError {
        let what = self.partition.topic.clone();
        self.failed(ClientError::Api { what, error })
    }

    fn unknown(&self, offset: i64, reason: String) -> MapError {
        MapError::Unknown {
            topic: self.partition.topic.clone(),
            offset,
            reason,
        }
    }
}

impl Anchors for OffsetMap {
    fn write<'a>(
        &'a self,
        entries: &'a [(TopicPartition, Entry)],
        now_ms: i64,
    ) -> BoxFuture<'a, Result<(), MapError>> {
        Box::pin(self.write_all(entries, now_ms))
    }

    fn ladder(&self, target: &TopicPartition) -> Option<Ladder> {
        self.lock().ladder(target).cloned()
    }
}
