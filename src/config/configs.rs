//! What becomes of the configs of a topic on the target.

use std::{collections::BTreeMap, time::Duration};

use super::NamePattern;

/// Which configs a topic on the target has from its source. What is `set` comes first, then what is excluded, then what
/// is kept; all others follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRules {
    /// Whether later changes on the source follow; if not, a topic gets its configs when it is created.
    pub follow: bool,
    /// Between two looks at a topic, where there are not so many that they take turns.
    pub interval: Duration,
    /// Configs that strait does not touch.
    pub exclude: Vec<NamePattern>,
    /// Configs that a topic gets when it is created, and that are its own from then on.
    pub keep: Vec<NamePattern>,
    /// Values that topics on the target have, whatever their sources have.
    pub set: BTreeMap<String, String>,
    /// What a config is on the target that is not set on the source's topic.
    pub defaults_from: DefaultsFrom,
}

/// What a config is on the target that is not set on the source's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultsFrom {
    /// Not set there either: the target's default holds.
    Target,
    /// What holds on the source, be it Kafka's default or its brokers' setting.
    Source,
}

/// Excluded unless the file says otherwise: those of MirrorMaker 2 save `min.insync.replicas`, which is left out only
/// where the topic has too few replicas. They are about other brokers (throttles, unclean elections), or refuse or change
/// records that are copied late.
const EXCLUDED: [&str; 4] = [
    r"(leader|follower)\.replication\.throttled\.replicas",
    r"message\.timestamp\.type",
    r"message\.timestamp\.(difference|before|after)\.max\.ms",
    r"unclean\.leader\.election\.enable",
];

impl Default for ConfigRules {
    fn default() -> Self {
        let pattern = |text: &&str| NamePattern::new(text).expect("a regular expression");
        Self {
            follow: true,
            interval: Duration::from_secs(15),
            exclude: EXCLUDED.iter().map(pattern).collect(),
            keep: Vec::new(),
            set: BTreeMap::new(),
            defaults_from: DefaultsFrom::Target,
        }
    }
}

impl ConfigRules {
    /// Whether strait leaves the config `name` alone.
    pub fn excludes(&self, name: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether a topic keeps the `name` that it was created with.
    pub fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|pattern| pattern.matches(name))
    }
}
