//! How far the units of the flow are, as their checkpoints tell: whoever owns them, and whether or not their owners keep
//! the map.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use uuid::Uuid;
use wire::{TopicPartition, client::Client, error::ClientError};

use super::{Copied, PERIOD, Unit};
use crate::checkpoint::{Stored, codec, offset_map::End};

/// Checkpoints that are read in each round on average: some hundred KB.
const PER_ROUND: usize = 1_000;

/// As of the last time that they were read.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// By target partition, with the ids of the topics that they are about.
    ends: BTreeMap<TopicPartition, ([Uuid; 2], End)>,
    /// When that was, and for what.
    read: Option<(Duration, Arc<Copied>)>,
}

impl Ends {
    /// Reads them from `group`, if it is time for that; at once if the flow copies something else than before.
    ///
    /// # Errors
    /// If the target does not tell; then nothing is known.
    pub(super) async fn read(
        &mut self,
        target: &Client,
        group: &str,
        copied: &Arc<Copied>,
        now: Duration,
    ) -> Result<(), ClientError> {
        let pause = PERIOD * u32::try_from(self.ends.len() / PER_ROUND).unwrap_or(u32::MAX);
        let is_recent = self
            .read
            .as_ref()
            .is_some_and(|(at, of)| now.saturating_sub(*at) < pause && Arc::ptr_eq(of, copied));
        if is_recent {
            return Ok(());
        }
        self.ends.clear();
        self.read = None;
        for (partition, committed) in target.group_offsets(group).await? {
            let stored = Stored {
                offset: committed.offset,
                metadata: committed.metadata,
            };
            // What is no checkpoint is its worker's matter; until then nothing is known of it.
            if let Ok(checkpoint) = codec::decode(&stored) {
                let topics = [checkpoint.source_topic, checkpoint.target_topic];
                self.ends.insert(partition, (topics, End::of(&checkpoint)));
            }
        }
        self.read = Some((now, Arc::clone(copied)));
        Ok(())
    }

    /// How far `unit` is; none: it is not known.
    pub(super) fn of(&self, unit: &Unit) -> Option<&End> {
        let (topics, end) = self.ends.get(&unit.target)?;
        (*topics == unit.topics).then_some(end)
    }
}
