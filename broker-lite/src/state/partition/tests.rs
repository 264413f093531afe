//! A partition on simulated files and time: what it keeps across restarts, kills and losses of power.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use host::{
    Files,
    sim::{DISK_FAILS, Fault, OperationKind, SeededRandom, SimClock, SimFiles},
};
use wire::{
    batch::TRANSACTIONAL,
    record::{BatchBuilder, Codec},
};

mod compaction;
mod concurrency;
mod crashes;
mod retention;
mod truncation;

use super::*;
use crate::state::validate::Refusal;

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;
const ID: i64 = 7;

fn config() -> LogConfig {
    LogConfig {
        max_message_bytes: 1 << 20,
        segment_bytes: 1_000,
        segment_ms: i64::MAX,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        compacted: false,
        compaction: Compaction {
            delete_retention_ms: DAY,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            min_dirty_ratio: 0.0,
        },
        deletes: true,
        retention: Retention::default(),
        compression: None,
        flush: false,
        producers: Expiration {
            after_ms: DAY,
            check_ms: 600_000,
        },
    }
}

fn flushing() -> LogConfig {
    LogConfig {
        flush: true,
        ..config()
    }
}

/// A machine that can be cut off, and the partition on it.
struct Machine {
    files: SimFiles,
    clock: SimClock,
    config: LogConfig,
    partition: Arc<Partition>,
}

impl Machine {
    fn new(config: LogConfig) -> Self {
        let (files, clock) = (SimFiles::default(), SimClock::new(NOW));
        let partition = open(&files, &clock, &config);
        Self {
            files,
            clock,
            config,
            partition,
        }
    }

    /// As after `kill -9`.
    fn reopen(&mut self) {
        self.partition = open(&self.files, &self.clock, &self.config);
    }

    fn restart(&mut self) {
        self.partition.sync().unwrap();
        self.reopen();
    }

    fn lose_power(&mut self) {
        self.files.crash();
        self.reopen();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.partition.folder.join(name)
    }

    fn append(&self, batch: &BatchView) -> Result<Appended, Refusal> {
        self.partition.append(batch.clone())
    }

    fn base(&self, batch: &BatchView) -> i64 {
        self.append(batch).unwrap().base_offset
    }

    fn error(&self, batch: &BatchView) -> ResponseError {
        self.append(batch).unwrap_err().error
    }

    fn ends(&self) -> (i64, i64, i64) {
        let ends = self.partition.ends();
        (ends.log_start, ends.last_stable, ends.high_watermark)
    }

    /// Aborted transactions that a reader of all records is told: first offsets.
    fn aborted(&self, from: i64) -> Vec<i64> {
        let found = self.partition.find(from, Isolation::ReadCommitted).unwrap();
        let read = self.partition.read(&found, u64::MAX, true).unwrap();
        read.aborted.iter().map(|one| one.first_offset).collect()
    }
}

fn open(files: &SimFiles, clock: &SimClock, config: &LogConfig) -> Arc<Partition> {
    let host = Host {
        clock: Arc::new(clock.clone()),
        files: Arc::new(files.clone()),
        random: Arc::new(SeededRandom::new(0)),
        ..Host::real()
    };
    let home = Arc::new(Folder::new(Path::new("/data")));
    Arc::new(Partition::open(&host, &home, "topic-0", config.clone()).unwrap())
}

/// Two records of a producer; no producer: -1.
fn batch(id: i64, sequence: i32, time: i64) -> BatchView {
    let mut builder = BatchBuilder::new(Codec::None).producer(id, 0, sequence);
    for _ in 0..2 {
        builder.push(time, None, Some(b"value"), &[]);
    }
    BatchView::read(&builder.build(0).unwrap())
        .unwrap()
        .unwrap()
}

fn inside(id: i64, sequence: i32) -> BatchView {
    let mut header = batch(id, sequence, NOW).header;
    header.attributes |= TRANSACTIONAL;
    batch(id, sequence, NOW).with_header(header)
}

