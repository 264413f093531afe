//! Where partitions of the target begin and end, remembered: a flow's groups may stand still in many thousand partitions,
//! and to ask for all of them in each round is what most of an idle flow's work would be. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::TopicPartition;

use super::{PERIOD, translate::Told};

/// Partitions that are asked for in each round on average, though nothing of them changed.
const PER_ROUND: usize = 1_000;

/// As far as groups have use for them.
#[derive(Debug, Default)]
pub(super) struct Extents {
    known: BTreeMap<TopicPartition, Known>,
    /// When this round began.
    now: Duration,
    /// For so long they are believed where nothing changed.
    believed: Duration,
}

#[derive(Debug)]
struct Known {
    extent: (i64, i64),
    read: Duration,
    /// What was said with its help, by source offset.
    told: BTreeMap<i64, Told>,
    /// When it was of use.
    used: Duration,
}

impl Extents {
    /// Begins a round, and forgets what the last one had no use for.
    pub(super) fn begin(&mut self, now: Duration) {
        let last = std::mem::replace(&mut self.now, now);
        self.known.retain(|_, known| known.used >= last);
        let rounds = u32::try_from(self.known.len() / PER_ROUND).unwrap_or(u32::MAX);
        self.believed = PERIOD.saturating_mul(rounds);
    }

    /// Whether `target` has to be asked for before this is said of it: not if nothing else was said a little while ago.
    pub(super) fn lacks(&mut self, target: &TopicPartition, told: &BTreeMap<i64, Told>) -> bool {
        let (now, believed) = (self.now, self.believed);
        let Some(known) = self.known.get_mut(target) else {
            return true;
        };
        known.used = now;
        let is_new = |(offset, told): (&i64, &Told)| known.told.get(offset) != Some(told);
        let is_old = now.saturating_sub(known.read) >= believed;
        known.read != now && (is_old || told.iter().any(is_new))
    }

    /// `target` holds these offsets, as it was asked for in this round.
    pub(super) fn learn(&mut self, target: TopicPartition, extent: (i64, i64)) {
        let (read, used, told) = (self.now, self.now, BTreeMap::new());
        let known = Known {
            extent,
            read,
            told,
            used,
        };
        self.known.insert(target, known);
    }

    /// `target` was asked for, and does not tell.
    pub(super) fn forget(&mut self, target: &TopicPartition) {
        self.known.remove(target);
    }

    /// What `target` holds, with whose help this is said.
    pub(super) fn tell(
        &mut self,
        target: &TopicPartition,
        told: &BTreeMap<i64, Told>,
    ) -> Option<(i64, i64)> {
        let known = self.known.get_mut(target)?;
        known.told.extend(told);
        Some(known.extent)
    }

    /// Those of `targets` that were not asked for in this round.
    pub(super) fn remembered<'a>(
        &self,
        targets: impl Iterator<Item = &'a TopicPartition>,
    ) -> BTreeSet<TopicPartition> {
        let is_fresh = |target: &TopicPartition| {
            let known = self.known.get(target);
            known.is_some_and(|known| known.read == self.now)
        };
        targets
            .filter(|target| !is_fresh(target))
            .cloned()
            .collect()
    }

    /// Whether `target` holds `offset`, or ends there.
    pub(super) fn holds(&self, target: &TopicPartition, offset: i64) -> bool {
        let known = self.known.get(target);
        known.is_some_and(|known| (known.extent.0..=known.extent.1).contains(&offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::offset_map::Answer;

    fn partition(index: usize) -> TopicPartition {
        TopicPartition::new(format!("t{index:05}"), 0)
    }

    fn says(offset: i64, target: i64) -> BTreeMap<i64, Told> {
        let answer = Answer {
            low: target,
            high: target,
        };
        BTreeMap::from([(offset, Told::Answer(answer))])
    }

    /// What one round asks for, where `told` is said of each partition.
    fn round(
        extents: &mut Extents,
        second: u64,
        count: usize,
        told: impl Fn(usize) -> BTreeMap<i64, Told>,
    ) -> usize {
        extents.begin(Duration::from_secs(second));
        let mut asked = 0;
        for index in 0..count {
            let (target, told) = (partition(index), told(index));
            if extents.lacks(&target, &told) {
                asked += 1;
                extents.learn(target.clone(), (0, 100));
            }
            assert_eq!(extents.tell(&target, &told), Some((0, 100)));
        }
        asked
    }

    #[test]
    fn groups_that_stand_still_in_many_partitions_ask_for_few() {
        let mut extents = Extents::default();
        let rounds: Vec<_> = (0..100)
            .map(|n| round(&mut extents, 3 + 3 * n, 10_000, |_| says(5, 5)))
            .collect();
        assert_eq!(rounds[0], 10_000);
        let later: usize = rounds[1..].iter().sum();
        assert!((80_000..=110_000).contains(&later), "{later}");
    }

    #[test]
    fn few_are_asked_for_each_time() {
        let mut extents = Extents::default();
        for n in 1..10 {
            assert_eq!(round(&mut extents, 3 * n, 999, |_| says(5, 5)), 999);
        }
    }

    #[test]
    fn what_moves_is_asked_for_at_once_and_alone() {
        let mut extents = Extents::default();
        round(&mut extents, 3, 5_000, |_| says(5, 5));
        let moved = |moved: i64| {
            move |index| match index {
                7 => says(moved, moved),
                _ => says(5, 5),
            }
        };
        assert_eq!(round(&mut extents, 6, 5_000, moved(6)), 1);
        assert_eq!(round(&mut extents, 9, 5_000, moved(6)), 0);
        // The same offset, of which something else is said.
        let waits = |index| match index {
            8 => BTreeMap::from([(5, Told::Waits)]),
            _ => moved(6)(index),
        };
        assert_eq!(round(&mut extents, 12, 5_000, waits), 1);
    }

    #[test]
    fn what_is_not_of_use_any_more_is_forgotten() {
        let mut extents = Extents::default();
        round(&mut extents, 3, 5_000, |_| says(5, 5));
        round(&mut extents, 6, 10, |_| says(5, 5));
        extents.begin(Duration::from_secs(9));
        assert_eq!(extents.known.len(), 10);
    }

    #[test]
    fn before_a_commit_remembered_ones_count_for_nothing() {
        let mut extents = Extents::default();
        round(&mut extents, 3, 2_000, |_| says(5, 5));
        extents.begin(Duration::from_secs(6));
        let (a, b) = (partition(1), partition(2));
        extents.learn(b.clone(), (10, 20));
        assert_eq!(
            extents.remembered([&a, &b].into_iter()),
            BTreeSet::from([a.clone()])
        );
        assert!(!extents.holds(&b, 9) && extents.holds(&b, 10) && extents.holds(&b, 20));
        assert!(!extents.holds(&b, 21));
        extents.forget(&a);
        assert!(!extents.holds(&a, 5));
    }
}
