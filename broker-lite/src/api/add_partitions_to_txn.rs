//! AddPartitionsToTxn (key 24), versions 0-5.
//!
//! Takes partitions into a transaction, all or none: one unknown partition and the others are
//! OPERATION_NOT_ATTEMPTED. Before version 2 a fenced producer is told INVALID_PRODUCER_EPOCH.
//! Version 4: brokers ask for many transactions at once, also only to verify (KIP-890).

use std::collections::BTreeSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult,
            AddPartitionsToTxnTopicResult,
        },
    },
};
use wire::TopicPartition;

use super::{Context, code, fenced_before};
use crate::{
    security::acl::Operation,
    state::transactions::{Claim, Part, machine::Producer},
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let response = AddPartitionsToTxnResponse::default();
    if version >= 4 {
        // These come from brokers.
        if let Err(error) = cx.check_cluster(Operation::ClusterAction) {
            return response.with_error_code(error.code());
        }
        let each = request.transactions.iter().map(|transaction| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(transaction.transactional_id.clone())
                .with_topic_results(add(cx, version, transaction))
        });
        return response.with_results_by_transaction(each.collect());
    }
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(request.v3_and_below_transactional_id)
        .with_producer_id(request.v3_and_below_producer_id)
        .with_producer_epoch(request.v3_and_below_producer_epoch)
        .with_topics(request.v3_and_below_topics);
    response.with_results_by_topic_v3_and_below(add(cx, version, &transaction))
}

fn add(
    cx: &Context,
    version: i16,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let is_client = version < 4;
    let may_write = cx.may_transactional_id(Operation::Write, &transaction.transactional_id);
    if is_client && !may_write {
        let refused = ResponseError::TransactionalIdAuthorizationFailed;
        return results(transaction, |_, _| Err(refused));
    }
    let may = |topic: &str| !is_client || cx.may_topic(Operation::Write, topic);
    let exists = |topic: &str, partition: i32| {
        cx.state
            .has_partition(&TopicPartition::new(topic, partition))
    };
    let all = |topic: &AddPartitionsToTxnTopic| {
        may(&topic.name) && topic.partitions.iter().all(|&p| exists(&topic.name, p))
    };
    if !transaction.topics.iter().all(all) {
        return results(transaction, |topic, partition| {
            Err(if !may(topic) {
                ResponseError::TopicAuthorizationFailed
            } else if exists(topic, partition) {
                ResponseError::OperationNotAttempted
            } else {
                ResponseError::UnknownTopicOrPartition
            })
        });
    }
    let claim = Claim {
        transactional_id: &transaction.transactional_id,
        producer: Producer {
            id: transaction.producer_id.0,
            epoch: transaction.producer_epoch,
        },
    };
    let part = |topic: &str, partition: i32| Part::Partition(topic.to_owned(), partition);
    let transactions = &cx.state.transactions;
    if transaction.verify_only {
        return results(transaction, |topic, partition| {
            transactions.within(claim, &part(topic, partition), false, || ())
        });
    }
    let parts: BTreeSet<Part> = transaction
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|&p| part(&topic.name, p)))
        .collect();
    let added = transactions.add(claim, &parts);
    let added = added.map_err(|error| fenced_before(2, version, error));
    results(transaction, |_, _| added)
}

fn results(
    transaction: &AddPartitionsToTxnTransaction,
    result: impl Fn(&str, i32) -> Result<(), ResponseError>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topic = |topic: &AddPartitionsToTxnTopic| {
        let partition = |&partition: &i32| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(partition)
                .with_partition_error_code(code(result(&topic.name, partition).err()))
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(partition).collect())
    };
    transaction.topics.iter().map(topic).collect()
}