/// What is kept for the idempotence check, whatever ends the process.
#[test]
fn the_last_five_batches_are_known_after_a_restart() {
    for end in [Machine::restart, Machine::reopen] {
        let mut machine = Machine::new(config());
        for number in 0..20 {
            assert_eq!(
                machine.base(&batch(ID, number * 2, NOW)),
                i64::from(number) * 2
            );
        }
        end(&mut machine);
        for number in 15..20 {
            let repeated = machine.base(&batch(ID, number * 2, NOW));
            assert_eq!(repeated, i64::from(number) * 2, "a repeat");
        }
        let gone = machine.error(&batch(ID, 28, NOW));
        assert_eq!(gone, ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(machine.base(&batch(ID, 40, NOW)), 40);
    }
}

#[test]
fn a_damaged_snapshot_costs_only_time() {
    let mut machine = Machine::new(config());
    for number in 0..20 {
        machine.base(&batch(ID, number * 2, NOW));
    }
    machine.partition.sync().unwrap();
    let snapshot = machine
        .files
        .open(&machine.path("producers.snapshot"))
        .unwrap();
    snapshot.write_all_at(b"!", 9).unwrap();
    machine.reopen();
    assert_eq!(machine.ends(), (0, 40, 40));
    assert_eq!(machine.base(&batch(ID, 38, NOW)), 38);
}

/// protocol.md B.2: producers of old records are forgotten by the clock, not by their last request.
#[test]
fn producers_of_old_records_are_forgotten_at_the_next_sweep() {
    let mut machine = Machine::new(config());
    machine.base(&batch(ID, 10, NOW - 2 * DAY));
    machine.base(&batch(ID + 1, 10, NOW));
    assert_eq!(machine.base(&batch(ID, 10, NOW - 2 * DAY)), 0, "a repeat");
    machine.clock.advance(Duration::from_secs(601));
    let ids = |machine: &Machine| -> Vec<i64> {
        machine
            .partition
            .producers()
            .iter()
            .map(|one| one.id)
            .collect()
    };
    assert_eq!(ids(&machine), [ID + 1]);
    assert_eq!(
        machine.base(&batch(ID, 10, NOW - 2 * DAY)),
        4,
        "appended again"
    );
    machine.restart();
    assert_eq!(
        ids(&machine),
        [ID + 1],
        "an old one does not come back from the snapshot"
    );
}

#[test]
fn transactions_survive() {
    for end in [Machine::restart, Machine::reopen, Machine::lose_power] {
        let mut machine = Machine::new(flushing());
        machine.base(&inside(1, 0));
        machine.base(&inside(2, 0));
        machine.base(&inside(1, 2));
        machine.partition.append_marker(1, 0, false, 3).unwrap();
        assert_eq!(machine.ends(), (0, 2, 7), "the other one is open");
        end(&mut machine);
        assert_eq!(machine.ends(), (0, 2, 7));
        machine.partition.append_marker(2, 0, true, 3).unwrap();
        machine.partition.append_marker(2, 0, true, 3).unwrap();
        end(&mut machine);
        assert_eq!(machine.ends(), (0, 9, 9));
        assert_eq!((machine.aborted(0), machine.aborted(7)), (vec![0], vec![]));
        let first = machine.partition.producers()[0];
        assert_eq!((first.coordinator_epoch, first.transaction_start), (3, -1));
        let refused = machine.error(&batch(1, 9, NOW));
        assert_eq!(refused, ResponseError::OutOfOrderSequenceNumber);
    }
}

#[test]
fn a_write_outside_of_the_open_transaction_is_refused() {
    let machine = Machine::new(config());
    machine.base(&inside(1, 0));
    assert_eq!(
        machine.error(&batch(1, 2, NOW)),
        ResponseError::InvalidTxnState
    );
    assert_eq!(machine.base(&batch(-1, -1, NOW)), 2);
}

#[tokio::test]
async fn nobody_reads_what_a_loss_of_power_could_take_back() {
    let mut machine = Machine::new(flushing());
    let mut changes = machine.partition.subscribe();
    machine.base(&batch(ID, 0, NOW));
    assert_eq!(machine.ends(), (0, 0, 0), "not durable yet");
    assert!(
        machine
            .partition
            .find(2, Isolation::ReadUncommitted)
            .is_err()
    );
    machine.partition.settle().unwrap().await.unwrap().unwrap();
    assert_eq!(machine.ends(), (0, 2, 2));
    assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 2);
    assert!(
        machine.partition.settle().is_none(),
        "nothing is left to do"
    );
    machine.base(&batch(ID, 2, NOW));
    machine.lose_power();
    assert_eq!(machine.ends(), (0, 2, 2), "what was settled is there");
    assert_eq!(machine.base(&batch(ID, 2, NOW)), 2);
}

