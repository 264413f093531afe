//! What stays of a batch (`Cleaner.cleanInto`, `MemoryRecords.filterTo`). Pure.

use std::collections::HashMap;

use bytes::Bytes;
use wire::{
    batch::{
        BatchHeader, BatchView, CONTROL, DELETE_HORIZON, HEADER_LEN, LENGTH_END, LOG_APPEND_TIME,
        NO_PRODUCER_ID, TRANSACTIONAL, crc,
    },
    record::{BatchBuilder, Record, RecordError, decode},
};

use super::{
    super::{AbortedTransaction, MAX_DECOMPRESSED},
    offset_map::OffsetMap,
    transactions::{Marker, Transactions},
};

/// What a producer that is remembered wrote last (`LastRecord`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// Offset of its last record; none if only a marker of its epoch was seen.
    pub(crate) offset: Option<i64>,
    pub(crate) epoch: i16,
}

/// What decides.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) now: i64,
    /// `delete.retention.ms`
    pub(super) delete_retention_ms: i64,
    /// By producer id.
    pub(super) producers: &'a HashMap<i64, LastRecord>,
    /// Where the segment ends that is written. Its last batch stays, so that the segment says so.
    pub(super) end: i64,
}

/// What stays of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    Whole,
    Part(Bytes),
}

impl Filter<'_> {
    /// Looks at the next batch; what is to stand in the index of aborted transactions, if it is a marker of one.
    pub(super) fn keep(
        &self,
        batch: &BatchView,
        transactions: &mut Transactions,
    ) -> Result<(Kept, Option<AbortedTransaction>), RecordError> {
        let header = &batch.header;
        let mut aborted = None;
        let is_idle = match header.is_control() {
            true => match transactions.marker(batch)? {
                Marker::Idle => true,
                Marker::Needed(one) => {
                    aborted = one;
                    false
                }
            },
            false => transactions.is_aborted(header),
        };
        if header.base_offset >= self.map.end() {
            return Ok((Kept::Whole, aborted));
        }
        // Who reads at its own pace has to see a marker as long as a tombstone (KIP-534).
        let is_dropped = is_idle && (!header.is_control() || self.is_past_horizon(header));
        let emptied = self.emptied(header);
        if is_dropped && emptied.is_none() {
            return Ok((Kept::Nothing, aborted));
        }
        let mut records = decode(batch, MAX_DECOMPRESSED)?;
        let count = records.len();
        records.retain(|record| !is_dropped && self.is_needed(header, record));
        if records.is_empty() {
            let kept = match emptied {
                Some(emptied) if emptied == *header => Kept::Whole,
                Some(emptied) => Kept::Part(Bytes::copy_from_slice(&emptied.to_bytes())),
                None => Kept::Nothing,
            };
            return Ok((kept, aborted));
        }
        let is_tombstone = |record: &Record| !header.is_control() && record.value.is_none();
        let has_ends = header.is_control() && is_idle || records.iter().any(is_tombstone);
        let horizon = match header.has_delete_horizon() {
            true => Some(header.base_timestamp),
            // A tombstone's time begins once what it deletes is gone; the rest of this batch is the next pass's.
            false if header.next_offset() > self.map.end() => None,
            false => has_ends.then(|| self.now.saturating_add(self.delete_retention_ms)),
        };
        let is_new = horizon.is_some() && !header.has_delete_horizon();
        if records.len() == count && !is_new {
            return Ok((Kept::Whole, aborted));
        }
        Ok((Kept::Part(rewrite(header, &records, horizon)?), aborted))
    }

    fn is_needed(&self, header: &BatchHeader, record: &Record) -> bool {
        if header.is_control() || record.offset >= self.map.end() {
            return true;
        }
        // Without a key it was written before the topic was compacted; nobody can ask for it.
        let Some(key) = &record.key else {
            return false;
        };
        let is_newest = self
            .map
            .get(key)
            .is_none_or(|newest| record.offset >= newest);
        is_newest && (record.value.is_some() || !self.is_past_horizon(header))
    }

    fn is_past_horizon(&self, header: &BatchHeader) -> bool {
        header.has_delete_horizon() && header.base_timestamp <= self.now
    }

    /// What is left of a batch that lost all of its records, if anything is (`DefaultRecordBatch.writeEmptyHeader`):
    /// what a producer wrote last keeps its sequence, and the end of a segment its offset.
    fn emptied(&self, header: &BatchHeader) -> Option<BatchHeader> {
        let last = self.producers.get(&header.producer_id);
        let is_last = last.is_some_and(|last| match last.offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        });
        let (kept_bits, producer) = match is_last {
            true => (
                LOG_APPEND_TIME | TRANSACTIONAL | CONTROL,
                (
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                ),
            ),
            // It is of nobody: a marker would have to wait for it.
            false if header.next_offset() == self.end => {
                (LOG_APPEND_TIME, (NO_PRODUCER_ID, -1, -1))
            }
            false => return None,
        };
        let mut emptied = BatchHeader {
            length: (HEADER_LEN - LENGTH_END) as i32,
            attributes: header.attributes & kept_bits,
            base_timestamp: -1,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: producer.2,
            record_count: 0,
            ..*header
        };
        emptied.crc = crc(&emptied.to_bytes());
        Some(emptied)
    }
}

/// The batch with these of its records; offsets and sequences stay as they are
/// (`MemoryRecords.buildRetainedRecordsInto`).
fn rewrite(
    header: &BatchHeader,
    records: &[Record],
    horizon: Option<i64>,
) -> Result<Bytes, RecordError> {
    let bits = header.attributes & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL);
    let (horizon_bit, first) = match horizon {
        Some(horizon) => (DELETE_HORIZON, horizon),
        None => (0, records.first().map_or(-1, |record| record.timestamp)),
    };
    let mut builder = BatchBuilder::new(header.codec()?)
        .attributes(bits | horizon_bit)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .leader_epoch(header.partition_leader_epoch)
        .base_timestamp(first)
        .last_offset_delta(header.last_offset_delta);
    for record in records {
        let delta = i32::try_from(record.offset - header.base_offset);
        builder.push_at(
            delta.map_err(|_| RecordError::TooLarge)?,
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
    }
    builder.build(header.base_offset)
}
