//! What is told of each partition, and where it goes on. Pure.

use std::collections::{BTreeMap, BTreeSet};

use wire::TopicPartition;

use super::{Other, Outcome, Partition, draft::Draft, step::Step};
use crate::{
    checkpoint::LastRecord,
    flow::{
        handover::compare::Overlap,
        plan::{Plan, Snapshot},
    },
    mm2::offsets::Position,
};

/// Where one goes on: the offset, the last record that is on the target, and how many were recognised.
pub(super) struct Place {
    pub(super) to: i64,
    pub(super) last: Option<LastRecord>,
    pub(super) recognised: Option<u64>,
    pub(super) text: String,
}

/// Where a partition goes on, or what becomes of it instead. `without`: what becomes of it without a checkpoint.
pub(super) fn place(
    step: Step,
    overlap: Option<Overlap>,
    without: &str,
) -> Result<Place, (Outcome, String)> {
    match (step, overlap) {
        (Step::Keep(text), _) => Err((Outcome::Kept, text)),
        (Step::New(text), _) => Err((Outcome::New, text)),
        (Step::Leave(text), _) => Err((Outcome::Left, text)),
        (Step::Go(to, text), _) => Ok(Place {
            to,
            last: None,
            recognised: None,
            text,
        }),
        (_, Some(Overlap::Known(count, last))) => Ok(Place {
            to: last.source_offset + 1,
            last: Some(last),
            recognised: Some(count),
            text: match count {
                0 => "goes on where MirrorMaker 2 stopped".to_owned(),
                _ => format!(
                    "goes on behind offset {}, the last one that is on the target",
                    last.source_offset
                ),
            },
        }),
        (Step::CompareBehind(position), Some(Overlap::Unknown(last, why))) => Ok(Place {
            to: position + 1,
            last,
            recognised: None,
            text: format!(
                "what MirrorMaker 2 copied behind offset {position} since it wrote that is copied again: {why}"
            ),
        }),
        (_, Some(Overlap::Unknown(_, why))) => Err((
            Outcome::Left,
            format!("MirrorMaker 2 left no position, and {why}; {without}"),
        )),
        (Step::CompareBehind(_) | Step::CompareAll, None) => {
            unreachable!("what is to be compared was compared")
        }
    }
}

/// All partitions that the flow selects; their positions are taken out of `positions`.
pub(super) fn rows(
    snapshot: &Snapshot,
    plan: &Plan,
    drafts: &[Draft],
    positions: &mut BTreeMap<TopicPartition, Position>,
) -> Vec<Partition> {
    let drafts: BTreeMap<_, _> = drafts
        .iter()
        .map(|draft| (&draft.unit.route.source, draft))
        .collect();
    let refused: BTreeMap<_, _> = plan
        .refuse
        .iter()
        .map(|(unit, stop)| (&unit.route.source, &stop.text))
        .collect();
    let mut rows = Vec::new();
    for topic in &snapshot.topics {
        for index in 0..topic.partitions {
            let source = TopicPartition::new(&topic.name, index);
            let mirror_offset = positions
                .remove(&source)
                .and_then(|position| position.offset);
            let draft = drafts.get(&source);
            let (outcome, text) = match (draft, refused.get(&source), mirror_offset) {
                (Some(draft), ..) => (draft.outcome, draft.text.clone()),
                (None, Some(stop), _) => (
                    Outcome::Left,
                    format!("{stop}; `strait checkpoint reset` forgets that"),
                ),
                (None, None, None) => (
                    Outcome::New,
                    "is not on the target yet: it begins as a new one".to_owned(),
                ),
                (None, None, Some(offset)) => (
                    Outcome::Left,
                    format!(
                        "MirrorMaker 2 copied it up to offset {offset}, and it is not on the target: strait makes it, and copies it from \
                         its `start` on"
                    ),
                ),
            };
            rows.push(Partition {
                topic: topic.name.clone(),
                partition: index,
                target_topic: topic.target.clone(),
                mirror_offset,
                outcome,
                source_offset: draft.and_then(|draft| Some(draft.commit.as_ref()?.0)),
                recognised: draft.and_then(|draft| draft.recognised),
                text,
            });
        }
    }
    rows
}

/// What is left of the positions.
pub(super) fn others(
    snapshot: &Snapshot,
    positions: BTreeMap<TopicPartition, Position>,
) -> Vec<Other> {
    let selected: BTreeSet<_> = snapshot.topics.iter().map(|topic| &topic.name).collect();
    let others = positions.into_iter().filter_map(|(source, position)| {
        let text = match selected.contains(&source.topic) {
            true => "the source has no such partition any more",
            false if snapshot.unclear.contains(&source.topic) => {
                "the source does not describe the topic now: try again"
            }
            false => "the flow does not select the topic, or it is gone from the source",
        };
        Some(Other {
            topic: source.topic,
            partition: source.partition,
            mirror_offset: position.offset?,
            text: text.to_owned(),
        })
    });
    others.collect()
}
