//! Which segments are out of date (`UnifiedLog.deleteOldSegments`). Pure.

/// What is kept of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// `retention.ms`; none: for ever.
    pub(crate) ms: Option<i64>,
    /// `retention.bytes`; none: all.
    pub(crate) bytes: Option<u64>,
}

/// A segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// First offset of what follows.
    pub(super) next: i64,
    pub(super) bytes: u64,
    /// Time of its youngest record; if none has a time, when it was last written, where that is known.
    pub(super) time: Option<i64>,
}

impl Retention {
    /// How many segments at the front of `segments`, oldest first, are out of date at `now`. Only those count that
    /// end at or before `limit`: readers may not have seen the rest.
    pub(super) fn expired(&self, segments: &[Extent], now: i64, limit: i64) -> usize {
        let may_go = |one: &&Extent| one.next <= limit;
        let is_old = |one: &&Extent| match (self.ms, one.time) {
            (Some(ms), Some(time)) => now.saturating_sub(time) > ms,
            _ => false,
        };
        let old = segments
            .iter()
            .take_while(may_go)
            .take_while(is_old)
            .count();
        let left = &segments[old..];
        let all: u64 = left.iter().map(|one| one.bytes).sum();
        let mut excess = self.bytes.map_or(0, |bytes| all.saturating_sub(bytes));
        let is_excess = |one: &&Extent| {
            let rest = excess.checked_sub(one.bytes);
            excess = rest.unwrap_or(excess);
            rest.is_some()
        };
        old + left.iter().take_while(may_go).take_while(is_excess).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Five segments of 100 bytes and 10 offsets, times 0, 100, 200, ...
    fn five() -> Vec<Extent> {
        let extent = |at: i64| Extent {
            next: (at + 1) * 10,
            bytes: 100,
            time: Some(at * 100),
        };
        (0..5).map(extent).collect()
    }

    fn of(ms: Option<i64>, bytes: Option<u64>) -> Retention {
        Retention { ms, bytes }
    }

    #[test]
    fn the_youngest_record_of_a_segment_decides() {
        let expired = |ms, now| of(Some(ms), None).expired(&five(), now, 50);
        assert_eq!((expired(1_000, 1_000), expired(1_000, 1_001)), (0, 1));
        assert_eq!(expired(0, 401), 5, "also that which grows");
        assert_eq!(of(None, None).expired(&five(), i64::MAX, 50), 0);
        let mut odd = five();
        odd[1].time = None;
        assert_eq!(
            of(Some(0), None).expired(&odd, 1_000, 50),
            1,
            "nobody knows how old it is"
        );
        odd[1].time = Some(5_000);
        assert_eq!(
            of(Some(0), None).expired(&odd, 1_000, 50),
            1,
            "a young one keeps those behind it"
        );
    }

    #[test]
    fn size_leaves_at_least_what_is_wanted() {
        let expired = |bytes| of(None, Some(bytes)).expired(&five(), 0, 50);
        assert_eq!(
            (expired(500), expired(401), expired(400), expired(0)),
            (0, 0, 1, 5)
        );
        assert_eq!(
            of(Some(999), Some(250)).expired(&five(), 1_100, 50),
            2,
            "both, not their sum"
        );
    }

    #[test]
    fn what_nobody_may_have_read_stays() {
        assert_eq!(of(Some(0), None).expired(&five(), 10_000, 39), 3);
        assert_eq!(of(None, Some(0)).expired(&five(), 10_000, 39), 3);
    }

    proptest! {
        /// `retention.bytes` is what is left at least, and one segment more would be too much.
        #[test]
        fn size_is_kept_and_no_segment_more(
            sizes in proptest::collection::vec(1u64..1_000, 0..20),
            bytes in 0u64..8_000,
        ) {
            let segments: Vec<Extent> = sizes.iter().map(|bytes| Extent { next: 0, bytes: *bytes, time: None }).collect();
            let gone = of(None, Some(bytes)).expired(&segments, 0, 0);
            let left = |from: usize| sizes[from..].iter().sum::<u64>();
            prop_assert!(gone == 0 || left(gone) >= bytes);
            prop_assert!(gone == sizes.len() || left(gone + 1) < bytes);
        }
    }
}
