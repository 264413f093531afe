//! Which anchors of a unit are kept, and what they say together. Pure.
//!
//! Anchor `i` goes into the slot (zeros at the end of `i`, (`i` without them, halved) mod [`WIDTH`]) and replaces what was
//! there: one small record for each new anchor. A level holds the last `WIDTH` of its numbers, and the levels from one up
//! hold all multiples of a power of two as far back as that level reaches; so at a distance of `d` numbers from the newest the
//! next older anchor is at most `d / WIDTH + 1` numbers away. Anchor 0, where the copy began, keeps its own slot.
//!
//! Whatever order the records have, the newest anchor (by term, then number) is believed; an older one only if it is
//! not behind a newer one in either partition, and not behind a cut that came after it. So a source that was read again
//! from further back ends in its newest branch, and a late record of an owner that is gone does no harm.

use super::anchor::{Anchor, Cut, Entry};

/// Anchors of one level.
pub(super) const WIDTH: u64 = 4;
/// Levels; numbers with more zeros at their ends than that share the last one.
pub(super) const LEVELS: u32 = 40;

/// Where a record of a unit belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// The anchor where the copy began.
    First,
    /// The unit's cuts.
    Cuts,
    /// One of the others.
    Rung {
        /// How many zeros its numbers end with.
        level: u32,
        /// Which of them.
        index: u64,
    },
}

/// Where the anchor with this number belongs.
pub(super) fn slot(number: u64) -> Slot {
    if number == 0 {
        return Slot::First;
    }
    let level = number.trailing_zeros().min(LEVELS - 1);
    let index = (number >> (level + 1)) % WIDTH;
    Slot::Rung { level, index }
}

/// The records of one target partition.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    /// In the order of their slots.
    anchors: Vec<Anchor>,
    /// And which unit's they are.
    cuts: Option<Box<(u64, Vec<Cut>)>>,
}

impl Ladder {
    /// Takes in the next record; nothing takes one away.
    pub(super) fn apply(&mut self, place: Slot, entry: Option<Entry>) {
        let found = self
            .anchors
            .binary_search_by_key(&place, |anchor| slot(anchor.number));
        match (entry, found) {
            (Some(Entry::Anchor(anchor)), Ok(at)) => self.anchors[at] = anchor,
            (Some(Entry::Anchor(anchor)), Err(at)) => self.anchors.insert(at, anchor),
            (Some(Entry::Cuts { unit, cuts }), _) => self.cuts = Some(Box::new((unit, cuts))),
            (None, Ok(at)) => drop(self.anchors.remove(at)),
            (None, Err(_)) if place == Slot::Cuts => self.cuts = None,
            (None, Err(_)) => {}
        }
    }

    /// Takes in an entry as if it was read.
    #[cfg(test)]
    pub(crate) fn take(&mut self, entry: Entry) {
        self.apply(entry.slot(), Some(entry));
    }

    /// Cuts of `unit`, oldest first.
    pub fn cuts(&self, unit: u64) -> &[Cut] {
        match self.cuts.as_deref() {
            Some((known, cuts)) if *known == unit => cuts,
            _ => &[],
        }
    }

    /// How far the copy of `unit` had come on the source before it was set back; behind that is what it comes to again.
    /// Only target offsets up to `most` count.
    pub fn had_reached(&self, unit: u64, most: i64) -> i64 {
        let held = self.held(unit);
        let held = held.filter(|anchor| anchor.target_offset <= most);
        let reached = held.map(|anchor| anchor.source_offset);
        reached.max().unwrap_or(-1)
    }

    /// The cut behind which nothing was written, if there is one: the target lost its end, and nobody goes on there yet.
    pub fn lost_end(&self, unit: u64) -> Option<Cut> {
        let cut = *self.cuts(unit).last()?;
        let newest = self.held(unit).map(|anchor| (anchor.term, anchor.number));
        newest
            .max()
            .is_none_or(|newest| newest <= (cut.term, cut.number))
            .then_some(cut)
    }

    /// All anchors of `unit` that no cut takes away.
    fn held(&self, unit: u64) -> impl Iterator<Item = Anchor> {
        let cuts = self.cuts(unit);
        let of_unit = self.anchors.iter().copied();
        let of_unit = of_unit.filter(move |anchor| anchor.unit == unit);
        of_unit.filter(|anchor| !cuts.iter().any(|cut| cut.concerns(anchor)))
    }

    /// What is to be believed of `unit`, in the order of both partitions.
    pub fn anchors(&self, unit: u64) -> Vec<Anchor> {
        let mut anchors: Vec<Anchor> = self.held(unit).collect();
        anchors.sort_unstable_by_key(|anchor| std::cmp::Reverse((anchor.term, anchor.number)));
        let mut believed: Vec<Anchor> = Vec::with_capacity(anchors.len());
        for anchor in anchors {
            let place = |anchor: &Anchor| (anchor.source_offset, anchor.target_offset);
            let next = believed.last().map_or((i64::MAX, i64::MAX), place);
            let (source, target) = place(&anchor);
            let fits = source <= next.0 && target <= next.1;
            // Twice the same place says no more, save where the copy began.
            if fits && ((source, target) != next || anchor.number == 0) {
                believed.push(anchor);
            }
        }
        believed.reverse();
        believed
    }
}

