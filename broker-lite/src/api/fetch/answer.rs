//! Reading what was found, and the answer's form.

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, FetchResponse, ProducerId, TopicName,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
            NodeEndpoint, PartitionData,
        },
    },
    protocol::StrBytes,
};
use uuid::Uuid;
use wire::Isolation;

use super::{BY_ID, Look, Wanted};
use crate::{
    faults::Failure,
    state::{
        Node,
        fetch_sessions::{Asked, Key, TopicKey},
        partition::{Partition, Read},
    },
};

/// Reads what was found, within the limits. Partitions that are not known come last, as in Kafka.
pub(super) fn read_all(
    wanted: &[Wanted<'_>],
    isolation: Isolation,
    max: u64,
    node: Option<&Node>,
) -> Vec<(Key, PartitionData)> {
    let (known, unknown): (Vec<_>, Vec<_>) = wanted.iter().partition(|one| one.is_known());
    let mut so_far = 0;
    let each = known.into_iter().chain(unknown).map(|one| {
        let mut data = read(one, isolation, max, so_far);
        so_far += data
            .records
            .as_ref()
            .map_or(0, |records| records.len() as u64);
        if let Some(node) = node {
            name_leader(one, &mut data, node);
        }
        (one.asked.key.clone(), data)
    });
    each.collect()
}

fn read(wanted: &Wanted<'_>, isolation: Isolation, max: u64, so_far: u64) -> PartitionData {
    if let Some(Failure::After(error)) = wanted.failure {
        return failed(wanted, error);
    }
    let nothing = |partition: &Partition| Read {
        records: Bytes::new(),
        ends: partition.ends(),
        aborted: Vec::new(),
    };
    let (found, partition) = match (&wanted.look, &wanted.partition) {
        (Look::Found(_), Some(partition)) if let Some(Failure::Elsewhere(id)) = wanted.failure => {
            let data = data(wanted, nothing(partition), isolation);
            return data.with_preferred_read_replica(BrokerId(id));
        }
        (Look::Found(found), Some(partition)) => (found, partition),
        (Look::Diverged(epoch, end), Some(partition)) => {
            let end = EpochEndOffset::default()
                .with_epoch(*epoch)
                .with_end_offset(*end);
            return data(wanted, nothing(partition), isolation).with_diverging_epoch(end);
        }
        (Look::Failed(error), Some(_)) => {
            return failed(wanted, *error).with_aborted_transactions(None);
        }
        (Look::Failed(error), _) => return failed(wanted, *error),
        (_, None) => return failed(wanted, ResponseError::UnknownTopicOrPartition),
    };
    let own = wanted.max_bytes();
    let limit = usize::try_from(own.min(max.saturating_sub(so_far))).unwrap_or(usize::MAX);
    match partition.read(found, limit, so_far == 0) {
        Ok(read) => data(wanted, read, isolation),
        Err(error) => failed(wanted, error),
    }
}

fn data(wanted: &Wanted<'_>, read: Read, isolation: Isolation) -> PartitionData {
    let aborted = read.aborted.iter().map(|one| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(one.producer_id))
            .with_first_offset(one.first_offset)
    });
    let aborted = (isolation == Isolation::ReadCommitted).then(|| aborted.collect());
    PartitionData::default()
        .with_partition_index(wanted.asked.key.partition)
        .with_high_watermark(read.ends.high_watermark)
        .with_last_stable_offset(read.ends.last_stable)
        .with_log_start_offset(read.ends.log_start)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(read.records))
}

fn failed(wanted: &Wanted<'_>, error: ResponseError) -> PartitionData {
    refused(wanted.asked.key.partition, error)
}

fn refused(partition: i32, error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(Bytes::new()))
}

/// The answer to a request that fails as a whole: versions with sessions have the error on top
/// (`FetchRequest.getErrorResponse`).
pub(super) fn unforeseen<'a>(
    asked: impl Iterator<Item = &'a Asked>,
    version: i16,
) -> FetchResponse {
    let error = ResponseError::UnknownServerError;
    let all = asked.map(|one| (one.key.clone(), refused(one.key.partition, error)));
    let top = if version >= 7 { error.code() } else { 0 };
    // Where topics go by id none is named.
    let all = if version < BY_ID {
        all.collect()
    } else {
        Vec::new()
    };
    FetchResponse::default()
        .with_error_code(top)
        .with_responses(by_topic(all))
}

/// Tells the leader of a partition to a reader that has another one in mind: this broker, of course.
fn name_leader(wanted: &Wanted<'_>, data: &mut PartitionData, node: &Node) {
    let lost = [
        ResponseError::NotLeaderOrFollower.code(),
        ResponseError::FencedLeaderEpoch.code(),
    ];
    if let Some(partition) = &wanted.partition
        && lost.contains(&data.error_code)
    {
        data.current_leader = LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(node.id))
            .with_leader_epoch(partition.leader_epoch());
    }
}

/// The answer to a session, or to none: id 0.
pub(super) fn answer(
    session: i32,
    all: Vec<(Key, PartitionData)>,
    node: Option<&Node>,
) -> FetchResponse {
    let is_named = |data: &PartitionData| *data.current_leader.leader_id >= 0;
    let named = node.filter(|_| all.iter().any(|(_, data)| is_named(data)));
    let endpoint = named.map(|node| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(node.id))
            .with_host(StrBytes::from_string(node.host.clone()))
            .with_port(i32::from(node.port))
    });
    FetchResponse::default()
        .with_session_id(session)
        .with_node_endpoints(endpoint.into_iter().collect())
        .with_responses(by_topic(all))
}

/// Neighbours of one topic share an entry, as in Kafka (`FetchResponse.toMessage`).
fn by_topic(all: Vec<(Key, PartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut last: Option<TopicKey> = None;
    for (key, data) in all {
        if last.as_ref() != Some(&key.topic) {
            let (name, id) = match &key.topic {
                TopicKey::Name(name) => (StrBytes::from_string((**name).to_owned()), Uuid::nil()),
                TopicKey::Id(id) => (StrBytes::default(), *id),
            };
            topics.push(
                FetchableTopicResponse::default()
                    .with_topic(TopicName(name))
                    .with_topic_id(id),
            );
            last = Some(key.topic);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(data);
        }
    }
    topics
}
