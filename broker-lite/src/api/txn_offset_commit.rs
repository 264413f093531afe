//! TxnOffsetCommit (key 28), versions 0-5.
//!
//! Commits offsets of a group within a transaction: they count when it commits. The group must be in
//! the transaction (AddOffsetsToTxn). Version 3: member and generation are checked (KIP-447). Up to
//! version 3 a group outside of the transaction is INVALID_TXN_STATE, then TRANSACTION_ABORTABLE
//! (KIP-890). Version 5: the group joins the transaction by this request.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};
use wire::TopicPartition;

use super::{Context, code, outside_transaction};
use crate::{
    security::acl::Operation,
    state::{
        groups::{Committer, NewOffset},
        transactions::{Claim, Part, machine::Producer},
    },
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let may_commit = match cx.may_transactional_id(Operation::Write, &request.transactional_id) {
        false => Err(ResponseError::TransactionalIdAuthorizationFailed),
        true if cx.may_group(Operation::Read, &request.group_id) => Ok(()),
        true => Err(ResponseError::GroupAuthorizationFailed),
    };
    // Topic by topic, what is answered instead of what comes of the commit.
    let refused = |topic: &str| match may_commit {
        Err(error) => Some(error),
        Ok(()) if cx.may_topic(Operation::Read, topic) => None,
        Ok(()) => Some(ResponseError::TopicAuthorizationFailed),
    };
    let mut allowed = request.clone();
    allowed
        .topics
        .retain(|topic| refused(&topic.name).is_none());
    let mut results = commit(cx, version, &allowed).into_iter();
    let named = request.topics.into_iter();
    let named = named.filter(|topic| !topic.partitions.is_empty());
    let topics = named.map(|topic| {
        let refused = refused(&topic.name);
        let each = topic.partitions.iter().map(|p| {
            let error = refused.or_else(|| results.next().and_then(Result::err));
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(error))
        });
        let partitions = each.collect();
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn commit(
    cx: &Context,
    version: i16,
    request: &TxnOffsetCommitRequest,
) -> Vec<Result<(), ResponseError>> {
    let each = request.topics.iter().flat_map(|topic| {
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
    let offsets: Vec<NewOffset> = each.collect();
    let claim = Claim {
        transactional_id: &request.transactional_id,
        producer: Producer {
            id: request.producer_id.0,
            epoch: request.producer_epoch,
        },
    };
    let by = Committer {
        group: &request.group_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
        producer_id: Some(claim.producer.id),
        unknown_group: ResponseError::IllegalGeneration,
    };
    let part = Part::Group(request.group_id.to_string());
    // Unknown partitions are told so whatever the transaction says.
    let known: Vec<bool> = offsets
        .iter()
        .map(|o| cx.state.has_partition(&o.partition))
        .collect();
    let unknown = Err(ResponseError::UnknownTopicOrPartition);
    if !known.contains(&true) {
        return vec![unknown; known.len()];
    }
    if request.group_id.is_empty() {
        let refused = Err(ResponseError::InvalidGroupId);
        let each = known.iter();
        return each
            .map(|&known| if known { refused } else { unknown })
            .collect();
    }
    let work = || {
        cx.state
            .groups
            .commit(&by, offsets, |p| cx.state.has_partition(p))
    };
    cx.state
        .transactions
        .within(claim, &part, version >= 5, work)
        .unwrap_or_else(|error| {
            let refused = Err(outside_transaction(error, version >= 4));
            known
                .iter()
                .map(|&known| if known { refused } else { unknown })
                .collect()
        })
}
