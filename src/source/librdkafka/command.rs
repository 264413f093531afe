//! What goes to the thread that polls, and what it leaves for others to see.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use wire::TopicPartition;

use crate::source::Event;

/// The next offset of each open partition, written by the thread that polls.
pub(super) type Positions = Arc<Mutex<HashMap<TopicPartition, i64>>>;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Fetch a partition.
    Open {
        partition: TopicPartition,
        offset: i64,
        most: usize,
        sender: mpsc::Sender<Event>,
    },
    /// `from..to` of a partition holds no record.
    Passed {
        partition: TopicPartition,
        from: i64,
        to: i64,
    },
    /// Where partitions end.
    Ends(HashMap<TopicPartition, i64>),
}
