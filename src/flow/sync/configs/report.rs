//! What became of topics' configs, told once per change.

use std::collections::{BTreeMap, BTreeSet};

use wire::error::ApiError;

use super::{AllFollowed, memory::Left};
use crate::{
    flow::topics::configs::{Change, Wishes},
    status::{ConfigNote, Configs},
};

/// Notes that are told in the status.
const MAX_TOLD: usize = 100;

/// Of all topics.
#[derive(Debug)]
pub(super) struct Report {
    flow: String,
    cluster: String,
    sums: Configs,
    looked: BTreeSet<String>,
    /// By source topic.
    notes: BTreeMap<String, Vec<ConfigNote>>,
    /// Topics with other replicas than they were to have.
    replicas: Vec<ConfigNote>,
}

impl Report {
    /// Of a flow to the target `cluster`.
    pub(super) fn new(flow: &str, cluster: &str) -> Self {
        Self {
            flow: flow.to_owned(),
            cluster: cluster.to_owned(),
            sums: Configs::default(),
            looked: BTreeSet::new(),
            notes: BTreeMap::new(),
            replicas: Vec::new(),
        }
    }

    /// Another process looks after them.
    pub(super) fn forget(&mut self) {
        *self = Self::new(&self.flow, &self.cluster);
    }

    /// There are these topics and no others.
    pub(super) fn keep(&mut self, followed: &AllFollowed) {
        let follows = |name: &String| followed.get(name).is_some_and(|topic| topic.rules.follow);
        self.looked.retain(follows);
        self.notes.retain(|name, _| follows(name));
        self.sums.topics = followed.values().filter(|topic| topic.rules.follow).count();
        let differ = followed.values().filter_map(|topic| {
            let wanted = usize::try_from(topic.replication_factor).ok()?;
            (topic.replicas > 0 && topic.replicas != wanted).then(|| ConfigNote {
                topic: topic.target.clone(),
                config: None,
                code: "replicas_differ".to_owned(),
                text: format!(
                    "{} has {} replicas on {}, replication_factor is {wanted}",
                    topic.target, topic.replicas, self.cluster
                ),
            })
        });
        let differ = differ.collect();
        let before = std::mem::replace(&mut self.replicas, differ);
        self.tell(&before, &self.replicas);
    }

    /// A config was changed.
    pub(super) fn changed(&mut self, topic: &str, change: &Change, sets_back: bool) {
        let (flow, cluster) = (&self.flow, &self.cluster);
        let Change { name, to, from } = change;
        let to = to.as_deref().unwrap_or("the default");
        let from = from.as_deref().unwrap_or("not set");
        if sets_back {
            self.sums.set_back += 1;
            tracing::warn!(
                %flow, %cluster, %topic, config = %name, value = %to, was = %from,
                "a config was changed on the target: set back"
            );
        } else {
            self.sums.changed += 1;
            tracing::info!(
                %flow, %cluster, %topic, config = %name, value = %to, was = %from,
                "changed a config of a topic"
            );
        }
    }

    /// The configs of `at`, which is `topic` or its target, cannot be read.
    pub(super) fn unreadable(&mut self, topic: &str, at: &str, cluster: &str, error: &ApiError) {
        let note = ConfigNote {
            topic: at.to_owned(),
            config: None,
            code: "configs_unreadable".to_owned(),
            text: format!("configs of {at} on {cluster} cannot be read: {error}"),
        };
        self.note(topic, vec![note]);
    }

    /// A topic was looked at.
    pub(super) fn looked<'a>(
        &mut self,
        topic: &str,
        target: &str,
        wishes: &Wishes,
        left: impl Iterator<Item = (&'a String, &'a Left)>,
        failed: Option<&ApiError>,
    ) {
        let cluster = &self.cluster;
        let note = |config: Option<&String>, code: &str, text| ConfigNote {
            topic: target.to_owned(),
            config: config.cloned(),
            code: code.to_owned(),
            text,
        };
        let out = wishes.left_out.iter().map(|out| {
            let text = format!(
                "{target} on {cluster} does not have {} = {} of its source: {}",
                out.name, out.value, out.reason
            );
            note(Some(&out.name), "config_left_out", text)
        });
        let left = left.map(|(name, left)| {
            let to = left.to.as_deref().unwrap_or("the default");
            let text = format!(
                "{name} of {target} on {cluster} is not {to}: {}",
                left.reason
            );
            note(Some(name), left.code, text)
        });
        let failed = failed.map(|error| {
            let text = format!("configs of {target} on {cluster} cannot be changed: {error}");
            note(None, "configs_denied", text)
        });
        let notes = out.chain(left).chain(failed).collect();
        self.looked.insert(topic.to_owned());
        self.note(topic, notes);
    }

    fn note(&mut self, topic: &str, notes: Vec<ConfigNote>) {
        let before = match notes.is_empty() {
            true => self.notes.remove(topic),
            false => self.notes.insert(topic.to_owned(), notes),
        };
        let now = self.notes.get(topic).map_or(&[][..], Vec::as_slice);
        self.tell(&before.unwrap_or_default(), now);
    }

    /// Those that were not there before.
    fn tell(&self, before: &[ConfigNote], now: &[ConfigNote]) {
        let flow = &self.flow;
        for note in now.iter().filter(|note| !before.contains(note)) {
            let (topic, code) = (&note.topic, &note.code);
            tracing::warn!(%flow, %topic, code, "{}", note.text);
        }
    }

    /// All there is to tell.
    pub(super) fn finish(&self) -> Configs {
        let all = || self.notes.values().flatten().chain(&self.replicas);
        Configs {
            off: None,
            looked: self.looked.len(),
            noted: all().count(),
            notes: all().take(MAX_TOLD).cloned().collect(),
            ..self.sums.clone()
        }
    }

    /// The same, and why nothing follows at the moment.
    pub(super) fn off(&self, reason: String) -> Configs {
        Configs {
            off: Some(reason),
            ..self.finish()
        }
    }
}
