//! What a fetch asks for: how much, and of which partitions. Pure.

use std::time::Duration;

use kafka_protocol::{
    messages::{
        BrokerId, FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    },
    protocol::StrBytes,
};
use wire::Isolation;

use super::session::Plan;
use crate::base::budget::fair;

/// Bytes of one answer: enough for several large batches, small enough that few buffers hold much.
const MAX_RESPONSE: usize = 4 << 20;
/// Bytes that are read ahead.
const AHEAD: usize = 8 << 20;
const MIN_RESPONSE: usize = 64 << 10;
/// Bytes of one partition in an answer, at least: enough for most batches.
const MIN_PARTITION: usize = 64 << 10;

/// How much of a near broker is read ahead, all partitions together: as much as Produce requests on their way hold,
/// and little enough that the budget is not scarce for that alone.
pub(super) fn ahead(total: usize) -> usize {
    AHEAD.min(total / 8)
}

/// How much one answer may have, so that all source brokers together leave something.
pub(super) fn response_bytes(free: usize, total: usize) -> usize {
    fair(free).clamp(MIN_RESPONSE, MAX_RESPONSE).min(total)
}

/// How much of one partition may come at a time, if it may have `most` in flight.
pub(super) fn partition_bytes(most: usize, total: usize) -> i32 {
    let part = (total / 16).clamp(MIN_PARTITION, MAX_RESPONSE / 2);
    int(part.min(most.max(MIN_PARTITION)))
}

/// What `plan` says; the answer may have so many bytes, and may wait.
pub(super) fn request(
    plan: &Plan<'_>,
    isolation: Isolation,
    bytes: usize,
    wait: Duration,
) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (partition, at) in &plan.fetch {
        let entry = FetchPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(at.leader_epoch)
            .with_fetch_offset(at.offset)
            .with_last_fetched_epoch(at.last_epoch)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(at.max_bytes);
        match topics
            .last_mut()
            .filter(|topic| topic.topic.as_str() == partition.topic)
        {
            Some(topic) => topic.partitions.push(entry),
            None => topics.push(
                FetchTopic::default()
                    .with_topic(name(&partition.topic))
                    .with_topic_id(at.topic_id)
                    .with_partitions(vec![entry]),
            ),
        }
    }
    let forgotten = plan.forget.iter().map(|(partition, id)| {
        ForgottenTopic::default()
            .with_topic(name(&partition.topic))
            .with_topic_id(*id)
            .with_partitions(vec![partition.partition])
    });
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(int(wait.as_millis() as usize))
        .with_min_bytes(1)
        .with_max_bytes(int(bytes))
        .with_isolation_level(isolation as i8)
        .with_session_id(plan.session_id)
        .with_session_epoch(plan.session_epoch)
        .with_topics(topics)
        .with_forgotten_topics_data(forgotten.collect())
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
