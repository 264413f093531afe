//! What a member has, what it is about to lose, and what still runs here. Pure.
//!
//! Three parties change it: the group assigns and revokes, the member releases, the supervisor
//! holds and settles. Invariant: what runs here ([`Holdings::hold`]) and was taken away is not offered
//! again before the supervisor has settled it; otherwise a partition that went away and came back between two
//! looks would keep its old worker, which does not know what another process wrote meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use wire::TopicPartition;

type Partitions = BTreeSet<TopicPartition>;

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Assigned by the group; may be committed for. With the number of the assignment.
    assigned: BTreeMap<TopicPartition, u64>,
    /// Assignments so far.
    count: u64,
    /// Of those, what is being revoked: to be released once nothing of it runs here.
    revoking: Partitions,
    /// What the supervisor was offered and has not settled.
    held: Partitions,
    /// Released while held: not offered again before it is settled.
    stale: Partitions,
}

impl Holdings {
    /// The group hands over more.
    pub(super) fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.count += 1;
            self.assigned.entry(partition).or_insert(self.count);
        }
    }

    /// The group wants some back; it waits for the release.
    pub(super) fn revoke(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let ours = partitions
            .into_iter()
            .filter(|p| self.assigned.contains_key(p));
        self.revoking.extend(ours);
    }

    /// What is being revoked is given up.
    pub(super) fn release(&mut self) {
        for partition in std::mem::take(&mut self.revoking) {
            self.assigned.remove(&partition);
            if self.held.contains(&partition) {
                self.stale.insert(partition);
            }
        }
    }

    /// All are gone already; how many.
    pub(super) fn lose_all(&mut self) -> usize {
        let lost = self.assigned.len();
        self.revoking = self.assigned();
        self.release();
        lost
    }

    /// What the group handed over and has not got back.
    pub(super) fn assigned(&self) -> Partitions {
        self.assigned.keys().cloned().collect()
    }

    /// Whether nothing of what is being revoked runs here.
    pub(super) fn is_settled(&self) -> bool {
        self.revoking.is_disjoint(&self.held)
    }

    /// What may run here.
    pub(super) fn offered(&self) -> Partitions {
        let taken = |p: &&TopicPartition| self.revoking.contains(p) || self.stale.contains(p);
        let offered = self.assigned.keys().filter(|p| !taken(p));
        offered.cloned().collect()
    }

    /// The supervisor takes what is offered.
    pub(super) fn hold(&mut self) -> Partitions {
        let offered = self.offered();
        self.held.extend(offered.iter().cloned());
        offered
    }

    /// Nothing outside `kept` runs here; whether more is offered now.
    pub(super) fn settle(&mut self, kept: impl Fn(&TopicPartition) -> bool) -> bool {
        self.held.retain(kept);
        let before = self.stale.len();
        let held = &self.held;
        self.stale.retain(|partition| held.contains(partition));
        self.stale.len() < before
    }

    /// The number of the partition's assignment, while this member may commit for it. Each time it comes it is another
    /// one: meanwhile another member may have committed. So what the worker before left must not be committed after
    /// the partition came back.
    pub(super) fn assignment(&self, partition: &TopicPartition) -> Option<u64> {
        let number = self.assigned.get(partition).copied();
        number.filter(|_| !self.stale.contains(partition))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partitions(some: &[i32]) -> Partitions {
        some.iter().map(|p| TopicPartition::new("t", *p)).collect()
    }

    #[test]
    fn a_revoked_partition_is_committed_for_until_it_is_released() {
        let mut holdings = Holdings::default();
        holdings.assign(partitions(&[0, 1]));
        assert_eq!(holdings.hold(), partitions(&[0, 1]));
        holdings.revoke(partitions(&[1]));
        assert_eq!(holdings.offered(), partitions(&[0]));
        assert!(!holdings.is_settled());
        let first = holdings.assignment(&TopicPartition::new("t", 1));
        assert!(first.is_some());
        let kept = holdings.hold();
        holdings.settle(|p| kept.contains(p));
        assert!(holdings.is_settled());
        holdings.release();
        assert_eq!(holdings.assignment(&TopicPartition::new("t", 1)), None);
        holdings.assign(partitions(&[1]));
        let second = holdings.assignment(&TopicPartition::new("t", 1));
        assert!(second.is_some() && second != first);
    }

    #[test]
    fn what_was_never_held_is_settled_at_once() {
        let mut holdings = Holdings::default();
        holdings.assign(partitions(&[0]));
        holdings.revoke(partitions(&[0]));
        assert!(holdings.is_settled());
        assert!(holdings.hold().is_empty());
    }

    #[test]
    fn what_went_and_came_back_unseen_is_offered_only_after_its_worker_ended() {
        let mut holdings = Holdings::default();
        holdings.assign(partitions(&[0, 1]));
        holdings.hold();
        holdings.lose_all();
        holdings.assign(partitions(&[0, 1, 2]));
        assert_eq!(holdings.offered(), partitions(&[2]));
        let first = TopicPartition::new("t", 0);
        assert_eq!(holdings.assignment(&first), None, "the old worker's");
        let kept = holdings.hold();
        assert!(holdings.settle(|p| kept.contains(p)));
        assert!(holdings.assignment(&first).is_some());
        assert_eq!(holdings.offered(), partitions(&[0, 1, 2]));
        assert!(!holdings.settle(|_| true));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(i32),
        Revoke(i32),
        Release,
        LoseAll,
        /// The supervisor: ends what it must, says so, then starts what it was offered.
        Turn,
    }

    proptest! {
        /// Whatever the order of events: between two turns a partition that another member may have had
        /// in the meantime is never offered while its old worker runs.
        #[test]
        fn no_worker_outlives_its_assignment_unnoticed(steps in proptest::collection::vec(
            prop_oneof![
                (0..4i32).prop_map(Step::Assign),
                (0..4i32).prop_map(Step::Revoke),
                Just(Step::Release),
                Just(Step::LoseAll),
                Just(Step::Turn),
            ], 1..60))
        {
            let mut holdings = Holdings::default();
            // Workers that run, and those among them whose partition was given up since they started.
            let (mut running, mut outdated) = (Partitions::new(), Partitions::new());
            for step in steps {
                match step {
                    Step::Assign(p) => holdings.assign(partitions(&[p])),
                    Step::Revoke(p) => holdings.revoke(partitions(&[p])),
                    Step::Release => holdings.release(),
                    Step::LoseAll => {
                        holdings.lose_all();
                    }
                    Step::Turn => {
                        let offered = holdings.hold();
                        running.retain(|p| offered.contains(p));
                        outdated.retain(|p| running.contains(p));
                        holdings.settle(|p| offered.contains(p));
                        prop_assert!(outdated.is_empty(), "{:?} runs on", outdated);
                        running.extend(offered);
                    }
                }
                let lost = running.iter().filter(|p| holdings.assignment(p).is_none());
                outdated.extend(lost.cloned());
            }
        }
    }
}
