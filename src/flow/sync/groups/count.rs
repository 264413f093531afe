//! Counts the source's records between two anchors, by the headers of its batches. Pure.
//!
//! A batch is opened only if the interval cuts it, or an offset that is asked for lies in it, and compaction took records
//! out of it.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    Isolation,
    batch::{BatchView, batches},
    client::Fetched,
    error::ClientError,
    record::{Aborted, RecordError, decode},
};

use crate::checkpoint::offset_map::{Anchor, Answer, answer, holds_copies_only, pair};

/// Places within an interval that are remembered, to look others up by.
const BLOCKS: i64 = 64;
pub(super) const MAX_DECOMPRESSED: usize = 1 << 30;

/// A count on its way.
#[derive(Clone, Debug)]
pub(super) struct Count {
    from: Anchor,
    to: Anchor,
    /// The source offset to read next.
    next: i64,
    /// Records before that.
    records: i64,
    /// From here on every offset that was read is still there: neither retention nor compaction took anything.
    whole_from: i64,
    /// How many records are before some source offsets.
    before: BTreeMap<i64, i64>,
}

impl Count {
    /// Of what is between these two.
    pub(super) fn new(from: Anchor, to: Anchor) -> Self {
        let next = from.source_offset;
        Self {
            from,
            to,
            next,
            records: 0,
            whole_from: next,
            before: BTreeMap::from([(next, 0)]),
        }
    }

    /// Whether it tells of `source_offset`, which lies between `from` and `to`: anchors are left out as they become old,
    /// so that later it lies between others, further apart.
    pub(super) fn tells_of(&self, source_offset: i64, from: &Anchor, to: &Anchor) -> bool {
        let (first, last) = (&self.from, &self.to);
        (first.source_offset..last.source_offset).contains(&source_offset)
            && from.source_offset <= first.source_offset
            && from.target_offset <= first.target_offset
            && last.source_offset <= to.source_offset
            && last.target_offset <= to.target_offset
    }

    /// The source offset to read next.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Whether all was read.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.to.source_offset
    }

    /// Nothing is left of the source before `start`.
    pub(super) fn begins_at(&mut self, start: i64) {
        if start > self.next {
            (self.next, self.whole_from) = (start, start);
        }
    }

    /// Takes in what was read at the next offset, and remembers the places of `asked`.
    ///
    /// # Errors
    /// If a batch is damaged.
    pub(super) fn take(
        &mut self,
        fetched: &Fetched,
        isolation: Isolation,
        asked: &BTreeSet<i64>,
    ) -> Result<(), ClientError> {
        let step = (self.to.source_offset - self.from.source_offset) / BLOCKS;
        each(fetched, isolation, self.next, |batch, skips| {
            let (base, end) = (batch.header.base_offset, batch.header.next_offset());
            if end <= self.next || self.is_done() {
                return Ok(());
            }
            if base > self.next {
                self.whole_from = base;
            }
            if i64::from(batch.header.record_count) != end - base {
                self.whole_from = end;
            }
            let within = |to: i64| match skips {
                true => Ok(0),
                false => records(batch, self.next, to),
            };
            // What lies behind the interval was perhaps never copied.
            for offset in asked.range(self.next..end.min(self.to.source_offset)) {
                self.before.insert(*offset, self.records + within(*offset)?);
            }
            self.records += within(end.min(self.to.source_offset))?;
            self.next = end;
            let behind = self
                .before
                .last_key_value()
                .map_or(0, |(offset, _)| *offset);
            if end - behind >= step && end < self.to.source_offset {
                self.before.insert(end, self.records);
            }
            Ok(())
        })
    }

    /// What a finished count says of a source offset in its interval.
    pub(super) fn answer(&self, source_offset: i64) -> Answer {
        let tell = |before: i64| answer(&self.from, &self.to, self.records, before);
        let older = self.before.range(..=source_offset).next_back();
        let newer = self.before.range(source_offset..).next();
        let (older, newer) = (
            older.map_or(0, |(_, before)| *before),
            newer.map_or(self.records, |(_, before)| *before),
        );
        Answer {
            low: tell(older).low,
            high: tell(newer).high,
        }
    }

    /// The places that a finished count knows exactly, in order.
    ///
    /// Those are all if the source has as many records as were copied. If it has lost some, as by retention, they are those
    /// from which on it has lost nothing: what was copied of that is the last on the target, if nothing else is between.
    pub(super) fn pairs(&self) -> Vec<Anchor> {
        let (from, to) = (&self.from, &self.to);
        let lost = to.target_offset - from.target_offset - self.records;
        let first = match lost {
            _ if from.left_out != to.left_out => return Vec::new(),
            0 => from.source_offset,
            1.. if holds_copies_only(from, to) => self.whole_from,
            _ => return Vec::new(),
        };
        let pairs = self.before.range(first..);
        let pairs = pairs.map(|(offset, before)| {
            let behind = self.records - before;
            pair(from, *offset, to.target_offset - behind)
        });
        pairs.collect()
    }
}

/// Shows each batch of what was read at offset `at`, and whether a reader sees nothing of it.
///
/// # Errors
/// If one of them is damaged.
pub(super) fn each(
    fetched: &Fetched,
    isolation: Isolation,
    at: i64,
    mut look: impl FnMut(&BatchView, bool) -> Result<(), RecordError>,
) -> Result<(), ClientError> {
    let mut aborted = Aborted::new(&fetched.aborted, isolation);
    for batch in batches(fetched.records.clone()) {
        let batch = batch.map_err(|error| ClientError::damaged(&fetched.partition, at, error))?;
        let base = batch.header.base_offset;
        let damaged = |error| ClientError::damaged(&fetched.partition, base, error);
        let skips = aborted.skips(&batch);
        let skips = skips.map_err(|error| ClientError::damaged(&fetched.partition, base, error))?;
        look(&batch, skips).map_err(damaged)?;
    }
    Ok(())
}

/// How many records of `batch` are at the offsets from `from` up to `to`.
pub(super) fn records(batch: &BatchView, from: i64, to: i64) -> Result<i64, RecordError> {
    let header = &batch.header;
    let (base, end) = (header.base_offset, header.next_offset());
    let count = i64::from(header.record_count);
    let (from, to) = (from.max(base), to.min(end));
    if to <= from {
        return Ok(0);
    }
    if (from, to) == (base, end) {
        return Ok(count);
    }
    if count == end - base {
        return Ok(to - from);
    }
    let records = decode(batch, MAX_DECOMPRESSED)?;
    let within = records
        .iter()
        .filter(|record| (from..to).contains(&record.offset));
    Ok(within.count().cast_signed() as i64)
}

#[cfg(test)]
pub(super) mod tests;
