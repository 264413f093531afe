//! What becomes of one partition, from what both sides and MirrorMaker 2's position say. Pure.

use crate::{
    checkpoint::{Stored, codec},
    config::{OnExisting, OnGap, TopicConfig},
    flow::start::{Evidence, Extent},
};

/// What to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It has a checkpoint of strait's, which stays.
    Keep(String),
    /// It starts as a new one does.
    New(String),
    /// It is not taken over, and an operator has to see to it.
    Leave(String),
    /// It goes on there; the rest says why there.
    Go(i64, String),
    /// What was copied behind this position is looked for.
    CompareBehind(i64),
    /// MirrorMaker 2 left no position: what it copied from the source's first record on is looked for.
    CompareAll,
}

/// `position`: the last record that MirrorMaker 2 says it copied. `force`: a checkpoint of strait's does not count.
pub(super) fn step(
    position: Option<i64>,
    evidence: &Evidence,
    config: &TopicConfig,
    force: bool,
) -> Step {
    let Extent { start, end } = evidence.source;
    if let Some(stored) = evidence.stored.as_ref().filter(|_| !force) {
        return Step::Keep(kept(stored));
    }
    let Some(position) = position else {
        return match evidence.target.end {
            0 => Step::New("MirrorMaker 2 copied nothing of it: it begins as a new one".to_owned()),
            _ => Step::CompareAll,
        };
    };
    let next = position + 1;
    if evidence.target.end == 0 {
        return Step::Leave(format!(
            "MirrorMaker 2 copied it up to offset {position}, and the target's partition never held a record: it was \
             created anew, or is another topic; strait copies it from its `start` on"
        ));
    }
    if next > end {
        return Step::Leave(format!(
            "MirrorMaker 2 copied it up to offset {position}, and the source ends at {end}: it was created anew or lost its \
             end. MirrorMaker 2 would have begun at the earliest; {}",
            without(config.on_existing, evidence)
        ));
    }
    if next >= start {
        return Step::CompareBehind(position);
    }
    let gone = format!(
        "offsets {next} to {} are gone from the source before they were copied, as far as the position tells",
        start - 1
    );
    match config.on_gap {
        OnGap::Stop => Step::Leave(format!(
            "{gone} (on_gap = \"stop\"); {}",
            without(config.on_existing, evidence)
        )),
        OnGap::Earliest => Step::Go(start, format!("{gone} (on_gap = \"earliest\")")),
        OnGap::Latest => Step::Go(end, format!("{gone} (on_gap = \"latest\")")),
    }
}

/// What `strait run` does with a partition that has no checkpoint, beside what the target holds.
pub(super) fn without(on_existing: OnExisting, evidence: &Evidence) -> String {
    let Extent { start, end } = evidence.target;
    match on_existing {
        OnExisting::Stop => format!(
            "the target has offsets {start} to {}, so it stops (on_existing) until `strait checkpoint set` says where to go on",
            end - 1
        ),
        OnExisting::Append => format!(
            "it begins as a new one, behind the target's offsets {start} to {} (on_existing = \"append\")",
            end - 1
        ),
    }
}

fn kept(stored: &Stored) -> String {
    match codec::decode(stored) {
        Ok(known) => format!(
            "strait's own checkpoint at source offset {} stays; --force goes by MirrorMaker 2's position instead",
            known.source_offset
        ),
        Err(error) => format!("left as it is: {error}; --force overwrites it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(source: (i64, i64), target: (i64, i64)) -> Evidence {
        let extent = |(start, end)| Extent { start, end };
        Evidence {
            stored: None,
            source: extent(source),
            target: extent(target),
            first_start: None,
            last: None,
            remembered: None,
            trace: false,
            succeeds: false,
        }
    }

    fn config(more: &str) -> TopicConfig {
        let text = format!(
            "[clusters.a]\nbootstrap.servers = \"a:1\"\n[clusters.b]\nbootstrap.servers = \"b:1\"\n\
             [[flows]]\nsource = \"a\"\ntarget = \"b\"\ntopics = [\"t\"]\n{more}"
        );
        let sources = crate::config::Sources {
            variable: &|_| None,
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        let config = crate::config::Config::parse(&text, &sources).unwrap();
        config.flows[0].topic("t").clone()
    }

    #[test]
    fn a_position_within_the_source_is_gone_on_from() {
        let there = evidence((5, 100), (0, 60));
        for position in [4, 5, 98, 99] {
            let found = step(Some(position), &there, &config(""), false);
            assert_eq!(found, Step::CompareBehind(position));
        }
    }

    #[test]
    fn a_position_beyond_the_end_is_left() {
        let Step::Leave(text) = step(Some(100), &evidence((5, 100), (0, 60)), &config(""), false)
        else {
            panic!();
        };
        assert!(
            text.contains("up to offset 100") && text.contains("ends at 100"),
            "{text}"
        );
        assert!(text.contains("offsets 0 to 59"), "{text}");
    }

    #[test]
    fn a_gap_is_the_policys() {
        let there = evidence((50, 100), (0, 60));
        let with = |policy: &str| step(Some(9), &there, &config(policy), false);
        assert!(matches!(with(""), Step::Leave(text) if text.contains("offsets 10 to 49")));
        assert!(matches!(with("on_gap = \"earliest\""), Step::Go(50, _)));
        assert!(matches!(with("on_gap = \"latest\""), Step::Go(100, _)));
    }

    #[test]
    fn a_target_that_is_empty_in_spite_of_a_position_is_told() {
        let there = evidence((0, 100), (0, 0));
        assert!(matches!(
            step(Some(9), &there, &config(""), false),
            Step::Leave(_)
        ));
        assert!(matches!(
            step(None, &there, &config(""), false),
            Step::New(_)
        ));
    }

    #[test]
    fn a_checkpoint_of_straits_stays_unless_it_is_forced() {
        let stored = Some(Stored {
            offset: 7,
            metadata: String::new(),
        });
        let there = Evidence {
            stored,
            ..evidence((0, 100), (0, 60))
        };
        assert!(matches!(
            step(Some(9), &there, &config(""), false),
            Step::Keep(_)
        ));
        let forced = step(Some(9), &there, &config(""), true);
        assert_eq!(forced, Step::CompareBehind(9));
        assert_eq!(step(None, &there, &config(""), true), Step::CompareAll);
    }
}