impl Cut {
    fn concerns(&self, anchor: &Anchor) -> bool {
        (anchor.term, anchor.number) <= (self.term, self.number)
            && anchor.target_offset > self.target_offset
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(term: u64, number: u64, source_offset: i64, target_offset: i64) -> Anchor {
        let (unit, sequence, left_out) = (7, 0, 0);
        Anchor {
            unit,
            term,
            number,
            source_offset,
            target_offset,
            sequence,
            left_out,
        }
    }

    fn ladder(entries: impl IntoIterator<Item = Entry>) -> Ladder {
        let mut ladder = Ladder::default();
        for entry in entries {
            ladder.apply(entry.slot(), Some(entry));
        }
        ladder
    }

    fn places(ladder: &Ladder) -> Vec<(i64, i64)> {
        let anchors = ladder.anchors(7).into_iter();
        anchors
            .map(|anchor| (anchor.source_offset, anchor.target_offset))
            .collect()
    }

    #[test]
    fn anchors_are_dense_near_the_end_and_reach_back_to_the_beginning() {
        for count in [1, 2, 10, 1_000, 100_000] {
            let entries = (0..=count).map(|n| Entry::Anchor(anchor(0, n, n as i64, n as i64)));
            let ladder = ladder(entries);
            let kept: Vec<u64> = ladder
                .anchors(7)
                .iter()
                .map(|anchor| anchor.number)
                .collect();
            assert!(kept.len() as u64 <= WIDTH * 18 + 1, "{}", kept.len());
            assert_eq!((kept[0], kept[kept.len() - 1]), (0, count));
            for pair in kept.windows(2) {
                let distance = count - pair[0];
                let step = pair[1] - pair[0];
                assert!(
                    step <= distance / WIDTH + 1,
                    "{step} at {distance} of {count}"
                );
            }
        }
    }

    /// The memory of a map of 10,000 partitions with a million anchors written for each: run it with `--nocapture`.
    #[test]
    #[ignore = "it prints a figure"]
    fn ten_thousand_partitions_take_some_memory() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages = pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
            pages * 4 / 1024
        };
        let before = resident();
        let one = ladder((0..1_000_000).map(|n| Entry::Anchor(anchor(0, n, n as i64, n as i64))));
        let all: Vec<_> = (0..10_000).map(|_| one.clone()).collect();
        println!(
            "{} anchors each, {} MB in all",
            all[0].anchors.len(),
            resident() - before
        );
    }

    #[test]
    fn a_cut_is_about_what_came_before_it() {
        let cut = Cut {
            term: 1,
            number: 3,
            target_offset: 20,
        };
        let old = (0..4).map(|n| Entry::Anchor(anchor(1, n, 10 * n as i64, 10 * n as i64)));
        let cuts = Entry::Cuts {
            unit: 7,
            cuts: vec![cut],
        };
        let mut ladder = ladder(old.chain([cuts]));
        assert_eq!(places(&ladder), [(0, 0), (10, 10), (20, 20)]);
        // Copied again, with another mapping.
        let again = anchor(1, 4, 26, 25);
        ladder.apply(slot(4), Some(Entry::Anchor(again)));
        // An owner that is gone wrote late, whatever number it had come to.
        let late = anchor(0, 5, 40, 24);
        ladder.apply(slot(5), Some(Entry::Anchor(late)));
        assert_eq!(places(&ladder), [(0, 0), (10, 10), (20, 20), (26, 25)]);
    }

    #[test]
    fn the_newest_branch_of_the_source_wins() {
        let old = (0..5).map(|n| Entry::Anchor(anchor(1, n, 10 * n as i64, 10 * n as i64)));
        let again = [anchor(1, 5, 15, 40), anchor(1, 6, 18, 43)].map(Entry::Anchor);
        let ladder = ladder(old.chain(again));
        assert_eq!(places(&ladder), [(0, 0), (10, 10), (15, 40), (18, 43)]);
    }

    #[test]
    fn another_unit_of_the_same_partition_inherits_nothing() {
        let mut ladder = ladder((0..9).map(|n| Entry::Anchor(anchor(0, n, 5, 5))));
        let cut = Cut {
            term: 9,
            number: 9,
            target_offset: 0,
        };
        ladder.apply(
            Slot::Cuts,
            Some(Entry::Cuts {
                unit: 8,
                cuts: vec![cut],
            }),
        );
        let other = Anchor {
            unit: 8,
            ..anchor(0, 0, 3, 0)
        };
        ladder.apply(Slot::First, Some(Entry::Anchor(other)));
        assert_eq!(ladder.anchors(8), [other]);
        assert!(ladder.cuts(7).is_empty());
        assert_eq!(places(&ladder), [(5, 5)]);
    }

    proptest! {
        /// Whatever the records: what is believed rises in both partitions, and the newest is among it.
        #[test]
        fn what_is_believed_is_in_order(
            found in proptest::collection::vec((0u64..3, 0u64..40, 0i64..50, 0i64..50), 1..60),
            cuts in proptest::collection::vec((0u64..3, 0u64..40, 0i64..50), 0..4),
        ) {
            let entries = found.iter().map(|(t, n, s, to)| Entry::Anchor(anchor(*t, *n, *s, *to)));
            let mut ladder = ladder(entries);
            let believed = ladder.anchors(7);
            for pair in believed.windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|a| (a.source_offset, a.target_offset));
                prop_assert!(a.0 <= b.0 && a.1 <= b.1 && (a != b || pair[0].number == 0));
            }
            let newest = ladder.anchors.iter().map(|anchor| (anchor.term, anchor.number));
            let last = believed.last().map(|anchor| (anchor.term, anchor.number));
            prop_assert_eq!(last, newest.max());
            let cuts: Vec<_> = cuts
                .iter()
                .map(|(term, number, target)| Cut { term: *term, number: *number, target_offset: *target })
                .collect();
            ladder.apply(Slot::Cuts, Some(Entry::Cuts { unit: 7, cuts: cuts.clone() }));
            for anchor in ladder.anchors(7) {
                for cut in &cuts {
                    let is_older = (anchor.term, anchor.number) <= (cut.term, cut.number);
                    prop_assert!(!is_older || anchor.target_offset <= cut.target_offset);
                }
            }
        }
    }
}
