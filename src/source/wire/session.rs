//! One fetch session (KIP-227): what the broker knows of our partitions, and what the next request has to
//! say. Pure.
//!
//! The broker remembers the partitions of a session with their offsets; a request names only what is new,
//! changed or gone, an answer only what has news. When the broker forgot the session, the next request names
//! everything again.

use std::collections::BTreeSet;

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
    /// How much of it may be in an answer that begins with others.
    pub(super) max_bytes: i32,
}

/// What a broker's session knows of one partition; kept with the partition, so that a request costs no more than
/// a look at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked(Option<(u64, Position)>);

#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// Which session this is: what was asked in an earlier one is not known in it.
    number: u64,
    /// Requests without a session, so far.
    turn: usize,
    /// Partitions of this session that do not exist here any more.
    left: BTreeSet<(TopicPartition, Uuid)>,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan<'a> {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// New and changed ones.
    pub(super) fetch: Vec<(&'a TopicPartition, Position)>,
    /// Those that are not wanted any more.
    pub(super) forget: Vec<(TopicPartition, Uuid)>,
    /// Whether all are wanted.
    pub(super) all: bool,
}

impl Session {
    /// The next request, for exactly those of `partitions` that have a wanted position.
    pub(super) fn plan<'a>(
        &mut self,
        partitions: impl Iterator<Item = (&'a TopicPartition, &'a mut Asked, Option<Position>)>,
    ) -> Plan<'a> {
        let mut left = std::mem::take(&mut self.left);
        let mut plan = Plan {
            session_id: self.id,
            session_epoch: self.epoch,
            fetch: Vec::new(),
            forget: Vec::new(),
            all: true,
        };
        for (partition, asked, wanted) in partitions {
            let known = self.known(*asked);
            if let Some(at) = wanted.filter(|at| known != Some(*at)) {
                plan.fetch.push((partition, at));
                if !left.is_empty() {
                    // It came back: a broker forgets last, so it would forget it again.
                    left.remove(&(partition.clone(), at.topic_id));
                }
            }
            if let (Some(at), None) = (known, wanted) {
                plan.forget.push((partition.clone(), at.topic_id));
            }
            plan.all &= wanted.is_some();
            *asked = Asked(wanted.map(|at| (self.number, at)));
        }
        plan.forget.extend(left);
        if self.id == 0 && !plan.fetch.is_empty() {
            // A session serves its partitions by turns; without one it is ours to do.
            let first = self.turn % plan.fetch.len();
            plan.fetch.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        plan
    }

    /// A partition is gone from here. If it comes back, with the same topic or another one, it is a new one.
    pub(super) fn leave(&mut self, partition: &TopicPartition, asked: Asked) {
        if let Some(at) = self.known(asked) {
            self.left.insert((partition.clone(), at.topic_id));
        }
    }

    fn known(&self, asked: Asked) -> Option<Position> {
        let (number, at) = asked.0?;
        (number == self.number && self.id != 0).then_some(at)
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
        *self = Self {
            number: self.number + 1,
            turn: self.turn,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Partitions and what was asked of them.
    #[derive(Default)]
    struct Known(BTreeMap<TopicPartition, (Uuid, Asked)>);

    impl Known {
        /// What a request for these says: whether it is about a session, and which partitions it fetches and
        /// forgets.
        fn plan(&mut self, session: &mut Session, wanted: &[(&str, i64)]) -> (i32, i32, String) {
            for (name, _) in wanted {
                let id = Uuid::from_u128(1);
                let new = || (id, Asked::default());
                self.0
                    .entry(TopicPartition::new(*name, 0))
                    .or_insert_with(new);
            }
            let plan = session.plan(self.0.iter_mut().map(|(partition, (topic_id, asked))| {
                let at = wanted.iter().find(|(name, _)| *name == partition.topic);
                let position = at.map(|(_, offset)| Position {
                    topic_id: *topic_id,
                    offset: *offset,
                    leader_epoch: 0,
                    last_epoch: -1,
                    max_bytes: 1,
                });
                (partition, asked, position)
            }));
            let fetch = plan
                .fetch
                .iter()
                .map(|(partition, _)| format!("+{}", partition.topic));
            let forget = plan.forget.iter();
            let forget =
                forget.map(|(partition, id)| format!("-{}:{}", partition.topic, id.as_u128()));
            let said: Vec<_> = fetch.chain(forget).collect();
            (plan.session_id, plan.session_epoch, said.join(" "))
        }
    }

    fn says(id: i32, epoch: i32, said: &str) -> (i32, i32, String) {
        (id, epoch, said.to_owned())
    }

    #[test]
    fn a_session_says_only_what_changed() {
        let (mut session, mut known) = (Session::default(), Known::default());
        assert_eq!(
            known.plan(&mut session, &[("a", 0), ("b", 5)]),
            says(0, 0, "+a +b")
        );
        session.answered(77);
        let wanted = [("a", 3), ("b", 5), ("c", 0)];
        assert_eq!(known.plan(&mut session, &wanted), says(77, 1, "+a +c"));
        session.answered(77);
        assert_eq!(
            known.plan(&mut session, &[("c", 0)]),
            says(77, 2, "-a:1 -b:1")
        );
        session.answered(77);
        assert_eq!(known.plan(&mut session, &[("c", 0)]), says(77, 3, ""));
        session.answered(77);
        assert_eq!(
            known.plan(&mut session, &[("a", 3), ("c", 0)]),
            says(77, 4, "+a")
        );
    }

    #[test]
    fn without_a_session_everything_is_said_each_time() {
        let (mut session, mut known) = (Session::default(), Known::default());
        for turn in ["+a +b", "+b +a", "+a +b"] {
            let wanted = [("a", 0), ("b", 0)];
            assert_eq!(known.plan(&mut session, &wanted), says(0, 0, turn));
            session.answered(0);
        }
        session.answered(5);
        assert_eq!(known.plan(&mut session, &[("a", 0)]), says(5, 1, "-b:1"));
        session.reset();
        assert_eq!(known.plan(&mut session, &[("a", 0)]), says(0, 0, "+a"));
        session.answered(6);
        assert_eq!(known.plan(&mut session, &[("a", 0)]), says(6, 1, ""));
    }

    #[test]
    fn a_topic_created_anew_is_forgotten_and_fetched() {
        let (mut session, mut known) = (Session::default(), Known::default());
        known.plan(&mut session, &[("a", 9)]);
        session.answered(5);
        let (partition, (_, asked)) = known.0.pop_first().unwrap();
        session.leave(&partition, asked);
        known
            .0
            .insert(partition, (Uuid::from_u128(2), Asked::default()));
        assert_eq!(known.plan(&mut session, &[("a", 0)]), says(5, 1, "+a -a:1"));
        session.answered(5);
        assert_eq!(known.plan(&mut session, &[("a", 0)]), says(5, 2, ""));
    }

    #[test]
    fn a_partition_that_comes_back_is_not_forgotten() {
        let (mut session, mut known) = (Session::default(), Known::default());
        known.plan(&mut session, &[("a", 9), ("b", 0)]);
        session.answered(5);
        for (partition, (_, asked)) in std::mem::take(&mut known.0) {
            session.leave(&partition, asked);
        }
        assert_eq!(known.plan(&mut session, &[("a", 4)]), says(5, 1, "+a -b:1"));
    }
}
