//! Asks both clusters of a flow.

use std::{collections::BTreeMap, time::Duration};

use host::Host;
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, OffsetSpec, TopicDescription},
    error::{ApiError, ClientError},
};

use super::{Offsets, Partition, Progress, Side, Survey, Topic};
use crate::{
    checkpoint::{Stored, codec},
    config::{ClusterConfig, Config, FlowConfig, Start},
    flow::topics::{naming::Naming, selection::Selection},
};

/// A person waits for the answer, so patience is short.
const PATIENCE: Duration = Duration::from_secs(10);

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
    flow: &'a FlowConfig,
    source: Asked,
    target: Asked,
}

impl<'a> Pair<'a> {
    /// The clusters of `flow`, which is one of `config`. Connects later.
    pub fn new(host: &Host, config: &'a Config, flow: &'a FlowConfig) -> Self {
        Self {
            flow,
            source: Asked::new(host, &config.clusters[&flow.source]),
            target: Asked::new(host, &config.clusters[&flow.target]),
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
        let existing = self.target.topics().await?;
        let selection = Selection::new(flow);
        let naming = Naming::new(&flow.naming, &flow.source);
        let (mut selected, mut unnamed) = (Vec::new(), Vec::new());
        for topic in self.source.topics().await?.into_values() {
            if selection.selects(&topic.name, topic.internal) {
                match naming.target(&topic.name) {
                    Ok(name) => selected.push((topic, name)),
                    Err(error) => unnamed.push(error.to_string()),
                }
            }
        }
        let facts = Facts::ask(&self.source, &self.target, flow, &selected, &existing).await?;
        let topics = selected
            .into_iter()
            .map(|(topic, name)| facts.topic(&topic, name, &existing))
            .collect();
        Ok(Survey {
            flow: flow.name.clone(),
            start: flow.start,
            source,
            target,
            replication_factor: flow.replication_factor,
            topics,
            unnamed,
        })
    }
}

type Listed = BTreeMap<TopicPartition, Result<i64, ApiError>>;

/// Offsets of all partitions that matter to a flow.
struct Facts {
    first: Listed,
    ends: Listed,
    at_time: Listed,
    target_ends: Listed,
    checkpoints: BTreeMap<TopicPartition, Progress>,
}

impl Facts {
    async fn ask(
        source: &Asked,
        target: &Asked,
        flow: &FlowConfig,
        selected: &[(TopicDescription, String)],
        existing: &BTreeMap<String, TopicDescription>,
    ) -> Result<Self, Unreachable> {
        let on_source: Vec<_> = selected
            .iter()
            .flat_map(|(topic, _)| partitions(topic))
            .collect();
        let on_target: Vec<_> = selected
            .iter()
            .filter_map(|(_, name)| existing.get(name))
            .flat_map(partitions)
            .collect();
        let isolation = flow.isolation;
        let at_time = match flow.start {
            Start::Time(ms) => {
                source
                    .offsets(&on_source, OffsetSpec::Timestamp(ms), isolation)
                    .await?
            }
            Start::Earliest | Start::Latest => Listed::new(),
        };
        let end = OffsetSpec::Latest;
        Ok(Self {
            // The first before the end, so that records that arrive meanwhile never make it negative.
            first: source
                .offsets(&on_source, OffsetSpec::Earliest, isolation)
                .await?,
            ends: source.offsets(&on_source, end, isolation).await?,
            at_time,
            target_ends: target
                .offsets(&on_target, end, Isolation::ReadUncommitted)
                .await?,
            checkpoints: target.checkpoints(&flow.group()).await?,
        })
    }

    fn topic(
        &self,
        topic: &TopicDescription,
        target: String,
        existing: &BTreeMap<String, TopicDescription>,
    ) -> Topic {
        let target_ends = existing.get(&target).map(|topic| {
            let end = |partition| self.target_ends.get(&partition)?.as_ref().ok().copied();
            partitions(topic)
                .map(|partition| (partition.partition, end(partition)))
                .collect()
        });
        let partitions = partitions(topic)
            .map(|partition| Partition {
                index: partition.partition,
                offsets: self.offsets(&partition),
                checkpoint: self
                    .checkpoints
                    .get(&TopicPartition::new(&target, partition.partition))
                    .cloned()
                    .unwrap_or(Progress::None),
            })
            .collect();
        Topic {
            source: topic.name.clone(),
            target,
            partitions,
            target_ends,
        }
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<Offsets, String> {
        let of = |listed: &Listed| match listed.get(partition) {
            Some(Ok(offset)) => Ok(*offset),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the cluster did not answer for it".to_owned()),
        };
        let end = of(&self.ends)?;
        // -1: no record is as young, so a start by time begins at the end.
        let at_time = of(&self.at_time)
            .ok()
            .map(|offset| if offset < 0 { end } else { offset });
        Ok(Offsets {
            first: of(&self.first)?,
            end,
            at_time,
        })
    }
}

fn partitions(topic: &TopicDescription) -> impl Iterator<Item = TopicPartition> {
    let indexes = topic.partitions.iter().map(|partition| partition.index);
    indexes.map(|index| TopicPartition::new(&topic.name, index))
}

/// One cluster to ask.
#[derive(Debug)]
struct Asked {
    alias: String,
    client: Client,
}

impl Asked {
    fn new(host: &Host, cluster: &ClusterConfig) -> Self {
        let settings = ClientSettings {
            connect_timeout: PATIENCE,
            request_timeout: PATIENCE,
            retry_for: PATIENCE,
            ..ClientSettings::new(cluster.bootstrap.clone(), cluster.client_id())
        };
        Self {
            alias: cluster.alias.clone(),
            client: Client::new(host.clone(), settings),
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

    /// Topics that are there, by name.
    async fn topics(&self) -> Result<BTreeMap<String, TopicDescription>, Unreachable> {
        let topics = self.answer(self.client.topics(None).await)?;
        let there = topics.into_iter().filter(|topic| topic.error.is_none());
        Ok(there.map(|topic| (topic.name.clone(), topic)).collect())
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Listed, Unreachable> {
        let wanted: Vec<_> = partitions.iter().cloned().map(|one| (one, spec)).collect();
        let listed = self.answer(self.client.list_offsets(&wanted, isolation).await)?;
        let offsets = listed
            .into_iter()
            .map(|(partition, listed)| (partition, listed.map(|listed| listed.offset)));
        Ok(offsets.collect())
    }

    /// The flow's checkpoints by target partition.
    async fn checkpoints(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, Progress>, Unreachable> {
        let committed = self.answer(self.client.group_offsets(group).await)?;
        let progress = committed.into_iter().map(|(partition, committed)| {
            let stored = Stored {
                offset: committed.offset,
                metadata: committed.metadata,
            };
            let progress = match codec::decode(&stored) {
                Ok(checkpoint) => Progress::Known(Box::new(checkpoint)),
                Err(error) => Progress::Unreadable(error.to_string()),
            };
            (partition, progress)
        });
        Ok(progress.collect())
    }
}
