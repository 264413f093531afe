//! ListOffsets (key 2), versions 1-10.
//!
//! -1 the end (the last stable offset under read_committed), -2 the start, -3 the record with the
//! largest timestamp (version 7), -4 the start of what is local (version 8: all is), -5 the end of what is
//! tiered (version 9: nothing is, -1); else the first record that is not older. A special offset that the
//! version does not have is UNSUPPORTED_VERSION; a partition that is named twice INVALID_REQUEST.
//! Version 2: isolation. Version 4: leader epochs.

use std::collections::HashSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use wire::Isolation;

use super::{Context, fetch::isolation};
use crate::{security::acl::Operation, state::partition::Partition};

/// Special offsets, and the versions from which on they may be asked for.
const SPECIAL: [(i64, i16); 5] = [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9)];

/// What was found: where, when, and in which leader's epoch.
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let twice = named_twice(&request.topics);
    let mut answered = HashSet::new();
    // A topic that is named twice is answered once, one without partitions not at all.
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::new();
    for wanted in &request.topics {
        let may = cx.may_topic(Operation::Describe, &wanted.name);
        let topic = cx.state.topics.get(&wanted.name);
        let partitions = wanted.partitions.iter();
        let once = partitions.filter(|one| answered.insert((&wanted.name, one.partition_index)));
        let partitions = once.map(|one| {
            let index = one.partition_index;
            let partition = topic.as_ref().and_then(|topic| topic.partition(index));
            let found = match partition {
                _ if !may => Err(ResponseError::TopicAuthorizationFailed),
                _ if twice.contains(&(&*wanted.name, index)) => Err(ResponseError::InvalidRequest),
                _ if !is_supported(one.timestamp, version) => {
                    Err(ResponseError::UnsupportedVersion)
                }
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(partition) => match isolation {
                    Some(isolation) => find(&partition, one, isolation),
                    None => Err(ResponseError::UnknownServerError),
                },
            };
            response(version, index, found)
        });
        let partitions: Vec<_> = partitions.collect();
        match topics.iter_mut().find(|topic| topic.name == wanted.name) {
            Some(topic) => topic.partitions.extend(partitions),
            None if partitions.is_empty() => {}
            None => topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(wanted.name.clone())
                    .with_partitions(partitions),
            ),
        }
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn named_twice(topics: &[ListOffsetsTopic]) -> HashSet<(&str, i32)> {
    let all = topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|one| (&**topic.name, one.partition_index))
    });
    let mut seen = HashSet::new();
    all.filter(|one| !seen.insert(*one)).collect()
}

fn is_supported(timestamp: i64, version: i16) -> bool {
    let special = SPECIAL.iter().find(|(special, _)| *special == timestamp);
    timestamp >= 0 || special.is_some_and(|(_, since)| version >= *since)
}

/// None if no record is meant.
fn find(
    partition: &Partition,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<Found>, ResponseError> {
    partition.check_leader(wanted.current_leader_epoch)?;
    partition.check_online()?;
    let ends = partition.ends();
    let at = |offset| Found {
        offset,
        timestamp: -1,
        leader_epoch: partition.epoch_at(offset),
    };
    let record = match wanted.timestamp {
        -1 => return Ok(Some(at(ends.of(isolation)))),
        -2 | -4 => return Ok(Some(at(ends.log_start))),
        -5 => return Ok(None),
        -3 => partition.max_timestamp()?,
        timestamp => partition.offset_at(timestamp)?,
    };
    let record = record.filter(|(_, offset)| *offset < ends.of(isolation));
    Ok(record.map(|(timestamp, offset)| Found {
        timestamp,
        ..at(offset)
    }))
}

fn response(
    version: i16,
    index: i32,
    found: Result<Option<Found>, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_leader_epoch(-1)
        .with_timestamp(-1)
        .with_offset(-1);
    match found {
        Ok(Some(found)) => response
            .with_timestamp(found.timestamp)
            .with_offset(found.offset)
            .with_leader_epoch(if version >= 4 { found.leader_epoch } else { -1 }),
        Ok(None) => response,
        Err(error) => response.with_error_code(error.code()),
    }
}
