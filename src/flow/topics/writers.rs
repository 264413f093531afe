//! Flows of other processes that write to a cluster, by the checkpoints that their groups hold there.

use std::collections::BTreeMap;

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
    /// Whether the flow's group has members.
    pub members: bool,
    /// Whether its checkpoint was seen to move while the group had none, as when one process runs the whole flow.
    pub moved: bool,
}

impl Writer {
    /// Whether the flow is at work. Groups outlive their flows, as when a direction was turned round.
    pub fn is_active(&self) -> bool {
        self.members || self.moved
    }

    fn key(&self) -> (String, TopicPartition) {
        (self.group.clone(), self.partition.clone())
    }
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
            let members = !matches!(group.state.as_str(), "" | "Empty" | "Dead");
            let held = held.into_iter().filter_map(|(partition, committed)| {
                Some(Writer {
                    checkpoint: checkpoint(committed)?,
                    partition,
                    group: group.group.clone(),
                    members,
                    moved: false,
                })
            });
            writers.0.extend(held.filter(|writer| {
                writer.checkpoint.source_cluster == from && writer.checkpoint.target_cluster == to
            }));
        }
        Ok(writers)
    }

    /// Finds out what has moved since `before`.
    pub fn compare(&mut self, before: &Self) {
        let known: BTreeMap<_, _> = before.0.iter().map(|one| (one.key(), one)).collect();
        for writer in self.0.iter_mut().filter(|writer| !writer.members) {
            let Some(before) = known.get(&writer.key()) else {
                continue;
            };
            let went_on = before.checkpoint.source_offset != writer.checkpoint.source_offset;
            writer.moved = before.moved || !before.members && went_on;
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
        found.max_by_key(|writer| writer.is_active())
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
        let one = |(group, from, source_offset, members): &(&str, u128, i64, bool)| Writer {
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
            members: *members,
            moved: false,
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
        let compare = |before: &Writers, offset, members| {
            let mut now = writers(&[("g", 1, offset, members)]);
            now.compare(before);
            now
        };
        let active = |writers: &Writers| writers.0[0].is_active();
        let rests = compare(&Writers::default(), 5, false);
        assert!(!active(&rests), "seen for the first time");
        assert!(!active(&compare(&rests, 5, false)));
        let moved = compare(&rests, 6, false);
        assert!(
            active(&moved) && active(&compare(&moved, 6, false)),
            "it may only be quiet"
        );
        let member = compare(&rests, 5, true);
        assert!(active(&member));
        assert!(
            !active(&compare(&member, 7, false)),
            "it has left with its last checkpoint"
        );
    }
}
