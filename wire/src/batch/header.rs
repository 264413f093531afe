//! The 61 bytes before the records.

use super::{BatchError, HEADER_LEN, LENGTH_END, add_sequence};
use crate::codec::Codec;

/// First byte that the CRC covers.
pub(super) const CRC_START: usize = 21;

/// Attribute bits 0-2: the codec.
const CODEC: i16 = 0b111;
/// Attribute bit 3: the broker set the times, every record has the batch's max timestamp.
pub const LOG_APPEND_TIME: i16 = 1 << 3;
/// Attribute bit 4: part of a transaction.
pub const TRANSACTIONAL: i16 = 1 << 4;
/// Attribute bit 5: holds a marker of the broker, no user records.
pub const CONTROL: i16 = 1 << 5;
/// Attribute bit 6: the base timestamp is a delete horizon (KIP-534); deltas count from it all the same.
pub const DELETE_HORIZON: i16 = 1 << 6;

/// A batch header, decoded. Says nothing about the truth of its CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 when a producer sends it.
    pub base_offset: i64,
    /// Bytes after the length field.
    pub length: i32,
    /// Epoch of the leader that appended the batch; -1 when a producer sends it.
    pub partition_leader_epoch: i32,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// Offset of the last record minus base offset; survives compaction.
    pub last_offset_delta: i32,
    /// Milliseconds from which the records' deltas count.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the append time.
    pub max_timestamp: i64,
    /// -1: not idempotent.
    pub producer_id: i64,
    /// -1: not idempotent.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1: not idempotent.
    pub base_sequence: i32,
    /// Records in the batch; fewer than the offsets it spans after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// If there are fewer than [`HEADER_LEN`] bytes, the length is impossible, or the format is not 2.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(BatchError::Short(bytes.len()))?;
        let magic = i8::from_be_bytes(at(bytes, 16));
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let length = i32::from_be_bytes(at(bytes, 8));
        if length < (HEADER_LEN - LENGTH_END) as i32 {
            return Err(BatchError::Length(length));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(at(bytes, 0)),
            length,
            partition_leader_epoch: i32::from_be_bytes(at(bytes, 12)),
            crc: u32::from_be_bytes(at(bytes, 17)),
            attributes: i16::from_be_bytes(at(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)),
            base_timestamp: i64::from_be_bytes(at(bytes, 27)),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)),
            producer_id: i64::from_be_bytes(at(bytes, 43)),
            producer_epoch: i16::from_be_bytes(at(bytes, 51)),
            base_sequence: i32::from_be_bytes(at(bytes, 53)),
            record_count: i32::from_be_bytes(at(bytes, 57)),
        })
    }

    /// The header as bytes, its CRC as it stands in `self`.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut put = |start: usize, field: &[u8]| {
            bytes[start..start + field.len()].copy_from_slice(field);
        };
        put(0, &self.base_offset.to_be_bytes());
        put(8, &self.length.to_be_bytes());
        put(12, &self.partition_leader_epoch.to_be_bytes());
        put(16, &[2]);
        put(17, &self.crc.to_be_bytes());
        put(21, &self.attributes.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &self.max_timestamp.to_be_bytes());
        put(43, &self.producer_id.to_be_bytes());
        put(51, &self.producer_epoch.to_be_bytes());
        put(53, &self.base_sequence.to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        bytes
    }

    /// Time of the first record, as far as the header tells: where the broker set the times, or keeps a delete horizon
    /// in place of the first time, that of the newest record. -1: none.
    pub fn first_timestamp(&self) -> i64 {
        if self.attributes & (LOG_APPEND_TIME | DELETE_HORIZON) == 0 {
            self.base_timestamp
        } else {
            self.max_timestamp
        }
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// For codec numbers that Kafka does not know.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        let number = self.attributes & CODEC;
        Codec::from_number(number).ok_or(BatchError::Codec(number))
    }

    /// Whether the [`LOG_APPEND_TIME`] bit is set.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the [`TRANSACTIONAL`] bit is set.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the [`CONTROL`] bit is set.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the [`DELETE_HORIZON`] bit is set.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LENGTH_END + self.length.unsigned_abs() as usize
    }

    /// Offset of the last record the batch was written with.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, mod 2^31; -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// `N` bytes from `start`.
fn at<const N: usize>(bytes: &[u8; HEADER_LEN], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}
