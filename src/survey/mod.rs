//! What both clusters hold of a flow, read from outside: no running process is needed or disturbed.
//!
//! [`collect`] asks the clusters, [`detail`] for what only status tells; [`check`] and [`status`] turn the answers
//! into reports. Nothing is written to either cluster.

pub mod check;
pub mod collect;
pub mod detail;
mod owners;
pub mod status;
mod stops;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use collect::Unreachable;
use uuid::Uuid;
use wire::{TopicPartition, error::ClientError};

use crate::{
    checkpoint::{Checkpoint, Stored, codec},
    config::{Start, TopicConfig, Transport},
    flow::{plan::Trouble, start::Extent},
};

/// One flow as both clusters see it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The flow's name.
    pub flow: String,
    /// Its group on the target.
    pub group: String,
    /// Which clients carry the records.
    pub transport: Transport,
    /// The side that is read.
    pub source: Side,
    /// The side that is written to.
    pub target: Side,
    /// Whether the target has the flow's control topic.
    pub control_exists: bool,
    /// Whether the target has the topic on which it is probed.
    pub probe_exists: bool,
    /// Whether the target has the flow's offset map.
    pub map_exists: bool,
    /// Topics that the flow keeps for MirrorMaker 2's clients, and whether the target has them.
    pub mm2_topics: Vec<(String, bool)>,
    /// Some of the source's groups whose offsets the flow syncs, if they were asked for: those that strait may describe.
    pub groups: Vec<String>,
    /// Whether the flow's group holds nothing on the target.
    pub is_fresh: bool,
    /// Why what the group holds is not known: it may not be described.
    pub group_denied: Option<ClientError>,
    /// Names of the source that `topics` and `exclude` leave in, whatever becomes of them.
    pub seen: BTreeSet<String>,
    /// Topics that the flow selects, by source name.
    pub topics: Vec<Topic>,
    /// Bytes of source partitions on the disks of their leaders, where known.
    pub sizes: BTreeMap<TopicPartition, i64>,
    /// Why not all of them are known, if they were asked for.
    pub sizes_unknown: Option<String>,
    /// Why other selected topics cannot be replicated at all.
    pub troubles: Vec<Trouble>,
}

impl Survey {
    /// Itself, if the flow's group could be read.
    ///
    /// # Errors
    /// If it may not be described.
    pub fn with_checkpoints(self) -> Result<Self, Unreachable> {
        match self.group_denied {
            Some(reason) => Err(Unreachable {
                cluster: self.target.alias,
                reason,
            }),
            None => Ok(self),
        }
    }
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
    /// Id on the source; nil on brokers without ids.
    pub source_id: Uuid,
    /// The source's partitions, by number.
    pub partitions: Vec<Partition>,
    /// Name on the target.
    pub target: String,
    /// What the flow's rules say about it.
    pub config: TopicConfig,
    /// What the target has under that name; none: nothing.
    pub existing: Option<TargetTopic>,
}

/// A topic that the target has.
#[derive(Clone, Debug)]
pub struct TargetTopic {
    /// Its id; nil on brokers without ids.
    pub id: Uuid,
    /// Replicas of its first partition.
    pub replicas: usize,
    /// Its partitions by number, with what they hold where that is known.
    pub partitions: BTreeMap<i32, Result<Extent, String>>,
}

/// One source partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// What the source holds, or why that is not known.
    pub offsets: Result<Offsets, String>,
    /// What the flow's group holds for its target partition.
    pub stored: Option<Stored>,
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

impl Partition {
    /// The unit's checkpoint, or why what was committed is none.
    pub fn checkpoint(&self) -> Option<Result<Checkpoint, String>> {
        let stored = self.stored.as_ref()?;
        Some(codec::decode(stored).map_err(|error| error.to_string()))
    }

    /// Records between the flow's position and the source's end; none if that is not known. Offsets
    /// without records (compacted, aborted, markers) are counted in.
    pub fn lag(&self, start: Start) -> Option<i64> {
        let end = self.offsets.as_ref().ok()?.end;
        Some((end - self.position(start)?).max(0))
    }

    /// The source offset that is copied next; none if that is not known.
    pub fn position(&self, start: Start) -> Option<i64> {
        let offsets = self.offsets.as_ref().ok()?;
        let position = match self.checkpoint() {
            Some(checkpoint) => checkpoint.ok()?.source_offset,
            None => match start {
                Start::Earliest => offsets.first,
                Start::Latest => offsets.end,
                Start::Time(_) => offsets.at_time?,
            },
        };
        Some(position.max(offsets.first))
    }

    /// Records that the source holds, counted by offsets.
    pub fn records(&self) -> Option<i64> {
        let offsets = self.offsets.as_ref().ok()?;
        Some((offsets.end - offsets.first).max(0))
    }
}
