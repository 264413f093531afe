//! DeleteRecords (key 21), versions 0-2.
//!
//! Moves a partition's start; -1 means its end. Beyond the end is OFFSET_OUT_OF_RANGE.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse, TopicName,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use tokio::sync::oneshot;

use super::{Context, produce::INTERNAL};
use crate::{security::acl::Operation, state::partition::Partition};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // As in Kafka's maps: the last offset of a partition counts, and topics without partitions are left out.
    let mut wanted: Vec<(TopicName, BTreeMap<i32, i64>)> = Vec::new();
    for topic in request.topics {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|one| (one.partition_index, one.offset));
        match wanted.iter_mut().find(|(name, _)| *name == topic.name) {
            Some((_, known)) => known.extend(partitions),
            None => wanted.push((topic.name, partitions.collect())),
        }
    }
    let wanted = wanted
        .into_iter()
        .filter(|(_, partitions)| !partitions.is_empty());
    let mut topics = Vec::new();
    for (name, partitions) in wanted {
        let topic = cx.state.topics.get(&name);
        let may = cx.may_topic(Operation::Delete, &name);
        let topic = topic.filter(|_| may);
        let unknown = match INTERNAL.contains(&&**name) {
            _ if !may => ResponseError::TopicAuthorizationFailed,
            true => ResponseError::InvalidTopicException,
            false => ResponseError::UnknownTopicOrPartition,
        };
        let mut results = Vec::new();
        for (index, offset) in partitions {
            let partition = topic.as_ref().and_then(|topic| topic.partition(index));
            let deleted = match partition {
                Some(partition) => delete(cx, partition, offset).await,
                None => Err(unknown),
            };
            let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
            results.push(match deleted {
                Ok(start) => result.with_low_watermark(start),
                Err(error) => result.with_low_watermark(-1).with_error_code(error.code()),
            });
        }
        let topic = DeleteRecordsTopicResult::default().with_name(name);
        topics.push(topic.with_partitions(results));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// The new start; files are synced and removed, so where it holds nobody up.
async fn delete(
    cx: &Context,
    partition: Arc<Partition>,
    offset: i64,
) -> Result<i64, ResponseError> {
    let (tell, told) = oneshot::channel();
    let work = cx.state.host.files.spawn(Box::new(move || {
        // Nobody waits for it any more if the connection is gone.
        tell.send(partition.delete_records(offset)).ok();
        Ok(())
    }));
    let failed = Err(ResponseError::UnknownServerError);
    match work.await {
        Ok(Ok(())) => told.await.unwrap_or(failed),
        _ => failed,
    }
}
