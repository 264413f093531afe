//! Produce (key 0), versions 3-13.
//!
//! Appends one batch to each partition. With acks 0 there is no answer, and after an error no connection; other acks
//! than -1, 0, 1 are INVALID_REQUIRED_ACKS. A partition that is named twice is appended to once: the last one wins, as
//! in Kafka's map. A transactional batch without transactional id fails the whole request; otherwise its partition must
//! be in the id's open transaction. The broker is alone: acks 1 and -1 are the same.
//! Version 7: zstd. Version 8: which records are to blame. Version 12: writing takes the partition into
//! the transaction (KIP-890). Version 13: topics by id.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering},
};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiKey, ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    protocol::StrBytes,
};
use tokio::task::JoinHandle;
use uuid::Uuid;
use wire::batch::{BatchHeader, BatchView};

use super::{Context, outside_transaction};
use crate::{
    faults::Failure,
    security::acl::Operation,
    state::{
        partition::{Appended, Partition},
        topics::Topic,
        transactions::{Claim, Part, machine::Producer},
        validate::{Refusal, ZSTD, one_batch, unreadable},
    },
};

/// From this version on a transaction takes in its partitions by writing to them (KIP-890).
const ADDS: i16 = 12;

/// Topics that only the broker itself writes to (`org.apache.kafka.common.internals.Topic`), and the
/// client that may all the same (`AdminUtils.ADMIN_CLIENT_ID`).
pub(super) const INTERNAL: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];
const ADMIN_CLIENT: &str = "__admin_client";

/// What became of one partition's batch, and the sync that its answer waits for.
struct Outcome {
    appended: Result<Appended, Refusal>,
    sync: Option<JoinHandle<io::Result<()>>>,
}

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: ProduceRequest,
) -> Option<ProduceResponse> {
    let last = last_of_each(&request.topic_data);
    let fails = fails_whole(cx, version, &request);
    let mut topics = Vec::new();
    for (at, data) in request.topic_data.iter().enumerate() {
        let topic = topic(cx, version, data);
        let named = data.partition_data.iter().enumerate();
        let wanted = named.filter(|(i, one)| last[&key(data, one)] == (at, *i));
        let outcomes = wanted.map(|(_, one)| match &fails {
            Some(refusal) => (one.index, Outcome::refused(refusal.clone())),
            None => (one.index, append(cx, version, &request, topic.clone(), one)),
        });
        // All are written before the first sync is waited for.
        topics.push((data, outcomes.collect::<Vec<_>>()));
    }
    let mut responses: Vec<TopicProduceResponse> = Vec::new();
    for (data, outcomes) in topics {
        for (index, outcome) in outcomes {
            let response = response(index, outcome.wait().await);
            let is_same = |topic: &&mut TopicProduceResponse| {
                topic.name == data.name && topic.topic_id == data.topic_id
            };
            // A topic that is named twice is answered once.
            match responses.iter_mut().find(is_same) {
                Some(topic) => topic.partition_responses.push(response),
                None => responses.push(
                    TopicProduceResponse::default()
                        .with_name(data.name.clone())
                        .with_topic_id(data.topic_id)
                        .with_partition_responses(vec![response]),
                ),
            }
        }
    }
    if request.acks != 0 {
        return Some(ProduceResponse::default().with_responses(responses));
    }
    // Nothing else would tell the producer that its records are not there (`KafkaApis.sendResponseCallback`).
    let all = responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    if all.into_iter().any(|partition| partition.error_code != 0) {
        cx.hangs_up.store(true, Ordering::Relaxed);
    }
    None
}

/// Why nothing of the request is done: a first batch whose start cannot be read, transactional records without a
/// transactional id that the client may write by, a codec that nobody knows where zstd is looked for
/// (`RequestUtils.hasTransactionalRecords`, `KafkaApis.handleProduceRequest`, `ProduceRequest.validateRecords`).
fn fails_whole(cx: &Context, version: i16, request: &ProduceRequest) -> Option<Refusal> {
    let all = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data);
    let headers = || {
        let records = all.clone().filter_map(|one| one.records.as_ref());
        records.filter_map(|records| BatchHeader::read(records).ok())
    };
    for one in all.clone() {
        let records = one.records.as_deref().unwrap_or_default();
        if let Some(refusal) = unreadable(records) {
            return Some(refusal);
        }
    }
    let may_write = || {
        let id = request.transactional_id.as_ref();
        id.is_some_and(|id| cx.may_transactional_id(Operation::Write, id))
    };
    if headers().any(|header| header.is_transactional()) && !may_write() {
        let refused = ResponseError::TransactionalIdAuthorizationFailed;
        return Some(Refusal::of(refused));
    }
    let is_unknown = version < ZSTD && headers().any(|header| header.codec().is_err());
    is_unknown.then(|| Refusal::of(ResponseError::UnknownServerError))
}

impl Outcome {
    fn refused(refusal: Refusal) -> Self {
        Self {
            appended: Err(refusal),
            sync: None,
        }
    }

