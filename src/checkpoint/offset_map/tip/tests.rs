use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    checkpoint::{self, LastRecord},
    worker::Losses,
};

const UNIT: u64 = 7;

fn start(source_offset: i64, target_offset: i64) -> Checkpoint {
    Checkpoint {
        source_cluster: "a".to_owned(),
        source_topic: Uuid::nil(),
        target_cluster: "b".to_owned(),
        target_topic: Uuid::nil(),
        source_offset,
        target_offset,
        last_record: None,
        sequence: 0,
        producer: None,
        fingerprint: 1,
        appends_at: None,
        stopped: None,
        settled: false,
        unmapped: None,
        anchors: Vec::new(),
    }
}

fn producer(epoch: i16) -> ProducerState {
    ProducerState {
        id: 1,
        generation: 0,
        epoch,
        epoch_base: 0,
    }
}

/// A map and the owner that writes to it.
struct Bench {
    ladder: Ladder,
    tip: Tip,
    start: Checkpoint,
}

impl Bench {
    fn new(start: Checkpoint) -> Self {
        let (ladder, tip) = (Ladder::default(), Tip::new(UNIT, None, &start));
        Self { ladder, tip, start }
    }

    /// Another process owns the unit from now on.
    fn take_over(&mut self, start: Checkpoint) {
        self.tip = Tip::new(UNIT, Some(&self.ladder), &start);
        self.start = start;
    }

    fn commit(&mut self, progress: &Progress) -> usize {
        let entries = self.tip.next(&self.start, progress);
        for entry in &entries {
            self.ladder.apply(entry.slot(), Some(entry.clone()));
        }
        self.tip.wrote(&entries, progress);
        entries.len()
    }

    fn places(&self) -> Vec<(i64, i64)> {
        let anchors = self.ladder.anchors(UNIT).into_iter();
        anchors
            .map(|anchor| (anchor.source_offset, anchor.target_offset))
            .collect()
    }
}

#[test]
fn the_map_begins_where_the_copy_does_and_grows_only_with_it() {
    let mut bench = Bench::new(start(100, 5));
    assert_eq!(bench.commit(&Progress::start(100, 5)), 1);
    assert_eq!(bench.commit(&Progress::start(100, 5)), 0);
    assert_eq!(bench.commit(&Progress::start(120, 25)), 1);
    assert_eq!(bench.commit(&Progress::start(130, 25)), 1, "markers");
    assert_eq!(bench.places(), [(100, 5), (120, 25), (130, 25)]);
    assert_eq!(bench.ladder.anchors(UNIT)[0].number, 0);
}

#[test]
fn a_successor_goes_on_and_says_nothing_twice() {
    let mut bench = Bench::new(start(0, 0));
    bench.commit(&Progress::start(0, 0));
    bench.commit(&Progress::start(50, 50));
    // The checkpoint was behind the map, and what is between is gone through again.
    bench.take_over(start(20, 20));
    assert_eq!(bench.commit(&Progress::start(20, 20)), 0);
    assert_eq!(bench.commit(&Progress::start(40, 40)), 0);
    let progress = Progress {
        producer: Some(producer(3)),
        ..Progress::start(60, 60)
    };
    assert_eq!(bench.commit(&progress), 1);
    let newest = bench.ladder.anchors(UNIT).pop().unwrap();
    assert_eq!((newest.number, newest.term), (2, 3));
}

#[test]
fn a_unit_that_was_copied_before_there_was_a_map_begins_with_what_its_checkpoint_knows() {
    let known = |source_offset, target_offset, sequence| checkpoint::Anchor {
        sequence,
        source_offset,
        target_offset,
    };
    let last = LastRecord {
        source_offset: 99,
        crc: 0,
        leader_epoch: -1,
        payload_crc: None,
    };
    let mut bench = Bench::new(Checkpoint {
        last_record: Some(last),
        anchors: vec![known(90, 80, 80), known(10, 9, 9)],
        sequence: 90,
        ..start(100, 90)
    });
    let progress = Progress {
        sequence: 90,
        anchors: bench.start.anchors.clone(),
        ..Progress::start(100, 90)
    };
    assert_eq!(bench.commit(&progress), 3, "no more than these");
    assert_eq!(bench.places(), [(10, 9), (90, 80), (100, 90)]);
    let anchors = bench.ladder.anchors(UNIT);
    // Nothing says that it began there, and what was left out since is not known.
    assert!(anchors.iter().all(|anchor| anchor.number > 0));
    let found = super::super::answer(&anchors[0], &anchors[1], 71, 40);
    assert_eq!((found.low, found.high), (9, 80));
    // Without holes it is known all the same.
    let place = super::super::place(&anchors, 95);
    assert_eq!(place, super::super::Place::At(85));
}

