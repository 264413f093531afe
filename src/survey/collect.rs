//! Asks both clusters of a flow.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use host::{Clock, Host};
use wire::{
    Isolation, TopicPartition,
    client::{Client, OffsetSpec, TopicDescription},
    error::{ApiError, ClientError},
};

use super::{Offsets, Partition, Side, Survey, TargetTopic, Topic};
use crate::{
    checkpoint::{Stored, offset_map},
    cluster::guarantee,
    config::{ClusterConfig, Config, FlowConfig, Start},
    flow::{
        plan::{Rules, SourceTopic},
        start::Extent,
        sync::{groups::GroupSelection, internal_topics},
    },
};

/// Groups that are looked at one by one.
const MOST_GROUPS: usize = 20;

/// A cluster that could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster}: {reason}")]
pub struct Unreachable {
    /// Its alias.
    pub cluster: String,
    /// What the client said.
    pub reason: ClientError,
}

/// Both clusters of one flow.
#[derive(Debug)]
pub struct Pair<'a> {
    pub(super) file: String,
    pub(super) flow: &'a FlowConfig,
    pub(super) source: Asked,
    pub(super) target: Asked,
    pub(super) clock: Arc<dyn Clock>,
}

impl<'a> Pair<'a> {
    /// The clusters of `flow`, which is one of `config`. Connects later.
    pub fn new(host: &Host, config: &'a Config, flow: &'a FlowConfig) -> Self {
        Self {
            file: config.file.clone(),
            flow,
            source: Asked::new(host, &config.clusters[&flow.source]),
            target: Asked::new(host, &config.clusters[&flow.target]),
            clock: Arc::clone(&host.clock),
        }
    }

    /// Source and target, each if it can be asked.
    pub async fn sides(&self) -> (Result<Side, Unreachable>, Result<Side, Unreachable>) {
        tokio::join!(self.source.side(), self.target.side())
    }

    /// What they hold of the flow.
    ///
    /// # Errors
    /// If one of them cannot be asked; what is wrong with single partitions is in the survey.
    pub async fn survey(&self, source: Side, target: Side) -> Result<Survey, Unreachable> {
        let flow = self.flow;
        let rules = Rules::new(flow);
        let snapshot = rules.select(self.source.topics().await?);
        let existing = self.target.topics().await?.into_iter();
        let existing: BTreeMap<String, TopicDescription> = existing
            .filter(|topic| topic.error.is_none())
            .map(|topic| (topic.name.clone(), topic))
            .collect();
        let facts = Facts::ask(
            &self.source,
            &self.target,
            flow,
            &snapshot.topics,
            &existing,
        )
        .await?;
        let topics = snapshot
            .topics
            .iter()
            .map(|topic| facts.topic(flow, topic, &existing))
            .collect();
        Ok(Survey {
            flow: flow.name.clone(),
            group: flow.group(),
            transport: flow.transport,
            source,
            target,
            control_exists: existing.contains_key(&format!("{}.control", flow.group())),
            map_exists: existing.contains_key(&offset_map::name(&flow.name)),
            mm2_topics: kept(flow, |name| existing.contains_key(name)),
            groups: Vec::new(),
            probe_exists: existing.contains_key(guarantee::TOPIC),
            is_fresh: facts.stored.is_empty() && facts.group_denied.is_none(),
            group_denied: facts.group_denied,
            seen: snapshot.seen,
            topics,
            sizes: BTreeMap::new(),
            sizes_unknown: None,
            troubles: snapshot.troubles,
        })
    }

    /// Adds some of the groups whose offsets the flow syncs. Where they cannot be listed there are none.
    pub async fn find_groups(&self, survey: &mut Survey) {
        if !self.flow.group_offsets && !self.flow.mm2.checkpoints {
            return;
        }
        let selection = GroupSelection::new(self.flow);
        let listed = self.source.client.list_groups().await;
        let listed = listed.unwrap_or_default().into_iter();
        let selected = listed
            .map(|group| group.group)
            .filter(|group| selection.selects(group));
        survey.groups = selected.take(MOST_GROUPS).collect();
    }

