//! Where batches come from.
//!
//! A [`Source`] serves all partitions of one flow's source cluster. A worker opens its partition
//! at an offset and receives batches in offset order from a [`PartitionReader`]; dropping the
//! reader ends the fetching. Bytes are charged to the process-wide budget before they are taken.
//!
//! Invariant: `batch.next_offset` of one batch is `batch.first_offset` of the next. Ranges that hold
//! no records for us (control batches, aborted transactions, compacted-away offsets) are inside
//! these ranges, so the position of a worker never depends on what was skipped.

pub mod librdkafka;
pub mod wire;

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use ::wire::{TopicPartition, batch::BatchView, record::Record};
use host::BoxFuture;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::base::budget::Permit;

/// Serves the partitions of one source cluster to one flow.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Starts to fetch `partition` of the topic with id `topic`, nil if that is not known, at `offset`: another topic of
    /// its name is not read where the source knows topics by their ids. `epoch` is that of the leader that wrote what lies before it, -1 if
    /// it is not known: a source whose log differs there is not read on. Nothing is fetched while `most` bytes of it,
    /// or what the budget allows, are in flight.
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        topic: Uuid,
        offset: i64,
        epoch: i32,
        most: usize,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>>;
}

/// What a partition yields, in order: batches, some at a time, or the reason why there are no more.
/// Nothing follows an error. Small: a channel sets aside room for 32 of them, whatever it may hold.
pub type Event = Result<Vec<Batch>, Box<SourceError>>;

/// What a partition yields, one by one. Bounded; the source stops fetching when it is full.
#[derive(Debug)]
pub struct PartitionReader {
    events: mpsc::Receiver<Event>,
    looks: Looks,
    arrived: VecDeque<Batch>,
    /// Why nothing follows what has arrived.
    failure: Option<Box<SourceError>>,
}

impl PartitionReader {
    /// Takes what comes through `events`, from a broker that is looked at by `looks`.
    pub fn new(events: mpsc::Receiver<Event>, looks: Looks) -> Self {
        Self {
            events,
            looks,
            arrived: VecDeque::new(),
            failure: None,
        }
    }

    /// When the source last heard of the partition.
    pub fn looks(&self) -> Looks {
        self.looks.clone()
    }

    /// The next batch; none if the source has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Batch, SourceError>> {
        loop {
            if let Some(batch) = self.here() {
                return Some(Ok(batch));
            }
            if let Some(failure) = self.failure.take() {
                return Some(Err(*failure));
            }
            match self.events.recv().await? {
                Ok(batches) => self.arrived = batches.into(),
                Err(error) => return Some(Err(*error)),
            }
        }
    }

    /// The next batch, if it has arrived. A failure is kept for [`Self::next`].
    pub fn here(&mut self) -> Option<Batch> {
        while self.arrived.is_empty() && self.failure.is_none() {
            match self.events.try_recv().ok()? {
                Ok(batches) => self.arrived = batches.into(),
                Err(failure) => self.failure = Some(failure),
            }
        }
        let batch = self.arrived.pop_front();
        if self.arrived.is_empty() {
            // Who waits for more has nothing in memory.
            self.arrived = VecDeque::new();
        }
        batch
    }
}

/// When a source last heard from the broker that it reads a partition from: also when there was no news. Clones
/// are the same one.
#[derive(Clone, Debug)]
pub struct Looks(Arc<RwLock<Arc<AtomicI64>>>);

impl Default for Looks {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Arc::new(AtomicI64::new(i64::MIN)))))
    }
}

impl Looks {
    /// The broker answered now, in milliseconds since 1970.
    pub fn looked(&self, now: i64) {
        self.broker().store(now, Ordering::Relaxed);
    }

    /// When it answered last; `i64::MIN`: not yet.
    pub fn latest(&self) -> i64 {
        self.broker().load(Ordering::Relaxed)
    }

    /// The partition is read from another broker now, whose answers `other` tells of.
    pub fn follow(&self, other: &Self) {
        let broker = other.broker();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = broker;
    }

    fn broker(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A part of one partition on its way from source to target.
#[derive(Debug)]
pub struct Batch {
    /// First source offset that this batch accounts for.
    pub first_offset: i64,
    /// The source offset to read after this batch.
    pub next_offset: i64,
    /// Epoch of the leader that wrote what lies right before `next_offset`, markers too; -1: not known.
    pub epoch: i32,
    /// The source's high watermark (last stable offset under read_committed) when this was
    /// fetched, for the lag; -1 if not known.
    pub source_end: i64,
    /// Whether an open transaction holds back what lies behind `source_end`; false if that is not known.
    pub held: bool,
    /// What it holds.
    pub content: Content,
    /// The bytes charged for this batch; released when the batch is acknowledged or dropped.
    pub permit: Permit,
}

/// Records, opened or not. Their offsets are in `first_offset..next_offset` of their batch, save for records of
/// a sealed batch that begins before `first_offset`: those are not wanted.
#[derive(Debug)]
pub enum Content {
    /// No records: only the position advances.
    Nothing,
    /// A batch as it came over the wire.
    Sealed(BatchView),
    /// Decoded records, offsets ascending, at least one.
    Open(Vec<Record>),
}

/// Why a partition yields no more batches.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The wanted offset is gone (retention, truncation, re-creation) or lies beyond the end.
    #[error("offset {wanted} of {partition} is out of range")]
    OutOfRange {
        /// The source partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        wanted: i64,
    },
    /// Topic or partition does not exist any more.
    #[error("{partition} does not exist on the source")]
    Missing {
        /// The source partition.
        partition: TopicPartition,
    },
    /// The source has another topic of this name.
    #[error("the topic of {partition} was created anew on the source")]
    Recreated {
        /// The source partition.
        partition: TopicPartition,
    },
    /// Not allowed to read.
    #[error("not authorized to read {partition}")]
    Denied {
        /// The source partition.
        partition: TopicPartition,
    },
    /// Fetched bytes are damaged.
    #[error("{partition} at offset {offset}: {reason}")]
    Corrupt {
        /// The source partition.
        partition: TopicPartition,
        /// Where, as far as known.
        offset: i64,
        /// What the client found.
        reason: String,
    },
    /// The source lost its end: it wrote on under another leader from an offset that was read already.
    #[error("{partition} was cut off at offset {end} on the source, and written on from there")]
    Truncated {
        /// The source partition.
        partition: TopicPartition,
        /// From here on its log is another one.
        end: i64,
    },
    /// The client itself failed; open again after a pause.
    #[error("reading {partition}: {reason}")]
    Lost {
        /// The source partition.
        partition: TopicPartition,
        /// What the client said.
        reason: String,
    },
}

impl SourceError {
    /// The source partition.
    pub fn partition(&self) -> &TopicPartition {
        match self {
            Self::OutOfRange { partition, .. }
            | Self::Missing { partition }
            | Self::Recreated { partition }
            | Self::Denied { partition }
            | Self::Corrupt { partition, .. }
            | Self::Truncated { partition, .. }
            | Self::Lost { partition, .. } => partition,
        }
    }
}
