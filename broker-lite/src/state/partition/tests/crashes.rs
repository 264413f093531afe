//! The process or the machine ends, or the disk fails, in the middle of removing and compacting: nothing that counts is
//! lost, nothing comes twice, and what is damaged is left alone.

use host::sim::NO_SPACE;

use super::{compaction::Model, *};

/// Some segments, with superseded records, tombstones and a transaction of each kind; those that were compacted
/// before are small, and will be merged.
fn filled() -> Model {
    let mut model = Model::new();
    fill(&mut model, 0);
    model.compact(1 << 20);
    fill(&mut model, 30);
    model
}

/// With keys from `first` on.
fn fill(model: &mut Model, first: u8) {
    for turn in 0..12u8 {
        let inside = i64::from(turn % 2);
        let key = |number| first + number;
        model.append(
            2,
            Codec::None,
            &[(key(turn % 3), true), (key(turn % 5), true)],
        );
        model.append(
            inside,
            Codec::Lz4,
            &[(key(turn % 4), true), (key(7), turn % 3 > 0)],
        );
        model.append(-1, Codec::None, &[(key(turn), true)]);
        model.end(inside, turn % 4 < 2);
    }
}

/// How many changes of the disk a compaction makes.
fn operations() -> u64 {
    let mut model = filled();
    let before = model.machine.files.operations();
    model.compact(1 << 20);
    model.machine.files.operations() - before
}

/// Compacts while the disk fails from the operation `at` on, or only there.
fn compact_until(model: &Model, at: u64, fault: Fault, is_over: bool) {
    let files = &model.machine.files;
    let first = files.operations() + at;
    files.fail(move |one| {
        let is_due = one.number == first || one.number > first && !is_over;
        (is_due && one.kind != OperationKind::Read).then_some(fault)
    });
    let done = model.machine.partition.compact(1 << 20, &|| false);
    files.heal();
    let at = files.operations() - first;
    assert!(done.is_err() || is_over, "{at}: {done:?}");
}

/// All is there when it is opened again, and another compaction leaves all that counts.
fn goes_on(mut model: Model) {
    model.machine.reopen();
    model.check();
    model.compact(1 << 20);
    model.check();
    model.check_producers();
}

#[test]
fn a_process_may_end_at_each_step_of_a_compaction() {
    for at in 0..operations() {
        let model = filled();
        compact_until(&model, at, Fault::Torn(DISK_FAILS), false);
        goes_on(model);
    }
}

#[test]
fn a_machine_may_end_at_each_step_of_a_compaction() {
    for at in 0..operations() {
        for seed in 0..4 {
            let model = filled();
            compact_until(&model, at, Fault::Torn(DISK_FAILS), false);
            match seed {
                0 => model.machine.files.crash(),
                _ => model.machine.files.crash_keeping(&SeededRandom::new(seed)),
            }
            goes_on(model);
        }
    }
}

#[test]
fn a_disk_may_fail_once_at_each_step_of_a_compaction() {
    for at in 0..operations() {
        for fault in [Fault::Fails(NO_SPACE), Fault::Torn(DISK_FAILS)] {
            let mut model = filled();
            compact_until(&model, at, fault, true);
            if model.machine.partition.size().is_ok() {
                model.check();
                model.compact(1 << 20);
                model.check();
            }
            model.machine.reopen();
            model.check();
            model.compact(1 << 20);
            model.check_producers();
        }
    }
}

/// A segment is begun, and the power goes before a batch of it is durable.
#[test]
fn what_is_written_after_everything_was_out_of_date_is_there_after_a_restart() {
    let mut machine = Machine::new(LogConfig {
        segment_bytes: 250,
        retention: Retention {
            ms: Some(0),
            bytes: None,
        },
        ..config()
    });
    for number in 0..4 {
        machine.base(&batch(ID, number * 2, NOW - DAY));
    }
    machine.partition.make_durable().unwrap();
    let base = machine.partition.state().log.active_base();
    machine.files.crash();
    let kept = machine.path(&format!("{base:020}.log"));
    machine.files.open(&kept).unwrap().set_len(0).unwrap();
    machine.reopen();
    assert_eq!(
        machine.ends(),
        (0, base, base),
        "nothing in the last segment"
    );
    machine.partition.expire_records().unwrap();
    assert_eq!(machine.ends(), (base, base, base));
    machine.base(&batch(-1, -1, NOW));
    machine.restart();
    assert_eq!(machine.ends(), (base, base + 2, base + 2));
}

/// Nobody can read again what is gone, so it has to be remembered before.
#[test]
fn producers_of_records_that_are_gone_are_remembered_after_a_kill() {
    let by_time = |machine: &Machine| machine.partition.expire_records().unwrap();
    let by_request = |machine: &Machine| machine.partition.delete_records(-1).map(drop).unwrap();
    for remove in [by_time, by_request] {
        let mut machine = Machine::new(LogConfig {
            segment_bytes: 250,
            retention: Retention {
                ms: Some(0),
                bytes: None,
            },
            ..config()
        });
        machine.base(&inside(1, 0));
        for number in 0..8 {
            machine.base(&batch(ID, number * 2, NOW - 1));
        }
        machine.partition.append_marker(1, 0, true, 0).unwrap();
        machine.clock.advance(Duration::from_millis(1));
        remove(&machine);
        let (_, _, end) = machine.ends();
        assert_eq!(machine.ends(), (end, end, end));
        machine.reopen();
        assert_eq!(machine.ends(), (end, end, end), "no transaction is open");
        assert_eq!(machine.base(&batch(ID, 14, NOW)), 16, "a repeat");
        assert_eq!(machine.base(&batch(ID, 16, NOW)), end);
    }
}

