//! What to do with a group on the target. Pure.
//!
//! strait overwrites only what it wrote, which its mark in the commit's metadata tells (EXACTNESS 16): consumers that moved
//! over commit without it, and from then on the group is theirs. It is one decision for all of the group's partitions that the
//! flow writes, for a consumer that moved over and read some of them has not committed the others yet.

use std::collections::BTreeMap;

use wire::{
    TopicPartition,
    client::{CommittedOffset, GroupOffsets},
};

/// What a mark begins with.
const MARK: &str = "strait/1 ";
/// The states of a group that has no members, and of one that does not exist.
const WITHOUT_MEMBERS: [&str; 2] = ["Empty", "Dead"];

/// Where a group is on the source, and what that is on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What it committed on the source.
    pub(super) source_offset: i64,
    /// The same on the target.
    pub(super) target_offset: i64,
    /// Only for an offset behind this one: the target lost its end there, and the copy does not go on.
    pub(super) only_behind: Option<i64>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Commit these.
    Write(Vec<(TopicPartition, CommittedOffset)>),
    /// Nothing, and why.
    Leave(Leave),
}

/// Why a group is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It has members on the target.
    Active,
    /// Somebody else committed this there.
    NotOurs(TopicPartition, i64),
    /// The target does not let strait commit for it.
    Refused(String),
    /// A share group has no offsets of this kind.
    Share,
    /// The source does not have it any more.
    Gone,
}

impl Leave {
    /// From a closed list, for scripts.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NotOurs(..) => "not_ours",
            Self::Refused(_) => "refused",
            Self::Share => "share_group",
            Self::Gone => "gone",
        }
    }

    /// For people; `file` and `flow` for the command that helps.
    pub(super) fn text(&self, group: &str, file: &str, flow: &str) -> String {
        match self {
            Self::Active => "it has members on the target".to_owned(),
            Self::NotOurs(partition, offset) => format!(
                "offset {offset} of {partition} on the target is not the last one that strait wrote; if its consumers \
                 are to follow the source again: strait groups resume {file} --flow {flow} --group '{group}'"
            ),
            Self::Refused(reason) => format!("the target refuses its offsets: {reason}"),
            Self::Share => "share groups have no committed offsets to follow".to_owned(),
            Self::Gone => "it is gone from the source, or may not be described there; its offsets on the target stay until \
                           they expire"
                .to_owned(),
        }
    }
}

/// The mark of an offset that `flow` writes for what a group committed on the source.
pub fn mark(flow: &str, source_offset: i64) -> String {
    format!("{MARK}{flow} {source_offset}")
}

/// The source offset in the mark of `flow`; none if it is not that.
pub fn marked(metadata: &str, flow: &str) -> Option<i64> {
    let mark = any_mark(metadata).filter(|(of, _)| *of == flow);
    mark.map(|(_, source_offset)| source_offset)
}

/// The flow and the source offset in a mark, whichever flow's.
pub(super) fn any_mark(metadata: &str) -> Option<(&str, i64)> {
    let (flow, offset) = metadata.strip_prefix(MARK)?.rsplit_once(' ')?;
    Some((flow, offset.parse().ok()?))
}

/// Whether a group in `state` has members; empty: not known, its coordinator will tell.
pub(super) fn has_members(state: &str) -> bool {
    !state.is_empty() && !WITHOUT_MEMBERS.contains(&state)
}

