//! From MirrorMaker 2 to strait, and back, while neither of them runs.
//!
//! MirrorMaker 2 keeps how far it is in Kafka Connect's offsets topic on the target ([`crate::mm2::offsets`]). [`takeover`] makes
//! checkpoints of it, and finds by content what was copied behind it; [`export`] writes it from checkpoints. Both
//! refuse while anybody copies, change nothing of what the other needs to go on, and say of each partition what
//! becomes of it.

mod compare;
mod connect;
pub mod export;
mod overlap;
pub mod takeover;

use std::time::Duration;

/// Brokers hear of a new topic one after the other.
const NEW_TOPIC: Duration = Duration::from_millis(250);

/// MirrorMaker 2, as far as it is to be known on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorMaker {
    /// What it calls the source.
    pub source: String,
    /// Kafka Connect's topic of positions.
    pub offsets_topic: String,
    /// The group of its processes.
    pub group: String,
    /// The connector; none: the only one that has positions in this source.
    pub connector: Option<String>,
    /// Whether the operator says that the connector is stopped, whoever else is in the group.
    pub stopped: bool,
}

impl MirrorMaker {
    /// On its own, by the names that it takes unless told otherwise (`MirrorMakerConfig.workerConfig`).
    pub fn dedicated(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            offsets_topic: format!("mm2-offsets.{source}.internal"),
            group: format!("{source}-mm2"),
            connector: None,
            stopped: false,
        }
    }
}
