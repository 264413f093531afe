//! Kafka bytes: frames, record batches, records, requests, and a client for one cluster.
//!
//! Shared by the replicator and by broker-lite.

pub mod batch;
pub mod client;
pub mod codec;
pub mod compression;
pub mod connection;
pub mod error;
pub mod frame;
pub mod guard;
pub mod produce;
pub mod record;
pub mod request;
pub mod security;

use std::fmt;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a reader of a partition sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset, without aborted transactions.
    ReadCommitted,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again after a backoff.
    Retriable,
    /// The broker asked to wait; try again then.
    Throttled,
    /// Somebody else took over; stop.
    Fenced,
    /// Trying again cannot help.
    Fatal,
}
