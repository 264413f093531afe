//! Fetch (key 1), versions 4-18.
//!
//! Waits until `min_bytes` are there or `max_wait` is over. Answers hold whole batches; the first batch may
//! begin before the wanted offset. The first partition that has records gives at least one batch whatever
//! the limits are, as Kafka does. No fetch session is kept: session id 0 in the answer says so (KIP-227), and
//! a request that continues one is FETCH_SESSION_ID_NOT_FOUND.
//! Version 4: isolation. Version 12: no divergence is ever told, one broker does not truncate. Version 13:
//! topics by id.

use std::time::Duration;

use host::BoxFuture;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, FetchRequest, FetchResponse, ProducerId,
        fetch_request::FetchPartition,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
};
use tokio::{sync::watch, task::JoinSet};
use wire::Isolation;

use super::Context;
use crate::state::partition::{Partition, Read};

/// Largest answer, in bytes (`fetch.max.bytes` of a broker).
const MAX_BYTES: usize = 55 << 20;

/// What of a partition changes: its end, and how many transactions ended.
type Changes = watch::Receiver<(i64, u64)>;

pub(super) async fn handle(cx: &Context, version: i16, request: FetchRequest) -> FetchResponse {
    if request.session_id != 0 && request.session_epoch > 0 {
        let error = ResponseError::FetchSessionIdNotFound;
        return FetchResponse::default().with_error_code(error.code());
    }
    let wait = Duration::from_millis(u64::from(request.max_wait_ms.max(0).unsigned_abs()));
    let deadline = cx.state.host.clock.sleep(wait);
    tokio::pin!(deadline);
    loop {
        // Taken before the look, so that nothing that comes after it is missed.
        let changes = changes(cx, version, &request);
        let (response, bytes, has_error) = look(cx, version, &request);
        let enough = bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
        if enough || has_error || changes.is_empty() {
            return response;
        }
        tokio::select! {
            biased;
            () = any_change(changes) => {}
            () = &mut deadline => return look(cx, version, &request).0,
        }
    }
}

/// Ends when any of the partitions changes.
fn any_change(changes: Vec<Changes>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut waiting = JoinSet::new();
        for mut change in changes {
            // A topic that was deleted meanwhile changed too.
            waiting.spawn(async move { change.changed().await.is_ok() });
        }
        waiting.join_next().await;
    })
}

fn changes(cx: &Context, version: i16, request: &FetchRequest) -> Vec<Changes> {
    let wanted = request.topics.iter().flat_map(|topic| {
        let found = if version >= 13 {
            cx.state.topics.get_by_id(topic.topic_id)
        } else {
            cx.state.topics.get(&topic.topic)
        };
        let numbers = topic.partitions.iter().map(|partition| partition.partition);
        numbers.filter_map(move |number| Some(found.as_ref()?.partition(number)?.subscribe()))
    });
    wanted.collect()
}

/// Reads once: the answer, its bytes of records, whether a partition has an error.
fn look(cx: &Context, version: i16, request: &FetchRequest) -> (FetchResponse, usize, bool) {
    let limit = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(MAX_BYTES);
    let isolation = if request.isolation_level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    let (mut bytes, mut has_error) = (0, false);
    let topics = request.topics.iter().map(|wanted| {
        let (topic, unknown) = if version >= 13 {
            (
                cx.state.topics.get_by_id(wanted.topic_id),
                ResponseError::UnknownTopicId,
            )
        } else {
            let topic = cx.state.topics.get(&wanted.topic);
            (topic, ResponseError::UnknownTopicOrPartition)
        };
        let partitions = wanted.partitions.iter().map(|one| {
            let partition = topic.as_ref().map(|topic| topic.partition(one.partition));
            let data = match partition {
                None => failed(one, unknown),
                Some(None) => failed(one, ResponseError::UnknownTopicOrPartition),
                Some(Some(partition)) => read(&partition, one, isolation, limit, bytes),
            };
            bytes += data.records.as_ref().map_or(0, bytes::Bytes::len);
            has_error |= data.error_code != 0;
            data
        });
        FetchableTopicResponse::default()
            .with_topic(wanted.topic.clone())
            .with_topic_id(wanted.topic_id)
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    (
        FetchResponse::default().with_responses(topics),
        bytes,
        has_error,
    )
}

fn read(
    partition: &Partition,
    wanted: &FetchPartition,
    isolation: Isolation,
    limit: usize,
    so_far: usize,
) -> PartitionData {
    if let Some(error) = epoch_error(wanted.current_leader_epoch) {
        return failed(wanted, error);
    }
    let own = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
    let max = own.min(limit.saturating_sub(so_far));
    match partition.read(wanted.fetch_offset, max, so_far == 0, isolation) {
        Ok(read) => data(wanted, read, isolation),
        Err(error) => {
            let ends = partition.ends();
            failed(wanted, error)
                .with_high_watermark(ends.log_end)
                .with_last_stable_offset(ends.last_stable)
                .with_log_start_offset(ends.log_start)
        }
    }
}

fn data(wanted: &FetchPartition, read: Read, isolation: Isolation) -> PartitionData {
    let aborted = read.aborted.iter().map(|one| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(one.producer_id))
            .with_first_offset(one.first_offset)
    });
    let aborted = (isolation == Isolation::ReadCommitted).then(|| aborted.collect());
    PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_high_watermark(read.ends.log_end)
        .with_last_stable_offset(read.ends.last_stable)
        .with_log_start_offset(read.ends.log_start)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(read.records))
}

fn failed(wanted: &FetchPartition, error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(bytes::Bytes::new()))
}

/// Every partition is in leader epoch 0; -1 is a client that does not say.
pub(super) fn epoch_error(epoch: i32) -> Option<ResponseError> {
    match epoch {
        ..=0 => None,
        1.. => Some(ResponseError::UnknownLeaderEpoch),
    }
}
