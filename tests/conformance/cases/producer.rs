//! A producer with a transactional id, and what it asks.

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    InitProducerIdRequest, ProduceRequest, TransactionalId, TxnOffsetCommitRequest,
    add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};
use wire::batch::TRANSACTIONAL;

use super::until;
use crate::{
    batches::{Topic, edited, produce, sequenced},
    talk::{Talk, text},
};

pub fn init(id: Option<&str>) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(id.map(|id| text(id).into()))
        .with_transaction_timeout_ms(60_000)
}

/// A transactional id with its producer, fresh.
#[derive(Clone)]
pub struct Producer {
    name: String,
    pub id: i64,
    pub epoch: i16,
}

pub fn producer(talk: &mut Talk, name: &str) -> Producer {
    let known = talk.quietly(2, &init(Some(name)));
    assert_eq!(known.error_code, 0, "{name}");
    Producer {
        name: name.to_owned(),
        id: known.producer_id.0,
        epoch: known.producer_epoch,
    }
}

impl Producer {
    pub fn name(&self) -> TransactionalId {
        text(&self.name).into()
    }

    /// The same under other names, ids and epochs.
    pub fn wrong(&self) -> Vec<(&'static str, Self)> {
        let other = |name: &str, id, epoch| Self {
            name: name.to_owned(),
            id,
            epoch,
        };
        vec![
            (
                "unknown name",
                other("transactions-unknown", self.id, self.epoch),
            ),
            ("no name", other("", self.id, self.epoch)),
            ("another id", other(&self.name, self.id + 1000, self.epoch)),
            ("no id", other(&self.name, -1, self.epoch)),
            ("older epoch", other(&self.name, self.id, self.epoch - 1)),
            ("newer epoch", other(&self.name, self.id, self.epoch + 1)),
        ]
    }

    pub fn add(&self, version: i16, topics: &[(&str, &[i32])]) -> AddPartitionsToTxnRequest {
        let topic = |(name, partitions): &(&str, &[i32])| {
            AddPartitionsToTxnTopic::default()
                .with_name(text(name).into())
                .with_partitions(partitions.to_vec())
        };
        let topics = topics.iter().map(topic).collect();
        match version {
            ..=3 => AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(self.name())
                .with_v3_and_below_producer_id(self.id.into())
                .with_v3_and_below_producer_epoch(self.epoch)
                .with_v3_and_below_topics(topics),
            _ => {
                let transaction = AddPartitionsToTxnTransaction::default()
                    .with_transactional_id(self.name())
                    .with_producer_id(self.id.into())
                    .with_producer_epoch(self.epoch)
                    .with_topics(topics);
                AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
            }
        }
    }

    pub fn offsets(&self, group: &str) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.name())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_group_id(text(group).into())
    }

    pub fn commit(
        &self,
        group: &str,
        name: &str,
        offsets: &[(i32, i64)],
    ) -> TxnOffsetCommitRequest {
        let partition = |(index, offset): &(i32, i64)| {
            TxnOffsetCommitRequestPartition::default()
                .with_partition_index(*index)
                .with_committed_offset(*offset)
        };
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(text(name).into())
            .with_partitions(offsets.iter().map(partition).collect());
        TxnOffsetCommitRequest::default()
            .with_transactional_id(self.name())
            .with_group_id(text(group).into())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_topics(vec![topic])
    }

    pub fn end(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest::default()
            .with_transactional_id(self.name())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(committed)
    }

    pub fn write(
        &self,
        version: i16,
        topic: &Topic,
        partition: i32,
        sequence: i32,
    ) -> ProduceRequest {
        let records = sequenced(self.id, self.epoch, sequence, 1);
        let records = edited(&records, |header| header.attributes |= TRANSACTIONAL);
        produce(version, topic, &[(partition, Some(records))])
            .with_transactional_id(Some(self.name()))
    }
}

/// Waits for the markers: Kafka writes them behind its answer.
pub fn settle(talk: &mut Talk, producer: &Producer) {
    let ids = vec![producer.name()];
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    until(|| {
        let answer = talk.quietly(0, &describe);
        let state = &answer
            .transaction_states
            .first()
            .expect("a state")
            .transaction_state;
        matches!(&**state, "Empty" | "CompleteCommit" | "CompleteAbort")
    });
}
