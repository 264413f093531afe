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

mod aborted;
mod builder;
mod control;
mod decode;
mod varint;

pub use aborted::Aborted;
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

impl Record {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> u64 {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        let headers = headers.map(|header| header.key.len() + size(&header.value));
        (size(&self.key) + size(&self.value) + headers.sum::<usize>()) as u64
    }

    /// CRC-32C over timestamp, key, value and headers, each with its length (-1: null): what makes a record the
    /// same in two places, wherever it stands.
    pub fn crc(&self) -> u32 {
        let mut crc = crc32c::crc32c(&self.timestamp.to_be_bytes());
        let mut add = |part: Option<&[u8]>| {
            let length = part.map_or(-1, |bytes| bytes.len().cast_signed() as i64);
            crc = crc32c::crc32c_append(crc, &length.to_be_bytes());
            crc = crc32c::crc32c_append(crc, part.unwrap_or_default());
        };
        add(self.key.as_deref());
        add(self.value.as_deref());
        for header in &self.headers {
            add(Some(&header.key));
            add(header.value.as_deref());
        }
        crc
    }
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
