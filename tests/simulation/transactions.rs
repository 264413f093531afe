//! A transactional producer, request by request: what a client library would hide is decided by the application.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::{
    messages::{
        AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
        ProducerId, TopicName, TransactionalId,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};
use wire::{client::Client, connection::Connection};

use super::plan::TRANSACTED;

const TRANSACTIONAL_ID: &str = "app";

/// A transactional producer in one epoch.
pub struct Producer {
    connection: Arc<Connection>,
    pub id: i64,
    pub epoch: i16,
    /// Of the next record of each partition.
    pub sequences: Vec<i32>,
}

fn transactional_id() -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(TRANSACTIONAL_ID))
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TRANSACTED))
}

impl Producer {
    /// The next epoch; aborts what is open.
    pub async fn begin(client: &Client, partitions: usize) -> Result<Self> {
        let connection = client.dial(1).await?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id()))
            .with_transaction_timeout_ms(15_000);
        let answer = connection.call(&request, 0..=4).await?;
        ensure!(answer.error_code == 0, "{}", answer.error_code);
        Ok(Self {
            connection,
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
            sequences: vec![0; partitions],
        })
    }

    pub async fn add(&self, number: i32) -> Result<()> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic())
            .with_partitions(vec![number]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id())
            .with_v3_and_below_producer_id(ProducerId(self.id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let answer = self.connection.call(&request, 0..=3).await?;
        let results = answer.results_by_topic_v3_and_below.iter();
        let codes = results.flat_map(|topic| &topic.results_by_partition);
        let error = codes
            .map(|one| one.partition_error_code)
            .find(|code| *code != 0);
        ensure!(error.is_none(), "{error:?}");
        Ok(())
    }

    pub async fn produce(&self, number: i32, bytes: Bytes) -> Result<i64> {
        let data = PartitionProduceData::default()
            .with_index(number)
            .with_records(Some(bytes));
        let topic = TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(transactional_id()))
            .with_acks(-1)
            .with_timeout_ms(3_000)
            .with_topic_data(vec![topic]);
        let answer = self.connection.call(&request, 3..=11).await?;
        let topics = answer.responses.first();
        let found = topics.and_then(|topic| topic.partition_responses.first());
        let found = found.context("no answer for the partition")?;
        ensure!(found.error_code == 0, "{}", found.error_code);
        Ok(found.base_offset)
    }

    pub async fn end(&self, commits: bool) -> Result<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional_id())
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_committed(commits);
        let answer = self.connection.call(&request, 0..=4).await?;
        ensure!(answer.error_code == 0, "{}", answer.error_code);
        Ok(())
    }
}
