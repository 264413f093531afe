//! OffsetDelete (key 47), version 0 (KIP-496).
//!
//! Removes committed offsets of topics that the group is not subscribed to; others are
//! GROUP_SUBSCRIBED_TO_TOPIC. A group of another protocol type must be empty.

use std::collections::BTreeMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};
use wire::TopicPartition;

use super::{Context, code};
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let response = OffsetDeleteResponse::default();
    if request.group_id.is_empty() {
        return response.with_error_code(ResponseError::InvalidGroupId.code());
    }
    if !cx.may_group(Operation::Delete, &request.group_id) {
        return response.with_error_code(ResponseError::GroupAuthorizationFailed.code());
    }
    let may = |topic: &str| cx.may_topic(Operation::Read, topic);
    let allowed = request.topics.iter().filter(|topic| may(&topic.name));
    let each = allowed.flat_map(|topic| {
        let partition = |p: i32| TopicPartition::new(topic.name.to_string(), p);
        topic
            .partitions
            .iter()
            .map(move |p| partition(p.partition_index))
    });
    let partitions: Vec<TopicPartition> = each.collect();
    let known: Vec<TopicPartition> = partitions
        .iter()
        .filter(|p| cx.state.has_partition(p))
        .cloned()
        .collect();
    let results = match cx.state.groups.delete_offsets(&request.group_id, &known) {
        Ok(results) => results,
        Err(error) => return response.with_error_code(error.code()),
    };
    let results: BTreeMap<TopicPartition, _> = known.into_iter().zip(results).collect();
    let result = |topic: &str, partition: i32| {
        if !may(topic) {
            return Err(ResponseError::TopicAuthorizationFailed);
        }
        let found = results.get(&TopicPartition::new(topic, partition));
        found
            .cloned()
            .unwrap_or(Err(ResponseError::UnknownTopicOrPartition))
    };
    let named = request.topics.iter();
    let named = named.filter(|topic| !topic.partitions.is_empty());
    let topics = named.map(|topic| {
        let partition = |p: i32| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(p)
                .with_error_code(code(result(&topic.name, p).err()))
        };
        let partitions = topic
            .partitions
            .iter()
            .map(|p| partition(p.partition_index))
            .collect();
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    response.with_topics(topics.collect())
}
