//! Committed offsets of groups, read and written: as a tool does, without being a member, or as one.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::{
    messages::{
        GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::OffsetFetchResponseTopics,
    },
    protocol::StrBytes,
};

use super::{Client, To, member::Place, offsets::name, routing::Address, unanswered};
use crate::{
    TopicPartition,
    error::{ApiError, ClientError},
};

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the leader that wrote the record before; -1: not told.
    pub leader_epoch: i32,
    /// Free text of the committer; the broker's limit is 4,096 bytes.
    pub metadata: String,
}

/// What a group committed, by partition.
pub type GroupOffsets = BTreeMap<TopicPartition, CommittedOffset>;

/// What became of each partition's commit.
pub type CommitOutcomes = Vec<(TopicPartition, Result<(), ApiError>)>;

impl Client {
    /// All committed offsets of a group; empty for one that does not exist.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>, ClientError> {
        let id = GroupId(StrBytes::from_string(group.to_owned()));
        // From version 8 on for a list of groups; brokers speak it since 3.0.
        let request = OffsetFetchRequest::default()
            .with_groups(vec![
                OffsetFetchRequestGroup::default()
                    .with_group_id(id)
                    .with_topics(None),
            ])
            .with_require_stable(true);
        let answer = self
            .call(To::Coordinator(group), &request, 8..=9, |answer| {
                let group = answer.groups.iter().map(|group| group.error_code);
                let partitions = answer.groups.iter().flat_map(|group| &group.topics);
                let partitions = partitions
                    .flat_map(|topic| &topic.partitions)
                    .map(|p| p.error_code);
                group
                    .chain(partitions)
                    .find_map(|code| ApiError::from_code(code, None::<&str>))
            })
            .await?;
        let topics = answer.groups.into_iter().flat_map(|group| group.topics);
        let partitions = topics.flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |p| {
                let committed = CommittedOffset {
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.metadata.map(|text| text.to_string()).unwrap_or_default(),
                };
                (TopicPartition::new(&name, p.partition_index), committed)
            })
        });
        // The broker answers -1 for a partition without a commit.
        Ok(partitions
            .filter(|(_, committed)| committed.offset >= 0)
            .collect())
    }

    /// Committed offsets of many groups, of the partitions that are asked for or all, in the order of their names: one
    /// request for those of one coordinator. A partition that cannot be told of now is left out; empty for a group that
    /// does not exist.
    ///
    /// # Errors
    /// If a coordinator cannot be reached; each group has its own answer, an error while a transaction is about to change
    /// what is asked for. Where all is asked for, brokers tell of such only if something was committed there before.
    pub async fn offsets_of_groups(
        &self,
        groups: &BTreeMap<String, Option<BTreeSet<TopicPartition>>>,
    ) -> Result<Vec<(String, Result<GroupOffsets, ApiError>)>, ClientError> {
        let mut found = BTreeMap::new();
        let mut coordinators: BTreeMap<Address, Vec<&str>> = BTreeMap::new();
        for group in groups.keys() {
            match self.coordinator(group).await {
                Ok(address) => coordinators.entry(address).or_default().push(group),
                // As one that may not be described.
                Err(ClientError::Api { error, .. }) => {
                    drop(found.insert(group.clone(), Err(error)))
                }
                Err(error) => return Err(error),
            }
        }
        for together in coordinators.values() {
            let asked = together.iter().map(|group| {
                OffsetFetchRequestGroup::default()
                    .with_group_id(GroupId(StrBytes::from_string((*group).to_owned())))
                    .with_topics(groups[*group].as_ref().map(asked_topics))
            });
            let request = OffsetFetchRequest::default()
                .with_groups(asked.collect())
                .with_require_stable(true);
            let to = To::Coordinator(together[0]);
            let answer = self.call(to, &request, 8..=9, |answer| {
                // Where all have moved the coordinator has, or is not ready.
                let mut all = answer.groups.iter().map(|group| group.error_code);
                let error = ApiError::from_code(all.next()?, None::<&str>).filter(is_moved)?;
                all.all(|code| code == error.code).then_some(error)
            });
            for group in answer.await?.groups {
                let name = group.group_id.to_string();
                let error = ApiError::from_code(group.error_code, None::<&str>);
                if error.as_ref().is_some_and(is_moved) {
                    self.forget(To::Coordinator(&name));
                }
                let error = error.or_else(|| unstable(&group.topics));
                found.insert(name, error.map_or_else(|| Ok(told(group.topics)), Err));
            }
        }
        let answers = groups.keys().map(|group| {
            let found = found.remove(group);
            (group.clone(), found.unwrap_or_else(|| Err(unanswered())))
        });
        Ok(answers.collect())
    }

    /// Commits for a group that has no members.
    ///
    /// # Errors
    /// If the coordinator cannot be reached; each partition has its own outcome.
    pub async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<CommitOutcomes, ClientError> {
        let request = OffsetCommitRequest::default().with_generation_id_or_member_epoch(-1);
        self.commit_offsets(group, request, offsets).await
    }

    /// Commits as a member of the group; refused if `place` is not its place now. The coordinator does not look
    /// whether the partitions are the member's.
    ///
    /// # Errors
    /// If the coordinator cannot be reached; each partition has its own outcome.
    pub async fn commit_as_member(
        &self,
        group: &str,
        place: &Place,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<CommitOutcomes, ClientError> {
        let text = |text: &String| StrBytes::from_string(text.clone());
        let request = OffsetCommitRequest::default()
            .with_generation_id_or_member_epoch(place.generation)
            .with_member_id(text(&place.member_id))
            .with_group_instance_id(Some(text(&place.instance_id)));
        self.commit_offsets(group, request, offsets).await
    }

    async fn commit_offsets(
        &self,
        group: &str,
        request: OffsetCommitRequest,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<CommitOutcomes, ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, committed) in offsets {
            let metadata = StrBytes::from_string(committed.metadata.clone());
            let entry = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_committed_metadata(Some(metadata));
            topics.entry(&partition.topic).or_default().push(entry);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(name(topic))
                .with_partitions(partitions)
        });
        // A member's name goes along from version 7 on.
        let lowest = if request.group_instance_id.is_some() {
            7
        } else {
            2
        };
        let request = request
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(topics.collect());
        let answer = self
            .call(To::Coordinator(group), &request, lowest..=8, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                all.find_map(|p| ApiError::from_code(p.error_code, None::<&str>).filter(is_moved))
            })
            .await?;
        let partitions = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |p| {
                let outcome = ApiError::from_code(p.error_code, None::<&str>).map_or(Ok(()), Err);
                (TopicPartition::new(&name, p.partition_index), outcome)
            })
        });
        Ok(partitions.collect())
    }

    /// Forgets what a group committed for partitions; refused for topics that its members subscribe to.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, or refuses the group as a whole; each partition has its own outcome.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<CommitOutcomes, ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            let entry = OffsetDeleteRequestPartition::default();
            let entry = entry.with_partition_index(partition.partition);
            topics.entry(&partition.topic).or_default().push(entry);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetDeleteRequestTopic::default()
                .with_name(name(topic))
                .with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(topics.collect());
        let answer = self
            .call(To::Coordinator(group), &request, 0..=0, |answer| {
                ApiError::from_code(answer.error_code, None::<&str>)
            })
            .await?;
        let partitions = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |p| {
                let outcome = ApiError::from_code(p.error_code, None::<&str>).map_or(Ok(()), Err);
                (TopicPartition::new(&name, p.partition_index), outcome)
            })
        });
        Ok(partitions.collect())
    }
}

