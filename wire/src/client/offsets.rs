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

use super::{Client, To};
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
pub type ListedOffsets = Vec<(TopicPartition, Result<ListedOffset, ApiError>)>;

impl Client {
    /// Asks each partition's leader. Partitions of one leader go in one request; one that is asked for
    /// twice, in two: the broker refuses duplicates.
    ///
    /// # Errors
    /// If a leader cannot be reached; each partition has its own answer.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<ListedOffsets, ClientError> {
        let topics: Vec<String> = wanted
            .iter()
            .map(|(partition, _)| partition.topic.clone())
            .collect();
        let leaders = self.leaders(topics).await?;
        let mut requests: BTreeMap<(i32, OffsetSpec), Vec<&TopicPartition>> = BTreeMap::new();
        let mut listed = ListedOffsets::new();
        for (partition, spec) in wanted {
            match leaders.get(partition) {
                Some(Ok(leader)) => requests
                    .entry((*leader, *spec))
                    .or_default()
                    .push(partition),
                Some(Err(error)) => listed.push((partition.clone(), Err(error.clone()))),
                None => listed.push((
                    partition.clone(),
                    Err(ApiError {
                        code: 3,
                        message: None,
                    }),
                )),
            }
        }
        for ((_, spec), partitions) in &requests {
            listed.extend(
                self.list_of_one_leader(partitions, *spec, isolation)
                    .await?,
            );
        }
        Ok(listed)
    }

    /// The leader of every partition of `topics`, or why there is none.
    async fn leaders(
        &self,
        mut topics: Vec<String>,
    ) -> Result<BTreeMap<TopicPartition, Result<i32, ApiError>>, ClientError> {
        topics.sort();
        topics.dedup();
        let mut leaders = BTreeMap::new();
        for topic in self.topics(Some(&topics)).await? {
            for partition in &topic.partitions {
                let missing = || {
                    partition.error.clone().unwrap_or(ApiError {
                        code: 5,
                        message: None,
                    })
                };
                let key = TopicPartition::new(&topic.name, partition.index);
                leaders.insert(key, partition.leader.ok_or_else(missing));
            }
        }
        Ok(leaders)
    }

    async fn list_of_one_leader(
        &self,
        partitions: &[&TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<ListedOffsets, ClientError> {
        let Some(first) = partitions.first() else {
            return Ok(Vec::new());
        };
        let timestamp = match spec {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(time) => time,
        };
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in partitions {
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
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation as i8)
            .with_topics(topics.collect());
        // Leaders that moved since the metadata answer NOT_LEADER: ask again.
        let answer = self
            .call(To::Leader(first), &request, 9, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                all.find_map(|p| ApiError::from_code(p.error_code, None::<&str>).filter(is_moved))
            })
            .await?;
        let partitions = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |p| {
                let found = ListedOffset {
                    offset: p.offset,
                    timestamp: p.timestamp,
                    leader_epoch: p.leader_epoch,
                };
                let error = ApiError::from_code(p.error_code, None::<&str>);
                (
                    TopicPartition::new(&name, p.partition_index),
                    error.map_or(Ok(found), Err),
                )
            })
        });
        Ok(partitions.collect())
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
            .with_timeout_ms(30_000);
        let answer = self
            .call(To::Leader(partition), &request, 2, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                all.find_map(|p| ApiError::from_code(p.error_code, None::<&str>))
            })
            .await?;
        let start = answer
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        Ok(start.map_or(-1, |partition| partition.low_watermark))
    }
}

/// Answers that mean: ask another broker.
pub(super) fn is_moved(error: &ApiError) -> bool {
    // LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, FENCED and UNKNOWN_LEADER_EPOCH
    matches!(error.code, 5 | 6 | 74 | 75)
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