/// Files may go in another order than they were removed in.
#[test]
fn leftovers_of_what_was_removed_do_no_harm() {
    for kept in 0..8u32 {
        let mut machine = Machine::new(LogConfig {
            segment_bytes: 250,
            ..config()
        });
        for number in 0..10 {
            machine.base(&batch(ID, number * 2, NOW));
        }
        machine.partition.sync().unwrap();
        let copy = |name: &str| {
            let file = machine.files.open(&machine.path(name)).unwrap();
            let len = usize::try_from(file.len().unwrap()).unwrap();
            file.read_exact_at(len, 0).unwrap()
        };
        let names = ["0", "4", "8"].map(|base| format!("{base:0>20}.log"));
        let logs = names.each_ref().map(|name| copy(name));
        machine.partition.delete_records(13).unwrap();
        for (at, (name, log)) in (0..).zip(names.iter().zip(logs)) {
            if kept >> at & 1 == 1 {
                let file = machine.files.open(&machine.path(name)).unwrap();
                file.write_all_at(&log, 0).unwrap();
            }
        }
        let snapshot = machine.path("producers.snapshot");
        machine.files.remove(&snapshot).unwrap();
        machine.reopen();
        assert_eq!(machine.ends(), (13, 20, 20), "kept {kept:b}");
    }
}

/// Each byte of a segment in turn is not what it was.
#[test]
fn a_damaged_batch_stops_the_compaction_and_nothing_is_dropped() {
    let files_of = |machine: &Machine| -> Vec<(String, Vec<u8>)> {
        let names = machine.files.list(&machine.partition.folder).unwrap();
        let logs = names.into_iter().filter(|name| name.ends_with(".log"));
        let read = |name: String| {
            let file = machine.files.open(&machine.path(&name)).unwrap();
            let len = usize::try_from(file.len().unwrap()).unwrap();
            (name, file.read_exact_at(len, 0).unwrap())
        };
        logs.map(read).collect()
    };
    let model = filled();
    let len = files_of(&model.machine)[0].1.len();
    let mut at = 0;
    while at < len {
        let first = files_of(&model.machine).swap_remove(0).1;
        let header = wire::batch::BatchHeader::read(&first[at..]).unwrap();
        for byte in at..at + header.size() {
            // The leader's epoch is in no checksum.
            if (at + 12..at + 16).contains(&byte) {
                continue;
            }
            let machine = &model.machine;
            let path = machine.path("00000000000000000000.log");
            let file = machine.files.open(&path).unwrap();
            file.write_all_at(&[first[byte] ^ 0x11], byte as u64)
                .unwrap();
            let before = files_of(machine);
            machine.partition.state().is_uncleanable = false;
            let error = machine.partition.compact(1 << 20, &|| false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "byte {byte}");
            assert_eq!(files_of(machine), before);
            let again = machine.partition.compact(1 << 20, &|| false);
            assert!(!again.unwrap(), "it is not tried again");
            file.write_all_at(&first[byte..=byte], byte as u64).unwrap();
        }
        at += header.size();
    }
}

/// A batch is written in part, cannot be cut off, and the next one goes to another segment.
#[test]
fn half_a_batch_stands_neither_between_batches_nor_at_the_end_of_a_segment() {
    let sized = |size| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(NOW, None, Some(&vec![1; size]), &[]);
        let batch = BatchView::read(&builder.build(0).unwrap());
        batch.unwrap().unwrap()
    };
    for next in [900, 10] {
        let mut machine = Machine::new(config());
        machine.base(&sized(10));
        machine.files.fail(|one| {
            use OperationKind::{SetLen, Write};
            matches!(one.kind, Write | SetLen).then_some(Fault::Torn(NO_SPACE))
        });
        let refused = machine.error(&sized(800));
        assert_eq!(refused, ResponseError::KafkaStorageError);
        let read = machine.partition.find(0, Isolation::ReadUncommitted);
        assert!(read.unwrap().len() > 0, "reads go on");
        machine.files.heal();
        assert_eq!(machine.base(&sized(next)), 1);
        assert_eq!(machine.base(&sized(900)), 2);
        for _ in 0..2 {
            let mut offset = 0;
            while offset < 3 {
                let found = machine.partition.find(offset, Isolation::ReadUncommitted);
                let read = machine.partition.read(&found.unwrap(), 10, true).unwrap();
                let batch = BatchView::read(&read.bytes()).unwrap().unwrap();
                batch.check_crc().unwrap();
                assert_eq!(batch.header.base_offset, offset);
                offset += 1;
            }
            machine.restart();
        }
    }
}

/// A reader found its place, and all of it goes before it has read.
#[test]
fn who_reads_what_goes_is_never_shown_aborted_records() {
    let machine = Machine::new(LogConfig {
        segment_bytes: 250,
        ..config()
    });
    machine.base(&inside(1, 0));
    machine.partition.append_marker(1, 0, false, 0).unwrap();
    for number in 0..4 {
        machine.base(&batch(ID, number * 2, NOW));
    }
    let found = machine.partition.find(0, Isolation::ReadCommitted).unwrap();
    machine.partition.delete_records(-1).unwrap();
    let read = machine.partition.read(&found, 1_000, true);
    assert_eq!(read.unwrap_err(), ResponseError::OffsetOutOfRange);
}
