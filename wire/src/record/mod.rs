//! Open batches: records decoded and encoded.
//!
//! ```text
//! record: length varint | attributes i8 | timestamp delta varlong | offset delta varint
//!         | key length varint, -1 null | key | value length varint, -1 null | value
//!         | header count varint | (key length varint | key | value length varint, -1 null | value)*
//! ```
//!
//! Varints are zigzag encoded. Source: `org.apache.kafka.common.record.DefaultRecord`.
//! Headers keep their order and duplicates.

mod builder;
mod control;
mod decode;
mod varint;

pub use builder::BatchBuilder;
use bytes::Bytes;
pub use control::{ControlType, control_batch, control_type};
pub use decode::decode;

pub use crate::codec::Codec;
use crate::{batch::BatchError, compression::CompressionError};

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Meant to be UTF-8, not checked.
    pub key: Bytes,
    /// Absent is not empty.
    pub value: Option<Bytes>,
}

/// One record of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1: none.
    pub timestamp: i64,
    /// Absent is not empty.
    pub key: Option<Bytes>,
    /// Absent is a tombstone.
    pub value: Option<Bytes>,
    /// In their order.
    pub headers: Vec<Header>,
}

/// Why a batch cannot be opened or built.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The header is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The records do not decompress.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The records do not parse.
    #[error("record {index}: {reason}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The header's count is not that of the records.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
    /// Too many bytes or records for one batch.
    #[error("a batch holds at most 2^31 - 1 bytes and records")]
    TooLarge,
    /// A compression library failed.
    #[error("compress: {0}")]
    Compress(std::io::Error),
}
