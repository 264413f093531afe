//! How far a flow is, as both clusters see it.

use host::Host;

use super::{
    Partition, Survey, Topic,
    collect::{Pair, Unreachable},
};
use crate::{
    config::Config,
    flow::status::GUARANTEE,
    status::{FlowStatus, PartitionStatus, Report, sums},
};

/// Asks both clusters of every flow, as often as wanted, over the same connections.
#[derive(Debug)]
pub struct Observer<'a>(Vec<Pair<'a>>);

impl<'a> Observer<'a> {
    /// Of the flows of `config`. Connects later.
    pub fn new(host: &Host, config: &'a Config) -> Self {
        let flows = config.flows.iter();
        Self(flows.map(|flow| Pair::new(host, config, flow)).collect())
    }

    /// How far every flow is.
    ///
    /// # Errors
    /// If a cluster cannot be asked.
    pub async fn look(&self) -> Result<Report, Unreachable> {
        let mut flows = Vec::with_capacity(self.0.len());
        for pair in &self.0 {
            let (source, target) = pair.sides().await;
            flows.push(flow_status(&pair.survey(source?, target?).await?));
        }
        Ok(Report { flows })
    }
}

/// Asks both clusters of every flow, once.
///
/// # Errors
/// If one of them cannot be asked.
pub async fn run(host: &Host, config: &Config) -> Result<Report, Unreachable> {
    Observer::new(host, config).look().await
}

/// What `survey` says about its flow. What only its process knows is none.
pub fn flow_status(survey: &Survey) -> FlowStatus {
    let mut partitions = Vec::new();
    for topic in &survey.topics {
        let all = topic.partitions.iter();
        partitions.extend(all.map(|partition| partition_status(topic, partition)));
    }
    let (lag, stopped) = sums(&partitions);
    FlowStatus {
        name: survey.flow.clone(),
        source: survey.source.alias.clone(),
        target: survey.target.alias.clone(),
        phase: None,
        member: None,
        leader: None,
        guarantee: GUARANTEE.0.to_owned(),
        guarantee_reason: GUARANTEE.1.to_owned(),
        lag,
        records: None,
        bytes: None,
        stopped,
        partitions,
        troubles: survey.troubles.iter().map(Into::into).collect(),
    }
}

fn partition_status(topic: &Topic, partition: &Partition) -> PartitionStatus {
    let (checkpoint, unreadable) = match partition.checkpoint() {
        Some(Ok(checkpoint)) => (Some(checkpoint), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let checkpoint = checkpoint.as_ref();
    let stopped = checkpoint.and_then(|checkpoint| checkpoint.stopped.as_ref());
    PartitionStatus {
        topic: topic.source.clone(),
        partition: partition.index,
        target_topic: topic.target.clone(),
        source_offset: checkpoint.map(|checkpoint| checkpoint.source_offset),
        target_offset: checkpoint.map(|checkpoint| checkpoint.target_offset),
        source_end: partition.offsets.as_ref().ok().map(|offsets| offsets.end),
        lag: partition.lag(topic.config.start),
        state: stopped.map(|_| "stopped".to_owned()),
        reason: stopped.map(|stopped| stopped.reason.clone()),
        text: None,
        stopped_offset: stopped.map(|stopped| stopped.source_offset),
        stopped_since_ms: stopped.map(|stopped| stopped.since_ms),
        unknown: partition.offsets.as_ref().err().cloned().or(unreadable),
    }
}