#[test]
fn a_gap_is_a_place_of_its_own() {
    let mut bench = Bench::new(start(0, 0));
    bench.commit(&Progress::start(10, 10));
    bench.take_over(start(500, 10));
    bench.commit(&Progress::start(510, 20));
    assert_eq!(bench.places(), [(0, 0), (10, 10), (500, 10), (510, 20)]);
    let anchors = bench.ladder.anchors(UNIT);
    let place = super::super::place(&anchors, 300);
    assert_eq!(place, super::super::Place::At(10));
    // Also when one of the two is gone from the map: nothing is taken for copied that may not have been.
    let found = super::super::answer(&anchors[1], &anchors[3], 10, 5);
    assert_eq!((found.low, found.high), (10, 20));
}

#[test]
fn who_is_set_back_begins_a_branch() {
    let mut bench = Bench::new(start(0, 0));
    bench.commit(&Progress::start(10, 10));
    bench.commit(&Progress::start(20, 20));
    bench.take_over(start(15, 20));
    bench.commit(&Progress::start(18, 23));
    assert_eq!(bench.places(), [(0, 0), (10, 10), (15, 20), (18, 23)]);
    let anchors = bench.ladder.anchors(UNIT);
    let found = super::super::answer(&anchors[1], &anchors[2], 5, 2);
    assert_eq!(
        (found.low, found.high),
        (12, 17),
        "again rather than not at all"
    );
}

#[test]
fn what_was_left_out_is_counted_over_owners() {
    let mut bench = Bench::new(start(0, 0));
    bench.commit(&Progress {
        left_out: 2,
        ..Progress::start(10, 8)
    });
    bench.take_over(start(10, 8));
    bench.commit(&Progress {
        left_out: 1,
        ..Progress::start(20, 17)
    });
    let left_out = bench.ladder.anchors(UNIT).into_iter().map(|a| a.left_out);
    assert_eq!(left_out.collect::<Vec<_>>(), [0, 2, 3]);
}

#[test]
fn cuts_are_bounded_and_never_say_less() {
    let mut cuts = Vec::new();
    for number in 0..100u64 {
        let cut = Cut {
            term: 0,
            number,
            target_offset: 1_000 + number as i64,
        };
        cuts = with_cut(&cuts, cut);
    }
    assert_eq!(cuts.len(), MAX_CUTS);
    assert_eq!((cuts[0].number, cuts[0].target_offset), (84, 1_000));
    let deep = Cut {
        term: 0,
        number: 100,
        target_offset: 5,
    };
    assert_eq!(with_cut(&cuts, deep), [deep]);
}

proptest! {
    /// Against a model that keeps the whole target: whatever is copied, lost and handed over, no anchor that is
    /// believed contradicts what the target holds in the end.
    #[test]
    fn what_is_believed_is_what_the_target_holds(
        steps in proptest::collection::vec((0u8..8, 1i64..6, 0i64..100), 1..120),
    ) {
        let mut bench = Bench::new(start(0, 0));
        // The source offset of each target offset.
        let mut target: Vec<i64> = Vec::new();
        let (mut source, mut epoch, mut losses) = (0, 0, None::<Losses>);
        let mut committed = start(0, 0);
        for (step, size, share) in steps {
            match step {
                // Copies some; some offsets are markers.
                0..=4 => {
                    target.extend((source..source + size).filter(|offset| offset % 7 != 3));
                    source += size;
                }
                // The target loses its end, and the copy goes back behind what is left.
                5 => {
                    let end = target.len() as i64 * share / 100;
                    target.truncate(end as usize);
                    source = target.last().map_or(0, |last| last + 1);
                    let before = losses.map_or((0, i64::MAX), |l| (l.count, l.target_offset));
                    losses = Some(Losses { count: before.0 + 1, target_offset: before.1.min(end) });
                }
                // Another owner: its count begins anew, from the last checkpoint if that still holds.
                6 => {
                    bench.take_over(committed.clone());
                    epoch += 1;
                    losses = None;
                }
                _ => {}
            }
            let place = Progress {
                losses,
                producer: Some(producer(epoch)),
                ..Progress::start(source, target.len() as i64)
            };
            bench.commit(&place);
            committed = start(place.source_offset, place.target_offset);
            for (from, to) in bench.places() {
                let (before, behind) = target.split_at(to as usize);
                prop_assert!(before.iter().all(|at| *at < from), "{from} {to} {target:?}");
                prop_assert!(behind.iter().all(|at| *at >= from), "{from} {to} {target:?}");
            }
        }
    }
}

