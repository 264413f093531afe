//! Reading what was found, and the answer's form.

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
        fetch_sessions::{Asked, Key, Told, TopicKey},
        partition::{Partition, Read, Records},
    },
};

/// A response, and the records of its partitions in their order, which stay in their files.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) response: FetchResponse,
    pub(super) records: Vec<Option<Records>>,
}

impl From<FetchResponse> for Answer {
    fn from(response: FetchResponse) -> Self {
        let records = Vec::new();
        Self { response, records }
    }
}

/// Reads what was found, within the limits. Partitions that are not known come last, as in Kafka.
pub(super) fn read_all(
    wanted: &[Wanted<'_>],
    isolation: Isolation,
    max: u64,
    node: Option<&Node>,
) -> Vec<(Key, Told)> {
    let (known, unknown): (Vec<_>, Vec<_>) = wanted.iter().partition(|one| one.is_known());
    let mut so_far = 0;
    let each = known.into_iter().chain(unknown).map(|one| {
        let mut told = read(one, isolation, max, so_far);
        let records = told.records.as_ref();
        so_far += records.map_or(0, |records| records.slice.len);
        if let Some(node) = node {
            name_leader(one, &mut told.data, node);
        }
        (one.asked.key.clone(), told)
    });
    each.collect()
}

fn read(wanted: &Wanted<'_>, isolation: Isolation, max: u64, so_far: u64) -> Told {
    if let Some(Failure::After(error)) = wanted.failure {
        return failed(wanted, error).into();
    }
    let nothing = |partition: &Partition| Read {
        records: None,
        ends: partition.ends(),
        aborted: Vec::new(),
    };
    let (found, partition) = match (&wanted.look, &wanted.partition) {
        (Look::Found(_), Some(partition)) if let Some(Failure::Elsewhere(id)) = wanted.failure => {
            let data = data(wanted, &nothing(partition), isolation);
            return data.with_preferred_read_replica(BrokerId(id)).into();
        }
        (Look::Found(found), Some(partition)) => (found, partition),
        (Look::Diverged(epoch, end), Some(partition)) => {
            let end = EpochEndOffset::default()
                .with_epoch(*epoch)
                .with_end_offset(*end);
            let data = data(wanted, &nothing(partition), isolation);
            return data.with_diverging_epoch(end).into();
        }
        (Look::Failed(error), Some(_)) => {
            let data = failed(wanted, *error);
            return data.with_aborted_transactions(None).into();
        }
        (Look::Failed(error), _) => return failed(wanted, *error).into(),
        (_, None) => return failed(wanted, ResponseError::UnknownTopicOrPartition).into(),
    };
    let limit = wanted.max_bytes().min(max.saturating_sub(so_far));
    match partition.read(found, limit, so_far == 0) {
        Ok(read) => Told {
            data: data(wanted, &read, isolation),
            records: read.records,
        },
        Err(error) => failed(wanted, error).into(),
    }
}

fn data(wanted: &Wanted<'_>, read: &Read, isolation: Isolation) -> PartitionData {
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
}

/// The answer to a request that fails as a whole: versions with sessions have the error on top
/// (`FetchRequest.getErrorResponse`).
pub(super) fn unforeseen<'a>(asked: impl Iterator<Item = &'a Asked>, version: i16) -> Answer {
    let error = ResponseError::UnknownServerError;
    let all = asked.map(|one| (one.key.clone(), refused(one.key.partition, error).into()));
    let top = if version >= 7 { error.code() } else { 0 };
    // Where topics go by id none is named.
    let all = if version < BY_ID {
        all.collect()
    } else {
        Vec::new()
    };
    by_topic(FetchResponse::default().with_error_code(top), all)
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
pub(super) fn answer(session: i32, all: Vec<(Key, Told)>, node: Option<&Node>) -> Answer {
    let is_named = |data: &PartitionData| *data.current_leader.leader_id >= 0;
    let named = node.filter(|_| all.iter().any(|(_, told)| is_named(&told.data)));
    let endpoint = named.map(|node| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(node.id))
            .with_host(StrBytes::from_string(node.host.clone()))
            .with_port(i32::from(node.port))
    });
    let response = FetchResponse::default()
        .with_session_id(session)
        .with_node_endpoints(endpoint.into_iter().collect());
    by_topic(response, all)
}

/// Neighbours of one topic share an entry, as in Kafka (`FetchResponse.toMessage`).
fn by_topic(mut response: FetchResponse, all: Vec<(Key, Told)>) -> Answer {
    let topics: &mut Vec<FetchableTopicResponse> = &mut response.responses;
    let mut records = Vec::with_capacity(all.len());
    let mut last: Option<TopicKey> = None;
    for (key, told) in all {
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
            topic.partitions.push(told.data);
            records.push(told.records);
        }
    }
    Answer { response, records }
}
