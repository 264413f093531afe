//! From what both clusters hold to what is to be done. Pure.
//!
//! A topic goes through these steps, each one visible in the next snapshot: *remembered* in the control
//! topic; *created* on the target, or found there; *bound* there by the target's topic id; grown, if the
//! source has more partitions; and its workers started. A source or target topic that is gone, or came
//! back with another id, stops its workers; it is never followed silently (EXACTNESS 8, 10).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;
use wire::{TopicPartition, client::TopicDescription};

use super::{
    membership::Assignment,
    start::fingerprint,
    topics::{naming::Naming, selection::Selection},
};
use crate::{
    base::ids::Route,
    checkpoint::{
        control_topic::{ControlRecords, TopicKey, TopicRecord},
        text::topic_id,
    },
    config::FlowConfig,
    worker::{Stop, StopReason},
};

/// UNKNOWN_TOPIC_OR_PARTITION: how metadata says that a topic does not exist.
const UNKNOWN_TOPIC: i16 = 3;

/// What a person can do about a target topic that is not the one it was.
const FORGET: &str = "forget what was copied to copy it from its start again";

/// What a flow knows for as long as it runs.
#[derive(Debug)]
pub struct Rules {
    /// The source's alias.
    pub source: String,
    /// The target's alias.
    pub target: String,
    /// Which topics.
    pub selection: Selection,
    /// Under which names.
    pub naming: Naming,
    /// What else is asked for, topic by topic.
    pub config: FlowConfig,
}

/// A selected topic of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its name on the target.
    pub target: String,
}

impl SourceTopic {
    /// How the control topic knows it.
    pub fn key(&self) -> TopicKey {
        TopicKey::new(self.id, &self.name)
    }
}

/// The topics of one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Selected topics, by name.
    pub topics: Vec<SourceTopic>,
    /// Names that are to be replicated and that the source has, whatever becomes of them.
    pub seen: BTreeSet<String>,
    /// Names on the source, selected or not, that metadata could not describe now.
    pub unclear: BTreeSet<String>,
    /// Selected topics that would form a cycle, by name, with how: they are not replicated.
    pub cyclic: BTreeMap<String, String>,
    /// What is on the target under the wanted names.
    pub target: BTreeMap<String, TopicDescription>,
    /// What keeps topics from being replicated at all.
    pub troubles: Vec<Trouble>,
}

impl Snapshot {
    /// The selected topic of this name.
    pub fn topic(&self, name: &str) -> Option<&SourceTopic> {
        let found = self
            .topics
            .binary_search_by(|one| one.name.as_str().cmp(name));
        found.ok().map(|at| &self.topics[at])
    }

    /// The target of `topic`, if it is there and the one that was copied to so far.
    pub fn bound(
        &self,
        topic: &SourceTopic,
        records: &ControlRecords,
    ) -> Option<&TopicDescription> {
        let bound = records.topics.get(&topic.key())?.target_topic_id;
        let found = self.target.get(&topic.target)?;
        (found.error.is_none() && Some(found.id) == bound).then_some(found)
    }
}

/// A topic that is not, or not wholly, replicated, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trouble {
    /// Its name on the source.
    pub topic: String,
    /// From a closed list, for scripts.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

/// A unit that could run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// Where from and where to.
    pub route: Route,
    /// The topic's id on the source.
    pub source_topic: Uuid,
    /// The topic's id on the target.
    pub target_topic: Uuid,
}

/// A unit that runs or was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub unit: Unit,
    /// Whether its worker is at work.
    pub running: bool,
    /// Whether its worker, told to stop, still waits for answers.
    pub drains: bool,
    /// Whether it was stopped because a topic is gone: it may start again when the topic is back.
    pub vanished: bool,
}

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Workers to stop; none for units that belong to another process now.
    pub stop: Vec<(Route, Option<Stop>)>,
    /// Topics to write to the control topic, without a target id.
    pub remember: Vec<SourceTopic>,
    /// Topics to create on the target.
    pub create: Vec<SourceTopic>,
    /// Topics on the target that need as many partitions.
    pub grow: Vec<(String, i32)>,
    /// Topics to write to the control topic with their target's id.
    pub bind: Vec<(TopicKey, TopicRecord)>,
    /// Units that must not start, and why.
    pub refuse: Vec<(Unit, Stop)>,
    /// Units that were stopped and whose topic is gone: they may start when it is back.
    pub vanished: Vec<Route>,
    /// Units to start.
    pub start: Vec<Unit>,
    /// What is not replicated.
    pub troubles: Vec<Trouble>,
}

impl Plan {
    /// Whether carrying it out changes what the next snapshot shows.
    pub fn leads_on(&self) -> bool {
        !self.remember.is_empty()
            || !self.create.is_empty()
            || !self.grow.is_empty()
            || !self.bind.is_empty()
    }
}

impl Rules {
    /// What `flow` asks for.
    pub fn new(flow: &FlowConfig) -> Self {
        Self {
            source: flow.source.clone(),
            target: flow.target.clone(),
            selection: Selection::new(flow),
            naming: Naming::new(&flow.naming, &flow.source),
            config: flow.clone(),
        }
    }

