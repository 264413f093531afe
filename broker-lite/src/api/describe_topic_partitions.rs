//! DescribeTopicPartitions (key 75), version 0.
//!
//! Topics by name, page by page (KIP-966): so many partitions at most, and a cursor to the next one. No topics mean all.
//! The rules are those of `DescribeTopicPartitionsRequestHandler` and `KRaftMetadataCache.describeTopicResponse`.

use std::collections::BTreeSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::{Operation, Resource},
    state::topics::{Topic, check_name},
};

/// Partitions in one answer (`max.request.partition.size.limit`).
const MAX: i32 = 2000;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let names = match names(cx, &request) {
        Ok(names) => names,
        Err(error) => return refused(&request, error),
    };
    let mut answer = DescribeTopicPartitionsResponse::default();
    let (names, hidden): (BTreeSet<_>, BTreeSet<_>) = names
        .into_iter()
        .partition(|name| cx.may_topic(Operation::Describe, name));
    // Where all are asked for, what the client may not see is left out.
    let hidden = hidden.into_iter().filter(|_| !request.topics.is_empty());
    let hidden: Vec<_> = hidden
        .map(|name| failed(name, ResponseError::TopicAuthorizationFailed))
        .collect();
    let mut left = request.response_partition_limit.clamp(1, MAX);
    for name in names {
        if left == 0 {
            // Whether the next topic is there shows when it is asked for.
            answer.topics.extend(hidden);
            return answer.with_next_cursor(Some(cursor(name, 0)));
        }
        let Some(topic) = cx.state.topics.get(&name) else {
            let allowed = cx.operations(Resource::Topic, &name);
            let unknown = unknown(name).with_topic_authorized_operations(allowed);
            answer.topics.push(unknown);
            continue;
        };
        let start = match &request.cursor {
            Some(cursor) if *cursor.topic_name == *name => cursor.partition_index,
            _ => 0,
        };
        let count = topic.partition_count();
        let end = count.min(start.saturating_add(left));
        let described = describe(&topic, start..end, cx.state.config.node_id);
        let allowed = cx.operations(Resource::Topic, &name);
        answer
            .topics
            .push(described.with_topic_authorized_operations(allowed));
        if end < count {
            answer.topics.extend(hidden);
            return answer.with_next_cursor(Some(cursor(name, end)));
        }
        left -= (end - start).max(0);
    }
    answer.topics.extend(hidden);
    answer
}

/// The topics from the cursor on.
fn names(
    cx: &Context,
    request: &DescribeTopicPartitionsRequest,
) -> Result<BTreeSet<StrBytes>, ResponseError> {
    let first = request.cursor.as_ref().map(|cursor| &cursor.topic_name.0);
    let comes = |name: &StrBytes| first.is_none_or(|first| name >= first);
    if request.topics.is_empty() {
        let all = cx.state.topics.all();
        let all = all
            .iter()
            .map(|topic| StrBytes::from_string(topic.name.clone()));
        check_cursor(request)?;
        return Ok(all.filter(comes).collect());
    }
    let names = request.topics.iter().map(|topic| topic.name.0.clone());
    let names: BTreeSet<_> = names.filter(comes).collect();
    if first.is_some_and(|first| !names.contains(first)) {
        return Err(ResponseError::InvalidRequest);
    }
    check_cursor(request)?;
    if names.iter().any(|name| name.is_empty()) {
        // Kafka stumbles over it.
        return Err(ResponseError::UnknownServerError);
    }
    Ok(names)
}

fn check_cursor(request: &DescribeTopicPartitionsRequest) -> Result<(), ResponseError> {
    match &request.cursor {
        Some(cursor) if cursor.partition_index < 0 => Err(ResponseError::InvalidRequest),
        _ => Ok(()),
    }
}

fn describe(
    topic: &Topic,
    numbers: std::ops::Range<i32>,
    here: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = numbers.filter_map(|number| {
        let partition = topic.partition(number)?;
        let described = DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(BrokerId(here))
            .with_leader_epoch(partition.leader_epoch())
            .with_replica_nodes(vec![BrokerId(here)])
            .with_isr_nodes(vec![BrokerId(here)])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()));
        Some(described)
    });
    let name = StrBytes::from_string(topic.name.clone());
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn unknown(name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let error = match check_name(&name) {
        Ok(()) => ResponseError::UnknownTopicOrPartition,
        Err(_) => ResponseError::InvalidTopicException,
    };
    failed(name, error)
}

fn failed(name: StrBytes, error: ResponseError) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(TopicName(name)))
}

fn refused(
    request: &DescribeTopicPartitionsRequest,
    error: ResponseError,
) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(topic.name.clone()))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}

fn cursor(name: StrBytes, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(TopicName(name))
        .with_partition_index(partition)
}
