use wire::TopicPartition;

use super::*;
use crate::{
    checkpoint::{Anchor, LastRecord, ProducerState},
    worker::Advice,
};

fn identity() -> Identity {
    let side = |alias: &str, topic| Side {
        alias: alias.to_owned(),
        cluster_id: format!("{alias}-id"),
        topic_id: Uuid::from_u128(topic),
    };
    Identity {
        route: Route {
            source: TopicPartition::new("orders", 3),
            target: TopicPartition::new("east.orders", 3),
        },
        group: "strait.f".to_owned(),
        source: side("east", 1),
        target: side("west", 2),
        fingerprint: 7,
        sealed: false,
        config: TopicConfig::default(),
    }
}

fn progress() -> Progress {
    Progress {
        last_record: Some(LastRecord {
            source_offset: 98,
            crc: 0xabc,
            leader_epoch: -1,
            payload_crc: None,
        }),
        sequence: 60,
        anchors: vec![Anchor {
            sequence: 59,
            source_offset: 98,
            target_offset: 79,
        }],
        ..Progress::start(100, 80)
    }
}

/// A checkpoint at source offset 100 and target offset 80, and clusters that agree with it.
fn evidence() -> Evidence {
    Evidence {
        stored: Some(codec::encode(&identity().checkpoint(&progress()))),
        source: Extent {
            start: 50,
            end: 200,
        },
        target: Extent { start: 10, end: 80 },
        first_start: None,
        last: Some(found(0xabc)),
        remembered: None,
        trace: false,
        succeeds: false,
    }
}

/// What the source holds where the last copied record was.
fn found(crc: u32) -> LastSeen {
    LastSeen::Found {
        crc,
        payload_crc: 0x111,
        leader_epoch: 4,
    }
}

fn with(change: impl Fn(&mut Evidence)) -> Verdict {
    let mut evidence = evidence();
    change(&mut evidence);
    identity().verdict(&evidence)
}

fn with_checkpoint(change: impl Fn(&mut Checkpoint)) -> Verdict {
    with(|evidence| {
        let mut checkpoint = identity().checkpoint(&progress());
        change(&mut checkpoint);
        evidence.stored = Some(codec::encode(&checkpoint));
    })
}

#[track_caller]
fn assert_stops(verdict: &Verdict, reason: StopReason, says: &[&str]) {
    let Verdict::Stop(stop) = verdict else {
        panic!("{verdict:?} is no stop");
    };
    assert_eq!(stop.reason, reason, "{}", stop.text);
    for part in says.iter().chain(&["east orders-3", "west east.orders-3"]) {
        assert!(
            stop.text.contains(part),
            "{part:?} is not in: {}",
            stop.text
        );
    }
}

#[test]
fn a_checkpoint_that_both_sides_agree_with_is_resumed() {
    let resumed = Verdict::Run {
        start: Progress {
            settled: false,
            ..progress()
        },
        barrier: false,
        decision: None,
    };
    assert_eq!(identity().verdict(&evidence()), resumed);
    // Repeats of an earlier life are behind the checkpoint; the last record may be compacted away.
    assert_eq!(with(|e| e.target.end = 95), resumed);
    assert_eq!(with(|e| e.last = Some(LastSeen::Gone)), resumed);
    assert_eq!(
        with(|e| e.source = Extent {
            start: 100,
            end: 100
        }),
        resumed
    );
}

#[test]
fn a_stop_of_an_earlier_life_is_judged_anew() {
    let verdict = with_checkpoint(|c| {
        c.stopped = Some(crate::checkpoint::Stopped {
            reason: "record_refused".to_owned(),
            source_offset: 100,
            since_ms: 5,
        });
    });
    assert!(matches!(verdict, Verdict::Run { .. }), "{verdict:?}");
}

#[test]
fn another_mapping_is_a_barrier() {
    let verdict = with_checkpoint(|c| c.fingerprint = 8);
    assert!(
        matches!(verdict, Verdict::Run { barrier: true, .. }),
        "{verdict:?}"
    );
}

