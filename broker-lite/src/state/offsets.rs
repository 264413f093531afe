//! Committed offsets of groups, plain and pending in transactions.
//!
//! Owns what OffsetFetch answers. No I/O: every change is an [`OffsetEntry`], which the groups'
//! journal keeps and which is applied here, live and at start alike.
//!
//! Invariants: a pending offset becomes visible only when its producer's transaction commits, and
//! then only over a commit that was made before it (`order`, as Kafka compares log positions).
//! Offsets do not expire by age yet; those of a deleted topic are removed with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::TopicPartition;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// -1 if the client did not say.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    /// When it was committed, ms since 1970.
    pub(crate) at_ms: i64,
    /// Rises with every commit.
    pub(crate) order: u64,
}

/// The offsets of one group: topic, partition, offset.
pub(crate) type GroupOffsets = BTreeMap<String, BTreeMap<i32, Committed>>;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OffsetEntry {
    /// `producer_id` is there for a commit that waits for its transaction.
    Commit {
        group: String,
        producer_id: Option<i64>,
        offsets: GroupOffsets,
    },
    /// OffsetDelete.
    Remove {
        group: String,
        partitions: BTreeMap<String, Vec<i32>>,
    },
    RemoveGroup {
        group: String,
    },
    RemoveTopic {
        topic: String,
    },
    /// The transaction of `producer_id` ended.
    End {
        producer_id: i64,
        commit: bool,
    },
}

/// All committed offsets.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<String, GroupOffsets>,
    pending: BTreeMap<i64, BTreeMap<String, GroupOffsets>>,
    last_order: u64,
}

impl Offsets {
    /// A number above all earlier ones, for [`Committed::order`].
    pub(crate) fn next_order(&self) -> u64 {
        self.last_order + 1
    }

    pub(crate) fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// Whether a transaction that is still open commits an offset of this partition.
    pub(crate) fn is_unstable(&self, group: &str, partition: &TopicPartition) -> bool {
        let TopicPartition { topic, partition } = partition;
        self.pending.values().any(|groups| {
            let topics = groups.get(group);
            topics
                .and_then(|t| t.get(topic))
                .is_some_and(|p| p.contains_key(partition))
        })
    }

    /// The groups that anything is kept for.
    pub(crate) fn groups(&self) -> BTreeSet<String> {
        let pending = self.pending.values().flat_map(BTreeMap::keys);
        self.groups.keys().chain(pending).cloned().collect()
    }

    /// Whether anything is kept for `group`.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group) || self.pending.values().any(|g| g.contains_key(group))
    }

    /// Whether the transaction of `producer_id` has offsets that wait for its end.
    pub(crate) fn has_pending(&self, producer_id: i64) -> bool {
        self.pending.contains_key(&producer_id)
    }

    /// Whether an offset of `topic` is kept in any group.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        let kept = self
            .groups
            .values()
            .chain(self.pending.values().flat_map(|g| g.values()));
        kept.into_iter().any(|topics| topics.contains_key(topic))
    }

    pub(crate) fn apply(&mut self, entry: OffsetEntry) {
        match entry {
            OffsetEntry::Commit {
                group,
                producer_id,
                offsets,
            } => {
                let groups = match producer_id {
                    None => &mut self.groups,
                    Some(id) => self.pending.entry(id).or_default(),
                };
                let into = groups.entry(group).or_default();
                for (topic, partitions) in offsets {
                    let orders = partitions.values().map(|c| c.order);
                    self.last_order = orders.fold(self.last_order, u64::max);
                    into.entry(topic).or_default().extend(partitions);
                }
            }
            OffsetEntry::Remove { group, partitions } => {
                self.retain(|owner, topic, partition| {
                    let gone = partitions
                        .get(topic)
                        .is_some_and(|p| p.contains(&partition));
                    owner != group || !gone
                });
            }
            OffsetEntry::RemoveGroup { group } => self.retain(|owner, _, _| owner != group),
            OffsetEntry::RemoveTopic { topic } => self.retain(|_, name, _| name != topic),
            OffsetEntry::End {
                producer_id,
                commit,
            } => self.end(producer_id, commit),
        }
    }

    fn end(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if !commit {
            return;
        }
        for (group, topics) in pending {
            let into = self.groups.entry(group).or_default();
            for (topic, partitions) in topics {
                let into = into.entry(topic).or_default();
                for (partition, committed) in partitions {
                    let newer = into
                        .get(&partition)
                        .is_some_and(|c| c.order > committed.order);
                    if !newer {
                        into.insert(partition, committed);
                    }
                }
            }
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&str, &str, i32) -> bool) {
        retain(&mut self.groups, &mut keep);
        self.pending.retain(|_, groups| {
            retain(groups, &mut keep);
            !groups.is_empty()
        });
    }

    /// Entries that build this state from nothing, at most `rows` offsets in each.
    pub(crate) fn snapshot(&self, rows: usize) -> Vec<OffsetEntry> {
        let plain = self
            .groups
            .iter()
            .map(|(group, topics)| (None, group, topics));
        let pending = self.pending.iter().flat_map(|(&id, groups)| {
            groups
                .iter()
                .map(move |(group, topics)| (Some(id), group, topics))
        });
        let mut entries = Vec::new();
        for (producer_id, group, topics) in plain.chain(pending) {
            let flat: Vec<_> = topics
                .iter()
                .flat_map(|(topic, offsets)| offsets.iter().map(move |(p, c)| (topic, *p, c)))
                .collect();
            for chunk in flat.chunks(rows) {
                let mut offsets = GroupOffsets::new();
                for &(topic, partition, committed) in chunk {
                    let partitions = offsets.entry(topic.clone()).or_default();
                    partitions.insert(partition, committed.clone());
                }
                let group = group.clone();
                entries.push(OffsetEntry::Commit {
                    group,
                    producer_id,
                    offsets,
                });
            }
        }
        entries
    }
}

