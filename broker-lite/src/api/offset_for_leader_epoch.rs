//! OffsetForLeaderEpoch (key 23), versions 2-4.
//!
//! Where the records of a leader's epoch end (KIP-320); of an epoch that did not begin nothing is known: -1.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::Context;
use crate::{security::acl::Operation, state::partition::Partition};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let may_all = cx.may_cluster(Operation::ClusterAction);
    let topics = request.topics.into_iter().map(|wanted| {
        let may = may_all || cx.may_topic(Operation::Describe, &wanted.topic);
        let topic = cx.state.topics.get(&wanted.topic);
        let partitions = wanted.partitions.iter().map(|one| {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(one.partition));
            let end = match partition {
                _ if !may => Err(ResponseError::TopicAuthorizationFailed),
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(partition) => end(one, &partition),
            };
            let answer = EpochEndOffset::default()
                .with_partition(one.partition)
                .with_leader_epoch(-1)
                .with_end_offset(-1);
            match end {
                Ok(Some((epoch, end))) => answer.with_leader_epoch(epoch).with_end_offset(end),
                Ok(None) => answer,
                Err(error) => answer.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(wanted.topic)
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end(
    wanted: &OffsetForLeaderPartition,
    partition: &Partition,
) -> Result<Option<(i32, i64)>, ResponseError> {
    partition.check_leader(wanted.current_leader_epoch)?;
    Ok(partition.end_of_epoch(wanted.leader_epoch))
}
