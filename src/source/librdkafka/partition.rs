//! The open partitions, and how a record gets into its batch.

use std::collections::{HashMap, HashSet};

use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc;
use wire::TopicPartition;

use super::building::Building;
use crate::{base::budget::Share, source::Event};

/// By topic, then number: looked up once per record, without making a key.
pub(super) type Partitions = HashMap<String, HashMap<i32, Partition>>;

/// One open partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// To its worker.
    pub(super) sender: mpsc::Sender<Event>,
    /// From here on nothing has been handed on.
    pub(super) first: i64,
    /// The offset that is expected.
    pub(super) next: i64,
    /// Where the partition ended when its end was last listed; -1: not yet.
    pub(super) end: i64,
    /// Records that are not handed on yet.
    pub(super) building: Building,
    /// Nothing has come since it was assigned: the next record must be the one at `next`.
    pub(super) fresh: bool,
    /// What of the budget this partition holds: the rest stays for the others.
    pub(super) share: Share,
    /// How much that may be, at most.
    pub(super) most: usize,
    /// Taken from the consumer until its batch has gone out.
    pub(super) stalled: bool,
}

/// What became of a record.
pub(super) enum Taken {
    /// There is room for more.
    More,
    /// The batch of its partition is full.
    Full(TopicPartition),
    /// It is the first since its partition was assigned, and not the one that was expected.
    Ahead(TopicPartition),
}

/// Copies a record into its partition's batch.
pub(super) fn take(
    partitions: &mut Partitions,
    dirty: &mut HashSet<TopicPartition>,
    message: &BorrowedMessage<'_>,
) -> Taken {
    let (topic, number) = (message.topic(), message.partition());
    let state = partitions
        .get_mut(topic)
        .and_then(|topic| topic.get_mut(&number));
    let Some(state) = state.filter(|state| message.offset() >= state.next) else {
        return Taken::More;
    };
    let partition = || TopicPartition::new(topic, number);
    if state.fresh && message.offset() > state.next {
        return Taken::Ahead(partition());
    }
    state.fresh = false;
    let first = state.building.is_empty();
    state.building.push(message);
    state.next = message.offset() + 1;
    if first {
        dirty.insert(partition());
    }
    if state.building.is_full() {
        Taken::Full(partition())
    } else {
        Taken::More
    }
}

/// An open partition.
pub(super) fn get<'a>(
    partitions: &'a mut Partitions,
    partition: &TopicPartition,
) -> Option<&'a mut Partition> {
    partitions
        .get_mut(&partition.topic)?
        .get_mut(&partition.partition)
}
