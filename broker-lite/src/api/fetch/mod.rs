//! Fetch (key 1), versions 4-18.
//!
//! Waits until `min_bytes` are there or `max_wait` is over. Answers hold whole batches; the first batch may
//! begin before the wanted offset. The first partition that has records gives at least one batch whatever
//! the limits are, as Kafka does.
//! Version 4: isolation. Version 7: sessions, see `state::fetch_sessions`. Version 9: the leader's epoch is checked.
//! Version 12: a reader who is ahead of the log, or went another way, learns where its leader's epoch ends (KIP-595).
//! Version 13: topics by id: UNKNOWN_TOPIC_ID, and INCONSISTENT_TOPIC_ID for a session's topic that was made anew.
//! Version 16: readers with another leader in mind are told the right one (KIP-951).

mod answer;
mod changes;
mod envelope;

use std::{io, sync::Arc, time::Duration};

use answer::Answer;
use bytes::Bytes;
use changes::Changes;
use kafka_protocol::{
    error::ResponseError,
    messages::{ApiKey, FetchRequest, FetchResponse, RequestHeader},
};
use uuid::Uuid;
use wire::{Isolation, request};

use super::{Context, code, count_errors, faulty, invalid, pieces};
use crate::{
    faults::Failure,
    security::acl::Operation,
    state::{
        fetch_sessions::{Asked, TopicKey},
        partition::{Found, Partition},
    },
};

/// Largest answer, in bytes (`fetch.max.bytes` of a broker).
const MAX_BYTES: u64 = 55 << 20;

/// Longest wait of a large request: others wait for the memory of what it has become, which Kafka does not count.
const LARGE_WAIT: Duration = Duration::from_secs(1);

/// From these versions on: topics by id, leaders named.
const BY_ID: i16 = 13;
const LEADERS: i16 = 16;

/// One partition of the request.
struct Wanted<'a> {
    asked: &'a Asked,
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

/// Decodes, handles, encodes as other APIs do, but for the records: they are not in memory.
pub(super) async fn serve(
    cx: &Context,
    header: &RequestHeader,
    body: Bytes,
) -> io::Result<Option<pieces::Answer>> {
    let version = header.request_api_version;
    let request: FetchRequest = request::decode(body, version).map_err(invalid)?;
    let handle = |request| handle(cx, version, request);
    let Some(Answer { response, records }) = faulty::serve(cx, version, request, handle).await?
    else {
        return Ok(None);
    };
    count_errors(cx, ApiKey::Fetch, Some(&response));
    let frame = envelope::encode(&response, records, header.correlation_id, version);
    let frame = frame.map_err(|error| invalid(format!("encode the answer: {error}")))?;
    Ok(Some(frame))
}

async fn handle(cx: &Context, version: i16, request: FetchRequest) -> Answer {
    let topics = &cx.state.topics;
    let name = |id: Uuid| topics.get_by_id(id).map(|topic| topic.name.as_str().into());
    let (sessions, now) = (&cx.state.fetch_sessions, cx.state.host.clock.monotonic());
    let begun = match sessions.begin(&request, version >= BY_ID, name, now) {
        Ok(begun) => begun,
        Err(error) => {
            return FetchResponse::default()
                .with_error_code(error.code())
                .into();
        }
    };
    let Some(isolation) = isolation(request.isolation_level) else {
        return answer::unforeseen(begun.asked.iter(), version);
    };
    let max = u64::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let min = u64::try_from(request.min_bytes).unwrap_or(0).min(max);
    let wait = Duration::from_millis(u64::from(request.max_wait_ms.max(0).unsigned_abs()));
    let wait = if cx.is_large {
        wait.min(LARGE_WAIT)
    } else {
        wait
    };
    let deadline = cx.state.host.clock.sleep(wait);
    tokio::pin!(deadline);

    let replica = match version {
        15.. => request.replica_state.replica_id,
        _ => request.replica_id,
    };
    let reader = match replica.0 {
        0.. => Reader::Follower {
            may: cx.may_cluster(Operation::ClusterAction),
        },
        _ => Reader::Client,
    };
    let rack = !request.rack_id.is_empty();
    // Who waits leaves the frame's memory to others.
    drop(request);
    let asked = begun.asked.iter();
    let mut wanted: Vec<_> = asked.map(|one| resolve(cx, one, rack, reader)).collect();
    // Subscribed before the look, so that nothing that comes after it is missed.
    let known = wanted.iter().enumerate();
    let known = known.filter_map(|(at, one)| Some((at, one.partition.as_ref()?.subscribe())));
    let mut changes = Changes::of(known);
    wanted.iter_mut().for_each(|one| one.look_again(isolation));
    while !changes.is_empty() && !is_enough(&wanted, min) {
        tokio::select! {
            biased;
            changed = changes.next() => wanted[changed].look_again(isolation),
            () = &mut deadline => break,
        }
    }
    let node = (version >= LEADERS).then_some(&cx.listener.node);
    let max = max.min(cx.state.answers.room());
    let mut all = answer::read_all(&wanted, isolation, max, node);
    let (session, finished) = sessions.finish(begun, &mut all, &cx.state.host);
    let mut answer = answer::answer(session, all, node);
    answer.response.error_code = code(finished.err());
    answer
}

