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

use bytes::Bytes;
use host::BoxFuture;
use tokio::sync::mpsc;
use wire::TopicPartition;

use crate::base::budget::Permit;

/// Serves the partitions of one source cluster to one flow.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Starts to fetch `partition` at `offset`.
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        offset: i64,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>>;
}

/// What a partition yields, in order. Bounded; the source stops fetching when it is full.
#[derive(Debug)]
pub struct PartitionReader {
    /// Batches, or the reason why there are no more. Nothing follows an error.
    pub events: mpsc::Receiver<Result<Batch, SourceError>>,
}

/// Records of one partition on their way from source to target.
#[derive(Debug)]
pub struct Batch {
    /// First source offset that this batch accounts for.
    pub first_offset: i64,
    /// The source offset to read after this batch. With no records, only the position advances.
    pub next_offset: i64,
    /// The source's high watermark (last stable offset under read_committed) when this was
    /// fetched, for the lag; -1 if not known.
    pub source_end: i64,
    /// The records, offsets ascending, all in `first_offset..next_offset`.
    pub records: Vec<Record>,
    /// The bytes charged for this batch; released when the batch is acknowledged or dropped.
    pub permit: Permit,
}

/// One open record. Key, value and headers are slices of a buffer shared by the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset on the source.
    pub offset: i64,
    /// Milliseconds since 1970; -1: none.
    pub timestamp: i64,
    /// Absent is not empty.
    pub key: Option<Bytes>,
    /// Absent is a tombstone.
    pub value: Option<Bytes>,
    /// In their order, duplicates kept.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> u64 {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self
            .headers
            .iter()
            .map(|(key, value)| key.len() + size(value));
        (size(&self.key) + size(&self.value) + headers.sum::<usize>()) as u64
    }

    /// CRC-32C over timestamp, key, value and headers, each with its length (-1: null), by which the
    /// record is recognised after a restart.
    pub fn crc(&self) -> u32 {
        let headers = self
            .headers
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()));
        record_crc(
            self.timestamp,
            self.key.as_deref(),
            self.value.as_deref(),
            headers,
        )
    }
}

/// See [`Record::crc`]; for records that come from elsewhere.
pub fn record_crc<'a>(
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> u32 {
    let mut crc = crc32c::crc32c(&timestamp.to_be_bytes());
    let mut add = |part: Option<&[u8]>| {
        let length = part.map_or(-1, |bytes| bytes.len().cast_signed() as i64);
        crc = crc32c::crc32c_append(crc, &length.to_be_bytes());
        crc = crc32c::crc32c_append(crc, part.unwrap_or_default());
    };
    add(key);
    add(value);
    for (key, value) in headers {
        add(Some(key));
        add(value);
    }
    crc
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
            | Self::Denied { partition }
            | Self::Corrupt { partition, .. }
            | Self::Lost { partition, .. } => partition,
        }
    }
}