fn retain(
    groups: &mut BTreeMap<String, GroupOffsets>,
    keep: &mut impl FnMut(&str, &str, i32) -> bool,
) {
    groups.retain(|group, topics| {
        topics.retain(|topic, partitions| {
            partitions.retain(|&partition, _| keep(group, topic, partition));
            !partitions.is_empty()
        });
        !topics.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit(offsets: &mut Offsets, producer_id: Option<i64>, partition: i32, offset: i64) {
        let committed = Committed {
            offset,
            leader_epoch: 3,
            metadata: format!("m{offset}"),
            at_ms: 1,
            order: offsets.next_order(),
        };
        let rows = BTreeMap::from([("t".to_owned(), BTreeMap::from([(partition, committed)]))]);
        let group = "g".to_owned();
        offsets.apply(OffsetEntry::Commit {
            group,
            producer_id,
            offsets: rows,
        });
    }

    fn offset(offsets: &Offsets, partition: i32) -> Option<i64> {
        let partitions = offsets.of_group("g")?.get("t")?;
        partitions.get(&partition).map(|c| c.offset)
    }

    #[test]
    fn pending_offsets_wait_for_the_end_of_their_transaction() {
        let mut offsets = Offsets::default();
        commit(&mut offsets, None, 0, 5);
        commit(&mut offsets, Some(7), 0, 9);
        let partition = TopicPartition::new("t", 0);
        assert_eq!(offset(&offsets, 0), Some(5));
        assert!(offsets.is_unstable("g", &partition));
        offsets.apply(OffsetEntry::End {
            producer_id: 7,
            commit: false,
        });
        assert_eq!(offset(&offsets, 0), Some(5));
        assert!(!offsets.is_unstable("g", &partition));
        commit(&mut offsets, Some(7), 0, 11);
        offsets.apply(OffsetEntry::End {
            producer_id: 7,
            commit: true,
        });
        assert_eq!(offset(&offsets, 0), Some(11));
    }

    #[test]
    fn a_commit_made_during_the_transaction_wins_over_an_older_pending_one() {
        let mut offsets = Offsets::default();
        commit(&mut offsets, Some(7), 0, 9);
        commit(&mut offsets, None, 0, 4);
        offsets.apply(OffsetEntry::End {
            producer_id: 7,
            commit: true,
        });
        assert_eq!(offset(&offsets, 0), Some(4));
    }

    #[test]
    fn a_deleted_topic_takes_its_offsets_along() {
        let mut offsets = Offsets::default();
        commit(&mut offsets, None, 0, 5);
        commit(&mut offsets, Some(7), 1, 9);
        assert!(offsets.has_topic("t"));
        offsets.apply(OffsetEntry::RemoveTopic {
            topic: "t".to_owned(),
        });
        assert!(!offsets.has_topic("t"));
        assert!(!offsets.has_group("g"));
    }

    proptest! {
        #[test]
        fn a_snapshot_rebuilds_the_state(
            commits in proptest::collection::vec((0..3i64, 0..6i32, 0..100i64), 0..40),
            rows in 1..5usize,
        ) {
            let mut offsets = Offsets::default();
            for (producer, partition, offset) in commits {
                commit(&mut offsets, (producer > 0).then_some(producer), partition, offset);
            }
            let mut again = Offsets::default();
            for entry in offsets.snapshot(rows) {
                let json = serde_json::to_vec(&entry).unwrap();
                again.apply(serde_json::from_slice(&json).unwrap());
            }
            prop_assert_eq!(&again.groups, &offsets.groups);
            prop_assert_eq!(&again.pending, &offsets.pending);
            prop_assert_eq!(again.last_order, offsets.last_order);
        }
    }
}
