//! Flows of other processes that write to a cluster, by the checkpoints that their groups hold there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;
use wire::{
    TopicPartition,
    client::{Client, CommittedOffset},
    error::ClientError,
};

use crate::checkpoint::{Checkpoint, Stored, codec};

/// What the groups of flows begin with.
pub const GROUPS: &str = "strait.";

/// For so long a flow without members that stood still is taken to be only quiet.
const QUIET: Duration = Duration::from_mins(2);
/// The state of a group whose members know what each of them has.
const STABLE: &str = "Stable";

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
    /// Whether one of them has the partition, or they are about to share out anew. A flow that leaves the topic out now
    /// keeps its checkpoint.
    pub held: bool,
    /// When its checkpoint was last seen to move while the group had no members, as when one process runs the whole
    /// flow.
    moved_at: Option<Duration>,
    /// Whether that is not long ago.
    moves: bool,
}

impl Writer {
    /// Whether the flow copies to the partition now. Groups outlive their flows, as when a direction was turned round.
    pub fn is_active(&self) -> bool {
        self.held || self.moves
    }

    fn key(&self) -> (String, TopicPartition) {
        (self.group.clone(), self.partition.clone())
    }
}

/// What the members of a group have.
enum Shares {
    Told(BTreeSet<TopicPartition>),
    /// They share out anew, or the coordinator does not tell: it may be anything.
    Unknown,
}

impl Shares {
    async fn read(client: &Client, group: &str) -> Result<Self, ClientError> {
        let described = client.describe_groups(&[group.to_owned()]).await?;
        let described = described.into_iter().next();
        Ok(match described.and_then(|(_, found)| found.ok()) {
            Some(found) if found.state == STABLE => {
                let members = found.members.into_iter();
                Self::Told(members.flat_map(|member| member.assignment).collect())
            }
            _ => Self::Unknown,
        })
    }

    fn hold(&self, partition: &TopicPartition) -> bool {
        match self {
            Self::Told(partitions) => partitions.contains(partition),
            Self::Unknown => true,
        }
    }
}

/// Those that copy to one cluster.
#[derive(Clone, Debug, Default)]
pub struct Writers(Vec<Writer>);

impl Writers {
    /// Those that copy to this cluster, whose id is `to`. Of groups that `client` may not describe there is nothing.
    ///
    /// # Errors
    /// If the groups cannot be listed, or a coordinator does not answer.
    pub async fn read(client: &Client, to: &str) -> Result<Self, ClientError> {
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
            let shares = match members {
                true => Shares::read(client, &group.group).await?,
                false => Shares::Told(BTreeSet::new()),
            };
            let held = held.into_iter().filter_map(|(partition, committed)| {
                Some(Writer {
                    checkpoint: checkpoint(committed)?,
                    held: shares.hold(&partition),
                    partition,
                    group: group.group.clone(),
                    members,
                    moved_at: None,
                    moves: false,
                })
            });
            writers
                .0
                .extend(held.filter(|writer| writer.checkpoint.target_cluster == to));
        }
        Ok(writers)
    }

    /// Finds out what has moved since `before`, now that the clock shows `now`.
    pub fn compare(&mut self, before: &Self, now: Duration) {
        let known: BTreeMap<_, _> = before.0.iter().map(|one| (one.key(), one)).collect();
        for writer in self.0.iter_mut().filter(|writer| !writer.members) {
            let Some(before) = known.get(&writer.key()) else {
                continue;
            };
            let went_on = before.checkpoint.source_offset != writer.checkpoint.source_offset;
            let moved = !before.members && went_on;
            writer.moved_at = moved.then_some(now).or(before.moved_at);
            let since = writer.moved_at.map(|at| now.saturating_sub(at));
            writer.moves = since.is_some_and(|since| since < QUIET);
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

    /// Those that copy from the cluster with id `from`.
    pub fn from(&self, from: &str) -> impl Iterator<Item = &Writer> {
        let all = self.0.iter();
        all.filter(move |writer| writer.checkpoint.source_cluster == from)
    }

    /// The group of another flow than that of `group` that has checkpoints for the topic called `name` with this id.
    pub fn other_into(&self, group: &str, name: &str, id: Uuid) -> Option<&str> {
        let mut writers = self.0.iter();
        let found = writers.find(|writer| {
            writer.group != group
                && writer.partition.topic == name
                && writer.checkpoint.target_topic == id
        });
        found.map(|writer| writer.group.as_str())
    }

    /// Whether a flow with this group is among them that copies from the cluster with id `from`.
    pub fn has(&self, group: &str, from: &str) -> bool {
        let mut writers = self.0.iter();
        writers.any(|writer| writer.group == group && writer.checkpoint.source_cluster == from)
    }

    /// What flows that are at work copy, by group: ids of topics, and the names of their copies.
    pub fn at_work(&self) -> BTreeMap<&str, BTreeSet<(Uuid, &str)>> {
        let mut copies: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for writer in self.0.iter().filter(|writer| writer.is_active()) {
            let copy = (
                writer.checkpoint.source_topic,
                writer.partition.topic.as_str(),
            );
            copies
                .entry(writer.group.as_str())
                .or_default()
                .insert(copy);
        }
        copies
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
        let one = |(group, from, source_offset, held): &(&str, u128, i64, bool)| Writer {
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
                unmapped: None,
                stopped: None,
                anchors: Vec::new(),
            },
            members: *held,
            held: *held,
            moved_at: None,
            moves: false,
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
        assert_eq!((all.from("W").count(), all.from("X").count()), (3, 0));
        assert!(all.has("strait.c", "W") && !all.has("strait.d", "W") && !all.has("strait.c", "X"));
        let copy = |id| (Uuid::from_u128(id), "orders");
        let at_work = BTreeMap::from([
            ("strait.b", BTreeSet::from([copy(7)])),
            ("strait.c", BTreeSet::from([copy(8)])),
        ]);
        assert_eq!(all.at_work(), at_work);
        assert!(
            writers(&[("strait.a", 0, 1, true)])
                .copying(Uuid::nil(), "orders")
                .is_none()
        );
    }

    #[test]
    fn a_checkpoint_that_moves_shows_a_flow_at_work_for_a_while() {
        let at = Duration::from_secs;
        let compare = |before: &Writers, offset, held, now| {
            let mut found = writers(&[("g", 1, offset, held)]);
            found.compare(before, at(now));
            found
        };
        let active = |writers: &Writers| writers.0[0].is_active();
        let rests = compare(&Writers::default(), 5, false, 0);
        assert!(!active(&rests), "seen for the first time");
        assert!(!active(&compare(&rests, 5, false, 30)));
        let moved = compare(&rests, 6, false, 30);
        let quiet = compare(&moved, 6, false, 60);
        assert!(active(&moved) && active(&quiet), "it may only be quiet");
        let still = compare(&quiet, 6, false, 150);
        assert!(!active(&still), "it was turned off, or has left the topic");
        assert!(active(&compare(&still, 7, false, 180)));
        let member = compare(&rests, 5, true, 30);
        assert!(active(&member));
        assert!(
            !active(&compare(&member, 7, false, 60)),
            "it has left with its last checkpoint"
        );
    }

    #[test]
    fn a_member_is_at_work_on_what_it_has() {
        let partition = |index| TopicPartition::new("orders", index);
        let told = Shares::Told(BTreeSet::from([partition(1)]));
        assert!(told.hold(&partition(1)) && !told.hold(&partition(0)));
        assert!(Shares::Unknown.hold(&partition(0)));
    }
}