fn at(source_offset: i64, target_offset: i64) -> Progress {
    Progress::start(source_offset, target_offset)
}

#[test]
fn rule_10_who_writes_on_behind_a_lost_end_cuts_the_map_there() {
    let mut bench = Bench::new(start(0, 0));
    for offset in [50, 100, 150, 200] {
        bench.commit(&at(offset, offset));
    }
    // The target ends at 150 now, and somebody said to go on with 200.
    bench.take_over(Checkpoint {
        appends_at: Some(150),
        ..start(200, 150)
    });
    bench.commit(&at(250, 200));
    let known = [(0, 0), (50, 50), (100, 100), (150, 150)];
    let wanted = [&known[..], &[(200, 150), (250, 200)]].concat();
    assert_eq!(bench.places(), wanted);
    // The same once more says nothing new.
    bench.take_over(start(250, 200));
    assert_eq!(bench.commit(&at(250, 200)), 0);
    assert_eq!(bench.places(), wanted);
}

#[test]
fn a_copy_that_is_set_back_is_known_to_have_been_further() {
    let mut bench = Bench::new(start(0, 0));
    bench.commit(&at(200, 200));
    assert_eq!(bench.ladder.had_reached(UNIT, i64::MAX), 200);
    bench.take_over(Checkpoint {
        appends_at: Some(200),
        ..start(0, 200)
    });
    bench.commit(&at(50, 250));
    assert_eq!(bench.places(), [(0, 0), (0, 200), (50, 250)]);
    assert_eq!(bench.ladder.had_reached(UNIT, i64::MAX), 200);
}

/// The copy stops where the target lost its end; somebody fills the target, and an operator has it go on.
#[test]
fn a_loss_that_stops_the_copy_cuts_the_map_and_the_successor_writes_behind_the_cut() {
    // Over librdkafka all that an owner writes has one term.
    for epoch in [None, Some(0), Some(3)] {
        let producer = epoch.map(producer);
        let from = |source, target| Checkpoint {
            producer,
            ..start(source, target)
        };
        let at = |source, target| Progress {
            producer,
            ..Progress::start(source, target)
        };
        let mut bench = Bench::new(from(0, 0));
        for offset in [0, 10, 20, 30, 40] {
            bench.commit(&at(offset, offset));
        }
        let mut stopped = at(40, 40);
        stopped.lose(25);
        let entries = bench.tip.lost(&stopped);
        for entry in &entries {
            bench.ladder.apply(entry.slot(), Some(entry.clone()));
        }
        bench.tip.wrote(&entries, &stopped);
        assert_eq!(bench.places(), [(0, 0), (10, 10), (20, 20)]);
        assert_eq!(bench.ladder.lost_end(UNIT).unwrap().target_offset, 25);
        assert!(bench.tip.lost(&stopped).is_empty(), "once");
        // A second loss, further back, before anybody goes on: what the first took away stays away.
        bench.take_over(from(40, 40));
        let mut stopped = at(40, 40);
        stopped.lose(15);
        let entries = bench.tip.lost(&stopped);
        for entry in &entries {
            bench.ladder.apply(entry.slot(), Some(entry.clone()));
        }
        assert_eq!(bench.places(), [(0, 0), (10, 10)]);
        let appends = Checkpoint {
            appends_at: Some(60),
            ..from(12, 60)
        };
        bench.take_over(appends);
        bench.commit(&at(18, 66));
        assert_eq!(bench.places(), [(0, 0), (10, 10), (12, 60), (18, 66)]);
        assert_eq!(bench.ladder.lost_end(UNIT), None);
    }
}

#[test]
fn a_map_of_which_nothing_is_left_begins_anew_behind_its_cut() {
    let mut bench = Bench::new(start(100, 50));
    bench.commit(&Progress::start(100, 50));
    bench.commit(&Progress::start(120, 70));
    let mut stopped = Progress::start(120, 70);
    stopped.lose(0);
    let entries = bench.tip.lost(&stopped);
    for entry in &entries {
        bench.ladder.apply(entry.slot(), Some(entry.clone()));
    }
    assert_eq!(bench.places(), []);
    assert!(bench.ladder.lost_end(UNIT).is_some());
    bench.take_over(Checkpoint {
        appends_at: Some(90),
        ..start(110, 90)
    });
    bench.commit(&Progress::start(115, 95));
    assert_eq!(bench.places(), [(110, 90), (115, 95)]);
    assert_eq!(bench.ladder.lost_end(UNIT), None);
}