#[test]
fn topics_that_were_created_anew_stop() {
    let source = with_checkpoint(|c| c.source_topic = Uuid::from_u128(9));
    assert_stops(
        &source,
        StopReason::SourceTopicRecreated,
        &["AAAAAAAAAAAAAAAAAAAACQ"],
    );
    let target = with_checkpoint(|c| c.target_topic = Uuid::from_u128(9));
    assert_stops(
        &target,
        StopReason::TargetTopicRecreated,
        &["AAAAAAAAAAAAAAAAAAAACQ"],
    );
}

#[test]
fn a_wanted_offset_that_is_gone_stops() {
    for source in [
        Extent {
            start: 101,
            end: 200,
        },
        Extent { start: 0, end: 99 },
    ] {
        let verdict = with(|e| e.source = source);
        assert_stops(
            &verdict,
            StopReason::OffsetOutOfRange,
            &["offset 100 is next"],
        );
    }
}

#[test]
fn a_source_with_another_record_stops() {
    let verdict = with(|e| e.last = Some(found(0xdef)));
    assert_stops(
        &verdict,
        StopReason::SourceRecordMismatch,
        &["offset 98", "not the one that was copied"],
    );
}

/// The last record, at offset 98, is gone: only its leader's epoch tells whether the source is the same.
#[test]
fn a_source_whose_epoch_ends_before_the_last_record_stops() {
    let with_end = |end| {
        with(|e| {
            let mut progress = progress();
            progress.last_record.as_mut().unwrap().leader_epoch = 4;
            e.stored = Some(codec::encode(&identity().checkpoint(&progress)));
            e.last = Some(LastSeen::EpochEnds(end));
        })
    };
    // The next leader may have begun right behind it, with what is no record.
    for end in [99, 200] {
        let verdict = with_end(end);
        assert!(matches!(verdict, Verdict::Run { .. }), "{verdict:?}");
    }
    for (end, says) in [
        (98, "ends at offset 98 on east"),
        (60, "ends at offset 60 on east"),
        (-1, "which east does not know"),
    ] {
        assert_stops(
            &with_end(end),
            StopReason::SourceRecordMismatch,
            &["offset 98", "leader epoch 4", says],
        );
    }
}

#[test]
fn a_target_that_lost_records_stops() {
    let verdict = with(|e| e.target.end = 79);
    assert_stops(
        &verdict,
        StopReason::TargetTruncated,
        &["offset 79", "offset 80", "nothing is known"],
    );
    let Verdict::Stop(stop) = verdict else {
        unreachable!();
    };
    assert_eq!(stop.source_offset, -1);
    let advice = Advice::new("f.toml", "f", &identity().route.source);
    let stop = stop.advised(&advice, 100);
    assert!(stop.text.ends_with("--to earliest"), "{}", stop.text);
}

#[test]
fn what_is_no_checkpoint_stops_and_is_never_a_fresh_start() {
    for text in ["", "strait/2 source=x", "mine"] {
        let verdict = with(|e| {
            e.stored = Some(Stored {
                offset: 0,
                metadata: text.to_owned(),
            });
            e.target = Extent { start: 0, end: 0 };
        });
        assert_stops(
            &verdict,
            StopReason::CheckpointUnknownVersion,
            &["strait.f"],
        );
    }
}

#[test]
fn no_checkpoint_beside_a_target_with_offsets_stops() {
    for target in [Extent { start: 0, end: 1 }, Extent { start: 5, end: 5 }] {
        let verdict = with(|e| {
            e.stored = None;
            e.target = target;
        });
        assert_stops(
            &verdict,
            StopReason::CheckpointMissing,
            &["strait.f", "on_existing"],
        );
    }
}

#[test]
fn a_fresh_start_begins_where_the_first_run_decided() {
    for (first_start, source_offset) in [
        (None, 50),
        (Some(120), 120),
        (Some(200), 200),
        // Fell off the log meanwhile, or the source lost its end.
        (Some(20), 50),
        (Some(300), 200),
    ] {
        let verdict = with(|e| {
            e.stored = None;
            e.last = None;
            e.target = Extent { start: 0, end: 0 };
            e.first_start = first_start;
        });
        let fresh = Verdict::Run {
            start: Progress::start(source_offset, 0),
            barrier: true,
            decision: None,
        };
        assert_eq!(verdict, fresh, "{first_start:?}");
    }
}

