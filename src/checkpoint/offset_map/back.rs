//! From a target offset to the source's: what [`lookup`](super::lookup) does, the other way round. Pure.
//!
//! The source offset of a target offset `T` is that of the first record whose copy is at or behind `T`: who goes on there
//! has read every record whose copy is before `T`, and reads none of them again. Where the source has less between two
//! anchors than the target got, the count bounds the place from both sides; whoever is taken back goes to the lower one, as
//! going back repeats records and going too far loses them.

use super::{anchor::Anchor, lookup::is_dense};

/// What anchors say of a target offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// The source offset.
    At(i64),
    /// It is between these; the source's records there are to be counted.
    Between(Anchor, Anchor),
    /// Behind all that was copied.
    Beyond,
    /// The map does not reach back so far.
    Unknown,
}

/// Where `target_offset` lies among `anchors`, which are in order.
pub fn source_place(anchors: &[Anchor], target_offset: i64) -> SourcePlace {
    let behind = anchors.partition_point(|anchor| anchor.target_offset < target_offset);
    match (anchors[..behind].last(), anchors.get(behind)) {
        (_, Some(b)) if b.target_offset == target_offset => {
            SourcePlace::At(last_of(&anchors[behind..]))
        }
        (Some(a), Some(b)) if a.source_offset == b.source_offset => {
            SourcePlace::At(b.source_offset)
        }
        (Some(a), Some(b)) if is_dense(a, b) => {
            SourcePlace::At(a.source_offset + (target_offset - a.target_offset))
        }
        (Some(a), Some(b)) => SourcePlace::Between(*a, *b),
        // Nothing that was copied is before the beginning.
        (None, Some(first)) if first.number == 0 => SourcePlace::At(first.source_offset),
        (None, _) => SourcePlace::Unknown,
        (Some(_), None) => SourcePlace::Beyond,
    }
}

/// Of anchors that begin at one target offset, the source offset of the last one there that passes over nothing: what was
/// left out of the copy nobody has read.
fn last_of(anchors: &[Anchor]) -> i64 {
    let first = &anchors[0];
    let same = |anchor: &&Anchor| {
        (anchor.target_offset, anchor.left_out) == (first.target_offset, first.left_out)
    };
    let last = anchors.iter().take_while(same).last();
    last.unwrap_or(first).source_offset
}

