//! From evidence to where the unit goes on. Pure.

use super::{Evidence, Skip, Tail};
use crate::{
    checkpoint::ProducerState,
    worker::{Progress, StopReason, wrap},
};

/// Half of the sequence numbers: a difference beyond it is one backwards.
const FAR: i64 = 1 << 30;

/// What to do next.
#[derive(Debug, PartialEq)]
pub(in crate::worker) enum Verdict {
    /// Go on; first pass over what is there already, if anything is.
    Go {
        /// What the target holds beyond the acknowledged prefix.
        skip: Option<Skip>,
        /// The leader remembers the unit up to its last record, of this time (milliseconds since 1970): what
        /// follows is guarded, if that is recent enough.
        remembered: Option<i64>,
    },
    /// The leader has appended what is not replicated yet: look again soon.
    Wait,
    /// The target does not hold any more what it acknowledged (EXACTNESS 10).
    Behind,
    /// A person has to look.
    Stop(StopReason, String),
}

/// Where a unit with `progress` acknowledged goes on. `producer` is its own.
pub(in crate::worker) fn verdict(
    progress: &Progress,
    producer: &ProducerState,
    evidence: &Evidence,
) -> Verdict {
    let current = evidence
        .memory
        .filter(|memory| memory.epoch == producer.epoch);
    if evidence
        .memory
        .is_some_and(|memory| memory.epoch > producer.epoch)
    {
        let text = "a newer epoch of this flow's producer writes here: another process took over";
        return Verdict::Stop(StopReason::TakenOver, text.to_owned());
    }
    if evidence.end < progress.target_offset || is_behind(progress, producer, evidence) {
        return Verdict::Behind;
    }
    let sent = current.map_or(0, |memory| ahead(progress, memory.last_sequence));
    let skip = match &evidence.tail {
        Some(tail) if tail.epoch == producer.epoch => match same_epoch(progress, tail) {
            Ok(skip) => skip,
            Err(text) => return Verdict::Stop(StopReason::TargetDiffers, text),
        },
        _ => leftovers(progress, evidence),
    };
    let replicated = skip.as_ref().map_or(0, |skip| skip.left);
    if sent > replicated && sent < FAR {
        return Verdict::Wait;
    }
    let whole = current.filter(|_| sent == replicated);
    Verdict::Go {
        skip,
        remembered: whole.map(|memory| memory.last_timestamp),
    }
}

/// Records from the acknowledged prefix to `last_sequence`, mod 2^31.
fn ahead(progress: &Progress, last_sequence: i32) -> i64 {
    let next = i64::from(last_sequence) + 1;
    (next - i64::from(wrap(progress.sequence))) & i64::from(i32::MAX)
}

/// Whether the leader remembers less of the unit than was acknowledged, and its log holds nothing newer: it lost
/// records, and others have written since. A leader that forgets does not remember less, but nothing.
fn is_behind(progress: &Progress, producer: &ProducerState, evidence: &Evidence) -> bool {
    let (Some(memory), None) = (evidence.memory, &evidence.tail) else {
        return false;
    };
    if memory.epoch < producer.epoch {
        return progress.sequence != 0;
    }
    ahead(progress, memory.last_sequence) >= FAR
}

/// Sequence arithmetic finds the place, content confirms it (EXACTNESS 6.1).
fn same_epoch(progress: &Progress, tail: &Tail) -> Result<Option<Skip>, String> {
    match ahead(progress, tail.last_sequence) {
        0 => Ok(None),
        records if records < FAR => Ok(Some(Skip {
            left: records,
            newest: tail.newest.clone(),
            certain: true,
            rewound: None,
        })),
        _ => Err(format!(
            "its newest batch of this flow ends with sequence {}, where {} was acknowledged: the checkpoint was \
             moved by hand, or another flow of this name writes here",
            tail.last_sequence,
            wrap(progress.sequence - 1)
        )),
    }
}