/// Decides for a group that has committed `found` on the target for partitions that the flow writes. `renew`: offsets are
/// written though nothing changed.
pub(super) fn decide(
    flow: &str,
    wanted: &BTreeMap<TopicPartition, Place>,
    found: &GroupOffsets,
    renew: bool,
) -> Decision {
    let mut others = found.iter();
    let other = others.find(|(_, found)| marked(&found.metadata, flow).is_none());
    if let Some((partition, found)) = other {
        return Decision::Leave(Leave::NotOurs(partition.clone(), found.offset));
    }
    let writes = wanted.iter().filter_map(|(partition, place)| {
        let found = found.get(partition);
        let stays = |end: i64| found.is_none_or(|found| found.offset <= end);
        let committed = match place.only_behind {
            Some(end) if stays(end) => found?.clone(),
            _ => CommittedOffset {
                offset: place.target_offset,
                leader_epoch: -1,
                metadata: mark(flow, place.source_offset),
            },
        };
        let is_there = found.is_some_and(|found| {
            (found.offset, &found.metadata) == (committed.offset, &committed.metadata)
        });
        (!is_there || renew).then(|| (partition.clone(), committed))
    });
    Decision::Write(writes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entries: &[(i32, i64, &str)]) -> GroupOffsets {
        let entries = entries.iter().map(|(partition, offset, metadata)| {
            let committed = CommittedOffset {
                offset: *offset,
                leader_epoch: -1,
                metadata: (*metadata).to_owned(),
            };
            (TopicPartition::new("t", *partition), committed)
        });
        entries.collect()
    }

    fn wanted(entries: &[(i32, i64, i64)]) -> BTreeMap<TopicPartition, Place> {
        let entries = entries
            .iter()
            .map(|(partition, source_offset, target_offset)| {
                let place = Place {
                    source_offset: *source_offset,
                    target_offset: *target_offset,
                    only_behind: None,
                };
                (TopicPartition::new("t", *partition), place)
            });
        entries.collect()
    }

    fn writes(decision: Decision) -> Vec<(i32, i64, String)> {
        let Decision::Write(writes) = decision else {
            panic!("{decision:?}");
        };
        let each = writes.into_iter();
        each.map(|(partition, c)| (partition.partition, c.offset, c.metadata))
            .collect()
    }

    #[test]
    fn a_mark_is_that_of_one_flow() {
        assert_eq!(mark("a-to-b", 17), "strait/1 a-to-b 17");
        assert_eq!(marked("strait/1 a-to-b 17", "a-to-b"), Some(17));
        assert_eq!(marked("strait/1 a-to-b -1", "a-to-b"), Some(-1));
        assert_eq!(any_mark("strait/1 a-to-b 17"), Some(("a-to-b", 17)));
        for other in [
            "",
            "strait/1 a-to-b",
            "strait/1 a-to-b x",
            "strait/1 a-to-bc 17",
            "strait/2 a-to-b 17",
            "my strait/1 a-to-b 17",
        ] {
            assert_eq!(marked(other, "a-to-b"), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_there_or_changed_is_written_back_and_forth() {
        let wanted = wanted(&[(0, 10, 8), (1, 20, 15), (2, 30, 30), (3, 5, 5)]);
        let found = found(&[
            (0, 8, "strait/1 f 10"),
            (1, 9, "strait/1 f 12"),
            // The group was set back on the source.
            (3, 50, "strait/1 f 50"),
        ]);
        let changed = writes(decide("f", &wanted, &found, false));
        let mark = |offset| format!("strait/1 f {offset}");
        assert_eq!(
            changed,
            [(1, 15, mark(20)), (2, 30, mark(30)), (3, 5, mark(5))]
        );
        let all = writes(decide("f", &wanted, &found, true));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn where_the_target_lost_its_end_only_what_is_behind_it_is_set_back() {
        let mut wanted = wanted(&[(0, 50, 40), (1, 50, 40), (2, 50, 40), (3, 50, 40)]);
        for place in wanted.values_mut() {
            place.only_behind = Some(45);
        }
        let held = [
            (0, 50, "strait/1 f 50"),
            (1, 45, "strait/1 f 45"),
            (2, 40, "strait/1 f 50"),
        ];
        let back = (0, 40, mark("f", 50));
        let found = writes(decide("f", &wanted, &found(&held), false));
        assert_eq!(found, std::slice::from_ref(&back));
        // What stays is kept from expiring, as it is.
        let found = writes(decide("f", &wanted, &self::found(&held), true));
        let kept = held[1..].iter().map(|(p, o, m)| (*p, *o, (*m).to_owned()));
        assert_eq!(found, [vec![back], kept.collect()].concat());
        let theirs = self::found(&[(0, 50, "")]);
        let decision = decide("f", &wanted, &theirs, false);
        assert!(matches!(decision, Decision::Leave(Leave::NotOurs(..))));
    }

    #[test]
    fn groups_that_are_not_straits_are_left_alone_as_a_whole() {
        let wanted = wanted(&[(0, 10, 8), (1, 20, 15)]);
        for other in ["", "app", "strait/1 g 20"] {
            let found = found(&[(0, 8, "strait/1 f 10"), (5, 12, other)]);
            let left = Leave::NotOurs(TopicPartition::new("t", 5), 12);
            let decision = decide("f", &wanted, &found, true);
            assert_eq!(decision, Decision::Leave(left));
        }
        for state in [
            "Stable",
            "PreparingRebalance",
            "CompletingRebalance",
            "Assigning",
        ] {
            assert!(has_members(state));
        }
        for state in ["", "Empty", "Dead"] {
            assert!(!has_members(state));
        }
    }
}