/// How many of the `all` records that the source has between `a` and `b` are before `target_offset`, which lies between
/// them: at least, and at most.
pub fn records_before(a: &Anchor, b: &Anchor, all: i64, target_offset: i64) -> (i64, i64) {
    let left_out = b.left_out.saturating_sub(a.left_out);
    let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
    // More than was copied: not the source that it was.
    if all.saturating_sub(left_out) > b.target_offset - a.target_offset {
        return (0, all);
    }
    let behind = b.target_offset - target_offset;
    let least = all.saturating_sub(left_out).saturating_sub(behind);
    let most = (target_offset - a.target_offset).saturating_add(left_out);
    (least.max(0), most.min(all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::worker::wrap;

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
        let anchors = [anchor(0, 100, 7, start), anchor(1, 200, 107, start + 100)];
        assert_eq!(source_place(&anchors, 7), SourcePlace::At(100));
        assert_eq!(source_place(&anchors, 58), SourcePlace::At(151));
        assert_eq!(source_place(&anchors, 107), SourcePlace::At(200));
        assert_eq!(source_place(&anchors, 108), SourcePlace::Beyond);
        // What the target held before the copy began is nothing of it.
        assert_eq!(source_place(&anchors, 3), SourcePlace::At(100));
        assert_eq!(source_place(&anchors[1..], 106), SourcePlace::Unknown);
        assert_eq!(source_place(&[], 0), SourcePlace::Unknown);
    }

    #[test]
    fn what_was_left_out_is_not_passed_over_and_markers_are() {
        let marked = [anchor(1, 50, 40, 0), anchor(2, 53, 40, 0)];
        assert_eq!(source_place(&marked, 40), SourcePlace::At(53));
        let left_out = Anchor {
            left_out: 1,
            ..marked[1]
        };
        assert_eq!(
            source_place(&[marked[0], left_out], 40),
            SourcePlace::At(50)
        );
    }

    #[test]
    fn records_of_others_on_the_target_move_nobody_ahead() {
        // Copied up to 100, then 20 of others, then on.
        let (a, b) = (anchor(1, 100, 100, 0), anchor(2, 100, 120, 0));
        assert_eq!(source_place(&[a, b], 110), SourcePlace::At(100));
        // The same where it is not known which of them were copied.
        let b = anchor(2, 130, 150, 0);
        assert_eq!(records_before(&a, &b, 30, 110), (0, 10));
        assert_eq!(records_before(&a, &b, 30, 145), (25, 30));
        assert_eq!(records_before(&a, &b, 60, 145), (0, 60));
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
        /// Against the full list of who was copied where. `least` passes over nothing unread, `most` repeats nothing; and
        /// where nothing disturbs, forward and back again is where one was.
        #[test]
        fn nothing_unread_is_passed_over_and_exact_answers_repeat_nothing(
            log in proptest::collection::vec((was(), 0i64..3), 1..120),
            anchored in proptest::collection::btree_set(0usize..120, 0..8),
            kinds in 0u8..8,
        ) {
            let allowed = |was| match was {
                Was::Compacted => kinds & 1 != 0,
                Was::LeftOut => kinds & 2 != 0,
                Was::Nothing | Was::Copied => true,
            };
            let mut anchors = Vec::new();
            // Source offset and target offset of what was copied, and all that the source still has.
            let (mut copied, mut held) = (Vec::new(), Vec::new());
            let (mut target, mut sequence, mut left_out) = (0, 0, 0);
            for (offset, (was, others)) in (0..).zip(&log) {
                let was = if allowed(*was) { *was } else { Was::Copied };
                if offset == 0 || anchored.contains(&(offset as usize)) {
                    let number = anchors.len() as u64;
                    anchors.push(Anchor { left_out, ..anchor(number, offset, target, sequence) });
                }
                target += if kinds & 4 == 0 { 0 } else { *others };
                if matches!(was, Was::Copied | Was::LeftOut) {
                    held.push(offset);
                }
                match was {
                    Was::Copied | Was::Compacted => {
                        copied.push((offset, target, was == Was::Copied));
                        target += 1;
                        sequence += 1;
                    }
                    Was::LeftOut => left_out += 1,
                    Was::Nothing => {}
                }
            }
            let (number, end) = (anchors.len() as u64, log.len() as i64);
            anchors.push(Anchor { left_out, ..anchor(number, end, target, sequence) });
            // What the source does not have any more nobody can read there.
            let is_safe = |at: i64, asked: i64| {
                copied.iter().all(|(s, t, is_there)| *s >= at || *t < asked || !is_there)
            };
            let repeats = |at: i64, asked: i64| {
                copied.iter().any(|(s, t, is_there)| *s >= at && *t < asked && *is_there)
            };
            for asked in 0..=target {
                let (least, most) = match source_place(&anchors, asked) {
                    SourcePlace::At(at) => (at, at),
                    SourcePlace::Between(a, b) => {
                        let between = a.source_offset..b.source_offset;
                        let between: Vec<i64> =
                            held.iter().copied().filter(|at| between.contains(at)).collect();
                        let all = between.len() as i64;
                        let (least, most) = records_before(&a, &b, all, asked);
                        prop_assert!(0 <= least && least <= most && most <= all);
                        let at = |count: i64| between.get(count as usize).copied();
                        let at = |count| at(count).unwrap_or(b.source_offset);
                        (at(least), at(most))
                    }
                    other => return Err(TestCaseError::fail(format!("{asked}: {other:?}"))),
                };
                prop_assert!(is_safe(least, asked), "{asked}: {least} {copied:?}");
                prop_assert!(!repeats(most, asked), "{asked}: {most} {copied:?}");
                if kinds == 0 {
                    prop_assert_eq!(least, most);
                    // There and back: the next record is the one whose copy it is.
                    let next = copied.iter().find(|(source, ..)| *source >= least);
                    prop_assert_eq!(next.map_or(target, |(_, copy, _)| *copy), asked);
                }
            }
            prop_assert_eq!(source_place(&anchors, target + 1), SourcePlace::Beyond);
        }
    }
}
