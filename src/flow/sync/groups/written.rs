//! What was written for groups, in few bytes: there may be millions of offsets. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::TopicPartition;

use super::decide::Place;

/// Offsets that are remembered, in all some 50 MB. Groups beyond that are looked at in turn.
const MAX_OFFSETS: usize = 2_000_000;
/// An offset is written again after so long though it did not change: groups without members lose old commits.
const RENEW: Duration = Duration::from_secs(24 * 3600);

/// By group.
#[derive(Debug, Default)]
pub(super) struct Written {
    groups: BTreeMap<String, Group>,
    /// Numbers that stand for partitions of the target.
    partitions: BTreeMap<TopicPartition, u32>,
    /// The next one.
    next: u32,
    offsets: usize,
}

#[derive(Debug)]
struct Group {
    /// When all of it was written last.
    at: Duration,
    /// In the order of the partitions' numbers.
    offsets: Box<[Offset]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    partition: u32,
    source: i64,
    target: i64,
    /// Whether it is there only because the target lost what was behind it.
    is_back: bool,
}

/// What is known of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has what is wanted, unless somebody changed that.
    Same,
    /// It does not.
    Differs,
    /// All of it is to be written, changed or not.
    Renew,
    /// Nothing, and there is no room for more.
    TooMany,
}

impl Written {
    /// What is known of `group`, which is to have `places`.
    pub(super) fn of(
        &self,
        group: &str,
        places: &BTreeMap<TopicPartition, Place>,
        now: Duration,
    ) -> Known {
        let Some(known) = self.groups.get(group) else {
            return match self.offsets + places.len() > MAX_OFFSETS {
                true => Known::TooMany,
                false => Known::Renew,
            };
        };
        if now.saturating_sub(known.at) >= RENEW {
            return Known::Renew;
        }
        let is_known = |(partition, place): (&TopicPartition, &Place)| {
            let number = self.partitions.get(partition)?;
            let at = known
                .offsets
                .binary_search_by_key(number, |known| known.partition)
                .ok()?;
            (known.offsets[at] == Offset::new(*number, place)).then_some(())
        };
        match places.iter().all(|place| is_known(place).is_some()) {
            true => Known::Same,
            false => Known::Differs,
        }
    }

    /// `group` has `places`; `renewed` if all of them were written just now.
    pub(super) fn has<'a>(
        &mut self,
        group: &str,
        places: impl Iterator<Item = (&'a TopicPartition, &'a Place)>,
        renewed: Option<Duration>,
    ) {
        let before = self.forget(group);
        let mut offsets: Vec<Offset> = places
            .map(|(partition, place)| Offset::new(self.number(partition), place))
            .collect();
        offsets.sort_unstable_by_key(|offset| offset.partition);
        let Some(at) = renewed.or(before) else {
            return;
        };
        if self.offsets + offsets.len() > MAX_OFFSETS {
            return;
        }
        self.offsets += offsets.len();
        let offsets = offsets.into_boxed_slice();
        self.groups.insert(group.to_owned(), Group { at, offsets });
    }

    /// It is looked at anew; when it was written last.
    pub(super) fn forget(&mut self, group: &str) -> Option<Duration> {
        let gone = self.groups.remove(group)?;
        self.offsets -= gone.offsets.len();
        Some(gone.at)
    }

    /// Forgets groups that are not among these.
    pub(super) fn retain(&mut self, groups: &BTreeSet<String>) {
        self.groups.retain(|group, _| groups.contains(group));
        let counted = self.groups.values().map(|group| group.offsets.len());
        self.offsets = counted.sum();
        if self.groups.is_empty() {
            self.clear();
        }
    }

    /// What was written for a partition is there no more, as when its topic is another one now.
    pub(super) fn forget_partition(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn number(&mut self, partition: &TopicPartition) -> u32 {
        if let Some(number) = self.partitions.get(partition) {
            return *number;
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.partitions.insert(partition.clone(), number);
        number
    }
}

impl Offset {
    fn new(partition: u32, place: &Place) -> Self {
        Self {
            partition,
            source: place.source_offset,
            target: place.target_offset,
            is_back: place.only_behind.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn places(offsets: &[(i32, i64)]) -> BTreeMap<TopicPartition, Place> {
        let places = offsets.iter().map(|(partition, offset)| {
            let place = Place {
                source_offset: *offset,
                target_offset: offset / 2,
                only_behind: None,
            };
            (TopicPartition::new("t", *partition), place)
        });
        places.collect()
    }

    #[test]
    fn a_group_differs_by_any_of_its_places_and_not_by_those_that_are_not_asked_for() {
        let mut written = Written::default();
        let all = places(&[(0, 10), (1, 20), (7, 30)]);
        assert_eq!(written.of("g", &all, NOW), Known::Renew);
        written.has("other", places(&[(7, 1)]).iter(), Some(NOW));
        written.has("g", all.iter(), Some(NOW));
        assert_eq!(written.of("g", &all, NOW), Known::Same);
        assert_eq!(written.of("g", &places(&[(7, 30)]), NOW), Known::Same);
        for changed in [[(1, 22)], [(7, 20)], [(2, 20)]] {
            assert_eq!(written.of("g", &places(&changed), NOW), Known::Differs);
        }
        let mut back = all.clone();
        back.values_mut()
            .for_each(|place| place.only_behind = Some(5));
        assert_eq!(written.of("g", &back, NOW), Known::Differs);
    }

    #[test]
    fn what_is_there_no_more_is_written_again() {
        let mut written = Written::default();
        let all = places(&[(0, 10), (1, 20)]);
        written.has("g", all.iter(), Some(NOW));
        written.forget_partition(&TopicPartition::new("t", 0));
        assert_eq!(written.of("g", &all, NOW), Known::Differs);
        assert_eq!(written.of("g", &places(&[(1, 20)]), NOW), Known::Same);
        // No other one gets its number.
        written.has("other", places(&[(5, 10)]).iter(), Some(NOW));
        assert_eq!(written.of("g", &places(&[(5, 10)]), NOW), Known::Differs);
        written.has("g", all.iter(), None);
        assert_eq!(written.of("g", &all, NOW), Known::Same);
    }

    #[test]
    fn what_changes_often_is_renewed_all_the_same() {
        let mut written = Written::default();
        written.has("g", places(&[(0, 1), (1, 1)]).iter(), Some(NOW));
        for hour in 1..24 {
            let now = NOW + Duration::from_secs(3600 * hour);
            let moved = places(&[(0, 1 + hour as i64), (1, 1)]);
            assert_eq!(written.of("g", &moved, now), Known::Differs);
            written.has("g", moved.iter(), None);
        }
        let moved = places(&[(0, 24), (1, 1)]);
        assert_eq!(written.of("g", &moved, NOW + RENEW), Known::Renew);
    }

    #[test]
    fn half_a_million_groups_are_remembered_and_too_many_are_not() {
        let mut written = Written::default();
        let four = places(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
        let most = MAX_OFFSETS / 4;
        for number in 0..most {
            written.has(&format!("g{number}"), four.iter(), Some(NOW));
        }
        assert_eq!(written.of("g0", &four, NOW), Known::Same);
        assert_eq!(written.of("new", &four, NOW), Known::TooMany);
        written.has("new", four.iter(), Some(NOW));
        assert_eq!(written.of("new", &four, NOW), Known::TooMany);
        written.retain(&BTreeSet::from(["g5".to_owned()]));
        assert_eq!(written.of("g5", &four, NOW), Known::Same);
        assert_eq!(written.of("new", &four, NOW), Known::Renew);
        assert_eq!(size_of::<Offset>(), 24);
    }
}