    async fn wait(self) -> Result<Appended, Refusal> {
        match self.sync {
            None => self.appended,
            Some(sync) => match sync.await {
                Ok(Ok(())) => self.appended,
                _ => Err(Refusal::of(ResponseError::KafkaStorageError)),
            },
        }
    }
}

/// Which of the entries of a partition is the one that counts.
fn last_of_each(topics: &[TopicProduceData]) -> HashMap<(&str, Uuid, i32), (usize, usize)> {
    let entries = topics.iter().enumerate().flat_map(|(at, topic)| {
        let partitions = topic.partition_data.iter().enumerate();
        partitions.map(move |(i, one)| (key(topic, one), (at, i)))
    });
    entries.collect()
}

fn key<'a>(topic: &'a TopicProduceData, one: &PartitionProduceData) -> (&'a str, Uuid, i32) {
    (&topic.name, topic.topic_id, one.index)
}

fn topic(cx: &Context, version: i16, data: &TopicProduceData) -> Result<Arc<Topic>, ResponseError> {
    let topics = &cx.state.topics;
    if version >= 13 {
        let topic = topics.get_by_id(data.topic_id);
        let topic = topic.ok_or(ResponseError::UnknownTopicId)?;
        return match cx.may_topic(Operation::Write, &topic.name) {
            true => Ok(topic),
            false => Err(ResponseError::TopicAuthorizationFailed),
        };
    }
    if !cx.may_topic(Operation::Write, &data.name) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    // The broker's own topics are not there, but a client that writes to them is told what Kafka would tell.
    topics.get(&data.name).ok_or_else(|| match &**data.name {
        name if INTERNAL.contains(&name) && cx.client_id != ADMIN_CLIENT => {
            ResponseError::InvalidTopicException
        }
        _ => ResponseError::UnknownTopicOrPartition,
    })
}

fn append(
    cx: &Context,
    version: i16,
    request: &ProduceRequest,
    topic: Result<Arc<Topic>, ResponseError>,
    data: &PartitionProduceData,
) -> Outcome {
    let befalls = |topic: &Arc<Topic>| {
        let hooks = &cx.state.hooks;
        hooks.failure(ApiKey::Produce, &topic.name, data.index)
    };
    let failure = topic.as_ref().ok().and_then(befalls);
    if let Some(Failure::Before(error)) = failure {
        return Outcome::refused(Refusal::of(error));
    }
    let outcome = append_checked(cx, version, request, topic, data);
    match failure {
        Some(Failure::After(error)) => Outcome {
            appended: Err(Refusal::of(error)),
            ..outcome
        },
        _ => outcome,
    }
}

fn append_checked(
    cx: &Context,
    version: i16,
    request: &ProduceRequest,
    topic: Result<Arc<Topic>, ResponseError>,
    data: &PartitionProduceData,
) -> Outcome {
    let found = topic.and_then(|topic| {
        let partition = topic.partition(data.index);
        Ok((
            partition.ok_or(ResponseError::UnknownTopicOrPartition)?,
            topic,
        ))
    });
    let checked = found.map_err(Refusal::of).and_then(|(partition, topic)| {
        let batch = one_batch(&data.records.clone().unwrap_or_default(), version)?;
        if !matches!(request.acks, -1..=1) {
            return Err(Refusal::of(ResponseError::InvalidRequiredAcks));
        }
        if INTERNAL.contains(&&*topic.name) && cx.client_id != ADMIN_CLIENT {
            return Err(Refusal::of(ResponseError::InvalidTopicException));
        }
        Ok((partition, topic, batch))
    });
    let (partition, topic, batch) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return Outcome::refused(refusal),
    };
    let appended = match &request.transactional_id {
        // Without a producer there is no transaction to be in (`ReplicaManager.handleProduceAppend`).
        Some(id) if batch.header.is_transactional() && batch.header.producer_id >= 0 => {
            let part = Part::Partition(topic.name.clone(), data.index);
            append_inside(cx, version, id, &part, &partition, batch)
        }
        _ => partition.append(batch),
    };
    // Also after a repeat: what it repeats may not be durable yet.
    let sync = appended.as_ref().ok().and_then(|_| partition.settle());
    Outcome { appended, sync }
}

/// Appends within the transaction of `id`, which cannot end meanwhile.
fn append_inside(
    cx: &Context,
    version: i16,
    id: &str,
    part: &Part,
    partition: &Partition,
    batch: BatchView,
) -> Result<Appended, Refusal> {
    let claim = Claim {
        transactional_id: id,
        producer: Producer {
            id: batch.header.producer_id,
            epoch: batch.header.producer_epoch,
        },
    };
    let append = || partition.append(batch);
    let transactions = &cx.state.transactions;
    let appended = transactions.within(claim, part, version >= ADDS, append);
    appended.unwrap_or_else(|error| {
        let error = outside(version, error);
        let message = match error {
            ResponseError::InvalidTxnState => Some("Partition was not added to the transaction"),
            _ => None,
        };
        Err(Refusal {
            message: message.map(ToOwned::to_owned),
            ..Refusal::of(error)
        })
    })
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
                .with_log_start_offset(refusal.log_start_offset)
        }
    }
}
