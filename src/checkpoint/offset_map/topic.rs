//! The topic itself: made, read, written.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use host::BoxFuture;
use wire::{TopicPartition, client::Client};

use super::{
    anchor::{Entry, key, parse, value},
    ladder::Ladder,
};
use crate::checkpoint::own_topic::{OwnTopic, TopicError};

/// Partitions that the map may be about; each takes a few KB of memory.
const MAX_PARTITIONS: usize = 200_000;
const UNKNOWN_TOPIC: i16 = 3;
/// Only closed segments are compacted, and whoever starts reads what is not: small ones, closed soon.
const CONFIGS: [(&str, &str); 3] = [
    ("segment.bytes", "16777216"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// Why the map cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MapError {
    /// The topic fails.
    #[error("offset map {0}")]
    Topic(#[from] TopicError),
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
            Self::Topic(error) => error.is_passing(),
            Self::Lost { .. } => true,
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

    /// Reads what came since the last time.
    fn read(&self) -> BoxFuture<'_, Result<(), MapError>>;

    /// What the map holds of a target partition, as of the last time that it was read.
    fn ladder(&self, target: &TopicPartition) -> Option<Ladder>;
}

/// The offset map of one flow.
#[derive(Debug)]
pub struct OffsetMap {
    topic: OwnTopic,
    replication_factor: i16,
    view: Mutex<Arc<View>>,
    /// Whether it was there once since this process began.
    found: AtomicBool,
    /// Held while the topic is read, so that each record is taken in once.
    reading: tokio::sync::Mutex<()>,
}

/// What was read of the topic.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The offset to read next.
    next: i64,
    /// Shared by those who look and who read on.
    ladders: BTreeMap<TopicPartition, Arc<Ladder>>,
}

impl View {
    /// What is known of a target partition.
    pub fn ladder(&self, target: &TopicPartition) -> Option<&Ladder> {
        self.ladders.get(target).map(|ladder| &**ladder)
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
            topic: OwnTopic::new(client, name(flow)),
            replication_factor,
            view: Mutex::default(),
            found: AtomicBool::new(false),
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
        // Whoever may not create it may use one that is there.
        let exists = self.exists().await?;
        if !exists {
            self.topic.create(self.replication_factor, &CONFIGS).await?;
        }
        self.found.store(true, Ordering::Relaxed);
        Ok(!exists)
    }

    async fn exists(&self) -> Result<bool, MapError> {
        let names = [self.topic.partition.topic.clone()];
        let found = self.topic.client.topics(Some(&names)).await;
        let found = found.map_err(|error| self.topic.failed(error))?;
        Ok(found.iter().any(|topic| topic.error.is_none()))
    }

    /// Reads it as it is, for who writes nothing; none if there is no such topic.
    ///
    /// # Errors
    /// As of [`Self::refresh`].
    pub async fn look(&self) -> Result<Option<Arc<View>>, MapError> {
        if !self.exists().await? {
            return Ok(None);
        }
        self.found.store(true, Ordering::Relaxed);
        self.refresh().await.map(Some)
    }

    /// Reads what came since the last time; makes the topic if it was never found.
    ///
    /// # Errors
    /// If the target does not answer, or the topic holds what this version does not understand.
    pub async fn refresh(&self) -> Result<Arc<View>, MapError> {
        let _reading = self.reading.lock().await;
        // One that is gone later is made anew by who writes, and begins with what that one knows.
        if !self.found.load(Ordering::Relaxed) {
            self.create().await?;
        }
        let (start, end) = self.topic.extent().await?;
        let mut view = self.view();
        if end < view.next {
            // Another topic of that name.
            view = Arc::default();
        }
        let next = view.next.max(start);
        if next < end {
            let new = Arc::make_mut(&mut view);
            let ladders = &mut new.ladders;
            let read = self.topic.read(next, end, |record| {
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                let (target, slot, entry) = parse(key, value)?;
                Arc::make_mut(ladders.entry(target).or_default()).apply(slot, entry);
                match ladders.len() > MAX_PARTITIONS {
                    true => Err(format!("it is about more than {MAX_PARTITIONS} partitions")),
                    false => Ok(()),
                }
            });
            new.next = read.await?;
        }
        *self.lock() = Arc::clone(&view);
        Ok(view)
    }

    async fn write_all(
        &self,
        entries: &[(TopicPartition, Entry)],
        now_ms: i64,
    ) -> Result<(), MapError> {
        let records = entries.iter();
        let records =
            records.map(|(target, entry)| (key(target, entry.slot()), Some(value(entry))));
        let Err(error) = self.topic.write(records, now_ms).await else {
            return Ok(());
        };
        if error.api_error().is_none_or(|it| it.code != UNKNOWN_TOPIC) {
            return Err(error.into());
        }
        self.create().await?;
        Err(MapError::Lost {
            topic: self.topic.partition.topic.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn read(&self) -> BoxFuture<'_, Result<(), MapError>> {
        Box::pin(async { self.refresh().await.map(drop) })
    }

    fn ladder(&self, target: &TopicPartition) -> Option<Ladder> {
        self.lock().ladder(target).cloned()
    }
}
