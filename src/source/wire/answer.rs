//! What a broker says of a partition. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use uuid::Uuid;
use wire::{TopicPartition, error::ApiError};

use super::fetcher::Partition;
use crate::source::SourceError;

/// What the broker said instead of records.
pub(super) fn failure(
    name: &TopicPartition,
    partition: &Partition,
    data: &PartitionData,
) -> Option<SourceError> {
    let (wanted, name) = (partition.position.offset, name.clone());
    if partition.until.is_some() && is_behind(data) {
        // Only the leader knows: who opens it again asks there (KIP-392).
        let reason = "the replica that was read is behind its leader".to_owned();
        return Some(SourceError::Lost {
            partition: name,
            reason,
        });
    }
    if data.diverging_epoch.end_offset >= 0 {
        let end = data.diverging_epoch.end_offset;
        return Some(SourceError::Truncated {
            partition: name,
            end,
        });
    }
    let error = ApiError::from_code(data.error_code, None::<&str>)?;
    Some(match error.code {
        // OFFSET_OUT_OF_RANGE
        1 => SourceError::OutOfRange {
            partition: name,
            wanted,
        },
        // CORRUPT_MESSAGE
        2 => SourceError::Corrupt {
            partition: name,
            offset: wanted,
            reason: error.to_string(),
        },
        // TOPIC_AUTHORIZATION_FAILED
        29 => SourceError::Denied { partition: name },
        // The leader moved, the topic is gone or another one, and so on: who opens it again sees.
        _ => SourceError::Lost {
            partition: name,
            reason: error.to_string(),
        },
    })
}

/// What a replica says that is not as far as the leader, or lost its end.
fn is_behind(data: &PartitionData) -> bool {
    // OFFSET_OUT_OF_RANGE, or the epoch of the offset ends before it
    data.error_code == 1 || data.diverging_epoch.end_offset >= 0
}

/// The name of the answer's topic, which may be told by its id.
pub(super) fn name_of(
    topic: &FetchableTopicResponse,
    names: &HashMap<Uuid, String>,
) -> Option<String> {
    if topic.topic.is_empty() {
        return names.get(&topic.topic_id).cloned();
    }
    Some(topic.topic.to_string())
}

/// Bytes of records.
pub(super) fn size(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, Bytes::len)
}