/// Nothing of this epoch is there. What an earlier epoch or transport may have left behind its last checkpoint is
/// counted by offsets, which holds where nobody else writes (EXACTNESS 6.3); only content can confirm it.
fn leftovers(progress: &Progress, evidence: &Evidence) -> Option<Skip> {
    let records = evidence.end - progress.target_offset;
    // Who began behind all that was there has left nothing there.
    let begins = progress.appends_at == Some(progress.target_offset);
    let untouched = progress.sequence == 0 && records > 0 && !begins;
    let newest = evidence.newest.as_ref().filter(|_| untouched)?;
    Some(Skip {
        left: records,
        newest: newest.clone(),
        certain: false,
        rewound: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Memory, Newest};
    use super::*;
    use wire::record::Record;

    const PRODUCER: ProducerState = ProducerState {
        id: 1 << 62,
        generation: 0,
        epoch: 3,
        epoch_base: 1000,
    };

    fn progress(sequence: i64) -> Progress {
        Progress {
            sequence,
            ..Progress::start(500, 200)
        }
    }

    fn newest(next_offset: i64) -> Newest {
        let record = Record {
            offset: next_offset - 1,
            timestamp: 7,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        Newest {
            record,
            log_append_time: false,
            next_offset,
        }
    }

    fn tail(epoch: i16, last_sequence: i32, next_offset: i64) -> Tail {
        Tail {
            epoch,
            last_sequence,
            newest: newest(next_offset),
        }
    }

    fn memory(epoch: i16, last_sequence: i32) -> Option<Memory> {
        Some(Memory {
            epoch,
            last_sequence,
            last_timestamp: 99,
        })
    }

    fn evidence(end: i64) -> Evidence {
        Evidence {
            end,
            memory: None,
            tail: None,
            newest: None,
        }
    }

    fn go(skip: Option<(i64, i64, bool)>, remembered: Option<i64>) -> Verdict {
        let skip = skip.map(|(left, next, certain)| Skip {
            left,
            newest: newest(next),
            certain,
            rewound: None,
        });
        Verdict::Go { skip, remembered }
    }

    #[test]
    fn nothing_beyond_the_acknowledged_prefix_goes_on_at_once() {
        assert_eq!(
            verdict(&progress(50), &PRODUCER, &evidence(200)),
            go(None, None)
        );
        let known = Evidence {
            memory: memory(3, 49),
            ..evidence(200)
        };
        assert_eq!(
            verdict(&progress(50), &PRODUCER, &known),
            go(None, Some(99))
        );
    }

    #[test]
    fn rule_6_the_tail_of_our_producer_is_passed_over() {
        let there = Evidence {
            memory: memory(3, 59),
            tail: Some(tail(3, 59, 210)),
            newest: Some(newest(215)),
            ..evidence(215)
        };
        assert_eq!(
            verdict(&progress(50), &PRODUCER, &there),
            go(Some((10, 210, true)), Some(99))
        );
        // The leader forgot the producer: the log still tells, but nothing guards what follows.
        let forgotten = Evidence {
            memory: None,
            ..there
        };
        assert_eq!(
            verdict(&progress(50), &PRODUCER, &forgotten),
            go(Some((10, 210, true)), None)
        );
    }

    #[test]
    fn sequences_wrap_on_the_way() {
        let at = i64::from(i32::MAX) - 1;
        let there = Evidence {
            tail: Some(tail(3, 7, 210)),
            newest: Some(newest(210)),
            ..evidence(210)
        };
        assert_eq!(
            verdict(&progress(at), &PRODUCER, &there),
            go(Some((10, 210, true)), None)
        );
    }

    #[test]
    fn rule_6_what_is_sent_is_not_acknowledged() {
        let unreplicated = Evidence {
            memory: memory(3, 59),
            ..evidence(200)
        };
        assert_eq!(
            verdict(&progress(50), &PRODUCER, &unreplicated),
            Verdict::Wait
        );
        let half = Evidence {
            memory: memory(3, 59),
            tail: Some(tail(3, 54, 205)),
            newest: Some(newest(205)),
            ..evidence(205)
        };
        assert_eq!(verdict(&progress(50), &PRODUCER, &half), Verdict::Wait);
    }

    #[test]
    fn rule_10_a_target_that_lost_its_end_is_behind() {
        let lost = verdict(&progress(50), &PRODUCER, &evidence(199));
        assert_eq!(lost, Verdict::Behind);
    }

    #[test]
    fn rule_10_so_is_one_where_others_have_written_since() {
        let with = |epoch, last_sequence| {
            let memory = memory(epoch, last_sequence);
            let evidence = Evidence {
                memory,
                newest: Some(newest(230)),
                ..evidence(230)
            };
            verdict(&progress(50), &PRODUCER, &evidence)
        };
        assert_eq!(with(3, 48), Verdict::Behind);
        assert_eq!(with(2, 1999), Verdict::Behind, "all of the epoch is lost");
        assert_eq!(with(3, 49), go(None, Some(99)));
        // Nothing was acknowledged in an epoch that has just begun.
        let begun = Evidence {
            memory: memory(2, 1999),
            ..evidence(200)
        };
        assert_eq!(verdict(&progress(0), &PRODUCER, &begun), go(None, None));
    }

    #[test]
    fn a_checkpoint_that_was_moved_by_hand_stops() {
        let there = Evidence {
            tail: Some(tail(3, 20, 210)),
            newest: Some(newest(210)),
            ..evidence(210)
        };
        let Verdict::Stop(StopReason::TargetDiffers, text) =
            verdict(&progress(50), &PRODUCER, &there)
        else {
            panic!();
        };
        assert!(text.contains("sequence 20"), "{text}");
    }

    #[test]
    fn rule_9_a_newer_epoch_is_another_owner() {
        let there = Evidence {
            memory: memory(4, 5),
            ..evidence(206)
        };
        let Verdict::Stop(StopReason::TakenOver, _) = verdict(&progress(50), &PRODUCER, &there)
        else {
            panic!();
        };
    }

    #[test]
    fn what_another_transport_left_is_counted_by_offsets_and_not_certain() {
        let left = Evidence {
            newest: Some(newest(230)),
            ..evidence(230)
        };
        assert_eq!(
            verdict(&progress(0), &PRODUCER, &left),
            go(Some((30, 230, false)), None)
        );
        // What this epoch wrote is known by its sequence.
        assert_eq!(verdict(&progress(50), &PRODUCER, &left), go(None, None));
    }
}
