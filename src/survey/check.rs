//! Whether a flow could run: what it would replicate, and what is missing.

use std::collections::BTreeMap;

use host::Host;
use serde::Serialize;

use super::{
    Partition, Progress, Side, Survey, Topic,
    collect::{Pair, Unreachable},
};
use crate::config::{Config, FlowConfig};

/// What `strait check` found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing keeps the flows from running.
    pub ready: bool,
    /// By flow, in the order of the configuration.
    pub flows: Vec<FlowReport>,
}

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowReport {
    /// Its name.
    pub name: String,
    /// The side that is read.
    pub source: SideReport,
    /// The side that is written to.
    pub target: SideReport,
    /// What the flow provides in this version.
    pub guarantee: &'static str,
    /// Why not more.
    pub guarantee_reason: &'static str,
    /// What would be replicated.
    pub topics: Vec<TopicReport>,
    /// What keeps the flow, or some of it, from running.
    pub problems: Vec<Note>,
    /// What an operator should know.
    pub warnings: Vec<Note>,
}

/// One cluster.
#[derive(Clone, Debug, Serialize)]
pub struct SideReport {
    /// Its alias.
    pub cluster: String,
    /// Its id; none if the flow's clusters could not both be asked.
    pub cluster_id: Option<String>,
    /// How many brokers it has now.
    pub brokers: Option<usize>,
}

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicReport {
    /// Name on the source.
    pub source: String,
    /// Name on the target.
    pub target: String,
    /// Whether the target has it already.
    pub target_exists: bool,
    /// Partitions of the source.
    pub partitions: usize,
    /// Records on the source, counted by offsets.
    pub records: i64,
    /// Records still to copy, counted by offsets.
    pub lag: i64,
    /// Partitions that have a checkpoint.
    pub checkpoints: usize,
}

/// A problem or a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// From a closed list, for scripts.
    pub code: &'static str,
    /// For people; names cluster, topic, partition and offset where known.
    pub message: String,
}

/// Asks both clusters of every flow.
pub async fn run(host: &Host, config: &Config) -> Report {
    let mut flows = Vec::with_capacity(config.flows.len());
    for flow in &config.flows {
        let pair = Pair::new(host, config, flow);
        flows.push(match pair.sides().await {
            (Ok(source), Ok(target)) => match pair.survey(source, target).await {
                Ok(survey) => FlowReport::new(&survey),
                Err(error) => FlowReport::unreachable(flow, &[error]),
            },
            (source, target) => {
                let errors: Vec<_> = source.err().into_iter().chain(target.err()).collect();
                FlowReport::unreachable(flow, &errors)
            }
        });
    }
    Report::new(flows)
}

impl Report {
    /// A report on `flows`; also looks for what only all of them together show.
    pub fn new(mut flows: Vec<FlowReport>) -> Self {
        refuse_shared_targets(&mut flows);
        Self {
            ready: flows.iter().all(|flow| flow.problems.is_empty()),
            flows,
        }
    }
}

/// Two flows must not write to one topic: their records would mix in one partition.
fn refuse_shared_targets(flows: &mut [FlowReport]) {
    let mut writers: BTreeMap<(Option<String>, String), String> = BTreeMap::new();
    for flow in flows {
        for topic in &flow.topics {
            let place = (flow.target.cluster_id.clone(), topic.target.clone());
            if let Some(other) = writers.get(&place) {
                flow.problems.push(note(
                    "shared_target",
                    format!("flow {other} writes to {} as well", topic.target),
                ));
            } else {
                writers.insert(place, flow.name.clone());
            }
        }
    }
}

impl FlowReport {
    /// A flow whose clusters could not both be asked.
    fn unreachable(flow: &FlowConfig, errors: &[Unreachable]) -> Self {
        let side = |alias: &str| SideReport {
            cluster: alias.to_owned(),
            cluster_id: None,
            brokers: None,
        };
        let mut report = Self::empty(&flow.name, side(&flow.source), side(&flow.target));
        for error in errors {
            report.problem("unreachable", error.to_string());
        }
        report
    }

    /// What `survey` says about its flow.
    pub fn new(survey: &Survey) -> Self {
        let mut report = Self::empty(&survey.flow, side(&survey.source), side(&survey.target));
        report.topics = survey
            .topics
            .iter()
            .map(|topic| row(survey, topic))
            .collect();
        if survey.source.cluster_id == survey.target.cluster_id {
            report.problem(
                "same_cluster",
                format!(
                    "{} and {} are one cluster ({})",
                    survey.source.alias, survey.target.alias, survey.source.cluster_id
                ),
            );
        }
        if survey.topics.is_empty() && survey.unnamed.is_empty() {
            let source = &survey.source.alias;
            report.warn(
                "no_topics",
                format!("no topic of {source} matches `topics`"),
            );
        }
        for reason in &survey.unnamed {
            report.problem("name", reason.clone());
        }
        for topic in &survey.topics {
            report.look_at_topic(survey, topic);
        }
        report
    }

