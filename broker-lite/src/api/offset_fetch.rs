//! OffsetFetch (key 9), versions 1-9.
//!
//! The committed offsets of groups. A partition without a commit, also one that does not exist, has
//! offset -1. Version 2: null topics mean all. Version 5: leader epoch. Version 7: `require_stable`
//! refuses partitions with an open transaction (KIP-447). Version 8: many groups (KIP-709).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};
use wire::TopicPartition;

use super::Context;
use crate::{security::acl::Operation, state::groups::Fetched};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            if !cx.may_group(Operation::Describe, &group.group_id) {
                let error = ResponseError::GroupAuthorizationFailed;
                return OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id)
                    .with_error_code(error.code());
            }
            let topics = group.topics.as_ref();
            let wanted = topics.map(|topics| {
                let each = topics
                    .iter()
                    .map(|t| (&*t.name.0, t.partition_indexes.as_slice()));
                partitions(each)
            });
            let mut answer = many(cx, group.group_id, wanted.as_deref(), stable);
            // A topic that is named without partitions is answered so.
            for topic in group.topics.into_iter().flatten() {
                if topic.partition_indexes.is_empty() {
                    let topic = OffsetFetchResponseTopics::default().with_name(topic.name);
                    answer.topics.push(topic);
                }
            }
            answer
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let wanted = request.topics.as_ref().map(|topics| {
        let each = topics
            .iter()
            .map(|t| (&*t.name.0, t.partition_indexes.as_slice()));
        partitions(each)
    });
    if !cx.may_group(Operation::Describe, &request.group_id) {
        return refused(version, wanted.unwrap_or_default());
    }
    let mut answer = one(cx, &request.group_id, wanted.as_deref(), stable);
    for topic in request.topics.into_iter().flatten() {
        if topic.partition_indexes.is_empty() {
            let topic = OffsetFetchResponseTopic::default().with_name(topic.name);
            answer.topics.push(topic);
        }
    }
    answer
}

fn partitions<'a>(topics: impl Iterator<Item = (&'a str, &'a [i32])>) -> Vec<TopicPartition> {
    let each =
        topics.flat_map(|(name, list)| list.iter().map(move |&p| TopicPartition::new(name, p)));
    each.collect()
}

/// The offsets of topics that the client may describe; others are refused, or left out where all are asked for.
fn fetch(
    cx: &Context,
    group: &str,
    wanted: Option<&[TopicPartition]>,
    stable: bool,
) -> Vec<Fetched> {
    let mut fetched = cx.state.groups.fetch(group, wanted, stable);
    let may = |one: &Fetched| cx.may_topic(Operation::Describe, &one.0.topic);
    match wanted {
        None => fetched.retain(may),
        Some(_) => {
            for one in fetched.iter_mut().filter(|one| !may(one)) {
                one.1 = Err(ResponseError::TopicAuthorizationFailed);
            }
        }
    }
    fetched
}

/// The answer to who may not describe the group; version 1 has no error but those of partitions.
fn refused(version: i16, wanted: Vec<TopicPartition>) -> OffsetFetchResponse {
    let error = ResponseError::GroupAuthorizationFailed;
    if version >= 2 {
        return OffsetFetchResponse::default().with_error_code(error.code());
    }
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for partition in wanted {
        let (name, told) = answer((partition, Err(error)));
        push(&mut topics, name, told);
    }
    OffsetFetchResponse::default().with_topics(topics)
}

fn many(
    cx: &Context,
    group: GroupId,
    wanted: Option<&[TopicPartition]>,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for fetched in fetch(cx, &group, wanted, stable) {
        let (topic, partition) = answer(fetched);
        if topics.last().is_none_or(|t| t.name.0 != topic) {
            topics.push(OffsetFetchResponseTopics::default().with_name(topic.into()));
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(partition);
        }
    }
    OffsetFetchResponseGroup::default()
        .with_group_id(group)
        .with_topics(topics)
}

fn one(
    cx: &Context,
    group: &str,
    wanted: Option<&[TopicPartition]>,
    stable: bool,
) -> OffsetFetchResponse {
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for fetched in fetch(cx, group, wanted, stable) {
        let (topic, partition) = answer(fetched);
        push(&mut topics, topic, partition);
    }
    OffsetFetchResponse::default().with_topics(topics)
}

/// Adds a partition to its topic, in the form of the versions that ask for one group.
fn push(
    topics: &mut Vec<OffsetFetchResponseTopic>,
    topic: StrBytes,
    partition: OffsetFetchResponsePartitions,
) {
    if topics.last().is_none_or(|t| t.name.0 != topic) {
        topics.push(OffsetFetchResponseTopic::default().with_name(topic.into()));
    }
    if let Some(last) = topics.last_mut() {
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code);
        last.partitions.push(partition);
    }
}

fn answer((partition, result): Fetched) -> (StrBytes, OffsetFetchResponsePartitions) {
    let answer = OffsetFetchResponsePartitions::default()
        .with_partition_index(partition.partition)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::default()));
    let answer = match result {
        Ok(None) => answer,
        Ok(Some(committed)) => answer
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata.into())),
        Err(error) => answer.with_error_code(error.code()),
    };
    (partition.topic.into(), answer)
}
