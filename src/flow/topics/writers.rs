//! Flows of other processes that write to a cluster, by the checkpoints that their groups hold there.

use std::collections::BTreeSet;

use uuid::Uuid;
use wire::{
    TopicPartition,
    client::{Client, CommittedOffset},
    error::ClientError,
};

use crate::checkpoint::{Checkpoint, Stored, codec};

/// What the groups of flows begin with.
pub const GROUPS: &str = "strait.";

/// One partition that a flow writes.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The flow's group.
    pub group: String,
    /// Where it writes to.
    pub partition: TopicPartition,
    /// Where from, and how far it is.
    pub checkpoint: Checkpoint,
    /// Whether the flow is at work: its group has members, or its checkpoint was seen to move. Groups outlive
    /// their flows, as when a direction was turned round.
    pub active: bool,
}

/// Those that copy from one cluster to another.
#[derive(Clone, Debug, Default)]
pub struct Writers(Vec<Writer>);

impl Writers {
    /// Those that copy from the cluster with id `from` to this one, whose id is `to`. Of groups that `client` may
    /// not describe there is nothing.
    ///
    /// # Errors
    /// If the groups cannot be listed, or a coordinator does not answer.
    pub async fn read(client: &Client, from: &str, to: &str) -> Result<Self, ClientError> {
        let mut writers = Self::default();
        for group in client.list_groups().await? {
            if !group.group.starts_with(GROUPS) {
                continue;
            }
            let held = match client.group_offsets(&group.group).await {
                Err(error) if error.api_error().is_some_and(|error| error.code == DENIED) => {
                    continue;
                }
                held => held?,
            };
            let active = !matches!(group.state.as_str(), "" | "Empty" | "Dead");
            let held = held.into_iter().filter_map(|(partition, committed)| {
                Some(Writer {
                    checkpoint: checkpoint(committed)?,
                    partition,
                    group: group.group.clone(),
                    active,
                })
            });
            writers.0.extend(held.filter(|writer| {
                writer.checkpoint.source_cluster == from && writer.checkpoint.target_cluster == to
            }));
        }
        Ok(writers)
    }

    /// Marks as active what has moved since `before`, or was active then.
    pub fn compare(&mut self, before: &Self) {
        let key = |writer: &Writer| (writer.group.clone(), writer.partition.clone());
        let at = |writer: &Writer| (key(writer), writer.checkpoint.source_offset);
        let rested: BTreeSet<_> = before.0.iter().filter(|one| !one.active).map(at).collect();
        let known: BTreeSet<_> = before.0.iter().map(key).collect();
        for writer in &mut self.0 {
            writer.active |= known.contains(&key(writer)) && !rested.contains(&at(writer));
        }
    }

    /// Who copies the topic with id `from` into the topic called `into`, one that is active before others. Where
    /// the brokers have no ids nobody is known to.
    pub fn copying(&self, from: Uuid, into: &str) -> Option<&Writer> {
        let found = self.0.iter().filter(|writer| {
            writer.partition.topic == into
                && writer.checkpoint.source_topic == from
                && !from.is_nil()
        });
        found.max_by_key(|writer| writer.active)
    }

    /// Whether a flow with this group is among them.
    pub fn has(&self, group: &str) -> bool {
        self.0.iter().any(|writer| writer.group == group)
    }
}

/// GROUP_AUTHORIZATION_FAILED
const DENIED: i16 = 30;

fn checkpoint(committed: CommittedOffset) -> Option<Checkpoint> {
    let stored = Stored {
        offset: committed.offset,
        metadata: committed.metadata,
    };
    codec::decode(&stored).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writers(all: &[(&str, u128, i64, bool)]) -> Writers {
        let one = |(group, from, source_offset, active): &(&str, u128, i64, bool)| Writer {
            group: (*group).to_owned(),
            partition: TopicPartition::new("orders", 0),
            checkpoint: Checkpoint {
                source_cluster: "W".to_owned(),
                source_topic: Uuid::from_u128(*from),
                target_cluster: "E".to_owned(),
                target_topic: Uuid::nil(),
                source_offset: *source_offset,
                target_offset: 0,
                last_record: None,
                sequence: 0,
                producer: None,
                fingerprint: 0,
                appends_at: None,
                settled: false,
                stopped: None,
                anchors: Vec::new(),
            },
            active: *active,
        };
        Writers(all.iter().map(one).collect())
    }

    #[test]
    fn only_who_copies_that_topic_into_that_topic_counts() {
        let all = writers(&[
            ("strait.a", 7, 1, false),
            ("strait.b", 7, 1, true),
            ("strait.c", 8, 1, true),
        ]);
        let group = |from, into| {
            all.copying(Uuid::from_u128(from), into)
                .map(|w| w.group.as_str())
        };
        assert_eq!(group(7, "orders"), Some("strait.b"));
        assert_eq!(group(8, "orders"), Some("strait.c"));
        assert_eq!(group(9, "orders"), None);
        assert_eq!(group(7, "other"), None);
        assert!(all.has("strait.c") && !all.has("strait.d"));
        assert!(
            writers(&[("strait.a", 0, 1, true)])
                .copying(Uuid::nil(), "orders")
                .is_none()
        );
    }

    #[test]
    fn a_checkpoint_that_moves_shows_a_flow_at_work() {
        let active = |before: &[_], now: &[_]| {
            let mut now = writers(now);
            now.compare(&writers(before));
            now.0[0].active
        };
        assert!(!active(&[("g", 1, 5, false)], &[("g", 1, 5, false)]));
        assert!(active(&[("g", 1, 5, false)], &[("g", 1, 6, false)]));
        assert!(
            active(&[("g", 1, 5, true)], &[("g", 1, 5, false)]),
            "it may only be quiet"
        );
        assert!(
            !active(&[], &[("g", 1, 5, false)]),
            "seen for the first time"
        );
    }
}
