//! Record batches (magic 2) as they lie on the wire and on disk: seen and edited, not opened.
//!
//! ```text
//! offset  field                    type    covered by the CRC
//!      0  base offset              i64     no: the leader sets it
//!      8  length                   i32     no: bytes that follow this field
//!     12  partition leader epoch   i32     no: the leader sets it
//!     16  magic                    i8      no: always 2
//!     17  CRC-32C                  u32     no
//!     21  attributes               i16     yes, and everything below
//!     23  last offset delta        i32
//!     27  base timestamp           i64
//!     35  max timestamp            i64
//!     43  producer id              i64
//!     51  producer epoch           i16
//!     53  base sequence            i32
//!     57  record count             i32
//!     61  records, compressed as one block unless the codec is none
//!
//! attributes: bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
//! ```
//!
//! Source: `org.apache.kafka.common.record.DefaultRecordBatch`.

mod algebra;
mod edit;
mod header;
mod view;

pub use edit::Stamp;
pub use header::{BatchHeader, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL};
pub use view::{BatchView, batches};

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;

/// Bytes before what `length` counts.
pub const LENGTH_END: usize = 12;

/// No producer id: not an idempotent batch.
pub const NO_PRODUCER_ID: i64 = -1;

/// The CRC-32C that belongs into the header of `batch`, a whole batch.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[header::CRC_START..])
}

/// The sequence number `delta` records after `sequence`: after 2^31 - 1 comes 0
/// (`DefaultRecordBatch.incrementSequence`).
pub fn add_sequence(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header.
    #[error("{0} bytes are too few for a batch header")]
    Short(usize),
    /// The length field is below that of an empty batch.
    #[error("a batch length of {0} is below that of an empty batch")]
    Length(i32),
    /// Not the record format 2.
    #[error("record format {0} is not 2")]
    Magic(i8),
    /// The bytes are damaged.
    #[error("the CRC is {found:08x} where the header says {expected:08x}")]
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// Codec bits without a codec.
    #[error("there is no compression codec {0}")]
    Codec(i16),
}
