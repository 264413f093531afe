//! What all forms of the input come to: clusters with client properties, and flows with connector settings.
//!
//! Of a name there may be several keys, by scope; `rank` orders them as MirrorMaker 2 does, the lowest counts.

use std::collections::BTreeMap;

use super::report::{Finding, KeyId, Keys};

/// Everything that flows are made of.
#[derive(Default)]
pub(super) struct Setup {
    /// By alias, as written.
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// Those that run.
    pub(super) flows: Vec<Flow>,
    /// Class of each of Kafka's config providers, by name, where the input says so.
    pub(super) providers: BTreeMap<String, String>,
}

/// Client properties of one cluster, by name.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) properties: BTreeMap<String, Vec<Property>>,
}

/// One key that sets a client property.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property {
    pub(super) role: Role,
    pub(super) rank: u8,
    pub(super) key: KeyId,
}

/// Which of MirrorMaker 2's clients a property is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All.
    Common,
    /// What reads records.
    Consumer,
    /// What writes them.
    Producer,
    /// Admin clients, and those of MirrorMaker 2's own topics.
    Helper,
}

/// One flow.
pub(super) struct Flow {
    /// Alias, as written.
    pub(super) source: String,
    /// Alias, as written.
    pub(super) target: String,
    /// A name for it, where the aliases alone do not tell it from others.
    pub(super) name: Option<String>,
    /// Connector settings, and what of its consumer holds for the flow alone (`consumer.isolation.level`).
    settings: BTreeMap<String, Vec<(u8, KeyId)>>,
    /// Whether MirrorMaker 2 runs its checkpoint connector.
    pub(super) checkpoints: bool,
    /// Whether it runs its heartbeat connector.
    pub(super) heartbeats: bool,
    /// Where it keeps how far it is.
    pub(super) kept: Kept,
}

/// Where MirrorMaker 2 keeps how far a flow is, as far as the input says.
#[derive(Default)]
pub(super) struct Kept {
    /// Name of the source connector, where that is not fixed.
    pub(super) connector: Option<String>,
    /// The topic.
    pub(super) offsets_topic: Option<String>,
    /// The group of its processes.
    pub(super) group: Option<String>,
}

/// Properties of the consumer that are settings of the flow in strait.
pub(super) const OF_THE_FLOW: [&str; 2] = ["auto.offset.reset", "isolation.level"];

impl Flow {
    pub(super) fn new(source: &str, target: &str) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            name: None,
            settings: BTreeMap::new(),
            checkpoints: true,
            heartbeats: true,
            kept: Kept::default(),
        }
    }

    /// Adds a key that sets `name`.
    pub(super) fn set(&mut self, name: &str, rank: u8, key: KeyId) {
        self.settings
            .entry(name.to_owned())
            .or_default()
            .push((rank, key));
    }

    /// Takes the key that counts for `name` out; the others are marked.
    pub(super) fn take(&mut self, name: &str, keys: &mut Keys<'_>) -> Option<KeyId> {
        let mut set = self.settings.remove(name)?;
        set.sort_by_key(|(rank, key)| (*rank, *key));
        let (_, first) = *set.first()?;
        for (_, other) in &set[1..] {
            displaced(keys, *other, first);
        }
        Some(first)
    }

    /// The key that counts for `name`.
    pub(super) fn peek(&self, name: &str) -> Option<KeyId> {
        let set = self.settings.get(name)?;
        set.iter().min().map(|(_, key)| *key)
    }

    /// The names that are set and were not taken.
    pub(super) fn names(&self) -> Vec<String> {
        self.settings.keys().cloned().collect()
    }
}

/// Notes that `winner` counts instead of `key`.
pub(super) fn displaced(keys: &mut Keys<'_>, key: KeyId, winner: KeyId) {
    let text = format!("{} takes its place", keys.name(winner));
    keys.mark(key, Finding::not_needed(text));
}

impl Setup {
    /// Adds a client property of the cluster `alias`.
    pub(super) fn property(&mut self, alias: &str, name: &str, property: Property) {
        let cluster = self.clusters.entry(alias.to_owned()).or_default();
        cluster
            .properties
            .entry(name.to_owned())
            .or_default()
            .push(property);
    }

    /// Whether a flow reads the cluster.
    pub(super) fn is_source(&self, alias: &str) -> bool {
        self.flows.iter().any(|flow| flow.source == alias)
    }

    /// Whether a flow writes to it.
    pub(super) fn is_target(&self, alias: &str) -> bool {
        self.flows.iter().any(|flow| flow.target == alias)
    }
}
