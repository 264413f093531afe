//! What there is: brokers, topics, partitions.

use std::sync::Arc;

use kafka_protocol::{
    messages::{MetadataRequest, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Client, unanswered};
use crate::error::{ApiError, ClientError};

/// A cluster as its brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker that makes changes; none for the moment.
    pub controller: Option<i32>,
    /// All brokers that are up.
    pub brokers: Vec<Broker>,
}

/// One broker, as it advertises itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: i32,
    /// Where it stands.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; nil on brokers before 2.8.
    pub id: Uuid,
    /// One that the brokers keep for themselves.
    pub internal: bool,
    /// Why the rest is missing.
    pub error: Option<ApiError>,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

impl TopicDescription {
    /// How many partitions it has, as requests count them.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// How many replicas its partitions have, of those the fewest; 0 without partitions.
    pub fn least_replicas(&self) -> usize {
        let replicas = self.partitions.iter().map(|one| one.replicas.len());
        replicas.min().unwrap_or(0)
    }

    /// The partition with this number.
    pub fn partition(&self, index: i32) -> Option<&PartitionDescription> {
        let found = self.partitions.binary_search_by_key(&index, |p| p.index);
        found.ok().map(|at| &self.partitions[at])
    }

    /// The broker that leads a partition.
    ///
    /// # Errors
    /// Why there is none, as the brokers say it: the topic's error, the partition's, UNKNOWN_TOPIC_OR_PARTITION or
    /// LEADER_NOT_AVAILABLE.
    pub fn leader(&self, index: i32) -> Result<i32, ApiError> {
        let Some(partition) = self.partition(index) else {
            let error = self.error.clone();
            return Err(error.unwrap_or_else(unknown_topic_or_partition));
        };
        let error = || self.error.clone().or_else(|| partition.error.clone());
        partition
            .leader
            .ok_or_else(|| error().unwrap_or_else(leader_not_available))
    }
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; none for the moment.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 if not told.
    pub leader_epoch: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// What is wrong with it.
    pub error: Option<ApiError>,
}

fn unknown_topic_or_partition() -> ApiError {
    ApiError {
        code: 3,
        message: None,
    }
}

/// What brokers answer while nobody leads a partition.
pub(super) fn leader_not_available() -> ApiError {
    ApiError {
        code: 5,
        message: None,
    }
}

/// Asks for these topics, or all; never creates one.
pub(super) fn metadata_request(topics: Option<&[String]>) -> MetadataRequest {
    let wanted = topics.map(|topics| {
        let name = |topic: &String| Some(TopicName(StrBytes::from_string(topic.clone())));
        topics
            .iter()
            .map(|topic| MetadataRequestTopic::default().with_name(name(topic)))
            .collect()
    });
    MetadataRequest::default()
        .with_topics(wanted)
        .with_allow_auto_topic_creation(false)
}

impl Client {
    /// The cluster's id and brokers. By Metadata, which every broker speaks, rather than by
    /// DescribeCluster (KIP-700), which says nothing more that is used.
    ///
    /// # Errors
    /// If no broker can be reached.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let metadata = self.metadata(&metadata_request(Some(&[]))).await?;
        let brokers = metadata.brokers.iter().map(|broker| Broker {
            id: broker.node_id.0,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(ToString::to_string),
        });
        Ok(ClusterDescription {
            cluster_id: metadata
                .cluster_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            controller: Some(metadata.controller_id.0).filter(|id| *id >= 0),
            brokers: brokers.collect(),
        })
    }

    /// One topic. Who asks for the same one at the same time shares a question, which is sent after all of them asked.
    ///
    /// # Errors
    /// If no broker can be reached; an error of the topic is in its description.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicDescription>, ClientError> {
        let ask = async {
            let described = self.topics(Some(&[name.to_owned()])).await?.pop();
            described.map(Arc::new).ok_or_else(|| ClientError::Api {
                what: format!("topic {name}"),
                error: unanswered(),
            })
        };
        self.0.topics.ask(name, ask).await
    }

    /// The named topics, each with its own error if it has one; or all topics.
    ///
    /// # Errors
    /// If no broker can be reached.
    pub async fn topics(
        &self,
        names: Option<&[String]>,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let metadata = self.metadata(&metadata_request(names)).await?;
        let topics = metadata.topics.into_iter().map(|topic| {
            let mut partitions: Vec<_> = topic
                .partitions
                .iter()
                .map(|partition| PartitionDescription {
                    index: partition.partition_index,
                    leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
                    leader_epoch: partition.leader_epoch,
                    replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
                    isr: partition.isr_nodes.iter().map(|id| id.0).collect(),
                    error: ApiError::from_code(partition.error_code, None::<&str>),
                })
                .collect();
            partitions.sort_by_key(|partition| partition.index);
            TopicDescription {
                name: topic.name.map(|name| name.to_string()).unwrap_or_default(),
                id: topic.topic_id,
                internal: topic.is_internal,
                error: ApiError::from_code(topic.error_code, None::<&str>),
                partitions,
            }
        });
        Ok(topics.collect())
    }
}
