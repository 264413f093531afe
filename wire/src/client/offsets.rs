//! Where partitions begin and end.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        BrokerId, DeleteRecordsRequest, ListOffsetsRequest, TopicName,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::StrBytes,
};

use super::{Client, To, leaders::PerPartition, unanswered};
use crate::{
    Isolation, TopicPartition,
    error::{ApiError, ClientError},
};

/// Which offset is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetSpec {
    /// The first that is there.
    Earliest,
    /// The end: the high watermark, or the last stable offset under read_committed.
    Latest,
    /// The first record that is not older, in milliseconds since 1970.
    Timestamp(i64),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 if no record is as young as asked.
    pub offset: i64,
    /// Its record's time; -1 where none is meant.
    pub timestamp: i64,
    /// Epoch of the leader that wrote it; -1 if not told.
    pub leader_epoch: i32,
}

/// Each partition's answer.
pub type ListedOffsets = PerPartition<ListedOffset>;

impl Client {
    /// Asks each partition's leader, and answers in the order of `wanted`.
    ///
    /// # Errors
    /// If a leader cannot be reached; each partition has its own answer.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<ListedOffsets, ClientError> {
        let largest = wanted.iter().any(|(_, s)| *s == OffsetSpec::MaxTimestamp);
        // Version 2 brings isolation; 7 the largest timestamp, which is any other time to an older one.
        let versions = if largest { 7..=9 } else { 2..=9 };
        let request = |asked: &[&(TopicPartition, OffsetSpec)]| list_request(asked, isolation);
        self.ask_leaders(wanted, versions, request, |answer| {
            let partitions = answer.topics.into_iter().flat_map(|topic| {
                let name = topic.name.to_string();
                topic.partitions.into_iter().map(move |p| {
                    let found = ListedOffset {
                        offset: p.offset,
                        timestamp: p.timestamp,
                        leader_epoch: p.leader_epoch,
                    };
                    let error = ApiError::from_code(p.error_code, None::<&str>);
                    let partition = TopicPartition::new(&name, p.partition_index);
                    (partition, error.map_or(Ok(found), Err))
                })
            });
            partitions.collect()
        })
        .await
    }

    /// Removes all records of a partition before `offset`; -1: all there are. Returns the new start.
    ///
    /// # Errors
    /// If the leader cannot be reached or refuses.
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<i64, ClientError> {
        let entry = DeleteRecordsPartition::default()
            .with_partition_index(partition.partition)
            .with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(name(&partition.topic))
            .with_partitions(vec![entry]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(self.patience_ms());
        let answer = self
            .call(To::Leader(partition), &request, 0..=2, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                all.find_map(|p| ApiError::from_code(p.error_code, None::<&str>))
            })
            .await?;
        let start = answer
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        match start {
            Some(partition) => Ok(partition.low_watermark),
            None => Err(ClientError::Api {
                what: partition.to_string(),
                error: unanswered(),
            }),
        }
    }
}

fn list_request(
    wanted: &[&(TopicPartition, OffsetSpec)],
    isolation: Isolation,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (partition, spec) in wanted {
        let timestamp = match spec {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(time) => *time,
        };
        let entry = ListOffsetsPartition::default()
            .with_partition_index(partition.partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        topics.entry(&partition.topic).or_default().push(entry);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        ListOffsetsTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions)
    });
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation as i8)
        .with_topics(topics.collect())
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
