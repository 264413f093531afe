//! What the configs of a topic on the target are to be, from the source's: snapshot → plan. Pure.
//!
//! Only what is set on the source's topic is a topic's own: what its brokers have, in a file or while they run, is a
//! default like Kafka's. What only the target knows is not strait's, nor is what is read-only or not shown.

use std::collections::{BTreeMap, BTreeSet};

use wire::client::{ConfigEntry, ConfigOp, ConfigSource};

use super::create::LeftOut;
use crate::config::{ConfigRules, DefaultsFrom};

/// Also without a rule that excludes it: it has a rule of its own.
pub(super) const MIN_ISR: &str = "min.insync.replicas";
/// Workers ask for it when they start, and what they guard rests on it (EXACTNESS 2): it stays what it is then.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// Lists of brokers by number: another cluster has other brokers.
const OF_BROKERS: [&str; 2] = [
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
];

/// What a topic's configs are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// By name; none: not set on the topic.
    values: BTreeMap<String, Option<String>>,
    /// Only given when the topic is created.
    kept: BTreeSet<String>,
    /// Set on the source, wanted, and not to be had.
    pub left_out: Vec<LeftOut>,
}

/// One config of the target's topic that is not what it is to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What it is set to; none: it falls back to the target's default.
    pub to: Option<String>,
    /// What holds on the target now.
    pub from: Option<String>,
}

impl Change {
    /// As the target is asked.
    pub fn op(&self) -> (String, ConfigOp) {
        let op = self.to.clone().map_or(ConfigOp::Delete, ConfigOp::Set);
        (self.name.clone(), op)
    }
}

impl Wishes {
    /// By `rules`, of a topic whose source has `source` and whose partitions have `replicas` on the target; 0: not known.
    pub fn new(rules: &ConfigRules, source: &[ConfigEntry], replicas: usize) -> Self {
        let mut wishes = Self::default();
        for config in source.iter().filter(|c| !c.sensitive && !c.read_only) {
            let is_set = config.source == ConfigSource::Topic;
            let value = match rules.defaults_from {
                _ if is_set => config.value.clone(),
                DefaultsFrom::Source if is_known(config) => config.value.clone(),
                DefaultsFrom::Source | DefaultsFrom::Target => None,
            };
            let name = &config.name;
            if rules.set.contains_key(name) || rules.excludes(name) || is_set && value.is_none() {
                continue;
            }
            if OF_BROKERS.contains(&name.as_str()) {
                wishes.leave_out(
                    name,
                    value.filter(|_| is_set),
                    "it names brokers of the source",
                );
                continue;
            }
            if rules.keeps(name) {
                wishes.kept.insert(name.clone());
            }
            wishes.values.insert(name.clone(), value);
        }
        let set = rules.set.iter();
        let set = set.map(|(name, value)| (name.clone(), Some(value.clone())));
        wishes.values.extend(set);
        wishes.kept.insert(TIMESTAMP_TYPE.to_owned());
        wishes.spare(replicas);
        wishes
    }

    /// Without more replicas in sync than there are: such a topic takes no record.
    fn spare(&mut self, replicas: usize) {
        let wanted = self.values.get(MIN_ISR).cloned().flatten();
        let number = wanted.as_ref().and_then(|value| value.parse().ok());
        if replicas > 0 && number.is_some_and(|number: usize| number > replicas) {
            let reason = format!("the replication factor is {replicas}");
            self.leave_out(MIN_ISR, wanted, &reason);
        }
    }

    /// Goes without `name`, whose value would be `value` if it had one.
    fn leave_out(&mut self, name: &str, value: Option<String>, reason: &str) {
        self.values.remove(name);
        self.left_out.extend(value.map(|value| LeftOut {
            name: name.to_owned(),
            value,
            reason: reason.to_owned(),
        }));
    }

    /// What a new topic is created with.
    pub fn given(&self) -> Vec<(String, String)> {
        let values = self.values.iter();
        values
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect()
    }

    /// The changes that make of a topic with the configs `target` what is wished for.
    pub fn changes(&self, target: &[ConfigEntry]) -> Vec<Change> {
        let target: BTreeMap<_, _> = target.iter().map(|c| (c.name.as_str(), c)).collect();
        let changes = self.values.iter().filter_map(|(name, wanted)| {
            let found = target.get(name.as_str());
            let alterable = found.is_none_or(|found| !found.sensitive && !found.read_only);
            let is_set = found.is_some_and(|found| found.source == ConfigSource::Topic);
            let now = found.and_then(|found| found.value.as_ref());
            let differs = match wanted {
                Some(wanted) => now.is_none_or(|now| !is_same(now, wanted)),
                None => is_set,
            };
            (differs && alterable && !self.kept.contains(name)).then(|| Change {
                name: name.clone(),
                to: wanted.clone(),
                from: now.cloned(),
            })
        });
        changes.collect()
    }
}

