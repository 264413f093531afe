//! What a partition's leader remembers of its past: epochs of leaders, and producers.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    BrokerId, DescribeProducersRequest, OffsetForLeaderEpochRequest,
    describe_producers_request::TopicRequest,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use super::{Client, leaders::PerPartition, offsets::name};
use crate::{
    TopicPartition,
    error::{ApiError, ClientError},
};

/// Where a leader epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch that is not above the one asked for; -1: none is known.
    pub leader_epoch: i32,
    /// The offset behind its last record; -1: not known.
    pub end_offset: i64,
}

/// A producer whose sequence the leader checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence of its last record, also of one that is not replicated yet; -1: none.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in milliseconds since 1970; -1: none.
    pub last_timestamp: i64,
    /// Where its open transaction begins; none if there is none.
    pub transaction_start: Option<i64>,
}

/// Each partition's epoch end, or why there is none.
pub type EpochEnds = PerPartition<EpochEnd>;
/// Each partition's producers, or why they are not told.
pub type Producers = PerPartition<Vec<ProducerState>>;

impl Client {
    /// Where epochs end (KIP-101): the answer for an epoch before the present one is the offset from
    /// which on a log that wrote on under the old leader differs. In the order of `wanted`.
    ///
    /// # Errors
    /// If a leader cannot be reached; each partition has its own answer.
    pub async fn offsets_for_leader_epoch(
        &self,
        wanted: &[(TopicPartition, i32)],
    ) -> Result<EpochEnds, ClientError> {
        self.ask_leaders(wanted, 2..=4, epochs_request, |answer| {
            let topics = answer.topics.into_iter().flat_map(|topic| {
                let name = topic.topic.to_string();
                topic.partitions.into_iter().map(move |p| {
                    let end = EpochEnd {
                        leader_epoch: p.leader_epoch,
                        end_offset: p.end_offset,
                    };
                    let error = ApiError::from_code(p.error_code, None::<&str>);
                    let partition = TopicPartition::new(&name, p.partition);
                    (partition, error.map_or(Ok(end), Err))
                })
            });
            topics.collect()
        })
        .await
    }

    /// The producers that leaders remember (KIP-664, brokers from 2.8 on). In the order of `wanted`.
    ///
    /// # Errors
    /// If a leader cannot be reached; each partition has its own answer.
    pub async fn describe_producers(
        &self,
        wanted: &[TopicPartition],
    ) -> Result<Producers, ClientError> {
        let wanted: Vec<_> = wanted.iter().map(|p| (p.clone(), ())).collect();
        self.ask_leaders(&wanted, 0..=0, producers_request, |answer| {
            let topics = answer.topics.into_iter().flat_map(|topic| {
                let name = topic.name.to_string();
                topic.partitions.into_iter().map(move |p| {
                    let producers = p.active_producers.iter().map(|producer| ProducerState {
                        producer_id: producer.producer_id.0,
                        producer_epoch: producer.producer_epoch,
                        last_sequence: producer.last_sequence,
                        last_timestamp: producer.last_timestamp,
                        transaction_start: Some(producer.current_txn_start_offset)
                            .filter(|offset| *offset >= 0),
                    });
                    let error = ApiError::from_code(p.error_code, p.error_message.as_deref());
                    let partition = TopicPartition::new(&name, p.partition_index);
                    (partition, error.map_or(Ok(producers.collect()), Err))
                })
            });
            topics.collect()
        })
        .await
    }
}

fn epochs_request(wanted: &[&(TopicPartition, i32)]) -> OffsetForLeaderEpochRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for (partition, epoch) in wanted {
        let entry = OffsetForLeaderPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(*epoch);
        topics.entry(&partition.topic).or_default().push(entry);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetForLeaderTopic::default()
            .with_topic(name(topic))
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(topics.collect())
}

fn producers_request(wanted: &[&(TopicPartition, ())]) -> DescribeProducersRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (partition, ()) in wanted {
        let partitions = topics.entry(&partition.topic).or_default();
        partitions.push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(partitions)
    });
    DescribeProducersRequest::default().with_topics(topics.collect())
}
