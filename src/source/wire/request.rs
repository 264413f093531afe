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
pub(super) const MAX_RESPONSE: usize = 2 << 20;
/// The same of a broker that is far, where fewer bytes leave the way empty most of the time.
const MAX_FAR: usize = 24 << 20;
/// From here on a broker is far.
const FAR: Duration = Duration::from_millis(10);
/// Round trips for which an answer is to fill the way: only one is on its way at a time, so a ninth of the time is lost.
const ROUND_TRIPS: u32 = 8;
/// And no shorter than this, so that what each request costs beside does not count.
const LEAST: Duration = Duration::from_millis(300);
/// Answers with so many bytes tell how fast they come.
const TELLING: usize = 256 << 10;
const MIN_RESPONSE: usize = 64 << 10;
/// Bytes of one partition in an answer, at least: enough for most batches.
const MIN_PARTITION: usize = 64 << 10;

/// The way to a broker, as measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// There and back.
    pub(super) round_trip: Duration,
    /// Bytes per second; 0: not known.
    rate: u64,
}

impl Way {
    /// An answer of `bytes` came so long after it was asked for.
    pub(super) fn came(&mut self, bytes: usize, took: Duration) {
        let moving = took.saturating_sub(self.round_trip).as_micros().max(1);
        if bytes >= TELLING {
            let rate = u64::try_from(bytes as u128 * 1_000_000 / moving).unwrap_or(u64::MAX);
            self.rate = if self.rate == 0 {
                rate
            } else {
                self.rate / 4 * 3 + rate / 4
            };
        }
    }

    /// What one partition may hold while so much of the budget is free: no more than it may of what is read `ahead`, or,
    /// of a broker that is far, half of all that is free.
    pub(super) fn room(&self, free: usize, ahead: usize) -> usize {
        if self.is_far() {
            return free / 2;
        }
        fair(free).min(ahead)
    }

    /// How much one answer may have, so that all source brokers together leave something.
    pub(super) fn response_bytes(&self, free: usize, total: usize) -> usize {
        let (part, wanted) = if self.is_far() {
            (free / 2, self.fills())
        } else {
            (fair(free), 0)
        };
        let most = wanted.clamp(MAX_RESPONSE, MAX_FAR);
        part.clamp(MIN_RESPONSE, most).min(total)
    }

    /// How much of one partition may come at a time, if it may have `most` in flight.
    pub(super) fn partition_bytes(&self, most: usize, total: usize) -> i32 {
        let part = if self.is_far() {
            MAX_FAR
        } else {
            (total / 16).clamp(MIN_PARTITION, MAX_RESPONSE)
        };
        int(part.min(most.max(MIN_PARTITION)))
    }

    pub(super) fn is_far(&self) -> bool {
        self.round_trip >= FAR
    }

    fn fills(&self) -> usize {
        let time = (self.round_trip * ROUND_TRIPS).max(LEAST);
        let bytes = u128::from(self.rate) * time.as_micros() / 1_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 64 << 20;

    fn way(round_trip: Duration, rate: u64) -> Way {
        let mut way = Way {
            round_trip,
            ..Way::default()
        };
        let bytes = MAX_RESPONSE as u64;
        for _ in 0..20 {
            let moving = Duration::from_micros(bytes * 1_000_000 / rate);
            way.came(MAX_RESPONSE, round_trip + moving);
        }
        way
    }

    /// What part of the time bytes come in, if the next answer is asked for while the one before is still held.
    fn filled(way: &Way, rate: u64) -> f64 {
        let mut answer = 0;
        for _ in 0..10 {
            answer = way.response_bytes(TOTAL - answer, TOTAL);
            assert!(way.room(TOTAL - answer, 0) >= answer / 2, "it is asked for");
        }
        let moving = answer as f64 / rate as f64;
        moving / (moving + way.round_trip.as_secs_f64())
    }

    #[test]
    fn answers_of_a_broker_that_is_far_fill_the_way() {
        for round_trip in [20, 80, 150] {
            let way = way(Duration::from_millis(round_trip), 25_000_000);
            let filled = filled(&way, 25_000_000);
            assert!(filled >= 0.85, "{filled} at {round_trip} ms");
        }
    }

    #[test]
    fn they_are_no_larger_than_that_and_small_where_it_is_near_or_slow() {
        let near = way(Duration::from_millis(1), 1_000_000_000);
        assert_eq!(near.response_bytes(TOTAL, TOTAL), MAX_RESPONSE);
        assert_eq!(near.partition_bytes(usize::MAX, TOTAL), 2 << 20);
        let slow = way(Duration::from_millis(150), 1_000_000);
        assert_eq!(slow.response_bytes(TOTAL, TOTAL), MAX_RESPONSE);
        let fast = way(Duration::from_millis(150), 1_000_000_000);
        assert_eq!(fast.response_bytes(TOTAL, TOTAL), MAX_FAR);
        let free = 3 << 20;
        assert_eq!(fast.response_bytes(free, TOTAL), free / 2);
        assert_eq!(fast.response_bytes(0, 32 << 10), 32 << 10);
        // A rate of the operator's own bounds it all the same.
        assert_eq!(fast.partition_bytes(100_000, TOTAL), 100_000);
    }
}
