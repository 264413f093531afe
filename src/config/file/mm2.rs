//! Keys about the topics that MirrorMaker 2's clients read.

use std::time::Duration;

use super::{flow::parse_switch, keys::parsed, rule::parse_replication_factor, tree::Node, units};
use crate::config::{Mm2Topics, error::ConfigError};

/// MirrorMaker 2's `emit.heartbeats.interval.seconds`.
const INTERVAL: Duration = Duration::from_secs(1);

/// As written.
pub(super) struct Mm2Keys {
    pub(super) mm2_checkpoints: Option<Node>,
    pub(super) mm2_heartbeats: Option<Node>,
    pub(super) mm2_heartbeats_interval: Option<Node>,
    pub(super) mm2_offset_syncs: Option<Node>,
    pub(super) mm2_replication_factor: Option<Node>,
}

impl Mm2Keys {
    pub(super) fn read(self) -> Result<Mm2Topics, ConfigError> {
        let Self {
            mm2_checkpoints,
            mm2_heartbeats,
            mm2_heartbeats_interval,
            mm2_offset_syncs,
            mm2_replication_factor,
        } = self;
        let interval = parsed(mm2_heartbeats_interval, INTERVAL, parse_interval)?;
        let heartbeats = parsed(mm2_heartbeats, false, parse_switch)?;
        Ok(Mm2Topics {
            heartbeats: heartbeats.then_some(interval),
            checkpoints: parsed(mm2_checkpoints, false, parse_switch)?,
            offset_syncs: parsed(mm2_offset_syncs, false, parse_switch)?,
            replication_factor: parsed(mm2_replication_factor, -1, parse_replication_factor)?,
        })
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        return Ok(interval);
    }
    Err("100 ms to 1 h is wanted".into())
}
