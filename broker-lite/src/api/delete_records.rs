//! DeleteRecords (key 21), versions 0-2.
//!
//! Moves a partition's start; -1 means its end. Beyond the end is OFFSET_OUT_OF_RANGE.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::Context;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = cx.state.topics.get(&wanted.name);
        let partitions = wanted.partitions.iter().map(|one| {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(one.partition_index));
            let deleted = partition
                .ok_or(ResponseError::UnknownTopicOrPartition)
                .and_then(|partition| partition.delete_records(one.offset));
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(one.partition_index);
            match deleted {
                Ok(start) => result.with_low_watermark(start),
                Err(error) => result.with_low_watermark(-1).with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
