//! DescribeTransactions (key 65), version 0 (KIP-664).
//!
//! State and partitions of transactional ids. The offsets of groups are shown as the internal topic
//! that holds them in Kafka.

use std::collections::BTreeMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse,
        describe_transactions_response::{TopicData, TransactionState},
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::Operation,
    state::transactions::{Part, machine::Transaction},
};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let each = request.transactional_ids.into_iter().map(|id| {
        let may = cx.may_transactional_id(Operation::Describe, &id);
        let unknown = if !may {
            ResponseError::TransactionalIdAuthorizationFailed
        } else if id.is_empty() {
            ResponseError::InvalidRequest
        } else {
            ResponseError::TransactionalIdNotFound
        };
        let found = cx.state.transactions.with(&id, |t| t.map(describe));
        let found = found.filter(|_| may).map(|mut described| {
            let topics = &mut described.topics;
            topics.retain(|topic| cx.may_topic(Operation::Describe, &topic.topic));
            described
        });
        let unknown = TransactionState::default().with_error_code(unknown.code());
        found.unwrap_or(unknown).with_transactional_id(id)
    });
    DescribeTransactionsResponse::default().with_transaction_states(each.collect())
}

fn describe(transaction: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for part in &transaction.parts {
        match part {
            Part::Partition(topic, partition) => topics.entry(topic).or_default().push(*partition),
            Part::Group(_) => {
                topics.insert("__consumer_offsets", vec![0]);
            }
        }
    }
    let topic = |(name, partitions): (&str, Vec<i32>)| {
        let name = StrBytes::from(name.to_owned());
        TopicData::default()
            .with_topic(name.into())
            .with_partitions(partitions)
    };
    TransactionState::default()
        .with_transaction_state(transaction.state.name().into())
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(transaction.producer_id.into())
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.into_iter().map(topic).collect())
}