#[tokio::test]
async fn segments_become_durable_when_they_are_complete() {
    let mut machine = Machine::new(config());
    for number in 0..20 {
        machine.base(&batch(ID, number * 2, NOW));
        let none = machine.partition.settle();
        assert!(none.is_none(), "nobody waits for it");
    }
    // What the background has not begun is done here, what it has begun is waited for.
    machine.partition.make_durable().unwrap();
    let complete = machine.partition.state().snapshot_offset;
    assert!((20..40).contains(&complete), "{complete}");
    machine.lose_power();
    let (_, _, end) = machine.ends();
    assert!((complete..=40).contains(&end), "{complete} to {end}");
}

#[tokio::test]
async fn after_a_failed_sync_the_partition_takes_nothing_more() {
    let machine = Machine::new(flushing());
    machine.base(&batch(ID, 0, NOW));
    let is_sync = |kind| kind == OperationKind::Sync;
    machine
        .files
        .fail(move |one| is_sync(one.kind).then_some(Fault::Fails(DISK_FAILS)));
    let failed = machine.partition.settle().unwrap().await.unwrap();
    assert!(failed.is_err());
    machine.files.heal();
    assert_eq!(
        machine.error(&batch(ID, 2, NOW)),
        ResponseError::KafkaStorageError
    );
    let read = machine.partition.find(0, Isolation::ReadUncommitted);
    assert_eq!(read.unwrap_err(), ResponseError::KafkaStorageError);
    assert!(machine.partition.append_marker(ID, 0, true, 0).is_err());
}

#[test]
fn deleted_records_stay_deleted() {
    let mut machine = Machine::new(config());
    for number in 0..10 {
        machine.base(&batch(ID, number * 2, NOW));
    }
    assert_eq!(machine.partition.delete_records(13), Ok(13));
    machine.partition.sync().unwrap();
    machine.lose_power();
    assert_eq!(machine.ends(), (13, 20, 20));
    assert_eq!(
        machine.partition.delete_records(21),
        Err(ResponseError::OffsetOutOfRange)
    );
    assert_eq!(machine.partition.delete_records(-1), Ok(20));
    machine.reopen();
    assert_eq!(machine.ends(), (20, 20, 20));
    assert_eq!(machine.base(&batch(ID, 20, NOW)), 20);
}

#[test]
fn a_removed_partition_is_gone_for_those_who_hold_it() {
    let machine = Machine::new(config());
    machine.base(&batch(ID, 0, NOW));
    let mut changes = machine.partition.subscribe();
    machine.partition.remove().unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(
        machine.error(&batch(ID, 2, NOW)),
        ResponseError::UnknownTopicOrPartition
    );
    let read = machine.partition.find(0, Isolation::ReadUncommitted);
    assert_eq!(read.unwrap_err(), ResponseError::UnknownTopicOrPartition);
    machine.partition.append_marker(ID, 0, true, 0).unwrap();
    machine.partition.sync().unwrap();
    assert!(!machine.files.exists(&machine.path("producers.snapshot")));
}

#[test]
fn syncing_begins_without_taking_anything_back() {
    let machine = Machine::new(config());
    machine.base(&batch(ID, 0, NOW));
    machine.partition.set_config(flushing());
    assert_eq!(machine.ends(), (0, 2, 2));
    machine.base(&batch(ID, 2, NOW));
    assert_eq!(machine.ends(), (0, 2, 2));
}