    /// Adds how large the source's partitions are. A cluster need not tell.
    pub async fn measure(&self, survey: &mut Survey) {
        let partitions = survey.topics.iter().flat_map(|topic| {
            let indexes = topic.partitions.iter().map(|partition| partition.index);
            indexes.map(|index| TopicPartition::new(&topic.source, index))
        });
        let partitions: Vec<_> = partitions.collect();
        if partitions.is_empty() {
            return;
        }
        match self.source.client.partition_sizes(&partitions).await {
            Ok(sizes) => {
                for (partition, size) in sizes {
                    match size {
                        Ok(size) => drop(survey.sizes.insert(partition, size)),
                        Err(error) => {
                            let reason = || format!("{partition}: {error}");
                            survey.sizes_unknown.get_or_insert_with(reason);
                        }
                    }
                }
            }
            Err(error) => survey.sizes_unknown = Some(error.to_string()),
        }
    }
}

fn kept(flow: &FlowConfig, exists: impl Fn(&String) -> bool) -> Vec<(String, bool)> {
    let names = internal_topics::topics(flow).into_iter();
    names
        .map(|name| {
            let exists = exists(&name);
            (name, exists)
        })
        .collect()
}

type Listed = BTreeMap<TopicPartition, Result<i64, ApiError>>;

/// Offsets of all partitions that matter to a flow.
struct Facts {
    first: Listed,
    ends: Listed,
    at_time: Listed,
    target_first: Listed,
    target_ends: Listed,
    stored: BTreeMap<TopicPartition, Stored>,
    group_denied: Option<ClientError>,
}

impl Facts {
    async fn ask(
        source: &Asked,
        target: &Asked,
        flow: &FlowConfig,
        topics: &[SourceTopic],
        existing: &BTreeMap<String, TopicDescription>,
    ) -> Result<Self, Unreachable> {
        let on_source = topics.iter().flat_map(source_partitions).collect();
        let on_source: &Vec<_> = &on_source;
        let on_target = topics
            .iter()
            .filter_map(|topic| existing.get(&topic.target));
        let on_target: &Vec<_> = &on_target.flat_map(target_partitions).collect();
        let (first, end) = (OffsetSpec::Earliest, OffsetSpec::Latest);
        let (isolation, all) = (flow.isolation, Isolation::ReadUncommitted);
        // Against the flow of the records, so that what a running flow moves on meanwhile never looks
        // like a loss: the target ends behind the checkpoint, the source behind the target.
        let (mut stored, group_denied) = match target.stored(&flow.group()).await {
            Err(failed) if is_denied(&failed.reason) => (BTreeMap::new(), Some(failed.reason)),
            stored => (stored?, None),
        };
        let target_first = target.offsets(on_target, first, all).await?;
        let target_ends = target.offsets(on_target, end, all).await?;
        // A flow may have written its first checkpoint and records meanwhile, in this order.
        let begun = target_ends
            .iter()
            .any(|(partition, end)| matches!(end, Ok(1..)) && !stored.contains_key(partition));
        if begun && group_denied.is_none() {
            for (partition, found) in target.stored(&flow.group()).await? {
                stored.entry(partition).or_insert(found);
            }
        }
        let at_time = topics.iter().flat_map(|topic| {
            let spec = match flow.topic(&topic.name).start {
                Start::Time(ms) => Some(OffsetSpec::Timestamp(ms)),
                Start::Earliest | Start::Latest => None,
            };
            spec.into_iter()
                .flat_map(|spec| source_partitions(topic).map(move |one| (one, spec)))
        });
        let at_time: Vec<_> = at_time.collect();
        Ok(Self {
            first: source.offsets(on_source, first, isolation).await?,
            ends: source.offsets(on_source, end, isolation).await?,
            at_time: source.listed(&at_time, isolation).await?,
            target_first,
            target_ends,
            stored,
            group_denied,
        })
    }