#[test]
fn before_the_first_record_a_start_that_fell_off_the_log_is_no_gap() {
    let with_target_end = |end| {
        with(|e| {
            e.stored = Some(codec::encode(
                &identity().checkpoint(&Progress::start(20, 0)),
            ));
            e.last = None;
            e.target = Extent { start: 0, end };
        })
    };
    let resolved = Verdict::Run {
        start: Progress {
            settled: false,
            ..Progress::start(50, 0)
        },
        barrier: true,
        decision: None,
    };
    assert_eq!(with_target_end(0), resolved);
    // Records were copied after that checkpoint: how many of the source's are missing is not known.
    assert_stops(
        &with_target_end(1),
        StopReason::OffsetOutOfRange,
        &["offset 20 is next"],
    );
}

/// Values of the reference implementation of FNV-1a (draft-eastlake-fnv, appendix C).
#[test]
fn fingerprints_are_fnv_1a() {
    assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn rule_11_a_batch_that_was_copied_sealed_is_known_by_its_bytes_or_its_epoch() {
    let last = |payload, epoch| {
        with_checkpoint(|checkpoint| {
            checkpoint.last_record = Some(LastRecord {
                source_offset: 98,
                crc: 0,
                leader_epoch: epoch,
                payload_crc: Some(payload),
            });
        })
    };
    assert!(matches!(last(0x111, -1), Verdict::Run { .. }));
    // Compacted since, under the same leader.
    assert!(matches!(last(0x222, 4), Verdict::Run { .. }));
    assert_stops(&last(0x222, 3), StopReason::SourceRecordMismatch, &["98"]);
    assert_stops(&last(0x222, -1), StopReason::SourceRecordMismatch, &["98"]);
}

/// The verdict for a flow that writes sealed batches, on a checkpoint of this mapping and producer.
fn sealed(fingerprint: u64, producer: Option<ProducerState>) -> (Progress, bool) {
    let mut evidence = evidence();
    let mut checkpoint = identity().checkpoint(&progress());
    checkpoint.fingerprint = fingerprint;
    checkpoint.producer = producer;
    evidence.stored = Some(codec::encode(&checkpoint));
    let identity = Identity {
        sealed: true,
        ..identity()
    };
    match identity.verdict(&evidence) {
        Verdict::Run { start, barrier, .. } => (start, barrier),
        Verdict::Stop(stop) => panic!("{stop:?}"),
    }
}

#[test]
fn rule_1_the_producer_id_is_derived_from_the_unit() {
    let identity = Identity {
        sealed: true,
        ..identity()
    };
    let mut evidence = evidence();
    evidence.stored = None;
    evidence.target = Extent { start: 0, end: 0 };
    let Verdict::Run {
        start,
        barrier: true,
        decision: None,
    } = identity.verdict(&evidence)
    else {
        panic!();
    };
    let producer = start.producer.unwrap();
    assert_eq!(
        (producer.epoch, producer.epoch_base, start.sequence),
        (0, 0, 0)
    );
    assert_eq!(producer.id >> 62, 1);
    let again = identity.producer(0);
    assert_eq!(again, producer);
    let mut other = identity.clone();
    other.route.target.partition += 1;
    assert_ne!(other.producer(0).id, producer.id);
    assert_ne!(identity.producer(1).id, producer.id);
}

#[test]
fn the_same_mapping_goes_on_in_its_epoch() {
    let producer = ProducerState {
        id: 5 | 1 << 62,
        generation: 0,
        epoch: 2,
        epoch_base: 1000,
    };
    let (start, barrier) = sealed(7, Some(producer));
    assert_eq!(
        (start.producer, start.sequence, barrier),
        (Some(producer), 60, false)
    );
}

#[test]
fn rule_5_another_mapping_or_transport_begins_an_epoch_behind_a_barrier() {
    let producer = ProducerState {
        id: 5 | 1 << 62,
        generation: 0,
        epoch: 2,
        epoch_base: 1000,
    };
    let (start, barrier) = sealed(8, Some(producer));
    let next = start.producer.unwrap();
    assert_eq!(
        (next.id, next.epoch, next.epoch_base),
        (producer.id, 3, 1060)
    );
    assert_eq!(
        (start.sequence, start.source_offset, barrier),
        (0, 100, true)
    );

    let (start, barrier) = sealed(8, None);
    let first = start.producer.unwrap();
    assert_eq!(
        (first.epoch, first.epoch_base, start.sequence, barrier),
        (0, 60, 0, true)
    );
}

#[test]
fn rule_1_used_up_epochs_raise_the_generation() {
    let producer = ProducerState {
        id: 5 | 1 << 62,
        generation: 3,
        epoch: 32_766,
        epoch_base: 1000,
    };
    let (start, _) = sealed(8, Some(producer));
    let next = start.producer.unwrap();
    assert_ne!(next.id, producer.id);
    assert_eq!((next.generation, next.epoch, next.epoch_base), (4, 0, 1060));
}

/// The verdict of a topic with these policies, over sealed batches, on `evidence`.
fn with_policies(config: TopicConfig, evidence: &Evidence) -> Verdict {
    let identity = Identity {
        sealed: true,
        config,
        ..identity()
    };
    identity.verdict(evidence)
}

/// A gap before source offset 150; the target holds ten records behind the checkpoint.
fn gap() -> Evidence {
    let mut checkpoint = identity().checkpoint(&progress());
    checkpoint.producer = Some(ProducerState {
        id: 1 << 62,
        generation: 0,
        epoch: 3,
        epoch_base: 100,
    });
    Evidence {
        stored: Some(codec::encode(&checkpoint)),
        source: Extent {
            start: 150,
            end: 200,
        },
        target: Extent { start: 10, end: 90 },
        last: Some(LastSeen::Gone),
        remembered: Some(5),
        ..evidence()
    }
}

#[test]
fn rule_11_a_gap_is_passed_in_a_new_epoch_behind_all_that_the_target_holds() {
    for (on_gap, to) in [(OnGap::Earliest, 150), (OnGap::Latest, 200)] {
        let config = TopicConfig {
            on_gap,
            ..TopicConfig::default()
        };
        let verdict = with_policies(config, &gap());
        let Verdict::Run {
            start,
            barrier: true,
            decision:
                Some(Decision::Gap {
                    wanted: 100,
                    to: shown,
                }),
        } = verdict
        else {
            panic!("{verdict:?}");
        };
        assert_eq!(
            (start.source_offset, start.target_offset, shown),
            (to, 90, to)
        );
        assert_eq!((start.sequence, start.last_record), (0, None));
        assert_eq!(start.appends_at, Some(90));
        let producer = start.producer.unwrap();
        // Newer than what the leader remembers, which is newer than the checkpoint.
        assert_eq!((producer.epoch, producer.epoch_base), (6, 160));
        assert!(
            !start.anchors.is_empty(),
            "something was copied before: the next one is a gap too"
        );
    }
}

#[test]
fn a_new_epoch_looks_for_what_the_one_before_wrote_behind_a_jump() {
    let identity = Identity {
        sealed: true,
        fingerprint: 8,
        ..identity()
    };
    let mut checkpoint = identity.checkpoint(&progress());
    checkpoint.appends_at = Some(checkpoint.target_offset);
    let mut evidence = evidence();
    let mut start = |fingerprint| {
        checkpoint.fingerprint = fingerprint;
        checkpoint.producer = Some(identity.producer(0));
        evidence.stored = Some(codec::encode(&checkpoint));
        match identity.verdict(&evidence) {
            Verdict::Run { start, .. } => start.appends_at,
            stop => panic!("{stop:?}"),
        }
    };
    assert_eq!(start(8), Some(80), "in the same epoch sequences tell");
    assert_eq!(start(7), None);
    let same = identity.jump(Some(&checkpoint), 100, &evidence);
    assert_eq!(same.appends_at, None);
}

#[test]
fn rule_11_a_gap_behind_a_doubt_is_never_passed_over_by_a_policy() {
    for on_gap in [OnGap::Earliest, OnGap::Latest] {
        let config = TopicConfig {
            on_gap,
            ..TopicConfig::default()
        };
        let evidence = Evidence {
            trace: true,
            ..gap()
        };
        let verdict = with_policies(config, &evidence);
        let says = ["behind offset 80", "no on_gap passes over"];
        assert_stops(&verdict, StopReason::OffsetOutOfRange, &says);
    }
}

#[test]
fn an_end_that_went_back_is_never_passed_over_by_a_policy() {
    let config = TopicConfig {
        on_gap: OnGap::Earliest,
        ..TopicConfig::default()
    };
    let mut evidence = gap();
    evidence.source = Extent { start: 0, end: 99 };
    let verdict = with_policies(config, &evidence);
    assert_stops(&verdict, StopReason::OffsetOutOfRange, &["lost its end"]);
}

#[test]
fn rule_8_on_existing_appends_and_says_so_in_the_checkpoint() {
    let config = TopicConfig {
        on_existing: OnExisting::Append,
        ..TopicConfig::default()
    };
    let mut evidence = Evidence {
        stored: None,
        remembered: None,
        ..gap()
    };
    let verdict = with_policies(config.clone(), &evidence);
    let Verdict::Run {
        start,
        barrier: true,
        decision: Some(Decision::Append { target_offset: 90 }),
    } = verdict
    else {
        panic!("{verdict:?}");
    };
    assert_eq!((start.source_offset, start.target_offset), (150, 90));
    let checkpoint = identity().checkpoint(&start);
    assert_eq!(checkpoint.appends_at, Some(90));
    assert_eq!(Progress::from(&checkpoint).appends_at, Some(90));
    // What is there is this flow's own: the checkpoint was lost, and another start would double it.
    evidence.trace = true;
    let verdict = with_policies(config, &evidence);
    assert_stops(&verdict, StopReason::CheckpointMissing, &["lost"]);
}

#[test]
fn a_jump_to_where_a_unit_is_keeps_what_is_to_be_compared_on_the_target_and_forgets_the_last_record()
 {
    let identity = Identity {
        sealed: true,
        ..identity()
    };
    let evidence = gap();
    let known = codec::decode(evidence.stored.as_ref().unwrap()).unwrap();
    let same = identity.jump(Some(&known), 100, &evidence);
    assert_eq!((same.target_offset, same.appends_at), (80, None));
    assert_eq!(same.last_record, None, "or it stops for it again");
    assert_eq!((same.sequence, same.producer.unwrap().epoch), (0, 6));
    let back = identity.jump(Some(&known), 60, &evidence);
    assert_eq!(
        (back.source_offset, back.target_offset, back.last_record),
        (60, 90, None)
    );
    assert_eq!(back.appends_at, Some(90), "what is there is not compared");
    let unknown = identity.jump(None, 60, &evidence);
    assert_eq!(
        (unknown.source_offset, unknown.producer.unwrap().epoch),
        (60, 6)
    );
    assert_eq!(unknown.appends_at, Some(90));
}

/// As `checkpoint set` leaves it: nothing was copied yet, but somebody chose the place.
#[test]
fn a_gap_behind_a_place_that_was_set_before_anything_was_copied_is_a_gap() {
    let mut empty = evidence();
    (empty.stored, empty.target, empty.last) = (None, Extent { start: 0, end: 0 }, None);
    let identity = identity();
    let set = identity.jump(None, 100, &empty);
    empty.stored = Some(codec::encode(&identity.checkpoint(&set)));
    assert!(
        matches!(identity.verdict(&empty), Verdict::Run { start, .. } if start.source_offset == 100)
    );
    empty.source.start = 150;
    let Verdict::Stop(stop) = identity.verdict(&empty) else {
        panic!("{:?}", identity.verdict(&empty));
    };
    assert_eq!(
        (stop.reason, stop.source_offset),
        (StopReason::OffsetOutOfRange, 100)
    );
    // Without that the start is resolved anew.
    let first = identity.checkpoint(&Progress::start(100, 0));
    empty.stored = Some(codec::encode(&first));
    assert!(
        matches!(identity.verdict(&empty), Verdict::Run { start, .. } if start.source_offset == 150)
    );
}
