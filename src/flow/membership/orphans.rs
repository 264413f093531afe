//! Partitions that the group forgot. Pure.
//!
//! A static member that comes back with another subscription triggers no rebalance, so what only it
//! subscribes to now belongs to nobody (EXACTNESS 9). Nobody's for a while means that somebody has to
//! join again; nobody's for a moment is any rebalance.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::TopicPartition;

/// How long a partition may be nobody's.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where joining again does not help, it is tried less and less often, but not less than so.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Since when partitions have been nobody's.
#[derive(Debug, Default)]
pub struct Orphans {
    since: BTreeMap<TopicPartition, Duration>,
    /// After a try to help, and as long as something is nobody's: when to try again, and the pause then.
    tried: Option<(Duration, Duration)>,
}

impl Orphans {
    /// What of `wanted` has been nobody's for too long at `now`; `owned` is what members have.
    pub fn look(
        &mut self,
        wanted: impl IntoIterator<Item = TopicPartition>,
        owned: &BTreeSet<TopicPartition>,
        now: Duration,
    ) -> BTreeSet<TopicPartition> {
        let before = std::mem::take(&mut self.since);
        for partition in wanted {
            if !owned.contains(&partition) {
                let since = before.get(&partition).copied().unwrap_or(now);
                self.since.insert(partition, since);
            }
        }
        if self.since.is_empty() {
            self.tried = None;
        }
        let late = |since: Duration| now.saturating_sub(since) >= PATIENCE;
        let late = self.since.iter().filter(|(_, since)| late(**since));
        late.map(|(partition, _)| partition.clone()).collect()
    }

    /// Whether something is nobody's, however long.
    pub fn any(&self) -> bool {
        !self.since.is_empty()
    }

    /// Whether to join again now, because something has been nobody's for too long.
    pub fn rejoin(&mut self, now: Duration) -> bool {
        let late = self
            .since
            .values()
            .any(|since| now.saturating_sub(*since) >= PATIENCE);
        let (next, pause) = self.tried.unwrap_or((now, PATIENCE));
        let due = late && now >= next;
        if due {
            let pause = (pause * 2).min(LAST_PAUSE);
            self.tried = Some((now + pause, pause));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new("t", index)
    }

    #[test]
    fn only_what_is_nobodys_for_long_is_found() {
        let mut orphans = Orphans::default();
        let second = Duration::from_secs(1);
        let wanted = || (0..3).map(partition);
        let owned = |some: &[i32]| some.iter().copied().map(partition).collect();
        assert!(orphans.look(wanted(), &owned(&[0]), second).is_empty());
        assert!(orphans.any());
        // 1 had an owner meanwhile, so it begins anew.
        assert!(
            orphans
                .look(wanted(), &owned(&[0, 1]), 4 * second)
                .is_empty()
        );
        let found = orphans.look(wanted(), &owned(&[0]), 6 * second);
        assert!(found.into_iter().eq([partition(2)]));
        let found = orphans.look(wanted(), &owned(&[]), 11 * second);
        assert!(found.into_iter().eq([partition(1), partition(2)]));
        // What is not wanted any more is nobody's business.
        assert!(
            orphans
                .look([partition(0)], &owned(&[]), 12 * second)
                .is_empty()
        );
        assert!(orphans.any());
    }

    #[test]
    fn joining_again_is_tried_less_and_less_often_until_it_helps() {
        let mut orphans = Orphans::default();
        let mut tries = Vec::new();
        for second in 0..100 {
            let now = Duration::from_secs(second);
            orphans.look([partition(0)], &BTreeSet::new(), now);
            if orphans.rejoin(now) {
                tries.push(second);
            }
        }
        assert_eq!(tries, [5, 15, 35, 75]);
        let hour = Duration::from_secs(3600);
        orphans.look([partition(0)], &BTreeSet::from([partition(0)]), hour);
        assert!(!orphans.rejoin(hour));
        orphans.look([partition(0)], &BTreeSet::new(), hour);
        assert!(!orphans.rejoin(hour));
        assert!(orphans.rejoin(hour + PATIENCE));
    }
}