/// Brokers show lists in their own way.
fn is_same(one: &str, other: &str) -> bool {
    let parts = |text| str::split(text, ',').map(str::trim);
    one == other || parts(one).eq(parts(other))
}

/// Whether it is known that the value holds though it is not set on the topic.
fn is_known(config: &ConfigEntry) -> bool {
    matches!(config.source, ConfigSource::Broker | ConfigSource::Default)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::NamePattern;
    use crate::testing::config_entry as entry;

    fn set(name: &str, value: &str) -> ConfigEntry {
        entry(name, value, ConfigSource::Topic)
    }

    fn default(name: &str, value: &str) -> ConfigEntry {
        entry(name, value, ConfigSource::Default)
    }

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        let texts = texts.iter();
        texts.map(|text| NamePattern::new(text).unwrap()).collect()
    }

    /// `+name=value`, `~name=value (was)`, `-name (was)`.
    fn plan(rules: &ConfigRules, source: &[ConfigEntry], target: &[ConfigEntry]) -> Vec<String> {
        let changes = Wishes::new(rules, source, 2).changes(target);
        let text = |change: Change| match (change.to, change.from) {
            (Some(to), None) => format!("+{}={to}", change.name),
            (Some(to), Some(from)) => format!("~{}={to} ({from})", change.name),
            (None, from) => format!("-{} ({})", change.name, from.unwrap_or_default()),
        };
        changes.into_iter().map(text).collect()
    }

    #[test]
    fn what_is_set_on_the_source_is_set_and_what_is_unset_there_falls_back() {
        let source = [
            set("retention.ms", "1000"),
            set("segment.bytes", "5"),
            default("cleanup.policy", "delete"),
            default("flush.ms", "9"),
        ];
        let target = [
            set("retention.ms", "2000"),
            default("segment.bytes", "5"),
            set("cleanup.policy", "compact"),
            default("flush.ms", "7"),
            set("only.here", "x"),
        ];
        let rules = ConfigRules::default();
        assert_eq!(
            plan(&rules, &source, &target),
            ["-cleanup.policy (compact)", "~retention.ms=1000 (2000)"]
        );
        let from_source = ConfigRules {
            defaults_from: DefaultsFrom::Source,
            ..rules
        };
        assert_eq!(
            plan(&from_source, &source, &target),
            [
                "~cleanup.policy=delete (compact)",
                "~flush.ms=9 (7)",
                "~retention.ms=1000 (2000)"
            ]
        );
    }

    /// MirrorMaker 2 takes dynamic defaults of the source's brokers for values of the topic (mm2.md 4.12).
    #[test]
    fn what_the_sources_brokers_have_is_a_default() {
        let source = [entry("retention.ms", "1000", ConfigSource::Broker)];
        let rules = ConfigRules::default();
        assert!(plan(&rules, &source, &[default("retention.ms", "2")]).is_empty());
        assert_eq!(
            plan(&rules, &source, &[set("retention.ms", "2")]),
            ["-retention.ms (2)"]
        );
        let unknown = [entry("retention.ms", "1000", ConfigSource::Other(9))];
        let from_source = ConfigRules {
            defaults_from: DefaultsFrom::Source,
            ..rules
        };
        let target = [default("retention.ms", "2")];
        assert_eq!(
            plan(&from_source, &source, &target),
            ["~retention.ms=1000 (2)"]
        );
        assert!(plan(&from_source, &unknown, &target).is_empty());
    }

    #[test]
    fn the_blanks_of_a_list_are_no_difference() {
        let source = [set("cleanup.policy", "compact, delete")];
        let plan = |target| {
            plan(
                &ConfigRules::default(),
                &source,
                &[set("cleanup.policy", target)],
            )
        };
        assert!(plan("compact,delete").is_empty());
        assert_eq!(plan("compact").len(), 1);
    }

    #[test]
    fn rules_come_in_their_order() {
        let source = [set("a", "1"), set("b", "1"), set("c", "1"), set("d", "1")];
        let rules = ConfigRules {
            exclude: patterns(&["a", "b"]),
            keep: patterns(&["b", "c"]),
            set: [("a".to_owned(), "9".to_owned())].into(),
            ..ConfigRules::default()
        };
        let wishes = Wishes::new(&rules, &source, 2);
        let given = [("a", "9"), ("c", "1"), ("d", "1")];
        assert_eq!(
            wishes.given(),
            given.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let target = ["a", "b", "c", "d"].map(|name| set(name, "2"));
        assert_eq!(plan(&rules, &source, &target), ["~a=9 (2)", "~d=1 (2)"]);
        assert_eq!(plan(&rules, &source, &[]), ["+a=9", "+d=1"]);
    }

    #[test]
    fn what_cannot_be_read_or_changed_stays_out() {
        let hidden = ConfigEntry {
            sensitive: true,
            ..set("secret", "x")
        };
        let fixed = ConfigEntry {
            read_only: true,
            ..set("fixed", "x")
        };
        let rules = ConfigRules::default();
        assert!(plan(&rules, &[hidden.clone(), fixed.clone()], &[]).is_empty());
        let source = [set("secret", "y"), set("fixed", "y")];
        assert!(plan(&rules, &source, &[hidden, fixed]).is_empty());
    }

    #[test]
    fn more_in_sync_than_there_are_and_brokers_of_the_source_are_left_out_and_said() {
        let rules = ConfigRules {
            exclude: Vec::new(),
            ..ConfigRules::default()
        };
        let source = [set(MIN_ISR, "3"), set(OF_BROKERS[0], "0:1")];
        let wishes = Wishes::new(&rules, &source, 2);
        assert!(wishes.given().is_empty());
        let names: Vec<_> = wishes
            .left_out
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, [OF_BROKERS[0], MIN_ISR]);
        // Nor is what the target has instead taken away.
        let target = [set(MIN_ISR, "2"), set(OF_BROKERS[0], "1:1")];
        assert!(wishes.changes(&target).is_empty());
        assert_eq!(Wishes::new(&rules, &source[..1], 3).given().len(), 1);
        // What workers rely on is given, and then kept.
        let times = [set(TIMESTAMP_TYPE, "LogAppendTime")];
        let wishes = Wishes::new(&rules, &times, 2);
        assert_eq!(wishes.given().len(), 1);
        assert!(
            wishes
                .changes(&[set(TIMESTAMP_TYPE, "CreateTime")])
                .is_empty()
        );
        let own = ConfigRules {
            set: [(MIN_ISR.to_owned(), "4".to_owned())].into(),
            ..rules
        };
        assert_eq!(Wishes::new(&own, &source[..1], 3).left_out[0].value, "4");
    }

    fn entries() -> impl Strategy<Value = Vec<ConfigEntry>> {
        let one = (
            "[a-e]",
            prop::option::of("[0-2]"),
            0..4usize,
            prop::bool::weighted(0.1),
        );
        let entry = one.prop_map(|(name, value, source, read_only)| ConfigEntry {
            name,
            value,
            source: [
                ConfigSource::Topic,
                ConfigSource::Broker,
                ConfigSource::Default,
                ConfigSource::Other(7),
            ][source],
            read_only,
            sensitive: false,
        });
        prop::collection::vec(entry, 0..6).prop_map(|entries| {
            let by_name = entries.into_iter().map(|entry| (entry.name.clone(), entry));
            by_name.collect::<BTreeMap<_, _>>().into_values().collect()
        })
    }

    proptest! {
        /// A target that takes the changes needs no others, whatever its own defaults are.
        #[test]
        fn one_round_is_enough(
            source in entries(), target in entries(), from_source: bool, own in prop::option::of("[a-e]"),
        ) {
            let rules = ConfigRules {
                set: own.map(|name| (name, "9".to_owned())).into_iter().collect(),
                keep: patterns(&["b"]),
                exclude: patterns(&["c"]),
                defaults_from: [DefaultsFrom::Target, DefaultsFrom::Source][usize::from(from_source)],
                ..ConfigRules::default()
            };
            let wishes = Wishes::new(&rules, &source, 0);
            let mut after: BTreeMap<_, _> =
                target.iter().map(|entry| (entry.name.clone(), entry.clone())).collect();
            for change in wishes.changes(&target) {
                prop_assert!(change.name != "c" || rules.set.contains_key("c"));
                let next = match &change.to {
                    Some(value) => set(&change.name, value),
                    None => default(&change.name, "the target's"),
                };
                prop_assert!(after.get(&change.name).is_none_or(|before| !before.read_only && *before != next));
                after.insert(change.name, next);
            }
            let after: Vec<_> = after.into_values().collect();
            prop_assert_eq!(wishes.changes(&after), []);
        }
    }
}
