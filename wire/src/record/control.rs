//! Control batches: the markers that end a transaction on a partition.
//!
//! One record; key: version i16, type i16 (0 abort, 1 commit); value: version i16, coordinator epoch
//! i32 (`org.apache.kafka.common.record.ControlRecordType`, `EndTransactionMarker`).

use bytes::Bytes;

use super::{BatchBuilder, Codec, RecordError, decode};
use crate::batch::{BatchView, CONTROL, TRANSACTIONAL};

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction's records do not count.
    Abort,
    /// They do.
    Commit,
    /// A marker of a kind that clients skip.
    Other(i16),
}

/// The marker that ends a transaction of `producer_id`.
///
/// # Errors
/// None that can happen at this size.
pub fn control_batch(
    base_offset: i64,
    producer_id: i64,
    producer_epoch: i16,
    commit: bool,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Result<Bytes, RecordError> {
    let mut builder = BatchBuilder::new(Codec::None)
        .attributes(TRANSACTIONAL | CONTROL)
        .producer(producer_id, producer_epoch, -1)
        .leader_epoch(0);
    let key = [0, 0, 0, u8::from(commit)];
    let mut value = vec![0, 0];
    value.extend_from_slice(&coordinator_epoch.to_be_bytes());
    builder.push(timestamp, Some(&key), Some(&value), &[]);
    builder.build(base_offset)
}

/// What the marker in `batch` says.
///
/// # Errors
/// If it holds no well-formed control record.
pub fn control_type(batch: &BatchView) -> Result<ControlType, RecordError> {
    let records = decode(batch, batch.bytes.len())?;
    let key = records.first().and_then(|record| record.key.as_deref());
    match key {
        Some([_, _, 0, 0, ..]) => Ok(ControlType::Abort),
        Some([_, _, 0, 1, ..]) => Ok(ControlType::Commit),
        Some([_, _, high, low, ..]) => Ok(ControlType::Other(i16::from_be_bytes([*high, *low]))),
        _ => Err(RecordError::Malformed {
            index: 0,
            reason: "no control type",
        }),
    }
}
