//! What to compare with what, from where to where.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use host::Host;
use wire::{Isolation, TopicPartition, client::OffsetSpec, error::ClientError};

use super::{VerifyError, stream::PartitionItems};
use crate::{
    checkpoint::control_topic::{ControlRecords, ControlTopic, TopicKey},
    cluster::Cluster,
    config::{Config, FlowConfig, OnExisting},
    survey::{Partition, Survey, Topic, collect::Pair},
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
    /// The flow may have begun behind what the target held.
    pub(super) appends: bool,
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
    let survey = pair.survey(source?, target?).await?.with_checkpoints()?;
    let facts = Facts::ask(host, config, flow, &survey).await?;
    let jobs = survey.topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .filter_map(|partition| facts.job(flow, topic, partition))
    });
    Ok(jobs.collect())
}

/// What the survey does not tell.
struct Facts {
    sides: Sides,
    control: ControlRecords,
    source_ends: BTreeMap<TopicPartition, i64>,
    /// Target topics that keep the times of their own appends.
    append_times: BTreeSet<String>,
}

impl Facts {
    async fn ask(
        host: &Host,
        config: &Config,
        flow: &FlowConfig,
        survey: &Survey,
    ) -> Result<Self, VerifyError> {
        let sides = Sides {
            source: Cluster::new(host, &config.clusters[&flow.source]),
            target: Cluster::new(host, &config.clusters[&flow.target]),
        };
        let control = ControlTopic::new(sides.target.client().clone(), &flow.name);
        let control = match control.replicas().await? {
            Some(_) => control.read().await?,
            None => ControlRecords::default(),
        };
        let partitions = survey.topics.iter().flat_map(|topic| {
            let all = topic.partitions.iter();
            all.map(|partition| TopicPartition::new(&topic.source, partition.index))
        });
        let partitions: Vec<_> = partitions.collect();
        let latest = OffsetSpec::Latest;
        Ok(Self {
            source_ends: list(&sides.source, &partitions, latest, flow.isolation).await?,
            append_times: append_times(&sides.target, survey).await?,
            control,
            sides,
        })
    }

    /// One partition's comparison; none if its source cannot be read, which `check` reports.
    fn job(&self, flow: &FlowConfig, topic: &Topic, partition: &Partition) -> Option<Job> {
        let source = TopicPartition::new(&topic.source, partition.index);
        let target = TopicPartition::new(&topic.target, partition.index);
        let offsets = partition.offsets.as_ref().ok()?;
        let began = self.began(topic, partition.index);
        let source_end = self
            .source_ends
            .get(&source)
            .copied()
            .unwrap_or(offsets.end);
        // A topic that is not there is an empty one.
        let existing = topic.existing.as_ref();
        let extent =
            existing.and_then(|found| found.partitions.get(&partition.index)?.as_ref().ok());
        let (target_start, target_end) = extent.map_or((0, 0), |extent| (extent.start, extent.end));
        let items = |cluster: &Cluster, partition, next_offset, end, isolation| PartitionItems {
            cluster: cluster.alias().to_owned(),
            client: cluster.client().clone(),
            partition,
            isolation,
            timestamps: !self.append_times.contains(&topic.target),
            next_offset,
            end,
            ready: VecDeque::new(),
        };
        let start = offsets.first.max(began);
        let Sides {
            source: from,
            target: to,
        } = &self.sides;
        Some(Job {
            flow: flow.name.clone(),
            source: items(from, source, start, source_end, flow.isolation),
            target: items(
                to,
                target,
                target_start,
                target_end,
                Isolation::ReadCommitted,
            ),
            checkpoint: match partition.checkpoint() {
                Some(Ok(checkpoint)) => checkpoint.source_offset,
                Some(Err(_)) | None => offsets.end,
            },
            source_expires: offsets.first > began,
            target_expires: target_start > 0,
            appends: appends(flow, topic, partition),
        })
    }

    /// The source offset at which the flow began with a partition.
    fn began(&self, topic: &Topic, partition: i32) -> i64 {
        let recorded = self
            .control
            .topics
            .get(&TopicKey::new(topic.source_id, &topic.source));
        let starts = recorded.and_then(|record| record.start.as_ref());
        starts
            .and_then(|starts| starts.get(&partition).copied())
            .unwrap_or(0)
    }
}

fn appends(flow: &FlowConfig, topic: &Topic, partition: &Partition) -> bool {
    let known = partition.checkpoint().and_then(Result::ok);
    let behind = known.is_some_and(|known| known.appends_at.is_some());
    behind || flow.topic(&topic.source).on_existing == OnExisting::Append
}

struct Sides {
    source: Cluster,
    target: Cluster,
}

/// Offsets of the partitions that have an answer.
async fn list(
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

/// Target topics that keep the times of their own appends.
async fn append_times(target: &Cluster, survey: &Survey) -> Result<BTreeSet<String>, VerifyError> {
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
