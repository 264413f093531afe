//! A log that is cut off is as if the rest had never been there.

use super::*;

const STEPS: i64 = 40;

/// Step by step two producers, one of them in transactions of which every second one is aborted. Each step adds
/// a batch of two records or a marker.
fn step(machine: &Machine, number: i64) {
    let turn = i32::try_from(number / 4).unwrap();
    match number % 4 {
        0 => drop(machine.base(&batch(ID, turn * 4, NOW + number))),
        1 => drop(machine.base(&inside(ID + 1, turn * 2))),
        2 => drop(machine.base(&batch(ID, turn * 4 + 2, NOW + number))),
        _ => {
            let partition = &machine.partition;
            let commit = turn % 2 == 0;
            partition.append_marker(ID + 1, 0, commit, 3).unwrap();
        }
    }
    machine.partition.make_durable().unwrap();
}

fn steps(config: &LogConfig, numbers: std::ops::Range<i64>) -> Machine {
    let machine = Machine::new(config.clone());
    numbers.for_each(|number| step(&machine, number));
    machine
}

/// Everything that a client can learn.
fn known(machine: &Machine) -> String {
    let found = machine
        .partition
        .find(0, Isolation::ReadUncommitted)
        .unwrap();
    let read = machine.partition.read(&found, u64::MAX, true).unwrap();
    let producers: Vec<_> = machine.partition.producers();
    format!(
        "{:?} {:?} {:?} {:x} {:?}",
        machine.ends(),
        machine.aborted(0),
        machine.partition.offset_at(NOW + 9).unwrap(),
        crc32c::crc32c(&read.bytes()),
        producers
    )
}

/// The marker of a transaction has the time at which it was written: the clock stands still.
#[test]
fn what_is_left_is_what_was_before() {
    for config in [config(), flushing()] {
        let whole = known(&steps(&config, 0..STEPS));
        for kept in 0..STEPS {
            let expected = steps(&config, 0..kept);
            let mut machine = steps(&config, 0..STEPS);
            if kept % 2 == 0 {
                machine.restart();
            }
            let end = expected.ends().2;
            assert_eq!(machine.partition.truncate(end), Ok(end), "{kept} steps");
            assert_eq!(known(&machine), known(&expected), "{kept} steps");
            if kept % 3 == 0 {
                machine.reopen();
            }
            (kept..STEPS).for_each(|number| step(&machine, number));
            assert_eq!(known(&machine), whole, "{kept} steps and on");
            machine.reopen();
            assert_eq!(known(&machine), whole, "{kept} steps, on, and killed");
        }
    }
}

/// A reader that takes its time gets the batches that its answer promised, not what was written in their place.
#[test]
fn what_is_being_sent_stays_what_it_was() {
    let machine = steps(&config(), 0..STEPS);
    let found = machine.partition.find(0, Isolation::ReadUncommitted);
    let read = |found| machine.partition.read(&found, u64::MAX, true).unwrap();
    let sending = read(found.unwrap());
    let promised = sending.bytes();
    let end = steps(&config(), 0..10).ends().2;
    assert_eq!(machine.partition.truncate(end), Ok(end));
    // Another leader's records.
    for sequence in 0..40 {
        machine.base(&batch(ID + 2, sequence * 2, NOW));
    }
    assert!(sending.bytes() == promised);
    let found = machine.partition.find(0, Isolation::ReadUncommitted);
    assert!(read(found.unwrap()).bytes() != promised);
}
