//! From a source offset to the target's, by the anchors of a unit. Pure.
//!
//! The target offset of a source offset `S` is that of the first copied record at or behind `S`: who goes on there has
//! missed nothing and reads nothing again. Between two anchors it is known without reading if the source had no holes and
//! nobody else wrote there. Else the records of the source between them are counted. So many were copied at least, less
//! those that the copy left out, for a source only loses records; and the target got as many offsets as that or more. So
//! where both are equal the count is the answer, and where they are not it bounds it from both sides.

use super::anchor::Anchor;
use crate::worker::wrap;

/// What two anchors, or one, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The target offset.
    At(i64),
    /// It is between these; the source's records there are to be counted.
    Between(Anchor, Anchor),
    /// The map does not reach back so far.
    Unknown,
}

/// A target offset, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Nothing that is wanted is before it.
    pub low: i64,
    /// Nothing that is not wanted is behind it. The same as `low` where the answer is exact.
    pub high: i64,
}

impl Answer {
    /// Whether nothing is missed and nothing read again.
    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }
}

/// Where `source_offset` lies among `anchors`, which are in order. Behind the last one nothing was acknowledged yet: who has
/// read that far has read all that the target holds.
pub fn place(anchors: &[Anchor], source_offset: i64) -> Place {
    let behind = anchors.partition_point(|anchor| anchor.source_offset <= source_offset);
    match (anchors[..behind].last(), anchors.get(behind)) {
        (Some(last), None) => Place::At(last.target_offset),
        (Some(a), Some(_)) if a.source_offset == source_offset => Place::At(a.target_offset),
        (Some(a), Some(b)) => between(a, b, source_offset),
        // Nothing before the beginning was copied.
        (None, Some(first)) if first.number == 0 => Place::At(first.target_offset),
        (None, _) => Place::Unknown,
    }
}

fn between(a: &Anchor, b: &Anchor, source_offset: i64) -> Place {
    if b.target_offset == a.target_offset {
        return Place::At(a.target_offset);
    }
    if is_dense(a, b) {
        return Place::At(a.target_offset + (source_offset - a.source_offset));
    }
    Place::Between(*a, *b)
}

/// Whether there is one record for each offset on either side, between `a` and `b`.
pub(super) fn is_dense(a: &Anchor, b: &Anchor) -> bool {
    let same = b.source_offset - a.source_offset == b.target_offset - a.target_offset;
    same && holds_copies_only(a, b)
}

/// Whether the target holds between these what the copy appended there in one term, all of it and nothing else.
pub fn holds_copies_only(a: &Anchor, b: &Anchor) -> bool {
    let appended = i64::from(b.sequence.wrapping_sub(a.sequence) & i32::MAX);
    a.term == b.term && b.target_offset - a.target_offset == appended
}

/// The answer for all source offsets between `a` and `b`, if counting makes it no better: so much was left out there that
/// any of them may be any of the target's.
pub fn bounds(a: &Anchor, b: &Anchor) -> Option<Answer> {
    let source = b.source_offset.abs_diff(a.source_offset);
    (b.left_out.saturating_sub(a.left_out) >= source).then_some(Answer {
        low: a.target_offset,
        high: b.target_offset,
    })
}

/// The answer for a source offset between `a` and `b`, between which the source has `all` records, `before` of them
/// before the offset.
pub fn answer(a: &Anchor, b: &Anchor, all: i64, before: i64) -> Answer {
    let left_out = b.left_out.saturating_sub(a.left_out);
    let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
    let copied = |records: i64| records.saturating_sub(left_out).max(0);
    let low = a.target_offset + copied(before);
    let high = b.target_offset - copied(all - before);
    if low <= high {
        return Answer { low, high };
    }
    // More than was copied: not the source that it was.
    Answer {
        low: a.target_offset,
        high: b.target_offset,
    }
}

