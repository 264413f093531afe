//! How far a flow is, as both clusters see it.

use host::Host;
use serde::Serialize;

use super::{
    Partition, Survey, Topic,
    collect::{Pair, Unreachable},
};
use crate::config::Config;

/// What `strait status` found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// By flow, in the order of the configuration.
    pub flows: Vec<FlowStatus>,
}

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowStatus {
    /// Its name.
    pub name: String,
    /// Alias of the side that is read.
    pub source: String,
    /// Alias of the side that is written to.
    pub target: String,
    /// Records still to copy, counted by offsets; partitions of unknown lag are left out.
    pub lag: i64,
    /// Partitions that stopped and wait for a person.
    pub stopped: usize,
    /// By source name.
    pub topics: Vec<TopicStatus>,
}

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicStatus {
    /// Name on the source.
    pub source: String,
    /// Name on the target.
    pub target: String,
    /// Records still to copy, counted by offsets.
    pub lag: i64,
    /// By number.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// The source offset to read next; none before the first checkpoint.
    pub source_offset: Option<i64>,
    /// Where the source ends.
    pub source_end: Option<i64>,
    /// The target offset after the last acknowledged record.
    pub target_offset: Option<i64>,
    /// Records still to copy, counted by offsets.
    pub lag: Option<i64>,
    /// Why it stopped, if it did.
    pub stopped: Option<StoppedStatus>,
    /// What could not be found out.
    pub unknown: Option<String>,
}

/// A stop that waits for a person.
#[derive(Clone, Debug, Serialize)]
pub struct StoppedStatus {
    /// Code from the closed list of stop reasons.
    pub reason: String,
    /// The source offset that it is about.
    pub source_offset: i64,
    /// Milliseconds since 1970.
    pub since_ms: i64,
}

/// Asks both clusters of every flow.
///
/// # Errors
/// If one of them cannot be asked.
pub async fn run(host: &Host, config: &Config) -> Result<Report, Unreachable> {
    let mut flows = Vec::with_capacity(config.flows.len());
    for flow in &config.flows {
        let pair = Pair::new(host, config, flow);
        let (source, target) = pair.sides().await;
        flows.push(FlowStatus::new(&pair.survey(source?, target?).await?));
    }
    Ok(Report { flows })
}

impl FlowStatus {
    /// What `survey` says about its flow.
    pub fn new(survey: &Survey) -> Self {
        let topics: Vec<TopicStatus> = survey
            .topics
            .iter()
            .map(|topic| topic_status(survey, topic))
            .collect();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        Self {
            name: survey.flow.clone(),
            source: survey.source.alias.clone(),
            target: survey.target.alias.clone(),
            lag: topics.iter().map(|topic| topic.lag).sum(),
            stopped: partitions
                .filter(|partition| partition.stopped.is_some())
                .count(),
            topics,
        }
    }
}

fn topic_status(survey: &Survey, topic: &Topic) -> TopicStatus {
    let partitions: Vec<PartitionStatus> = topic
        .partitions
        .iter()
        .map(|partition| partition_status(survey, partition))
        .collect();
    TopicStatus {
        source: topic.source.clone(),
        target: topic.target.clone(),
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag)
            .sum(),
        partitions,
    }
}

fn partition_status(survey: &Survey, partition: &Partition) -> PartitionStatus {
    let (checkpoint, unreadable) = match partition.checkpoint() {
        Some(Ok(checkpoint)) => (Some(checkpoint), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let checkpoint = checkpoint.as_ref();
    let stopped = checkpoint.and_then(|checkpoint| checkpoint.stopped.as_ref());
    PartitionStatus {
        partition: partition.index,
        source_offset: checkpoint.map(|checkpoint| checkpoint.source_offset),
        source_end: partition.offsets.as_ref().ok().map(|offsets| offsets.end),
        target_offset: checkpoint.map(|checkpoint| checkpoint.target_offset),
        lag: partition.lag(survey.start),
        stopped: stopped.map(|stopped| StoppedStatus {
            reason: stopped.reason.clone(),
            source_offset: stopped.source_offset,
            since_ms: stopped.since_ms,
        }),
        unknown: partition.offsets.as_ref().err().cloned().or(unreadable),
    }
}
