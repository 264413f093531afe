//! Old records go, by time and by size, and stay gone.

use super::*;

/// Ten batches of two records, one each hour, until now; segments of three batches.
fn ten_hours(retention: Retention) -> Machine {
    let machine = Machine::new(LogConfig {
        segment_bytes: 250,
        retention,
        ..config()
    });
    for number in 0..10 {
        let time = NOW - i64::from(9 - number) * HOUR;
        machine.base(&batch(ID, number * 2, time));
    }
    machine
}

const HOUR: i64 = 3_600_000;

fn by_time(ms: i64) -> Retention {
    Retention {
        ms: Some(ms),
        bytes: None,
    }
}

fn expire(machine: &Machine) -> (i64, i64, i64) {
    machine.partition.expire_records().unwrap();
    machine.ends()
}

fn logs(machine: &Machine) -> Vec<String> {
    let names = machine.files.list(&machine.partition.folder).unwrap();
    let logs = names.into_iter().filter(|name| name.ends_with(".log"));
    logs.collect()
}

#[test]
fn a_segment_goes_when_its_youngest_record_is_too_old() {
    let mut machine = ten_hours(by_time(8 * HOUR));
    assert_eq!(logs(&machine).len(), 5);
    let base = machine.partition.state().log.active_base();
    assert_eq!(
        expire(&machine),
        (0, 20, 20),
        "its youngest record is just 8 hours old"
    );
    machine.clock.advance(Duration::from_millis(1));
    let (start, ..) = expire(&machine);
    assert!(start > 0 && start < base, "{start}");
    let read = machine
        .partition
        .find(start - 1, Isolation::ReadUncommitted);
    assert_eq!(read.unwrap_err(), ResponseError::OffsetOutOfRange);
    for end in [Machine::restart, Machine::reopen, Machine::lose_power] {
        machine.partition.sync().unwrap();
        end(&mut machine);
        assert_eq!(machine.ends(), (start, 20, 20));
    }
    machine
        .clock
        .advance(Duration::from_millis(9 * HOUR as u64));
    assert_eq!(
        expire(&machine),
        (20, 20, 20),
        "the segment that grows went too"
    );
    assert_eq!(logs(&machine), ["00000000000000000020.log"]);
    machine.lose_power();
    assert_eq!(machine.ends(), (20, 20, 20));
    assert_eq!(
        machine.base(&batch(ID, 18, NOW)),
        18,
        "its last batch is known"
    );
    assert_eq!(machine.base(&batch(ID, 20, NOW)), 20);
    assert_eq!(expire(&machine).2, 22);
}

#[test]
fn size_counts_whole_segments() {
    let machine = ten_hours(Retention {
        ms: None,
        bytes: Some(500),
    });
    let before = machine.partition.size().unwrap();
    let (start, ..) = expire(&machine);
    let after = machine.partition.size().unwrap();
    assert!(
        start > 0 && after < before && after >= 500,
        "{before} {after}"
    );
    assert_eq!(expire(&machine).0, start, "nothing more");
}

#[test]
fn what_is_not_durable_stays_where_appends_are_synced() {
    let machine = Machine::new(LogConfig {
        retention: by_time(0),
        ..flushing()
    });
    machine.base(&batch(ID, 0, NOW - DAY));
    assert_eq!(expire(&machine), (0, 0, 0));
    machine.partition.make_durable().unwrap();
    assert_eq!(expire(&machine), (2, 2, 2));
}

#[test]
fn a_topic_that_only_compacts_keeps_what_is_old() {
    let machine = ten_hours(by_time(0));
    machine.partition.set_config(LogConfig {
        deletes: false,
        ..machine.config.clone()
    });
    assert_eq!(expire(&machine), (0, 20, 20));
}

#[test]
fn an_open_transaction_that_lost_its_first_records_is_stable_from_the_start_on() {
    let machine = Machine::new(LogConfig {
        segment_bytes: 250,
        retention: by_time(HOUR),
        ..config()
    });
    machine.base(&inside(1, 0));
    machine
        .clock
        .advance(Duration::from_millis(2 * HOUR as u64));
    for number in 0..4 {
        machine.base(&batch(ID, number * 2, NOW + 2 * HOUR));
    }
    assert_eq!(machine.ends(), (0, 0, 10));
    // Its segment holds younger records too; those that follow push it out.
    machine
        .clock
        .advance(Duration::from_millis(2 * HOUR as u64));
    machine.base(&batch(ID, 8, NOW + 4 * HOUR));
    let (start, stable, end) = expire(&machine);
    assert!(
        start > 0 && stable == start && end == 12,
        "{start} {stable} {end}"
    );
    machine.partition.append_marker(1, 0, false, 0).unwrap();
    assert_eq!(machine.ends(), (start, 13, 13));
}

#[test]
fn a_reader_goes_on_in_a_segment_that_is_gone() {
    let machine = ten_hours(by_time(0));
    let found = machine
        .partition
        .find(0, Isolation::ReadUncommitted)
        .unwrap();
    machine.clock.advance(Duration::from_millis(1));
    assert_eq!(expire(&machine).0, 20);
    let read = machine.partition.read(&found, 200, true).unwrap();
    assert!(!read.bytes().is_empty());
}