/// The place that was counted exactly between `a` and the next anchor, to look others up by: only the copy's own records
/// are between them.
pub fn pair(a: &Anchor, source_offset: i64, target_offset: i64) -> Anchor {
    Anchor {
        source_offset,
        target_offset,
        // It is not the beginning.
        number: a.number.max(1),
        sequence: wrap(i64::from(a.sequence) + (target_offset - a.target_offset)),
        ..*a
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(number: u64, source_offset: i64, target_offset: i64, sequence: i64) -> Anchor {
        Anchor {
            unit: 1,
            term: 0,
            number,
            source_offset,
            target_offset,
            sequence: wrap(sequence),
            left_out: 0,
        }
    }

    #[test]
    fn without_holes_it_is_arithmetic_and_needs_no_reading() {
        let start = i64::from(i32::MAX) - 50;
        let anchors = [anchor(0, 100, 0, start), anchor(1, 200, 100, start + 100)];
        assert_eq!(place(&anchors, 0), Place::At(0));
        assert_eq!(place(&anchors, 100), Place::At(0));
        assert_eq!(place(&anchors, 151), Place::At(51));
        assert_eq!(place(&anchors, 200), Place::At(100));
        assert_eq!(place(&anchors, 900), Place::At(100));
        assert_eq!(place(&anchors[1..], 199), Place::Unknown);
        assert_eq!(place(&[], 5), Place::Unknown);
    }

    #[test]
    fn a_hole_that_a_record_of_another_writer_fills_is_seen() {
        // 100 offsets on both sides, and 99 records.
        let (a, b) = (anchor(0, 0, 0, 0), anchor(1, 100, 100, 99));
        assert_eq!(place(&[a, b], 50), Place::Between(a, b));
        let next_term = Anchor {
            term: 1,
            ..anchor(1, 100, 100, 100)
        };
        assert_eq!(place(&[a, next_term], 50), Place::Between(a, next_term));
    }

    /// A source offset: what became of it.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Was {
        /// A marker, or a record of an aborted transaction.
        Nothing,
        Copied,
        /// Copied, and compacted away since.
        Compacted,
        /// Left out by the copy.
        LeftOut,
    }

    fn was() -> impl Strategy<Value = Was> {
        prop_oneof![
            3 => Just(Was::Copied), 2 => Just(Was::Nothing), 1 => Just(Was::Compacted), 1 => Just(Was::LeftOut)
        ]
    }

    proptest! {
        /// Against the full map: each source offset with the target offset of the first record copied at or behind it.
        #[test]
        fn no_answer_is_beyond_the_full_map_and_exact_ones_are_it(
            log in proptest::collection::vec((was(), 0i64..3), 1..120),
            anchored in proptest::collection::btree_set(0usize..120, 0..8),
            kinds in 0u8..8, ask in 0i64..130,
        ) {
            // Which disturbances there are at all, so that undisturbed logs are tried as well.
            let allowed = |was| match was {
                Was::Compacted => kinds & 1 != 0,
                Was::LeftOut => kinds & 2 != 0,
                Was::Nothing | Was::Copied => true,
            };
            let log: Vec<_> = log
                .into_iter()
                .map(|(was, others)| {
                    let was = if allowed(was) { was } else { Was::Copied };
                    (was, if kinds & 4 == 0 { 0 } else { others })
                })
                .collect();
            let mut anchors = Vec::new();
            let mut full = Vec::new();
            let (mut target, mut sequence, mut left_out) = (0, 0, 0);
            for (offset, (was, others)) in log.iter().enumerate() {
                if offset == 0 || anchored.contains(&offset) {
                    let number = anchors.len() as u64;
                    anchors.push(Anchor { left_out, ..anchor(number, offset as i64, target, sequence) });
                }
                // Records of other writers come before it.
                target += others;
                full.push((*was, target));
                match was {
                    Was::Copied | Was::Compacted => {
                        target += 1;
                        sequence += 1;
                    }
                    Was::LeftOut => left_out += 1,
                    Was::Nothing => {}
                }
            }
            let number = anchors.len() as u64;
            anchors.push(Anchor { left_out, ..anchor(number, log.len() as i64, target, sequence) });
            let copied = |was: Was| matches!(was, Was::Copied | Was::Compacted);
            let behind = full.iter().skip(ask as usize);
            let next = behind.clone().find(|(was, _)| copied(*was)).map_or(target, |(_, at)| *at);
            let before = full.iter().take(ask as usize).rev().find(|(was, _)| copied(*was));
            let earliest = before.map_or(0, |(_, at)| at + 1);
            // Anything from behind the record before to the next one misses nothing and repeats nothing.
            let right = earliest..=next;
            match place(&anchors, ask) {
                Place::At(found) => prop_assert!(right.contains(&found), "{found} {right:?}"),
                Place::Between(a, b) => {
                    let is_there = |was: Was| matches!(was, Was::Copied | Was::LeftOut);
                    let count = |from: i64, to: i64| {
                        let some = &full[from as usize..to as usize];
                        some.iter().filter(|(was, _)| is_there(*was)).count() as i64
                    };
                    let all = count(a.source_offset, b.source_offset);
                    let found = answer(&a, &b, all, count(a.source_offset, ask));
                    prop_assert!(found.low <= next && found.high >= earliest, "{found:?} {right:?}");
                    if found.is_exact() {
                        prop_assert!(right.contains(&found.low), "{found:?} {right:?}");
                    } else {
                        prop_assert!(kinds != 0, "{found:?} {right:?}");
                    }
                }
                Place::Unknown => prop_assert!(false, "the map is whole"),
            }
        }
    }
}
