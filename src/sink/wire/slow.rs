//! Which partitions of a broker go by its second connection for a while (EXACTNESS 13). Pure, behind a lock.
//!
//! A broker works on one request of a connection at a time, so a partition that is slow holds back all others of
//! its connection, and one whose requests end the connection breaks theirs. Such a partition stays away until it
//! has been well for its stay, and then tries the usual connection again; if that fails too soon, the next stay is
//! twice as long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wire::TopicPartition;

/// How long a partition stays away, at first and at most: what its return costs the others is then little of
/// their time.
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

/// The partitions that stay away, and those that did of late.
#[derive(Debug, Default)]
pub(super) struct SlowLane(Mutex<HashMap<Arc<TopicPartition>, Stay>>);

#[derive(Clone, Copy, Debug)]
struct Stay {
    length: Duration,
    /// On the monotonic clock.
    until: Duration,
}

impl SlowLane {
    /// Whether `partition` goes by the second connection.
    pub(super) fn holds(&self, partition: &TopicPartition, now: Duration) -> bool {
        self.stays()
            .get(partition)
            .is_some_and(|stay| now < stay.until)
    }

    /// It does from now on. How long, if it did not before.
    pub(super) fn take(&self, partition: &Arc<TopicPartition>, now: Duration) -> Option<Duration> {
        let mut stays = self.stays();
        stays.retain(|_, stay| now < stay.until + stay.length);
        let known = stays.get(partition).copied();
        let is_new = known.is_none_or(|stay| now >= stay.until);
        let length = match known {
            None => FIRST,
            Some(stay) if is_new => (stay.length * 2).min(LONGEST),
            Some(stay) => stay.length,
        };
        let until = now + length;
        stays.insert(Arc::clone(partition), Stay { length, until });
        is_new.then_some(length)
    }

    fn stays(&self) -> MutexGuard<'_, HashMap<Arc<TopicPartition>, Stay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rule_13_a_slow_partition_comes_back_and_stays_away_for_longer_if_it_was_too_soon() {
        let lane = SlowLane::default();
        let slow = Arc::new(TopicPartition::new("slow", 0));
        assert!(!lane.holds(&slow, SECOND));
        assert_eq!(lane.take(&slow, SECOND), Some(FIRST));
        assert!(lane.holds(&slow, SECOND) && lane.holds(&slow, FIRST));
        // Still slow: the stay begins anew, and is no longer than before.
        assert_eq!(lane.take(&slow, FIRST), None);
        assert!(lane.holds(&slow, FIRST * 2 - SECOND));
        assert!(!lane.holds(&slow, FIRST * 2));
        let mut now = FIRST * 2;
        for wanted in [
            FIRST * 2,
            FIRST * 4,
            FIRST * 8,
            FIRST * 16,
            LONGEST,
            LONGEST,
        ] {
            assert_eq!(lane.take(&slow, now), Some(wanted));
            now += wanted;
            assert!(!lane.holds(&slow, now));
        }
        // It was well for long.
        assert_eq!(lane.take(&slow, now + LONGEST), Some(FIRST));
    }

    #[test]
    fn those_that_have_been_well_for_long_are_forgotten() {
        let lane = SlowLane::default();
        for at in 0..100_u32 {
            let partition = Arc::new(TopicPartition::new("t", i32::try_from(at).unwrap()));
            lane.take(&partition, FIRST * at);
        }
        assert!(lane.stays().len() <= 3);
    }
}