    /// Equal for rules that choose and name topics alike, in one release.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&format!("{:?} {:?}", self.selection, self.naming))
    }

    /// The topics to replicate among all topics of the source; the target is not looked at yet.
    pub fn select(&self, all: Vec<TopicDescription>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut by_target: BTreeMap<String, Vec<SourceTopic>> = BTreeMap::new();
        for topic in all {
            if !self.selection.selects(&topic.name, topic.internal) {
                continue;
            }
            snapshot.seen.insert(topic.name.clone());
            if topic.error.is_some() || topic.partitions.is_empty() {
                snapshot.unclear.insert(topic.name);
                continue;
            }
            let partitions = topic.partition_count();
            match self.naming.target(&topic.name) {
                Ok(target) => by_target
                    .entry(target.clone())
                    .or_default()
                    .push(SourceTopic {
                        name: topic.name,
                        id: topic.id,
                        partitions,
                        target,
                    }),
                Err(error) => {
                    snapshot
                        .troubles
                        .push(trouble(&topic.name, "name", error.to_string()));
                }
            }
        }
        for (target, mut topics) in by_target {
            if topics.len() == 1 {
                snapshot.topics.append(&mut topics);
                continue;
            }
            for topic in &topics {
                let text = format!(
                    "{} source topics would be {target} on the target",
                    topics.len()
                );
                snapshot
                    .troubles
                    .push(trouble(&topic.name, "shared_target", text));
            }
        }
        snapshot.topics.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot
    }

    /// What to do.
    pub fn plan(
        &self,
        snapshot: &Snapshot,
        control: &ControlRecords,
        assignment: &Assignment,
        known: &BTreeMap<Route, Known>,
        leader: bool,
    ) -> Plan {
        let mut plan = Plan {
            troubles: snapshot.troubles.clone(),
            ..Plan::default()
        };
        // A target topic that is gone has no partitions to be assigned: the leader speaks for it.
        let ours = |target: &TopicPartition| {
            assignment.holds(target) || (leader && is_missing(snapshot, &target.topic))
        };
        let mut could_run = BTreeMap::new();
        for topic in &snapshot.topics {
            for (unit, stop) in self.topic(&mut plan, snapshot, control, topic, leader) {
                if ours(&unit.route.target) {
                    could_run.insert(unit.route.clone(), (unit, stop));
                }
            }
        }
        for (route, known) in known {
            if !ours(&route.target) {
                plan.stop.push((route.clone(), None));
                continue;
            }
            let stop = self.stop(route, known, snapshot);
            if known.running {
                plan.stop.extend(stop);
            } else if stop.is_some_and(|(_, stop)| stop.is_some_and(|stop| is_absence(&stop))) {
                plan.vanished.push(route.clone());
            }
        }
        for (route, (unit, stop)) in could_run {
            match (known.get(&route), stop) {
                (None, Some(stop)) => plan.refuse.push((unit, stop)),
                (None, None) => plan.start.push(unit),
                // Its topic is back, or is another one now and the control topic says that this is meant.
                (Some(known), None)
                    if !known.running
                        && !known.drains
                        && (known.vanished || known.unit != unit) =>
                {
                    plan.start.push(unit);
                }
                (Some(_), _) => {}
            }
        }
        plan
    }

    /// The next step of one topic; its units once it is ready, or once it is known that it must not be.
    fn topic(
        &self,
        plan: &mut Plan,
        snapshot: &Snapshot,
        control: &ControlRecords,
        topic: &SourceTopic,
        leader: bool,
    ) -> Vec<(Unit, Option<Stop>)> {
        let Some(record) = control.topics.get(&topic.key()) else {
            plan.remember.extend(leader.then(|| topic.clone()));
            return Vec::new();
        };
        let found = snapshot.target.get(&topic.target);
        let error = found.and_then(|found| found.error.as_ref());
        let (found, bound) = match (found, error, record.target_topic_id) {
            (None, ..) => return Vec::new(),
            (_, Some(error), None) if error.code == UNKNOWN_TOPIC => {
                plan.create.extend(leader.then(|| topic.clone()));
                return Vec::new();
            }
            (_, Some(error), Some(bound)) if error.code == UNKNOWN_TOPIC => {
                let stop = self.missing_target(topic, bound);
                return units(topic, bound, topic.partitions, Some(&stop));
            }
            (_, Some(error), _) => {
                let text = format!("{} on {}: {error}", topic.target, self.target);
                plan.troubles
                    .push(trouble(&topic.name, "target_topic", text));
                return Vec::new();
            }
            (Some(found), None, bound) => (found, bound),
        };
        let Some(bound) = bound else {
            if self
                .before(control, (&topic.name, topic.id), found.id)
                .is_some()
            {
                // What is there is deleted first: see `retire`.
                return Vec::new();
            }
            let record = record.bound_to(found.id);
            plan.bind.extend(leader.then(|| (topic.key(), record)));
            return Vec::new();
        };
        if bound != found.id {
            let stop = self.recreated_target(topic, bound, found.id);
            return units(topic, bound, topic.partitions, Some(&stop));
        }
        let there = found.partition_count();
        if there < topic.partitions {
            plan.grow
                .extend(leader.then(|| (topic.target.clone(), topic.partitions)));
        }
        if there != topic.partitions {
            let (code, rest) = if there < topic.partitions {
                ("fewer_partitions", "the others wait until it has as many")
            } else {
                ("more_partitions", "the others get nothing from it")
            };
            let text = format!(
                "{} has {there} partitions on {}, its source {}: {rest}",
                topic.target, self.target, topic.partitions
            );
            plan.troubles.push(trouble(&topic.name, code, text));
        }
        units(topic, found.id, there, None)
    }

    /// Whether a running worker has to stop, and why.
    fn stop(
        &self,
        route: &Route,
        known: &Known,
        snapshot: &Snapshot,
    ) -> Option<(Route, Option<Stop>)> {
        let stop = |reason, text| {
            let stop = Stop {
                reason,
                source_offset: -1,
                text,
            };
            Some((route.clone(), Some(stop)))
        };
        let Route { source, target } = route;
        let topic = snapshot.topic(&source.topic);
        if let Some(text) = snapshot.cyclic.get(&source.topic) {
            return stop(StopReason::Cycle, text.clone());
        }
        match topic {
            None if snapshot.unclear.contains(&source.topic) => return None,
            Some(topic) if topic.id != known.unit.source_topic => {
                let (now, before) = (topic_id(topic.id), topic_id(known.unit.source_topic));
                let text = format!(
                    "{source} on {}: the topic was created anew (id {now}, was {before})",
                    self.source
                );
                return stop(StopReason::SourceTopicRecreated, text);
            }
            Some(topic) if source.partition < topic.partitions => {}
            _ => {
                let text = format!("{source} does not exist on {} any more", self.source);
                return stop(StopReason::SourceTopicMissing, text);
            }
        }
        let found = snapshot.target.get(&target.topic)?;
        match &found.error {
            Some(error) if error.code == UNKNOWN_TOPIC => {
                let text = format!("{target} does not exist on {} any more", self.target);
                stop(StopReason::TargetTopicMissing, text)
            }
            None if found.id != known.unit.target_topic => {
                let (now, before) = (topic_id(found.id), topic_id(known.unit.target_topic));
                let text = format!(
                    "{target} on {}: the topic was created anew (id {now}, was {before})",
                    self.target
                );
                stop(StopReason::TargetTopicRecreated, text)
            }
            _ => None,
        }
    }

    fn missing_target(&self, topic: &SourceTopic, bound: Uuid) -> Stop {
        let text = format!(
            "{} (id {}) is gone from {}: it is not created anew unless you say so; {FORGET}",
            topic.target,
            topic_id(bound),
            self.target,
        );
        Stop {
            reason: StopReason::TargetTopicMissing,
            source_offset: -1,
            text,
        }
    }

    fn recreated_target(&self, topic: &SourceTopic, bound: Uuid, found: Uuid) -> Stop {
        let text = format!(
            "{} on {} has id {}, what was copied went to id {}: it was created anew; {FORGET}",
            topic.target,
            self.target,
            topic_id(found),
            topic_id(bound),
        );
        Stop {
            reason: StopReason::TargetTopicRecreated,
            source_offset: -1,
            text,
        }
    }
}

