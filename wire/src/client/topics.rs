//! What there is: brokers, topics, partitions.

use kafka_protocol::{
    messages::{MetadataRequest, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use uuid::Uuid;

use super::Client;
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
