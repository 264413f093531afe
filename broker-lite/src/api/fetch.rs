//! Fetch (key 1), versions 4-18.
//!
//! Waits until `min_bytes` are there or `max_wait` is over. Answers hold whole batches; the first batch may
//! begin before the wanted offset. The first partition that has records gives at least one batch whatever
//! the limits are, as Kafka does. No fetch session is kept: session id 0 in the answer says so (KIP-227), and
//! a request that continues one is FETCH_SESSION_ID_NOT_FOUND.
//! Version 4: isolation. Version 9: the leader's epoch is checked. Version 12: a reader who is ahead of the
//! log learns where it ends (KIP-595). Version 13: topics by id.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use host::BoxFuture;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiKey, BrokerId, FetchRequest, FetchResponse, ProducerId,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
            NodeEndpoint, PartitionData,
        },
    },
    protocol::StrBytes,
};
use tokio::sync::watch;
use wire::Isolation;

use super::Context;
use crate::{
    faults::Failure,
    state::partition::{Found, Partition, Read},
};

/// Largest answer, in bytes (`fetch.max.bytes` of a broker).
const MAX_BYTES: u64 = 55 << 20;

/// From this version on a client that knows another leader is told the right one (KIP-951).
const LEADERS: i16 = 16;

/// One partition of the request.
struct Wanted<'a> {
    topic: usize,
    request: &'a FetchPartition,
    partition: Option<Arc<Partition>>,
    look: Look,
    /// A fault befalls it.
    failure: Option<Failure>,
}

/// What a look at a partition found.
enum Look {
    Found(Found),
    Failed(ResponseError),
    /// The records of this epoch, the largest that both know, end here.
    Diverged(i32, i64),
}

pub(super) async fn handle(cx: &Context, version: i16, request: FetchRequest) -> FetchResponse {
    if request.session_epoch > 0 {
        let error = ResponseError::FetchSessionIdNotFound;
        return FetchResponse::default().with_error_code(error.code());
    }
    let isolation = isolation(request.isolation_level);
    let max = u64::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let min = u64::try_from(request.min_bytes).unwrap_or(0).min(max);
    let wait = Duration::from_millis(u64::from(request.max_wait_ms.max(0).unsigned_abs()));
    let deadline = cx.state.host.clock.sleep(wait);
    tokio::pin!(deadline);

    // Subscribed before the look, so that nothing that comes after it is missed.
    let mut wanted = resolve(cx, version, &request);
    let mut changes = Changes::of(&wanted);
    wanted.iter_mut().for_each(|one| one.look_again(isolation));
    while !changes.is_empty() && !is_enough(&wanted, min) {
        tokio::select! {
            biased;
            changed = changes.next() => wanted[changed].look_again(isolation),
            () = &mut deadline => break,
        }
    }
    let answer = answer(&request.topics, &wanted, isolation, max);
    if version < LEADERS {
        return answer;
    }
    with_leaders(cx, &wanted, answer)
}

pub(super) fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

fn resolve<'a>(cx: &Context, version: i16, request: &'a FetchRequest) -> Vec<Wanted<'a>> {
    let mut all = Vec::new();
    for (at, topic) in request.topics.iter().enumerate() {
        let topics = &cx.state.topics;
        let (found, unknown) = if version >= 13 {
            (
                topics.get_by_id(topic.topic_id),
                ResponseError::UnknownTopicId,
            )
        } else {
            (
                topics.get(&topic.topic),
                ResponseError::UnknownTopicOrPartition,
            )
        };
        let unknown = match &found {
            Some(_) => ResponseError::UnknownTopicOrPartition,
            None => unknown,
        };
        all.extend(topic.partitions.iter().map(|request| {
            let name = found.as_ref().map_or(&**topic.topic, |topic| &topic.name);
            let hooks = &cx.state.hooks;
            Wanted {
                failure: hooks.failure(ApiKey::Fetch, name, request.partition),
                topic: at,
                request,
                partition: found
                    .as_ref()
                    .and_then(|topic| topic.partition(request.partition)),
                look: Look::Failed(unknown),
            }
        }));
    }
    all
}

impl Wanted<'_> {
    fn look_again(&mut self, isolation: Isolation) {
        if let Some(Failure::Before(error)) = self.failure {
            self.look = Look::Failed(error);
        } else if let Some(partition) = &self.partition {
            let found = look(partition, self.request, isolation);
            self.look = found.unwrap_or_else(Look::Failed);
        }
    }

    /// Bytes that the look found, as far as the reader takes them.
    fn bytes(&self) -> u64 {
        match &self.look {
            Look::Found(found) => found
                .len()
                .min(u64::try_from(self.request.partition_max_bytes).unwrap_or(0)),
            _ => 0,
        }
    }

    /// Whether there is something to say that does not wait. Partitions that do not exist wait for the
    /// others, as in Kafka, so that their readers do not ask in a circle.
    fn is_urgent(&self) -> bool {
        let is_refused = matches!(self.failure, Some(Failure::Before(_)));
        is_refused || (self.partition.is_some() && !matches!(self.look, Look::Found(_)))
    }
}

