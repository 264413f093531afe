//! Transactions.

use kafka_protocol::messages::*;

use crate::{
    batches::Topic,
    talk::{Talk, text},
};

pub(super) fn ask(talk: &mut Talk, topic: &Topic, name: &str) {
    let id = || TransactionalId(text(name));
    for version in 0..=5 {
        talk.ask_edited(
            &format!("{name}, no id"),
            version,
            &InitProducerIdRequest::default()
                .with_transaction_timeout_ms(1000)
                .with_transactional_id(None),
            |answer| answer.producer_id = (-1).into(),
        );
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(-1);
        talk.ask(name, version, &init);
    }
    for version in 0..=5 {
        let wanted = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(text(&topic.name).into())
            .with_partitions(vec![0, 9]);
        let add = match version {
            ..=3 => AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_producer_id(99.into())
                .with_v3_and_below_topics(vec![wanted]),
            _ => {
                let transaction =
                    add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
                        .with_transactional_id(id())
                        .with_producer_id(99.into())
                        .with_topics(vec![wanted]);
                AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
            }
        };
        talk.ask(name, version, &add);
    }
    for version in 0..=4 {
        let add = AddOffsetsToTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(99.into())
            .with_group_id(text(name).into());
        talk.ask(name, version, &add);
    }
    for version in 0..=5 {
        let end = EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(99.into());
        talk.ask(name, version, &end);
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        let of_topic = |name: &str| {
            txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(text(name).into())
                .with_partitions(vec![partition.clone()])
        };
        let commit = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(text(name).into())
            .with_producer_id(99.into())
            .with_topics(vec![of_topic(name), of_topic("else")]);
        talk.ask(name, version, &commit);
    }
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    talk.ask_edited(name, 0, &describe, |answer| {
        for one in &mut answer.transaction_states {
            (one.transaction_start_time_ms, one.producer_id) = (0, (-1).into());
        }
    });
    for version in 0..=2 {
        talk.ask_edited(
            name,
            version,
            &ListTransactionsRequest::default(),
            |answer| {
                answer
                    .transaction_states
                    .retain(|one| one.transactional_id.starts_with(name));
                answer
                    .transaction_states
                    .iter_mut()
                    .for_each(|one| one.producer_id = (-1).into());
            },
        );
    }
}
