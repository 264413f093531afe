//! OffsetCommit (key 8), versions 2-9.
//!
//! Commits offsets of a group: by a member of the current generation, or, while the group has no
//! members, by anybody (empty member id, generation -1). Unknown partitions are refused one by one;
//! an error of the group is the error of each known partition.
//! Version 5: no retention time (ignored before: offsets do not expire). Version 6: leader epoch.
//! Version 7: static members. Version 9: a group that is not there is GROUP_ID_NOT_FOUND.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use wire::TopicPartition;

use super::{Context, code};
use crate::{
    security::acl::Operation,
    state::groups::{Committer, NewOffset},
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let unknown_group = if version >= 9 {
        ResponseError::GroupIdNotFound
    } else {
        ResponseError::IllegalGeneration
    };
    let by = Committer {
        group: &request.group_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        producer_id: None,
        unknown_group,
    };
    let may_commit = cx.may_group(Operation::Read, &request.group_id);
    // Topic by topic, what is answered instead of what comes of the commit.
    let refused = |topic: &str| match may_commit {
        false => Some(ResponseError::GroupAuthorizationFailed),
        true if cx.may_topic(Operation::Read, topic) => None,
        true => Some(ResponseError::TopicAuthorizationFailed),
    };
    let allowed = request.topics.iter();
    let allowed = allowed.filter(|topic| refused(&topic.name).is_none());
    let offsets = allowed.flat_map(|topic| {
        topic.partitions.iter().map(|p| NewOffset {
            partition: TopicPartition::new(topic.name.to_string(), p.partition_index),
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
            metadata: p
                .committed_metadata
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
    });
    let offsets: Vec<_> = offsets.collect();
    let results = match may_commit {
        true => {
            let groups = &cx.state.groups;
            groups.commit(&by, offsets, |p| cx.state.has_partition(p))
        }
        false => Vec::new(),
    };
    let mut results = results.into_iter();
    let named = request.topics.into_iter();
    let named = named.filter(|topic| !topic.partitions.is_empty());
    let topics = named.map(|topic| {
        let refused = refused(&topic.name);
        let each = topic.partitions.iter().map(|p| {
            let error = refused.or_else(|| results.next().and_then(Result::err));
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(error))
        });
        let partitions = each.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
