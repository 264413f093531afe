//! What is copied: batches of a size, of fresh records or old ones.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;
use host::Host;
use wire::record::{BatchBuilder, Codec};

/// Bytes of a record's value, which no codec makes smaller.
pub const RECORD_BYTES: usize = 1_000;
const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Debug)]
pub struct Workload {
    pub batch_records: usize,
    pub partitions: i32,
    /// Leaders forget the producers of such records: one batch at a time.
    pub old: bool,
    pub codec: Codec,
    /// Bytes of all values.
    pub bytes: usize,
}

impl Workload {
    pub fn topic(&self) -> String {
        let age = if self.old { "old" } else { "new" };
        format!("{}kb-{}-{age}", self.batch_records, self.partitions)
    }

    /// How many batches each partition gets.
    pub fn batches(&self) -> usize {
        self.bytes / RECORD_BYTES / self.batch_records / self.partitions as usize
    }

    /// How many records there are in all partitions.
    pub fn records(&self) -> u64 {
        (self.batches() * self.batch_records) as u64 * u64::from(self.partitions.unsigned_abs())
    }

    pub fn batch(&self) -> Result<Bytes> {
        let host = Host::real();
        let age = if self.old { 3 * DAY_MS } else { 0 };
        let timestamp = host.clock.wall_ms() - age;
        let mut batch = BatchBuilder::new(self.codec);
        let mut number = timestamp.unsigned_abs() | 1;
        let mut value = Vec::with_capacity(RECORD_BYTES);
        for _ in 0..self.batch_records {
            value.clear();
            while value.len() < RECORD_BYTES {
                // xorshift64
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                value.extend_from_slice(&number.to_be_bytes());
            }
            batch.push(timestamp, None, Some(&value), &[]);
        }
        Ok(batch.build(0)?)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = if self.old { "3 days" } else { "fresh" };
        let size = format!("{} KB", self.batch_records);
        write!(f, "{size:>8} {:>5} {age:>7}", self.partitions)
    }
}
