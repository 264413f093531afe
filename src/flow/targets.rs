//! Which of the target's topics a round asks for: those that are on their way, and of those at rest some in turn, so that a
//! flow of many thousand topics that do nothing costs little. Pure.

use std::collections::{BTreeMap, BTreeSet};

use wire::client::TopicDescription;

/// Topics at rest that one round asks for.
const PORTION: usize = 2_000;

/// What is known of the target's topics between two rounds.
#[derive(Debug, Default)]
pub(super) struct Targets {
    known: BTreeMap<String, TopicDescription>,
    /// The last one that was asked for in its turn.
    last: String,
}

impl Targets {
    /// Which of `names` to ask for; `rests` tells of one that is known whether nothing is to be done about it.
    pub(super) fn asked(
        &mut self,
        names: &BTreeSet<String>,
        rests: impl Fn(&TopicDescription) -> bool,
    ) -> Vec<String> {
        let is_at_rest = |name: &&String| self.known.get(*name).is_some_and(&rests);
        let (resting, mut asked): (Vec<_>, Vec<_>) = names.iter().partition(is_at_rest);
        let from = resting.partition_point(|name| **name <= self.last);
        let turn = resting[from..].iter().chain(&resting[..from]);
        let turn: Vec<_> = turn.take(PORTION).copied().collect();
        self.last = turn.last().map_or(String::new(), |last| (*last).clone());
        asked.extend(turn);
        asked.into_iter().cloned().collect()
    }

    /// All that is known, with what was `found` now; nothing of it is left here until it is kept again.
    pub(super) fn with(
        &mut self,
        names: &BTreeSet<String>,
        found: Vec<TopicDescription>,
    ) -> BTreeMap<String, TopicDescription> {
        let mut all = std::mem::take(&mut self.known);
        all.retain(|name, _| names.contains(name));
        all.extend(found.into_iter().map(|topic| (topic.name.clone(), topic)));
        all
    }

    /// What a round knew. Without it, as after one that was broken off, the next one asks for all.
    pub(super) fn keep(&mut self, all: BTreeMap<String, TopicDescription>) {
        self.known = all;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    fn names(count: usize) -> BTreeSet<String> {
        (0..count).map(|index| format!("t{index:05}")).collect()
    }

    fn topic(name: &str) -> TopicDescription {
        TopicDescription {
            name: name.to_owned(),
            id: Uuid::from_u128(1),
            internal: false,
            error: None,
            partitions: Vec::new(),
        }
    }

    /// What one round asks for, of a target that has all topics.
    fn round(
        targets: &mut Targets,
        names: &BTreeSet<String>,
        rests: impl Fn(&TopicDescription) -> bool,
    ) -> Vec<String> {
        let asked = targets.asked(names, rests);
        let found = asked.iter().map(|name| topic(name)).collect();
        let all = targets.with(names, found);
        assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), *names);
        targets.keep(all);
        asked
    }

    #[test]
    fn each_topic_at_rest_has_its_turn() {
        for count in [0, 1, PORTION - 1, PORTION, PORTION + 1, 10_000] {
            let (mut targets, names) = (Targets::default(), names(count));
            assert_eq!(round(&mut targets, &names, |_| true).len(), count, "all");
            let mut seen = BTreeSet::new();
            for _ in 0..count.div_ceil(PORTION) {
                let asked = round(&mut targets, &names, |_| true);
                assert_eq!(asked.len(), count.min(PORTION));
                seen.extend(asked);
            }
            assert_eq!(seen, names);
        }
    }

    #[test]
    fn what_is_on_its_way_is_asked_for_each_time() {
        let (mut targets, mut names) = (Targets::default(), names(10_000));
        let moves = |topic: &TopicDescription| topic.name != "t09999" && topic.name != "t00003";
        round(&mut targets, &names, moves);
        names.insert("new".to_owned());
        for _ in 0..3 {
            let asked = round(&mut targets, &names, moves);
            for name in ["t00003", "t09999"] {
                assert!(asked.iter().any(|asked| asked == name), "{name}");
            }
            assert!(asked.len() <= PORTION + 3);
        }
        assert!(targets.known.contains_key("new"));
    }

    #[test]
    fn what_a_round_lost_is_asked_for_again_and_what_goes_is_forgotten() {
        let (mut targets, names) = (Targets::default(), names(5_000));
        round(&mut targets, &names, |_| true);
        let broken_off = targets.with(&names, Vec::new());
        assert_eq!(broken_off.len(), 5_000);
        assert_eq!(round(&mut targets, &names, |_| true).len(), 5_000);
        let fewer: BTreeSet<_> = names.iter().take(10).cloned().collect();
        assert_eq!(round(&mut targets, &fewer, |_| true).len(), 10);
        assert_eq!(targets.known.len(), 10);
    }
}