/// The units of a topic, as far as the target has partitions.
fn units(
    topic: &SourceTopic,
    target_topic: Uuid,
    there: i32,
    stop: Option<&Stop>,
) -> Vec<(Unit, Option<Stop>)> {
    let unit = |partition| Unit {
        route: Route {
            source: TopicPartition::new(&topic.name, partition),
            target: TopicPartition::new(&topic.target, partition),
        },
        source_topic: topic.id,
        target_topic,
    };
    let partitions = 0..topic.partitions.min(there);
    partitions
        .map(|partition| (unit(partition), stop.cloned()))
        .collect()
}

/// Whether a topic that comes back, or is in no cycle any more, ends the stop.
pub fn is_absence(stop: &Stop) -> bool {
    matches!(
        stop.reason,
        StopReason::SourceTopicMissing | StopReason::TargetTopicMissing | StopReason::Cycle
    )
}

/// Whether what the target has under a topic's name, as `found`, is not the topic with id `bound`: it is gone, or
/// another one. None if the target does not say.
pub(super) fn is_another(found: Option<&TopicDescription>, bound: Uuid) -> Option<bool> {
    let found = found?;
    match &found.error {
        None => Some(found.id != bound),
        Some(error) if error.code == UNKNOWN_TOPIC => Some(true),
        Some(_) => None,
    }
}

/// Whether the target says that it has no such topic.
fn is_missing(snapshot: &Snapshot, target: &str) -> bool {
    let error = snapshot
        .target
        .get(target)
        .and_then(|found| found.error.as_ref());
    error.is_some_and(|error| error.code == UNKNOWN_TOPIC)
}

fn trouble(topic: &str, code: &'static str, text: String) -> Trouble {
    Trouble {
        topic: topic.to_owned(),
        code,
        text,
    }
}

#[cfg(test)]
mod tests;
