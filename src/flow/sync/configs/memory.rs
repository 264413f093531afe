//! What is known of one topic's configs from look to look, and what follows from it. Pure.
//!
//! A change of the source's is told from one that somebody made on the target by what was wished for at the last look. What
//! the target refuses is not asked for again in every round, and who sets a config back again and again is not fought.

use std::{collections::BTreeMap, time::Duration};

use super::alter::Step;
use crate::flow::topics::configs::{Change, Wishes};

/// For how long what was refused, or is contested, is left alone.
const LEAVE: Duration = Duration::from_secs(3600);
/// As often a config is set back that somebody else changes; then it is left alone.
const MOST_FIGHTS: u32 = 3;
/// After so much quiet the count begins anew.
const QUIET: Duration = Duration::from_secs(600);

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was to be set when all was as wished for; none: never, or not surely.
    agreed: Option<BTreeMap<String, String>>,
    /// By config: what is not asked for at the moment.
    left: BTreeMap<String, Left>,
    fights: BTreeMap<String, Fight>,
}

/// A config that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// What it was to be.
    pub(super) to: Option<String>,
    /// From a closed list.
    pub(super) code: &'static str,
    /// For people.
    pub(super) reason: String,
    until: Duration,
}

#[derive(Debug)]
struct Fight {
    to: Option<String>,
    count: u32,
    last: Duration,
}

impl Memory {
    /// What of `changes` is to be made `now`.
    pub(super) fn steps(&mut self, changes: Vec<Change>, now: Duration) -> Vec<Step> {
        let wanted = |name: &String, left: &Left| {
            let mut changes = changes.iter();
            changes.any(|change| change.name == *name && change.to == left.to)
        };
        self.left
            .retain(|name, left| now < left.until && wanted(name, left));
        let mut steps = Vec::new();
        for change in changes {
            if self.left.contains_key(&change.name) {
                continue;
            }
            let before = self.agreed.as_ref();
            let sets_back = before.is_some_and(|b| b.get(&change.name) == change.to.as_ref());
            if sets_back && self.is_contested(&change, now) {
                let shown = change.from.as_deref().unwrap_or("nothing");
                let reason = format!(
                    "set {MOST_FIGHTS} times and the target shows {shown} again: somebody else sets it, or the target \
                     keeps it in another form"
                );
                self.leave(change, "config_contested", reason, now);
            } else {
                steps.push(Step { change, sets_back });
            }
        }
        steps
    }

    fn is_contested(&mut self, change: &Change, now: Duration) -> bool {
        let fight = self.fights.entry(change.name.clone()).or_insert(Fight {
            to: change.to.clone(),
            count: 0,
            last: now,
        });
        if fight.to != change.to || now.saturating_sub(fight.last) > QUIET {
            fight.to.clone_from(&change.to);
            fight.count = 0;
        }
        fight.last = now;
        fight.count += 1;
        fight.count > MOST_FIGHTS
    }

    /// `change` is not asked for any more, for a while or until it is another one.
    pub(super) fn leave(
        &mut self,
        change: Change,
        code: &'static str,
        reason: String,
        now: Duration,
    ) {
        let left = Left {
            to: change.to,
            code,
            reason,
            until: now + LEAVE,
        };
        self.left.insert(change.name, left);
    }

    /// All that was to be done is done, or left.
    pub(super) fn agreed(&mut self, wishes: &Wishes) {
        let given = wishes.given().into_iter();
        let agreed = given.filter(|(name, _)| !self.left.contains_key(name));
        self.agreed = Some(agreed.collect());
    }

    /// What was to be done may not be done: what differs at the next look says nothing about others.
    pub(super) fn unsure(&mut self) {
        self.agreed = None;
    }

    /// What is left alone, by config.
    pub(super) fn left(&self) -> impl Iterator<Item = (&String, &Left)> {
        self.left.iter()
    }
}

#[cfg(test)]
mod tests {
    use wire::client::{ConfigEntry, ConfigSource};

    use super::*;
    use crate::config::ConfigRules;

    fn wishes(value: &str) -> Wishes {
        let entry = ConfigEntry {
            name: "a".to_owned(),
            value: Some(value.to_owned()),
            source: match value {
                "" => ConfigSource::Default,
                _ => ConfigSource::Topic,
            },
            read_only: false,
            sensitive: false,
        };
        Wishes::new(&ConfigRules::default(), &[entry], 0)
    }

    fn change(to: &str, from: &str) -> Change {
        let value = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Change {
            name: "a".to_owned(),
            to: value(to),
            from: value(from),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    /// Whether the change is made, and whether it sets something back.
    fn step(memory: &mut Memory, to: &str, from: &str, now: Duration) -> Option<bool> {
        let wishes = wishes(to);
        let steps = memory.steps(vec![change(to, from)], now);
        memory.agreed(&wishes);
        steps.first().map(|step| step.sets_back)
    }

    #[test]
    fn a_change_of_the_sources_is_told_from_one_on_the_target() {
        let mut memory = Memory::default();
        assert_eq!(step(&mut memory, "1", "0", MINUTE), Some(false), "unknown");
        assert_eq!(step(&mut memory, "2", "1", MINUTE), Some(false));
        assert_eq!(step(&mut memory, "2", "1", MINUTE), Some(true));
        assert_eq!(step(&mut memory, "", "2", MINUTE), Some(false));
        assert_eq!(step(&mut memory, "", "2", MINUTE), Some(true));
        memory.unsure();
        assert_eq!(step(&mut memory, "", "2", MINUTE), Some(false));
    }

    #[test]
    fn who_sets_it_back_each_time_is_not_fought_and_who_does_now_and_then_is() {
        let mut memory = Memory::default();
        memory.agreed(&wishes("1"));
        for _ in 0..3 {
            assert_eq!(step(&mut memory, "1", "0", MINUTE), Some(true));
        }
        assert_eq!(step(&mut memory, "1", "0", MINUTE), None);
        let (_, left) = memory.left().next().unwrap();
        assert!(left.reason.contains("shows 0 again"), "{left:?}");
        assert_eq!(left.code, "config_contested");
        // Another value is another matter, and so is the same one after an hour.
        assert_eq!(step(&mut memory, "2", "0", MINUTE), Some(false));
        for hours in 1..20 {
            assert_eq!(step(&mut memory, "2", "0", MINUTE * 60 * hours), Some(true));
        }
    }

    #[test]
    fn what_is_refused_is_asked_for_again_when_it_is_another_value_or_late() {
        let mut memory = Memory::default();
        let refuse = |memory: &mut Memory, to| {
            memory.leave(change(to, "0"), "config_refused", "no".to_owned(), MINUTE);
        };
        refuse(&mut memory, "1");
        assert_eq!(step(&mut memory, "1", "0", MINUTE * 2), None);
        assert_eq!(memory.left().count(), 1);
        assert_eq!(step(&mut memory, "2", "0", MINUTE * 2), Some(false));
        assert_eq!(memory.left().count(), 0);
        refuse(&mut memory, "2");
        assert_eq!(step(&mut memory, "2", "0", MINUTE * 3), None);
        assert_eq!(step(&mut memory, "2", "0", MINUTE * 61), Some(false));
        // It came about without strait, or is not wished for any more.
        refuse(&mut memory, "3");
        memory.steps(Vec::new(), MINUTE * 2);
        assert_eq!(memory.left().count(), 0);
    }
}
