//! Reading from a replica that is nearer than the leader (KIP-392).
//!
//! The leader of a partition chooses: to a reader that told its rack it names the replica to read instead of giving
//! records. The task of that broker then goes on with the partition, which is its worker's business as little as
//! which broker leads. After a while the leader is asked again, as Kafka's consumer does
//! (`SubscriptionState.updatePreferredReadReplica`: for `metadata.max.age.ms`); after any error the partition is
//! given back to its worker, which opens it at its leader.

use std::time::Duration;

use wire::TopicPartition;

use super::fetcher::{Fetcher, Open};

/// How long a replica is read before the leader is asked again: Kafka's `metadata.max.age.ms`.
const STAY: Duration = Duration::from_secs(300);

impl Fetcher {
    /// The broker names the replica to read, or itself, or -1: none.
    pub(super) fn prefer(&mut self, name: &TopicPartition, replica: i32) {
        let at_leader = |name| {
            self.partitions
                .get(name)
                .is_some_and(|one| one.until.is_none())
        };
        if replica >= 0 && replica != self.broker && at_leader(name) {
            let until = self.settings.host.clock.monotonic() + STAY;
            self.hand_over(name, replica, Some(until));
        }
    }

    /// Partitions that were read here instead of at their leader for long enough go back there.
    pub(super) fn send_home(&mut self) {
        let now = self.settings.host.clock.monotonic();
        let due = self.partitions.iter();
        let due = due.filter(|(_, one)| one.until.is_some_and(|until| until <= now));
        let due: Vec<_> = due
            .map(|(name, one)| (name.clone(), one.leader.broker))
            .collect();
        for (name, leader) in due {
            self.hand_over(&name, leader, None);
        }
    }

    /// The task of another broker goes on with a partition. It stays here if that has no room for it now: it is
    /// asked for again, and the answer is the same.
    fn hand_over(&mut self, name: &TopicPartition, broker: i32, until: Option<Duration>) {
        let Some(fetchers) = self.fetchers.upgrade() else {
            return;
        };
        let queue = fetchers.broker(broker);
        let Ok(place) = queue.try_reserve() else {
            return;
        };
        let Some(partition) = self.partitions.remove(name) else {
            return;
        };
        self.session.leave(name, partition.asked);
        place.send(Open {
            partition: name.clone(),
            leader: partition.leader,
            until,
            offset: partition.position.offset,
            epoch: partition.position.last_epoch,
            most: partition.most,
            sender: partition.sender,
            looks: partition.looks,
        });
    }
}
