//! Produce (key 0), versions 3-13.
//!
//! Appends one batch to each partition. With acks 0 there is no answer; other acks than -1, 0, 1 are
//! INVALID_REQUIRED_ACKS. A partition that is named twice is appended to once: the last one wins, as in
//! Kafka's map. Transactional batches want a transactional id, whose open transaction holds the partition.
//! Version 8: which records are to blame. Version 13: topics by id.

use std::collections::HashMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    protocol::StrBytes,
};
use wire::batch::BatchHeader;

use super::{Context, outside_transaction};
use crate::state::{
    partition::Appended,
    topics::Topic,
    transactions::{Claim, Part, machine::Producer},
    validate::Refusal,
};

/// From this version on a transaction takes in its partitions by writing to them (KIP-890).
const ADDS: i16 = 12;

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: ProduceRequest,
) -> Option<ProduceResponse> {
    let acks = request.acks;
    let id = request.transactional_id.as_deref().map(|id| &**id);
    let topics = request.topic_data.iter().map(|data| {
        let topic = if version >= 13 {
            cx.state
                .topics
                .get_by_id(data.topic_id)
                .ok_or(ResponseError::UnknownTopicId)
        } else {
            let topic = cx.state.topics.get(&data.name);
            topic.ok_or(ResponseError::UnknownTopicOrPartition)
        };
        let partitions = last_of_each(data).into_iter().map(|partition| {
            let appended = match (&topic, acks) {
                (_, ..-1 | 2..) => Err(Refusal::of(ResponseError::InvalidRequiredAcks)),
                (Err(error), _) => Err(Refusal::of(*error)),
                (Ok(topic), _) => append(cx, version, topic, partition, id),
            };
            response(partition.index, appended)
        });
        TopicProduceResponse::default()
            .with_name(data.name.clone())
            .with_topic_id(data.topic_id)
            .with_partition_responses(partitions.collect())
    });
    let topics = topics.collect();
    (acks != 0).then(|| ProduceResponse::default().with_responses(topics))
}

/// The partitions in their order, each with what was said of it last.
fn last_of_each(data: &TopicProduceData) -> Vec<&PartitionProduceData> {
    let last: HashMap<_, _> = data
        .partition_data
        .iter()
        .enumerate()
        .map(|(at, partition)| (partition.index, at))
        .collect();
    let all = data.partition_data.iter().enumerate();
    all.filter(|(at, partition)| last[&partition.index] == *at)
        .map(|(_, p)| p)
        .collect()
}

fn append(
    cx: &Context,
    version: i16,
    topic: &Topic,
    data: &PartitionProduceData,
    transactional_id: Option<&str>,
) -> Result<Appended, Refusal> {
    let partition = topic.partition(data.index);
    let partition = partition.ok_or_else(|| Refusal::of(ResponseError::UnknownTopicOrPartition))?;
    let records = data.records.clone().unwrap_or_default();
    let header = BatchHeader::read(&records).ok();
    match header.filter(BatchHeader::is_transactional) {
        None => partition.append(&records),
        Some(header) => {
            let transactional_id = transactional_id
                .ok_or_else(|| Refusal::of(ResponseError::TransactionalIdAuthorizationFailed))?;
            let claim = Claim {
                transactional_id,
                producer: Producer {
                    id: header.producer_id,
                    epoch: header.producer_epoch,
                },
            };
            let part = Part::Partition(topic.name.clone(), data.index);
            let append = || partition.append(&records);
            let within = cx
                .state
                .transactions
                .within(claim, &part, version >= ADDS, append);
            within.map_err(|error| Refusal::of(outside(version, error)))?
        }
    }
}

/// Before version 12 producers do not retry CONCURRENT_TRANSACTIONS rightly; NOT_ENOUGH_REPLICAS they do.
fn outside(version: i16, error: ResponseError) -> ResponseError {
    match outside_transaction(error, version >= 11) {
        ResponseError::ConcurrentTransactions if version < ADDS => ResponseError::NotEnoughReplicas,
        other => other,
    }
}

fn response(index: i32, appended: Result<Appended, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match appended {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time_ms)
            .with_log_start_offset(appended.log_start_offset),
        Err(refusal) => {
            let records = refusal.records.into_iter().map(|(record, why)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(record)
                    .with_batch_index_error_message(Some(StrBytes::from_string(why)))
            });
            response
                .with_error_code(refusal.error.code())
                .with_error_message(refusal.message.map(StrBytes::from_string))
                .with_record_errors(records.collect())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
        }
    }
}
