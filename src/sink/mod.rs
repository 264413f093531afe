//! Where batches go.
//!
//! A [`Sink`] writes to all partitions of one flow's target cluster. A worker opens a [`Lane`] to
//! its target partition, sends batches in order and hears about each exactly once, in order.
//! After a failed batch a lane is broken: every later batch of it fails too, so the worker drains,
//! opens a new lane and sends again from its acknowledged prefix (EXACTNESS 4).

pub mod librdkafka;

use host::BoxFuture;
use wire::{TopicPartition, record::Codec};

use crate::source::Record;

/// Writes to the target cluster of one flow.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// A new lane to `partition`; records are compressed with `codec` into batches of at most
    /// `max_batch_bytes`, which is what the target topic takes.
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        codec: Codec,
        max_batch_bytes: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>>;

    /// Drops what it was given and has not sent: it is about to belong to another process. Lanes that
    /// lose something by that break.
    fn recall(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The way into one target partition.
pub trait Lane: Send + std::fmt::Debug {
    /// Hands over the records of one batch, not empty; waits while the sink's queue is full.
    /// `ticket` comes back in the answer. Not cancel-safe: a caller that drops the future treats
    /// the lane as broken.
    fn send<'a>(
        &'a mut self,
        ticket: u64,
        records: Vec<Record>,
    ) -> BoxFuture<'a, Result<(), SinkError>>;

    /// The next answer, in the order of sending. Pends while nothing is outstanding. Cancel-safe.
    fn answer(&mut self) -> BoxFuture<'_, Answer>;
}

/// What became of one batch.
#[derive(Debug)]
pub struct Answer {
    /// As given to [`Lane::send`].
    pub ticket: u64,
    /// Where the records are, or why they may not be there.
    pub outcome: Result<Appended, SinkError>,
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
    /// The target refuses this record and always will (too large, timestamp, keyless on a
    /// compacted topic, and so on): poison.
    #[error("{partition} refuses the record from source offset {source_offset}: {reason}")]
    Refused {
        /// The target partition.
        partition: TopicPartition,
        /// The record's offset on the source.
        source_offset: i64,
        /// What the target or its limits said.
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
    /// In doubt, or certainly not written, but worth another try on a new lane.
    #[error("writing {partition}: {reason}")]
    Lost {
        /// The target partition.
        partition: TopicPartition,
        /// What the client said.
        reason: String,
    },
}