    fn empty(name: &str, source: SideReport, target: SideReport) -> Self {
        Self {
            name: name.to_owned(),
            source,
            target,
            guarantee: "at-least-once",
            guarantee_reason: "this version writes through librdkafka",
            topics: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn problem(&mut self, code: &'static str, message: String) {
        self.problems.push(note(code, message));
    }

    fn warn(&mut self, code: &'static str, message: String) {
        self.warnings.push(note(code, message));
    }

    fn look_at_topic(&mut self, survey: &Survey, topic: &Topic) {
        let (count, target) = (topic.partitions.len(), &topic.target);
        match &topic.target_ends {
            None if usize::try_from(survey.replication_factor)
                .is_ok_and(|factor| factor > survey.target.brokers) =>
            {
                self.problem(
                    "replication_factor",
                    format!(
                        "{target} cannot be created with replication factor {}: {} has {} brokers",
                        survey.replication_factor, survey.target.alias, survey.target.brokers
                    ),
                );
            }
            Some(ends) if ends.len() < count => self.problem(
                "fewer_partitions",
                format!("{target} has {} partitions, its source {count}", ends.len()),
            ),
            Some(ends) if ends.len() > count => self.warn(
                "more_partitions",
                format!("{target} has {} partitions, its source {count}", ends.len()),
            ),
            _ => {}
        }
        for partition in &topic.partitions {
            self.look_at_partition(survey, topic, partition);
        }
    }

    fn look_at_partition(&mut self, survey: &Survey, topic: &Topic, partition: &Partition) {
        let source = format!("{}-{}", topic.source, partition.index);
        let target = format!("{}-{}", topic.target, partition.index);
        let target_end = topic
            .target_ends
            .as_ref()
            .and_then(|ends| ends.get(&partition.index).copied())
            .flatten();
        let offsets = match &partition.offsets {
            Ok(offsets) => offsets,
            Err(reason) => return self.problem("offsets", format!("{source}: {reason}")),
        };
        let checkpoint = match &partition.checkpoint {
            Progress::None => {
                if let Some(end) = target_end.filter(|end| *end > 0) {
                    let message =
                        format!("{target} ends at offset {end} and the flow has no checkpoint");
                    self.problem("existing_records", message);
                }
                return;
            }
            Progress::Unreadable(reason) => {
                let message = format!("checkpoint of {target}: {reason}");
                return self.problem("unreadable_checkpoint", message);
            }
            Progress::Known(checkpoint) => checkpoint,
        };
        if let Some(stopped) = &checkpoint.stopped {
            let message = format!(
                "{source} at offset {}: {}",
                stopped.source_offset, stopped.reason
            );
            self.problem("stopped", message);
        }
        for (side, id) in [
            (&survey.source, &checkpoint.source_cluster),
            (&survey.target, &checkpoint.target_cluster),
        ] {
            if *id != side.cluster_id {
                let message = format!(
                    "checkpoint of {target} is about cluster {id}, {} is {}",
                    side.alias, side.cluster_id
                );
                self.problem("foreign_checkpoint", message);
            }
        }
        let wanted = checkpoint.source_offset;
        if wanted < offsets.first || wanted > offsets.end {
            let (first, end) = (offsets.first, offsets.end);
            let message =
                format!("{source}: offset {wanted} is wanted, the source has {first} to {end}");
            self.problem("gap", message);
        }
        if let Some(end) = target_end.filter(|end| *end < checkpoint.target_offset) {
            let message = format!(
                "{target} ends at offset {end}, the checkpoint says {}",
                checkpoint.target_offset
            );
            self.problem("target_behind", message);
        }
    }
}

fn note(code: &'static str, message: String) -> Note {
    Note { code, message }
}

fn side(side: &Side) -> SideReport {
    SideReport {
        cluster: side.alias.clone(),
        cluster_id: Some(side.cluster_id.clone()),
        brokers: Some(side.brokers),
    }
}

fn row(survey: &Survey, topic: &Topic) -> TopicReport {
    let partitions = &topic.partitions;
    let known = |partition: &&Partition| matches!(partition.checkpoint, Progress::Known(_));
    TopicReport {
        source: topic.source.clone(),
        target: topic.target.clone(),
        target_exists: topic.target_ends.is_some(),
        partitions: partitions.len(),
        records: partitions.iter().filter_map(Partition::records).sum(),
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag(survey.start))
            .sum(),
        checkpoints: partitions.iter().filter(known).count(),
    }
}
