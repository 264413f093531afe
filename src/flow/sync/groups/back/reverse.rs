//! Flows of the other direction, as their checkpoints and control topics on the source tell: what groups read on the target
//! behind the end of the copy, these have brought to the source, and their maps know where.

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::{TopicPartition, client::Client, error::ClientError};

use crate::{
    checkpoint::control_topic::{ControlRecords, ControlTopic, TopicKey},
    flow::topics::writers::{GROUPS, Writer, Writers},
};

/// Flows into the source whose control topics are read.
const MAX_FLOWS: usize = 256;

/// By topic on the target and partition on the source: the flow, and the target offset where it began.
#[derive(Debug, Default)]
pub(super) struct Reverse(BTreeMap<(Uuid, TopicPartition), (String, i64)>);

impl Reverse {
    /// Flows that copy from the cluster `from` to the one behind `client`, whose id is `to`. Of one that may not be read
    /// there is nothing.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub(super) async fn read(client: &Client, from: &str, to: &str) -> Result<Self, ClientError> {
        let writers = Writers::read(client, to).await?;
        let mut by_flow: BTreeMap<&str, Vec<&Writer>> = BTreeMap::new();
        for writer in writers.from(from) {
            let flow = writer.group.strip_prefix(GROUPS).unwrap_or_default();
            by_flow.entry(flow).or_default().push(writer);
        }
        let mut reverse = Self::default();
        for (flow, writers) in by_flow.into_iter().take(MAX_FLOWS) {
            match ControlTopic::new(client.clone(), flow).read().await {
                Ok(records) => reverse.take(flow, &writers, &records),
                Err(error) => {
                    tracing::warn!(%flow, %error, "a flow of the other direction cannot be read");
                }
            }
        }
        Ok(reverse)
    }

    /// One that is at work comes before others.
    fn take(&mut self, flow: &str, writers: &[&Writer], records: &ControlRecords) {
        for writer in writers {
            let topic = writer.checkpoint.source_topic;
            let Some(record) = records.topics.get(&TopicKey::Id(topic)) else {
                continue;
            };
            let starts = record.start.as_ref();
            let start = starts.and_then(|starts| starts.get(&writer.partition.partition));
            let key = (topic, writer.partition.clone());
            if writer.is_active() || !self.0.contains_key(&key) {
                let start = start.copied().unwrap_or(0);
                self.0.insert(key, (flow.to_owned(), start));
            }
        }
    }

    /// The flow that brings records of the target's topic with this id to `source`, if it began at `target_offset` or
    /// before.
    pub(super) fn of(
        &self,
        topic: Uuid,
        source: &TopicPartition,
        target_offset: i64,
    ) -> Option<&str> {
        let (flow, start) = self.0.get(&(topic, source.clone()))?;
        (*start <= target_offset).then_some(flow)
    }
}
