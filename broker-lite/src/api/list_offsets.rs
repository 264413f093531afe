//! ListOffsets (key 2), versions 1-10.
//!
//! -1 the end (the last stable offset under read_committed), -2 the start, -3 the record with the
//! largest timestamp (version 7), -4 the start of what is local (version 8: all is), -5 the end of what is
//! tiered (version 9: nothing is, -1); else the first record that is not older.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use wire::Isolation;

use super::{
    Context,
    fetch::{epoch_error, isolation},
};
use crate::state::partition::Partition;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = cx.state.topics.get(&wanted.name);
        let partitions = wanted.partitions.iter().map(|one| {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(one.partition_index));
            let found = match partition {
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(partition) => find(&partition, one, isolation),
            };
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(one.partition_index)
                .with_leader_epoch(-1)
                .with_timestamp(-1)
                .with_offset(-1);
            match found {
                Ok(Some((timestamp, offset))) => response
                    .with_timestamp(timestamp)
                    .with_offset(offset)
                    .with_leader_epoch(0),
                Ok(None) => response,
                Err(error) => response.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Timestamp and offset; none if no record is meant.
fn find(
    partition: &Partition,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<(i64, i64)>, ResponseError> {
    if let Some(error) = epoch_error(wanted.current_leader_epoch) {
        return Err(error);
    }
    let ends = partition.ends();
    match wanted.timestamp {
        -1 => Ok(Some((-1, ends.of(isolation)))),
        -2 | -4 => Ok(Some((-1, ends.log_start))),
        -5 => Ok(None),
        ..-5 => Err(ResponseError::UnsupportedVersion),
        timestamp => {
            let found = match timestamp {
                -3 => partition.max_timestamp()?,
                timestamp => partition.offset_at(timestamp)?,
            };
            Ok(found.filter(|(_, offset)| *offset < ends.of(isolation)))
        }
    }
}
