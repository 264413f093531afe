//! Whether a flow could run: what it would replicate, and what is missing.

use std::collections::BTreeMap;

use host::Host;
use serde::Serialize;
use wire::TopicPartition;

use super::{
    Offsets, Partition, Side, Survey, Topic,
    collect::{Pair, Unreachable},
};
use crate::{
    base::ids::Route,
    config::{Config, FlowConfig},
    flow::start::{self, Evidence, Extent, Identity, Verdict},
};

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
    /// Bytes on the disks of the source's leaders; none if not all are known.
    pub bytes: Option<i64>,
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
                Ok(mut survey) => {
                    pair.measure(&mut survey).await;
                    FlowReport::new(&survey)
                }
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
        if survey.topics.is_empty() && survey.troubles.is_empty() {
            let source = &survey.source.alias;
            report.warn(
                "no_topics",
                format!("no topic of {source} matches `topics`"),
            );
        }
        if let Some(reason) = &survey.sizes_unknown {
            let source = &survey.source.alias;
            let message = format!("{source} does not tell how large its topics are: {reason}");
            report.warn("bytes_unknown", message);
        }
        for trouble in &survey.troubles {
            report.problem(trouble.code, format!("{}: {}", trouble.topic, trouble.text));
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
        match &topic.existing {
            None => self.look_at_creation(survey, topic),
            Some(existing) if existing.partitions.len() < count => {
                let has = existing.partitions.len();
                let message = format!("{target} has {has} partitions and will be given {count}");
                self.warn("fewer_partitions", message);
            }
            Some(existing) if existing.partitions.len() > count => {
                let has = existing.partitions.len();
                let message = format!("{target} has {has} partitions, its source {count}");
                self.warn("more_partitions", message);
            }
            Some(_) => {}
        }
        for partition in &topic.partitions {
            match &partition.offsets {
                Ok(offsets) => self.look_at_partition(survey, topic, partition, *offsets),
                Err(reason) => {
                    let (alias, name) = (&survey.source.alias, &topic.source);
                    let message = format!("{alias} {name}-{}: {reason}", partition.index);
                    self.problem("offsets", message);
                }
            }
        }
    }

    fn look_at_creation(&mut self, survey: &Survey, topic: &Topic) {
        let (target, factor) = (&survey.target, topic.config.replication_factor);
        if usize::try_from(factor).is_ok_and(|factor| factor > target.brokers) {
            let message = format!(
                "{} cannot be created with replication factor {factor}: {} has {} brokers",
                topic.target, target.alias, target.brokers
            );
            self.problem("replication_factor", message);
        }
        if topic
            .partitions
            .iter()
            .any(|partition| partition.stored.is_some())
        {
            let message = format!(
                "{} was replicated and is gone from {}",
                topic.target, target.alias
            );
            self.problem("target_topic_missing", message);
        }
    }

    /// A worker stopped there; it is tried again at the next start.
    fn look_at_last_stop(&mut self, name: &str, partition: &Partition) {
        if let Some(Ok(checkpoint)) = partition.checkpoint()
            && let Some(stopped) = &checkpoint.stopped
        {
            let (reason, at) = (&stopped.reason, stopped.source_offset);
            let message = format!("{name} is stopped at source offset {at}: {reason}");
            self.warn("stopped", message);
        }
    }

    /// Where `run` would start the partition, by the same rules; whether the source still has the
    /// last copied record is left to `run`.
    fn look_at_partition(
        &mut self,
        survey: &Survey,
        topic: &Topic,
        partition: &Partition,
        offsets: Offsets,
    ) {
        let existing = topic.existing.as_ref();
        let Some(target) = existing.and_then(|found| found.partitions.get(&partition.index)) else {
            return;
        };
        let name = format!(
            "{} {}-{}",
            survey.target.alias, topic.target, partition.index
        );
        let target = match target {
            Ok(extent) => *extent,
            Err(reason) => return self.problem("offsets", format!("{name}: {reason}")),
        };
        if let Some(Ok(checkpoint)) = partition.checkpoint() {
            for (side, id) in [
                (&survey.source, &checkpoint.source_cluster),
                (&survey.target, &checkpoint.target_cluster),
            ] {
                if *id != side.cluster_id {
                    let (alias, now) = (&side.alias, &side.cluster_id);
                    let message = format!(
                        "the checkpoint of {name} is about cluster {id}, but {alias} is cluster {now}"
                    );
                    return self.problem("foreign_cluster", message);
                }
            }
        }
        self.look_at_last_stop(&name, partition);
        let evidence = Evidence {
            stored: partition.stored.clone(),
            source: Extent {
                start: offsets.first,
                end: offsets.end,
            },
            target,
            first_start: None,
            last: None,
        };
        if let Verdict::Stop(stop) = identity(survey, topic, partition.index).verdict(&evidence) {
            self.problem(stop.reason.code(), stop.text);
        }
    }
}

fn identity(survey: &Survey, topic: &Topic, partition: i32) -> Identity {
    let side = |side: &Side, topic_id| start::Side {
        alias: side.alias.clone(),
        cluster_id: side.cluster_id.clone(),
        topic_id,
    };
    let target_id = topic.existing.as_ref().map(|existing| existing.id);
    Identity {
        route: Route {
            source: TopicPartition::new(&topic.source, partition),
            target: TopicPartition::new(&topic.target, partition),
        },
        group: survey.group.clone(),
        source: side(&survey.source, topic.source_id),
        target: side(&survey.target, target_id.unwrap_or_default()),
        // They decide how a worker starts, not whether.
        fingerprint: 0,
        sealed: false,
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
    let known = |partition: &&Partition| matches!(partition.checkpoint(), Some(Ok(_)));
    TopicReport {
        source: topic.source.clone(),
        target: topic.target.clone(),
        target_exists: topic.existing.is_some(),
        partitions: partitions.len(),
        records: partitions.iter().filter_map(Partition::records).sum(),
        bytes: partitions
            .iter()
            .map(|partition| {
                let partition = TopicPartition::new(&topic.source, partition.index);
                survey.sizes.get(&partition).copied()
            })
            .sum(),
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag(topic.config.start))
            .sum(),
        checkpoints: partitions.iter().filter(known).count(),
    }
}
