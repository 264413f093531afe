//! Finds records of the source by their number between two anchors, by the headers of its batches. Pure.
//!
//! A batch is opened only if a record that is wanted lies in it and compaction took others out of it, or the interval
//! cuts it.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    Isolation,
    batch::BatchView,
    client::Fetched,
    error::ClientError,
    record::{RecordError, decode},
};

use super::super::count::{MAX_DECOMPRESSED, each, records};

/// A search on its way.
#[derive(Clone, Debug)]
pub(super) struct Find {
    to: i64,
    /// The source offset to read next.
    next: i64,
    /// Records before that.
    records: i64,
    /// Which are looked for: how many records are before each of them.
    wanted: BTreeSet<i64>,
    /// Source offsets of those that were found.
    found: BTreeMap<i64, i64>,
}

impl Find {
    /// Of records at the source offsets from `from` up to `to`.
    pub(super) fn new(from: i64, to: i64, wanted: BTreeSet<i64>) -> Self {
        Self {
            to,
            next: from,
            records: 0,
            wanted,
            found: BTreeMap::new(),
        }
    }

    /// The source offset to read next.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Whether all was read.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.to
    }

    /// How many records there are, and where those are that were looked for.
    pub(super) fn result(self) -> (i64, BTreeMap<i64, i64>) {
        (self.records, self.found)
    }

    /// Takes in what was read at the next offset.
    ///
    /// # Errors
    /// If a batch is damaged.
    pub(super) fn take(
        &mut self,
        fetched: &Fetched,
        isolation: Isolation,
    ) -> Result<(), ClientError> {
        each(fetched, isolation, self.next, |batch, skips| {
            let end = batch.header.next_offset();
            if end <= self.next || self.is_done() {
                return Ok(());
            }
            if !skips {
                let last = end.min(self.to);
                let count = records(batch, self.next, last)?;
                let numbers = self.records..self.records + count;
                let wanted: BTreeSet<i64> = self.wanted.range(numbers).copied().collect();
                if !wanted.is_empty() {
                    let offsets = offsets(batch, self.next, last)?;
                    let first = self.records;
                    let found = (first..).zip(offsets);
                    self.found
                        .extend(found.filter(|(number, _)| wanted.contains(number)));
                }
                self.records += count;
            }
            self.next = end;
            Ok(())
        })
    }
}

/// The offsets of the records of `batch` from `from` up to `to`.
fn offsets(batch: &BatchView, from: i64, to: i64) -> Result<Vec<i64>, RecordError> {
    let header = &batch.header;
    let within = from.max(header.base_offset)..to;
    if i64::from(header.record_count) == header.next_offset() - header.base_offset {
        return Ok(within.collect());
    }
    let records = decode(batch, MAX_DECOMPRESSED)?.into_iter();
    let offsets = records.map(|record| record.offset);
    Ok(offsets.filter(|at| within.contains(at)).collect())
}

#[cfg(test)]
mod tests;