/// None for a level that there is not: an error that Kafka does not foresee (`IsolationLevel.forId`).
pub(super) fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::ReadUncommitted),
        1 => Some(Isolation::ReadCommitted),
        _ => None,
    }
}

/// Who reads: followers need a right to the cluster, and none to topics (`KafkaApis.handleFetchRequest`).
#[derive(Clone, Copy)]
enum Reader {
    Client,
    Follower { may: bool },
}

fn resolve<'a>(cx: &Context, asked: &'a Asked, rack: bool, reader: Reader) -> Wanted<'a> {
    let name = asked.name.as_deref();
    let may = |name: &str| match reader {
        Reader::Client => cx.may_topic(Operation::Read, name),
        Reader::Follower { may } => may,
    };
    let refused = name.is_some_and(|name| !may(name));
    let found = name.filter(|_| !refused);
    let topic = found.and_then(|name| cx.state.topics.get(name));
    let unknown = match name {
        _ if refused => ResponseError::TopicAuthorizationFailed,
        Some(_) => ResponseError::UnknownTopicOrPartition,
        None => ResponseError::UnknownTopicId,
    };
    let is_another = match (&topic, &asked.key.topic) {
        (Some(topic), TopicKey::Id(id)) => topic.id != *id,
        _ => false,
    };
    let partition = topic.and_then(|topic| topic.partition(asked.key.partition));
    let hooks = &cx.state.hooks;
    let failure = hooks.failure(ApiKey::Fetch, name.unwrap_or_default(), asked.key.partition);
    let failure = failure.filter(|one| rack || !matches!(one, Failure::Elsewhere(_)));
    let inconsistent = Failure::Before(ResponseError::InconsistentTopicId);
    Wanted {
        asked,
        failure: failure.or((is_another && partition.is_some()).then_some(inconsistent)),
        partition,
        look: Look::Failed(unknown),
    }
}

impl Wanted<'_> {
    fn look_again(&mut self, isolation: Isolation) {
        if let Some(Failure::Before(error)) = self.failure {
            self.look = Look::Failed(error);
        } else if let Some(partition) = &self.partition {
            let found = look(partition, self.asked, isolation);
            self.look = found.unwrap_or_else(Look::Failed);
        }
    }

    fn max_bytes(&self) -> u64 {
        u64::try_from(self.asked.max_bytes).unwrap_or(0)
    }

    /// Bytes that the look found, as far as the reader takes them.
    fn bytes(&self) -> u64 {
        match &self.look {
            Look::Found(found) => found.len().min(self.max_bytes()),
            _ => 0,
        }
    }

    /// Partitions that do not exist wait for the others, as in Kafka, so that their readers do not ask in a
    /// circle.
    fn is_known(&self) -> bool {
        self.partition.is_some() || matches!(self.failure, Some(Failure::Before(_)))
    }

    /// Whether there is something to say that does not wait.
    fn is_urgent(&self) -> bool {
        let elsewhere = matches!(self.failure, Some(Failure::Elsewhere(_)));
        self.is_known() && (elsewhere || !matches!(self.look, Look::Found(_)))
    }
}

fn is_enough(wanted: &[Wanted<'_>], min: u64) -> bool {
    let bytes = wanted
        .iter()
        .map(Wanted::bytes)
        .fold(0, u64::saturating_add);
    bytes >= min || wanted.iter().any(Wanted::is_urgent)
}

fn look(partition: &Partition, asked: &Asked, isolation: Isolation) -> Result<Look, ResponseError> {
    partition.check_leader(asked.leader_epoch)?;
    let diverging = partition.divergence(asked.last_fetched_epoch, asked.offset)?;
    if let Some((epoch, end)) = diverging {
        return Ok(Look::Diverged(epoch, end));
    }
    partition.find(asked.offset, isolation).map(Look::Found)
}