fn asked_topics(partitions: &BTreeSet<TopicPartition>) -> Vec<OffsetFetchRequestTopics> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let indexes = topics.entry(&partition.topic).or_default();
        indexes.push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic, indexes)| {
        OffsetFetchRequestTopics::default()
            .with_name(name(topic))
            .with_partition_indexes(indexes)
    });
    topics.collect()
}

/// Whether a commit is in a transaction that is open still: what is told then is not all.
fn unstable(topics: &[OffsetFetchResponseTopics]) -> Option<ApiError> {
    let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let error = partitions.find(|p| p.error_code == UNSTABLE_OFFSET_COMMIT)?;
    ApiError::from_code(error.error_code, None::<&str>)
}

const UNSTABLE_OFFSET_COMMIT: i16 = 88;

/// What is told of partitions that have a commit.
fn told(topics: Vec<OffsetFetchResponseTopics>) -> GroupOffsets {
    let partitions = topics.into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.into_iter().filter_map(move |p| {
            let committed = CommittedOffset {
                offset: p.committed_offset,
                leader_epoch: p.committed_leader_epoch,
                metadata: p.metadata.map(|text| text.to_string()).unwrap_or_default(),
            };
            let is_told = p.error_code == 0 && p.committed_offset >= 0;
            is_told.then(|| (TopicPartition::new(&name, p.partition_index), committed))
        })
    });
    partitions.collect()
}

/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
pub(super) fn is_moved(error: &ApiError) -> bool {
    matches!(error.code, 14..=16)
}
