//! One fetch session (KIP-227): what the broker knows of our partitions, and what the next request has to
//! say. Pure.
//!
//! The broker remembers the partitions of a session with their offsets; a request names only what is new,
//! changed or gone, an answer only what has news. When the broker forgot the session, the next request names
//! everything again.

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::TopicPartition;

/// Where a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) topic_id: Uuid,
    pub(super) offset: i64,
    /// Epoch of the leader we know; -1: not told.
    pub(super) leader_epoch: i32,
    /// Epoch of the last batch before `offset`; -1: not known. The broker then says if its log differs there.
    pub(super) last_epoch: i32,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    known: BTreeMap<TopicPartition, Position>,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// New and changed ones.
    pub(super) fetch: Vec<(TopicPartition, Position)>,
    /// Those that are not wanted any more.
    pub(super) forget: Vec<(TopicPartition, Uuid)>,
}

impl Session {
    /// The next request, for exactly the partitions of `wanted`.
    pub(super) fn plan(&mut self, wanted: BTreeMap<TopicPartition, Position>) -> Plan {
        let known = if self.id == 0 {
            BTreeMap::new()
        } else {
            std::mem::take(&mut self.known)
        };
        let changed = wanted
            .iter()
            .filter(|(partition, at)| known.get(*partition) != Some(*at));
        let fetch = changed
            .map(|(partition, at)| (partition.clone(), *at))
            .collect();
        // A topic that was created anew is another one, whatever its name.
        let gone = known.iter().filter(|(partition, at)| {
            wanted
                .get(*partition)
                .is_none_or(|now| now.topic_id != at.topic_id)
        });
        let forget = gone
            .map(|(partition, at)| (partition.clone(), at.topic_id))
            .collect();
        self.known = wanted;
        Plan {
            session_id: self.id,
            session_epoch: self.epoch,
            fetch,
            forget,
        }
    }

    /// The broker answered with this session id; 0: it keeps no session.
    pub(super) fn answered(&mut self, id: i32) {
        self.id = id;
        self.epoch = match (id, self.epoch) {
            (0, _) => 0,
            // `FetchMetadata.nextEpoch`: 0 is for new sessions only.
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
    }

    /// The broker does not know the session any more, or no answer came.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(offsets: &[(&str, i64)]) -> BTreeMap<TopicPartition, Position> {
        let position = |offset| Position {
            topic_id: Uuid::from_u128(1),
            offset,
            leader_epoch: 0,
            last_epoch: -1,
        };
        offsets
            .iter()
            .map(|(name, offset)| (TopicPartition::new(*name, 0), position(*offset)))
            .collect()
    }

    fn names(fetch: &[(TopicPartition, Position)]) -> Vec<&str> {
        fetch
            .iter()
            .map(|(partition, _)| partition.topic.as_str())
            .collect()
    }

    #[test]
    fn a_session_says_only_what_changed() {
        let mut session = Session::default();
        let plan = session.plan(wanted(&[("a", 0), ("b", 5)]));
        assert_eq!((plan.session_id, plan.session_epoch), (0, 0));
        assert_eq!(names(&plan.fetch), ["a", "b"]);
        session.answered(77);
        let plan = session.plan(wanted(&[("a", 3), ("b", 5), ("c", 0)]));
        assert_eq!((plan.session_id, plan.session_epoch), (77, 1));
        assert_eq!(names(&plan.fetch), ["a", "c"]);
        assert!(plan.forget.is_empty());
        session.answered(77);
        let plan = session.plan(wanted(&[("c", 0)]));
        assert_eq!(plan.session_epoch, 2);
        assert!(plan.fetch.is_empty());
        assert_eq!(plan.forget.len(), 2);
    }

    #[test]
    fn without_a_session_everything_is_said_each_time() {
        let mut session = Session::default();
        for _ in 0..2 {
            let plan = session.plan(wanted(&[("a", 0)]));
            assert_eq!(
                (plan.session_id, plan.session_epoch, plan.fetch.len()),
                (0, 0, 1)
            );
            session.answered(0);
        }
        session.answered(5);
        session.plan(wanted(&[("a", 0)]));
        session.reset();
        let plan = session.plan(wanted(&[("a", 0)]));
        assert_eq!(
            (plan.session_id, plan.session_epoch, plan.fetch.len()),
            (0, 0, 1)
        );
    }

    #[test]
    fn a_topic_created_anew_is_forgotten_and_fetched() {
        let mut session = Session::default();
        session.plan(wanted(&[("a", 9)]));
        session.answered(5);
        let mut again = wanted(&[("a", 0)]);
        for position in again.values_mut() {
            position.topic_id = Uuid::from_u128(2);
        }
        let plan = session.plan(again);
        assert_eq!(
            plan.forget,
            [(TopicPartition::new("a", 0), Uuid::from_u128(1))]
        );
        assert_eq!(names(&plan.fetch), ["a"]);
    }
}
