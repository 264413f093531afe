//! What becomes of each partition. Pure.

use std::collections::{BTreeMap, BTreeSet};

use wire::TopicPartition;

use super::Partition;
use crate::{
    checkpoint::{Checkpoint, Stored, codec},
    flow::plan::Unit,
    mm2::offsets::Position,
};

/// What becomes of each partition.
pub(super) fn rows(
    units: &[Unit],
    mut stored: BTreeMap<TopicPartition, Stored>,
    positions: &BTreeMap<TopicPartition, Position>,
) -> Vec<Partition> {
    let mut rows = Vec::new();
    for unit in units {
        let source = &unit.route.source;
        let before = positions.get(source).and_then(|position| position.offset);
        let Some(stored) = stored.remove(&unit.route.target) else {
            continue;
        };
        let (mirror_offset, text, more) = match codec::decode(&stored) {
            Ok(known) => {
                let (offset, text) = judge(unit, &known, before);
                (offset, text, offset.is_some() && !known.settled)
            }
            Err(error) => (
                None,
                format!("MirrorMaker 2's position stays: {error}"),
                false,
            ),
        };
        rows.push(Partition {
            topic: source.topic.clone(),
            partition: source.partition,
            before,
            mirror_offset: mirror_offset.or(before),
            written: mirror_offset.is_some(),
            more,
            text,
        });
    }
    let known: BTreeSet<_> = rows
        .iter()
        .map(|row| TopicPartition::new(&row.topic, row.partition))
        .collect();
    let untouched = positions
        .iter()
        .filter(|(source, _)| !known.contains(source));
    rows.extend(untouched.filter_map(|(source, position)| {
        Some(Partition {
            topic: source.topic.clone(),
            partition: source.partition,
            before: position.offset,
            mirror_offset: Some(position.offset?),
            written: false,
            more: false,
            text: "MirrorMaker 2's position stays: the flow has no checkpoint of it".to_owned(),
        })
    }));
    rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    rows
}

fn judge(unit: &Unit, known: &Checkpoint, before: Option<i64>) -> (Option<i64>, String) {
    if known.source_topic != unit.source_topic || known.target_topic != unit.target_topic {
        let text =
            "MirrorMaker 2's position stays: the checkpoint is about topics that were there before";
        return (None, text.to_owned());
    }
    let last = known.source_offset - 1;
    if last < 0 {
        let text = match before {
            None => "nothing was copied: MirrorMaker 2 begins by its auto.offset.reset",
            Some(_) => "MirrorMaker 2's position stays: strait copied nothing",
        };
        return (None, text.to_owned());
    }
    if let Some(stopped) = &known.stopped {
        let text = format!(
            "strait stopped there ({}): see to that first",
            stopped.reason
        );
        return (Some(last), text);
    }
    let text = match (before, known.settled) {
        (Some(before), _) if before > last => {
            "goes back: what it copied itself behind that is copied again"
        }
        (_, false) => "goes on behind strait's checkpoint; more may be on the target",
        (_, true) => "goes on where strait stopped",
    };
    (Some(last), text.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{base::ids::Route, checkpoint::Stopped};

    fn unit() -> Unit {
        Unit {
            route: Route {
                source: TopicPartition::new("t", 0),
                target: TopicPartition::new("east.t", 0),
            },
            source_topic: Uuid::from_u128(1),
            target_topic: Uuid::from_u128(2),
        }
    }

    fn checkpoint(source_offset: i64, settled: bool) -> Checkpoint {
        Checkpoint {
            source_cluster: "A".to_owned(),
            source_topic: Uuid::from_u128(1),
            target_cluster: "B".to_owned(),
            target_topic: Uuid::from_u128(2),
            source_offset,
            target_offset: 7,
            last_record: None,
            sequence: 0,
            producer: None,
            fingerprint: 0,
            appends_at: None,
            stopped: None,
            settled,
            unmapped: None,
            anchors: Vec::new(),
        }
    }

    fn judged(known: &Checkpoint, before: Option<i64>) -> (Option<i64>, String) {
        judge(&unit(), known, before)
    }

    #[test]
    fn mirrormaker_goes_on_at_the_offset_that_strait_would_read_next() {
        let (offset, text) = judged(&checkpoint(100, true), Some(40));
        assert_eq!(
            (offset, text.as_str()),
            (Some(99), "goes on where strait stopped")
        );
        let (offset, text) = judged(&checkpoint(100, false), None);
        assert!(offset == Some(99) && text.contains("more may be"), "{text}");
        let (offset, text) = judged(&checkpoint(100, true), Some(150));
        assert!(offset == Some(99) && text.contains("goes back"), "{text}");
        let stopped = Checkpoint {
            stopped: Some(Stopped {
                reason: "record_refused".to_owned(),
                source_offset: 100,
                since_ms: 0,
            }),
            ..checkpoint(100, true)
        };
        let (offset, text) = judged(&stopped, None);
        assert!(
            offset == Some(99) && text.contains("record_refused"),
            "{text}"
        );
    }

    #[test]
    fn where_strait_copied_nothing_or_something_else_nothing_is_written() {
        assert_eq!(judged(&checkpoint(0, true), None).0, None);
        assert_eq!(judged(&checkpoint(0, true), Some(4)).0, None);
        let other = Checkpoint {
            source_topic: Uuid::from_u128(3),
            ..checkpoint(100, true)
        };
        assert_eq!(judged(&other, Some(4)).0, None);
    }

    #[test]
    fn positions_of_what_the_flow_has_not_stay_and_are_told() {
        let position = |offset| Position {
            offset,
            key: Bytes::new(),
            partition: 0,
            timestamp: 0,
        };
        let positions = BTreeMap::from([
            (TopicPartition::new("t", 0), position(Some(4))),
            (TopicPartition::new("other", 3), position(Some(9))),
            (TopicPartition::new("gone", 0), position(None)),
        ]);
        let stored = BTreeMap::from([(
            TopicPartition::new("east.t", 0),
            codec::encode(&checkpoint(100, true)),
        )]);
        let rows = rows(&[unit()], stored, &positions);
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.topic.as_str(),
                    row.before,
                    row.mirror_offset,
                    row.written,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("other", Some(9), Some(9), false),
                ("t", Some(4), Some(99), true)
            ]
        );
    }
}
