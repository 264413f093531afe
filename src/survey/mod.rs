//! What both clusters hold of a flow, read from outside: no running process is needed or disturbed.
//!
//! [`collect`] asks the clusters, [`check`] and [`status`] turn the answers into reports. Nothing is
//! written to either cluster.

pub mod check;
pub mod collect;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{checkpoint::Checkpoint, config::Start};

/// One flow as both clusters see it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The flow's name.
    pub flow: String,
    /// Where topics without a checkpoint start.
    pub start: Start,
    /// The side that is read.
    pub source: Side,
    /// The side that is written to.
    pub target: Side,
    /// Replication factor of topics to be created; -1: the target's default.
    pub replication_factor: i16,
    /// Topics that the flow selects, by source name.
    pub topics: Vec<Topic>,
    /// Why other selected topics can have no name on the target.
    pub unnamed: Vec<String>,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its alias.
    pub alias: String,
    /// Its cluster id.
    pub cluster_id: String,
    /// How many brokers it has now.
    pub brokers: usize,
}

/// One selected topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Name on the source.
    pub source: String,
    /// Name on the target.
    pub target: String,
    /// The source's partitions, by number.
    pub partitions: Vec<Partition>,
    /// The target's partitions by number, with their end offsets where known; none: the topic does
    /// not exist.
    pub target_ends: Option<BTreeMap<i32, Option<i64>>>,
}

/// One source partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// First and end offset on the source, or why they are not known.
    pub offsets: Result<Offsets, String>,
    /// The unit's checkpoint.
    pub checkpoint: Progress,
}

/// What a source partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Offset of the first record that is still there.
    pub first: i64,
    /// The offset after the last record that a consumer of the flow's isolation gets.
    pub end: i64,
    /// The offset where a start by time begins; none unless asked for.
    pub at_time: Option<i64>,
}

/// How far a unit is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nothing was committed.
    None,
    /// Its checkpoint.
    Known(Box<Checkpoint>),
    /// Something was committed that is no checkpoint of this version, and why not.
    Unreadable(String),
}

impl Partition {
    /// Records between the flow's position and the source's end; none if that is not known. Offsets
    /// without records (compacted, aborted, markers) are counted in.
    pub fn lag(&self, start: Start) -> Option<i64> {
        let offsets = self.offsets.as_ref().ok()?;
        let position = match &self.checkpoint {
            Progress::Known(checkpoint) => checkpoint.source_offset,
            Progress::Unreadable(_) => return None,
            Progress::None => match start {
                Start::Earliest => offsets.first,
                Start::Latest => offsets.end,
                Start::Time(_) => offsets.at_time?,
            },
        };
        Some((offsets.end - position.max(offsets.first)).max(0))
    }

    /// Records that the source holds, counted by offsets.
    pub fn records(&self) -> Option<i64> {
        let offsets = self.offsets.as_ref().ok()?;
        Some((offsets.end - offsets.first).max(0))
    }
}
