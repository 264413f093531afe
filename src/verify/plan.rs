//! What to compare with what, from where to where.

use std::collections::{BTreeMap, VecDeque};

use host::Host;
use wire::{
    Isolation, TopicPartition,
    client::{OffsetSpec, TopicDescription},
    error::ClientError,
};

use super::{VerifyError, stream::PartitionItems};
use crate::{
    checkpoint::control_topic::{ControlRecords, ControlTopic, TopicKey},
    cluster::Cluster,
    config::{Config, FlowConfig},
    survey::{Survey, collect::Pair},
};

/// One partition's comparison.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) flow: String,
    pub(super) source: PartitionItems,
    pub(super) target: PartitionItems,
    /// Source records from here on may be absent.
    pub(super) checkpoint: i64,
    /// Retention has removed source records that the flow copied.
    pub(super) source_expires: bool,
    /// Retention has removed target records.
    pub(super) target_expires: bool,
}

impl Job {
    pub(super) fn target_records(&self) -> u64 {
        u64::try_from(self.target.end - self.target.next_offset).unwrap_or(0)
    }
}

/// The partitions of one flow.
pub(super) async fn jobs(
    host: &Host,
    config: &Config,
    flow: &FlowConfig,
) -> Result<Vec<Job>, VerifyError> {
    let pair = Pair::new(host, config, flow);
    let (source, target) = pair.sides().await;
    // First the checkpoints and the target's ends, then the source's ends: whatever the target holds,
    // the source shows.
    let survey = pair.survey(source?, target?).await?;
    let sides = Sides {
        source: Cluster::new(host, &config.clusters[&flow.source]),
        target: Cluster::new(host, &config.clusters[&flow.target]),
    };
    let control = ControlTopic::new(sides.target.client().clone(), &flow.name);
    let control = match control.replicas().await? {
        Some(_) => control.read().await?,
        None => ControlRecords::default(),
    };
    let described = topics(&sides.source).await?;
    let partitions = survey.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let source = TopicPartition::new(&topic.source, partition.index);
            (source, TopicPartition::new(&topic.target, partition.index))
        })
    });
    let partitions: Vec<_> = partitions.collect();
    let on_source: Vec<_> = partitions
        .iter()
        .map(|(source, _)| source.clone())
        .collect();
    let on_target: Vec<_> = partitions
        .iter()
        .map(|(_, target)| target.clone())
        .collect();
    let ends = sides
        .list(
            &sides.source,
            &on_source,
            OffsetSpec::Latest,
            flow.isolation,
        )
        .await?;
    let starts = sides
        .list(
            &sides.target,
            &on_target,
            OffsetSpec::Earliest,
            flow.isolation,
        )
        .await?;
    let append_times = append_times(&sides.target, &survey).await?;
    let mut jobs = Vec::new();
    for topic in &survey.topics {
        let id = described
            .get(&topic.source)
            .map(|topic| topic.id)
            .unwrap_or_default();
        let recorded = control.topics.get(&TopicKey::new(id, &topic.source));
        let recorded = recorded
            .and_then(|record| record.start.clone())
            .unwrap_or_default();
        for partition in &topic.partitions {
            let source = TopicPartition::new(&topic.source, partition.index);
            let target = TopicPartition::new(&topic.target, partition.index);
            let Ok(offsets) = &partition.offsets else {
                continue;
            };
            let began = recorded.get(&partition.index).copied().unwrap_or(0);
            let end = ends.get(&source).copied().unwrap_or(offsets.end);
            let target_end = topic
                .existing
                .as_ref()
                .and_then(|found| found.partitions.get(&partition.index)?.as_ref().ok())
                .map(|extent| extent.end);
            let target_start = starts.get(&target).copied().unwrap_or(0);
            let items =
                |cluster: &Cluster, partition, next_offset, end, isolation| PartitionItems {
                    cluster: cluster.alias().to_owned(),
                    client: cluster.client().clone(),
                    partition,
                    isolation,
                    timestamps: !append_times.contains(&topic.target),
                    next_offset,
                    end,
                    ready: VecDeque::new(),
                };
            let start = offsets.first.max(began);
            let committed = Isolation::ReadCommitted;
            jobs.push(Job {
                flow: flow.name.clone(),
                source: items(&sides.source, source, start, end, flow.isolation),
                target: items(
                    &sides.target,
                    target,
                    target_start,
                    target_end.unwrap_or(target_start),
                    committed,
                ),
                checkpoint: match partition.checkpoint() {
                    Some(Ok(checkpoint)) => checkpoint.source_offset,
                    Some(Err(_)) | None => offsets.end,
                },
                source_expires: offsets.first > began,
                target_expires: target_start > 0,
            });
        }
    }
    Ok(jobs)
}

struct Sides {
    source: Cluster,
    target: Cluster,
}

impl Sides {
    /// Offsets of the partitions that have an answer.
    async fn list(
        &self,
        cluster: &Cluster,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, VerifyError> {
        let wanted: Vec<_> = partitions.iter().map(|p| (p.clone(), spec)).collect();
        let listed = cluster.client().list_offsets(&wanted, isolation).await;
        let listed = listed.map_err(|error| failed(cluster, error))?;
        Ok(listed
            .into_iter()
            .filter_map(|(p, found)| Some((p, found.ok()?.offset)))
            .collect())
    }
}

async fn topics(cluster: &Cluster) -> Result<BTreeMap<String, TopicDescription>, VerifyError> {
    let topics = cluster
        .client()
        .topics(None)
        .await
        .map_err(|error| failed(cluster, error))?;
    Ok(topics
        .into_iter()
        .map(|topic| (topic.name.clone(), topic))
        .collect())
}

/// Target topics that keep the times of their own appends.
async fn append_times(target: &Cluster, survey: &Survey) -> Result<Vec<String>, VerifyError> {
    let there = survey
        .topics
        .iter()
        .filter(|topic| topic.existing.is_some());
    let names: Vec<_> = there.map(|topic| topic.target.clone()).collect();
    let described = target.client().describe_topic_configs(&names).await;
    let described = described.map_err(|error| failed(target, error))?;
    let keeps = described.into_iter().filter(|(_, configs)| {
        let mut all = configs.iter().flatten();
        all.any(|c| {
            c.name == "message.timestamp.type" && c.value.as_deref() == Some("LogAppendTime")
        })
    });
    Ok(keeps.map(|(name, _)| name).collect())
}

fn failed(cluster: &Cluster, source: ClientError) -> VerifyError {
    VerifyError::Cluster {
        cluster: cluster.alias().to_owned(),
        source,
    }
}
