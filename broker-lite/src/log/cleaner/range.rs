//! What there is to clean (`LogCleanerManager.cleanableOffsets`, `LogToClean`). Pure.

use std::io;

use super::super::segment::Sealed;

/// When a log is compacted, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compaction {
    /// `delete.retention.ms`: how long tombstones and markers stay once they are all that is left.
    pub(crate) delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: younger records stay.
    pub(crate) min_lag_ms: i64,
    /// `max.compaction.lag.ms`: older records do not wait for the dirty ratio.
    pub(crate) max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`
    pub(crate) min_dirty_ratio: f64,
}

/// The segments before `end`; from `first_dirty` on they were not cleaned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirtyRange {
    pub(super) first_dirty: i64,
    pub(super) end: i64,
}

impl Compaction {
    /// What is to be cleaned of `segments`, none of which grows, if it is worth it. `limit`: what lies behind is in an
    /// open transaction, or could be lost. `first_time` tells the time of a segment's first batch.
    pub(super) fn dirty_range(
        &self,
        segments: &[Sealed],
        first_dirty: i64,
        limit: i64,
        now: i64,
        first_time: impl Fn(&Sealed) -> io::Result<i64>,
    ) -> io::Result<Option<DirtyRange>> {
        let youngest = now.saturating_sub(self.min_lag_ms.max(0));
        let may_clean = |one: &&Sealed| {
            let is_young = self.min_lag_ms > 0 && one.max_timestamp > youngest;
            one.next <= limit && (one.next <= first_dirty || !is_young)
        };
        let count = segments.iter().take_while(may_clean).count();
        let clean = segments[..count].partition_point(|one| one.next <= first_dirty);
        let (clean, dirty) = segments[..count].split_at(clean);
        let Some(last) = dirty.last() else {
            return Ok(None);
        };
        let bytes = |some: &[Sealed]| some.iter().map(|one| one.len).sum::<u64>() as f64;
        let ratio = bytes(dirty) / (bytes(clean) + bytes(dirty)).max(1.0);
        if ratio <= self.min_dirty_ratio && !self.is_overdue(dirty, now, first_time)? {
            return Ok(None);
        }
        Ok(Some(DirtyRange {
            first_dirty,
            end: last.next,
        }))
    }

    fn is_overdue(
        &self,
        dirty: &[Sealed],
        now: i64,
        first_time: impl Fn(&Sealed) -> io::Result<i64>,
    ) -> io::Result<bool> {
        if self.max_lag_ms == i64::MAX {
            return Ok(false);
        }
        let oldest = now.saturating_sub(self.max_lag_ms);
        for segment in dirty {
            let time = first_time(segment)?;
            if time > 0 && time < oldest {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Neighbours that fit into one segment (`Cleaner.groupSegmentsBySize`).
pub(super) fn groups(mut segments: &[Sealed], max_bytes: u64) -> Vec<&[Sealed]> {
    let mut groups = Vec::new();
    while let Some(first) = segments.first() {
        let mut bytes = 0;
        let fits = |one: &&Sealed| {
            bytes += one.len;
            // Entries of the indexes hold offsets as 31 bits.
            bytes <= max_bytes && one.next - first.base <= i64::from(i32::MAX)
        };
        let count = segments.iter().take_while(fits).count().max(1);
        let (group, rest) = segments.split_at(count);
        groups.push(group);
        segments = rest;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, len: u64, max_timestamp: i64) -> Sealed {
        Sealed {
            base,
            next: base + 10,
            len,
            max_timestamp,
        }
    }

    fn four() -> Vec<Sealed> {
        (0..4).map(|at| segment(at * 10, 100, at * 100)).collect()
    }

    fn terms(ratio: f64, min_lag_ms: i64, max_lag_ms: i64) -> Compaction {
        Compaction {
            delete_retention_ms: 0,
            min_lag_ms,
            max_lag_ms,
            min_dirty_ratio: ratio,
        }
    }

    fn end(terms: Compaction, first_dirty: i64, limit: i64, now: i64) -> Option<i64> {
        let range = terms.dirty_range(
            &four(),
            first_dirty,
            limit,
            now,
            |one| Ok(one.max_timestamp),
        );
        range.unwrap().map(|range| range.end)
    }

    #[test]
    fn a_log_is_cleaned_when_enough_of_it_is_dirty() {
        assert_eq!(end(terms(0.5, 0, i64::MAX), 20, 40, 0), None, "just half");
        assert_eq!(end(terms(0.5, 0, i64::MAX), 10, 40, 0), Some(40));
        assert_eq!(
            end(terms(0.0, 0, i64::MAX), 40, 40, 0),
            None,
            "nothing is dirty"
        );
        assert_eq!(
            end(terms(0.0, 0, i64::MAX), 0, 39, 0),
            Some(30),
            "an open transaction"
        );
    }

    #[test]
    fn lags_keep_young_records_and_hurry_old_ones() {
        assert_eq!(end(terms(0.0, 150, i64::MAX), 0, 40, 350), Some(30));
        assert_eq!(end(terms(0.0, 1_000, i64::MAX), 0, 40, 350), None);
        assert_eq!(
            end(terms(0.9, 0, 100), 20, 40, 301),
            Some(40),
            "200 is older than 201"
        );
        assert_eq!(end(terms(0.9, 0, 100), 20, 40, 300), None);
    }

    #[test]
    fn groups_are_as_large_as_a_segment() {
        let sizes = |max_bytes| -> Vec<usize> {
            groups(&four(), max_bytes)
                .iter()
                .map(|group| group.len())
                .collect()
        };
        assert_eq!(sizes(50), [1, 1, 1, 1]);
        assert_eq!(sizes(299), [2, 2]);
        assert_eq!(sizes(1_000), [4]);
        let far = [segment(0, 1, 0), segment(i64::from(i32::MAX) - 8, 1, 0)];
        assert_eq!(groups(&far, 100).len(), 2);
    }
}