fn is_enough(wanted: &[Wanted<'_>], min: u64) -> bool {
    let bytes = wanted
        .iter()
        .map(Wanted::bytes)
        .fold(0, u64::saturating_add);
    bytes >= min || wanted.iter().any(Wanted::is_urgent)
}

fn look(
    partition: &Partition,
    wanted: &FetchPartition,
    isolation: Isolation,
) -> Result<Look, ResponseError> {
    partition.check_leader(wanted.current_leader_epoch)?;
    let offset = wanted.fetch_offset;
    if let Some((epoch, end)) = partition.divergence(wanted.last_fetched_epoch, offset)? {
        return Ok(Look::Diverged(epoch, end));
    }
    partition
        .find(wanted.fetch_offset, isolation)
        .map(Look::Found)
}

/// Tells which partition changed, as long as the request waits.
struct Changes(Vec<BoxFuture<'static, (usize, watch::Receiver<i64>)>>);

impl Changes {
    fn of(wanted: &[Wanted<'_>]) -> Self {
        let known = wanted.iter().enumerate();
        let known = known.filter_map(|(at, one)| Some((at, one.partition.as_ref()?.subscribe())));
        Self(
            known
                .map(|(at, changes)| Self::change(at, changes))
                .collect(),
        )
    }

    fn change(
        at: usize,
        mut changes: watch::Receiver<i64>,
    ) -> BoxFuture<'static, (usize, watch::Receiver<i64>)> {
        Box::pin(async move {
            // The sender belongs to the partition, which the request holds.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            (at, changes)
        })
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next partition that changed. Cancel-safe: a change that is not returned is not forgotten.
    async fn next(&mut self) -> usize {
        poll_fn(|cx| {
            for change in &mut self.0 {
                if let Poll::Ready((at, changes)) = Pin::new(&mut *change).poll(cx) {
                    *change = Self::change(at, changes);
                    return Poll::Ready(at);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Reads what was found, within the limits.
fn answer(
    topics: &[FetchTopic],
    wanted: &[Wanted<'_>],
    isolation: Isolation,
    max: u64,
) -> FetchResponse {
    let responses = topics.iter().map(|topic| {
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
    });
    let mut responses: Vec<_> = responses.collect();
    let mut so_far = 0;
    for one in wanted {
        let data = read(one, isolation, max, so_far);
        so_far += data
            .records
            .as_ref()
            .map_or(0, |records| records.len() as u64);
        responses[one.topic].partitions.push(data);
    }
    FetchResponse::default().with_responses(responses)
}

fn read(wanted: &Wanted<'_>, isolation: Isolation, max: u64, so_far: u64) -> PartitionData {
    if let Some(Failure::After(error)) = wanted.failure {
        return failed(wanted.request, error);
    }
    let found = match (&wanted.look, &wanted.partition) {
        (Look::Found(found), Some(partition)) => (found, partition),
        (Look::Diverged(epoch, end), Some(partition)) => {
            let end = EpochEndOffset::default()
                .with_epoch(*epoch)
                .with_end_offset(*end);
            let (records, aborted) = (Bytes::new(), Vec::new());
            let nothing = Read {
                records,
                ends: partition.ends(),
                aborted,
            };
            return data(wanted.request, nothing, isolation).with_diverging_epoch(end);
        }
        (Look::Failed(error), _) => return failed(wanted.request, *error),
        (_, None) => return failed(wanted.request, ResponseError::UnknownTopicOrPartition),
    };
    let (found, partition) = found;
    let own = u64::try_from(wanted.request.partition_max_bytes).unwrap_or(0);
    let limit = usize::try_from(own.min(max.saturating_sub(so_far))).unwrap_or(usize::MAX);
    match partition.read(found, limit, so_far == 0) {
        Ok(read) => data(wanted.request, read, isolation),
        Err(error) => failed(wanted.request, error),
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
        .with_high_watermark(read.ends.high_watermark)
        .with_last_stable_offset(read.ends.last_stable)
        .with_log_start_offset(read.ends.log_start)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(read.records))
}

/// Tells the leader of partitions whose reader has another in mind: this broker, of course.
fn with_leaders(cx: &Context, wanted: &[Wanted<'_>], mut answer: FetchResponse) -> FetchResponse {
    let lost = [
        ResponseError::NotLeaderOrFollower.code(),
        ResponseError::FencedLeaderEpoch.code(),
    ];
    let node = cx.state.node();
    let partitions = answer.responses.iter_mut().flat_map(|t| &mut t.partitions);
    let mut is_named = false;
    for (data, one) in partitions.zip(wanted) {
        if let Some(partition) = one
            .partition
            .as_ref()
            .filter(|_| lost.contains(&data.error_code))
        {
            data.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(node.id))
                .with_leader_epoch(partition.leader_epoch());
            is_named = true;
        }
    }
    let endpoint = NodeEndpoint::default()
        .with_node_id(BrokerId(node.id))
        .with_host(StrBytes::from_string(node.host))
        .with_port(i32::from(node.port));
    answer.with_node_endpoints(if is_named { vec![endpoint] } else { Vec::new() })
}

fn failed(wanted: &FetchPartition, error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(Bytes::new()))
}
