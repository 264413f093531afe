//! How far a flow is, as both clusters see it.

use host::Host;
use wire::TopicPartition;

use super::{
    Partition, Survey, Topic,
    collect::{Pair, Unreachable},
    detail::Detail,
    owners::Owners,
    stops,
};
use crate::{
    config::Config,
    flow::provides,
    status::{FlowStatus, PartitionStatus, Provides, Report, Sums},
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
            let survey = pair.survey(source?, target?).await?.with_checkpoints()?;
            flows.push(flow_status(&survey, &pair.detail(&survey).await));
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

/// What `survey` and `detail` say about their flow. What only its process knows is none.
pub fn flow_status(survey: &Survey, detail: &Detail) -> FlowStatus {
    let owners = Owners::new(survey, detail);
    let mut partitions = Vec::new();
    for topic in &survey.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(&topic.source, partition.index);
            let target = TopicPartition::new(&topic.target, partition.index);
            partitions.push(PartitionStatus {
                lag_ms: lag_ms(detail, topic, partition, &name),
                owner: owners.of(&target),
                ..stops::with_stop(
                    partition_status(topic, partition),
                    survey,
                    detail,
                    topic,
                    partition,
                )
            });
        }
    }
    let sums = Sums::of(&partitions);
    let mut troubles: Vec<_> = survey.troubles.iter().map(Into::into).collect();
    troubles.extend(owners.troubles(survey));
    FlowStatus {
        name: survey.flow.clone(),
        source: survey.source.alias.clone(),
        target: survey.target.alias.clone(),
        phase: None,
        member: None,
        leader: None,
        provides: provides(survey, detail),
        lag: sums.lag,
        lag_ms: sums.lag_ms,
        checkpoint_age_ms: None,
        lease_age_ms: None,
        members: owners.members,
        records: None,
        bytes: None,
        stopped: sums.stopped,
        partitions,
        troubles,
        groups: None,
        acls: None,
        quotas: None,
        users: None,
        configs: None,
    }
}

/// What the flow's process told last.
fn provides(survey: &Survey, detail: &Detail) -> Provides {
    let told = provides::still_holds(survey.transport, detail.provides.as_ref());
    let why =
        "not known: no process of the flow has recorded it, or its control topic cannot be read";
    told.cloned()
        .unwrap_or_else(|| provides::unprobed(survey.transport, why))
}

/// How late a partition is, where that is known.
fn lag_ms(
    detail: &Detail,
    topic: &Topic,
    partition: &Partition,
    name: &TopicPartition,
) -> Option<i64> {
    match partition.lag(topic.config.start)? {
        0 => Some(0),
        _ => detail
            .oldest
            .get(name)
            .map(|time| detail.now_ms.saturating_sub(*time).max(0)),
    }
}

fn partition_status(topic: &Topic, partition: &Partition) -> PartitionStatus {
    let (checkpoint, unreadable) = match partition.checkpoint() {
        Some(Ok(checkpoint)) => (Some(checkpoint), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let checkpoint = checkpoint.as_ref();
    PartitionStatus {
        topic: topic.source.clone(),
        partition: partition.index,
        target_topic: topic.target.clone(),
        source_offset: checkpoint.map(|checkpoint| checkpoint.source_offset),
        target_offset: checkpoint.map(|checkpoint| checkpoint.target_offset),
        source_end: partition.offsets.as_ref().ok().map(|offsets| offsets.end),
        lag: partition.lag(topic.config.start),
        lag_ms: None,
        held_ms: None,
        records: None,
        bytes: None,
        owner: None,
        state: None,
        reason: None,
        text: None,
        stopped_offset: None,
        stopped_since_ms: None,
        unknown: partition.offsets.as_ref().err().cloned().or(unreadable),
    }
}