    fn topic(
        &self,
        flow: &FlowConfig,
        topic: &SourceTopic,
        existing: &BTreeMap<String, TopicDescription>,
    ) -> Topic {
        let existing = existing.get(&topic.target).map(|found| TargetTopic {
            id: found.id,
            replicas: found.partitions.first().map_or(0, |one| one.replicas.len()),
            partitions: target_partitions(found)
                .map(|partition| (partition.partition, self.target_extent(&partition)))
                .collect(),
        });
        let partitions = source_partitions(topic).map(|partition| {
            let target = TopicPartition::new(&topic.target, partition.partition);
            Partition {
                index: partition.partition,
                offsets: self.offsets(&partition),
                stored: self.stored.get(&target).cloned(),
            }
        });
        Topic {
            source: topic.name.clone(),
            source_id: topic.id,
            partitions: partitions.collect(),
            target: topic.target.clone(),
            config: flow.topic(&topic.name).clone(),
            existing,
        }
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Offsets, String> {
        let end = found(&self.ends, partition)?;
        // -1: no record is as young, so a start by time begins at the end.
        let begin = |offset| if offset < 0 { end } else { offset };
        Ok(Offsets {
            first: found(&self.first, partition)?,
            end,
            at_time: found(&self.at_time, partition).ok().map(begin),
        })
    }

    fn target_extent(&self, partition: &TopicPartition) -> Result<Extent, String> {
        Ok(Extent {
            start: found(&self.target_first, partition)?,
            end: found(&self.target_ends, partition)?,
        })
    }
}

/// GROUP_AUTHORIZATION_FAILED
fn is_denied(error: &ClientError) -> bool {
    error.api_error().is_some_and(|error| error.code == 30)
}

fn found(listed: &Listed, partition: &TopicPartition) -> Result<i64, String> {
    match listed.get(partition) {
        Some(Ok(offset)) => Ok(*offset),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the cluster did not answer for it".to_owned()),
    }
}

fn source_partitions(topic: &SourceTopic) -> impl Iterator<Item = TopicPartition> {
    (0..topic.partitions).map(|index| TopicPartition::new(&topic.name, index))
}

fn target_partitions(topic: &TopicDescription) -> impl Iterator<Item = TopicPartition> {
    let indexes = topic.partitions.iter().map(|partition| partition.index);
    indexes.map(|index| TopicPartition::new(&topic.name, index))
}

/// One cluster to ask.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) alias: String,
    pub(super) bootstrap: Vec<(String, u16)>,
    pub(super) client: Client,
    /// For how long its brokers remember a producer, by the operator's word.
    pub(super) producer_id_expiration: Option<Duration>,
}

impl Asked {
    fn new(host: &Host, cluster: &ClusterConfig) -> Self {
        let settings = crate::cluster::wire_for_a_person(cluster);
        Self {
            alias: cluster.alias.clone(),
            bootstrap: cluster.bootstrap.clone(),
            client: Client::new(host.clone(), settings),
            producer_id_expiration: cluster.producer_id_expiration,
        }
    }

    fn answer<T>(&self, answer: Result<T, ClientError>) -> Result<T, Unreachable> {
        answer.map_err(|reason| Unreachable {
            cluster: self.alias.clone(),
            reason,
        })
    }

    async fn side(&self) -> Result<Side, Unreachable> {
        let cluster = self.answer(self.client.describe_cluster().await)?;
        Ok(Side {
            alias: self.alias.clone(),
            cluster_id: cluster.cluster_id,
            brokers: cluster.brokers.len(),
        })
    }

    async fn topics(&self) -> Result<Vec<TopicDescription>, Unreachable> {
        self.answer(self.client.topics(None).await)
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Listed, Unreachable> {
        let wanted: Vec<_> = partitions.iter().cloned().map(|one| (one, spec)).collect();
        self.listed(&wanted, isolation).await
    }

    async fn listed(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<Listed, Unreachable> {
        let listed = self.answer(self.client.list_offsets(wanted, isolation).await)?;
        let offsets = listed
            .into_iter()
            .map(|(partition, listed)| (partition, listed.map(|listed| listed.offset)));
        Ok(offsets.collect())
    }

    /// What the flow's group holds, by target partition.
    pub(super) async fn stored(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, Stored>, Unreachable> {
        let committed = self.answer(self.client.group_offsets(group).await)?;
        let stored = committed.into_iter().map(|(partition, committed)| {
            let stored = Stored {
                offset: committed.offset,
                metadata: committed.metadata,
            };
            (partition, stored)
        });
        Ok(stored.collect())
    }
}
