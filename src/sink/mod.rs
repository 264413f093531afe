//! Where batches go.
//!
//! A [`Sink`] writes to all partitions of one flow's target cluster. A worker opens a [`Lane`] to
//! its target partition, sends batches in order and hears about each exactly once, in order.
//! After a failed batch a lane is broken: every later batch of it fails too, so the worker drains,
//! opens a new lane and sends again from its acknowledged prefix (EXACTNESS 4).

pub mod librdkafka;
pub mod wire;

use std::time::Duration;

use ::wire::{
    TopicPartition,
    batch::HEADER_LEN,
    record::{Codec, Record},
};
use bytes::Bytes;
use host::BoxFuture;

/// Writes to the target cluster of one flow.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// What its lanes take.
    fn form(&self) -> Form;

    /// A new lane to `partition`.
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>>;

    /// Drops what it was given and has not sent: it is about to belong to another process. Lanes that
    /// lose something by that break.
    fn recall(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Records, which it puts into batches of its own.
    Open,
    /// Whole batches with sequence numbers of the unit's own producer.
    Sealed,
}

/// What the target topic takes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How records are compressed where they are not sent as they came.
    pub codec: Codec,
    /// `max.message.bytes`: the largest batch, in bytes.
    pub max_batch_bytes: usize,
    /// `message.timestamp.type`: the leader sets the times (LogAppendTime).
    pub log_append_time: bool,
}

/// The way into one target partition.
pub trait Lane: Send + std::fmt::Debug {
    /// Hands over one batch, not empty, in the sink's [`Form`]; waits while the sink's queue is full.
    /// `ticket` comes back in the answer. Not cancel-safe: a caller that drops the future treats
    /// the lane as broken.
    fn send<'a>(&'a mut self, ticket: u64, batch: Outgoing)
    -> BoxFuture<'a, Result<(), SinkError>>;

    /// The next answer, in the order of sending. Pends while nothing is outstanding. Cancel-safe.
    fn answer(&mut self) -> BoxFuture<'_, Answer>;

    /// The way to the target and back, by the shortest time that an answer of the connection took; none before
    /// the first one. Only lanes for [`Form::Sealed`] know it.
    fn round_trip(&self) -> Option<Duration> {
        None
    }
}

/// One batch as a sink takes it.
#[derive(Debug)]
pub enum Outgoing {
    /// For [`Form::Open`].
    Open(Vec<Record>),
    /// For [`Form::Sealed`].
    Sealed(Sealed),
}

/// A batch that goes out as it is.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The source offset at which it begins, for messages.
    pub source_offset: i64,
    /// Stamped with producer and sequence.
    pub header: [u8; HEADER_LEN],
    /// Behind the header.
    pub payload: Bytes,
    /// How many.
    pub records: i32,
    /// Whether the leader refuses it should it arrive late (EXACTNESS 2); if not, the connection is not given
    /// up only because an answer takes long (EXACTNESS 7).
    pub guarded: bool,
}

/// What became of one batch.
#[derive(Debug)]
pub struct Answer {
    /// As given to [`Lane::send`].
    pub ticket: u64,
    /// Where the records are, or why they may not be there. Small, as is an [`Event`](crate::source::Event).
    pub outcome: Result<Appended, Box<SinkError>>,
}

/// Where the records of an acknowledged batch are on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Target offset of the first record.
    pub first_offset: i64,
    /// Target offset of the last record.
    pub last_offset: i64,
}

/// Why a batch was not, or may not have been, written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// The target refuses a batch for one of its records and always will (too large, timestamp, keyless on a
    /// compacted topic, and so on): poison.
    #[error("{partition} refuses the record from source offset {source_offset}: {reason}")]
    Refused {
        /// The target partition.
        partition: TopicPartition,
        /// Where the batch begins on the source, or, where it is known, the record's offset.
        source_offset: i64,
        /// What the target or its limits said.
        reason: String,
    },
    /// The target takes no such batches, whatever is in them.
    #[error("{partition} refuses the batch from source offset {source_offset}: {reason}")]
    Unsupported {
        /// The target partition.
        partition: TopicPartition,
        /// Where the batch begins on the source.
        source_offset: i64,
        /// What the target said.
        reason: String,
    },
    /// The target topic or partition does not exist.
    #[error("{partition} does not exist on the target")]
    Missing {
        /// The target partition.
        partition: TopicPartition,
    },
    /// Not allowed to write.
    #[error("not authorized to write {partition}")]
    Denied {
        /// The target partition.
        partition: TopicPartition,
    },
    /// The leader found the batch damaged: by the source, or on the way.
    #[error("{partition} refuses the batch from source offset {source_offset} as damaged")]
    Corrupt {
        /// The target partition.
        partition: TopicPartition,
        /// Where the batch begins on the source.
        source_offset: i64,
    },
    /// A newer epoch of the unit's producer writes: another process took the unit over.
    #[error("another process writes {partition} for this flow: {reason}")]
    Fenced {
        /// The target partition.
        partition: TopicPartition,
        /// What the leader said.
        reason: String,
    },
    /// In doubt, or certainly not written, but worth another try on a new lane.
    #[error("writing {partition}: {reason}")]
    Lost {
        /// The target partition.
        partition: TopicPartition,
        /// What the client said.
        reason: String,
        /// No broker answered: the batch may still be on its way to being appended (EXACTNESS 7).
        unanswered: bool,
    },
}
