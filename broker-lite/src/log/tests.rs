//! The log against a list of batches: whatever happens between, it holds what the list holds.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use host::{
    Files,
    sim::{SeededRandom, SimFiles},
};
use proptest::prelude::*;
use wire::{
    batch::{BatchHeader, BatchView},
    record::{BatchBuilder, Codec, control_batch},
};

use super::{AbortedTransaction, Log, Reader, Replay};

const FOLDER: &str = "/data/topic-0";
const SEGMENT_BYTES: u64 = 12_000;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: i64,
        size: usize,
        timestamp: i64,
    },
    /// A marker that aborts what `back` batches before began.
    Abort {
        back: usize,
    },
    Sync,
    /// A clean stop, and a start.
    Restart,
    /// The process dies.
    Kill,
    /// The machine dies.
    Crash,
    /// The same on a disk that keeps any part of what was not synced.
    Torn(u64),
    /// The process dies while it writes: this is behind the last batch.
    Tear(Vec<u8>),
    /// An index is lost or damaged.
    Spoil {
        file: usize,
        at: usize,
        byte: u8,
    },
    DeleteBefore {
        percent: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let garbage = proptest::collection::vec(any::<u8>(), 1..200);
    let append =
        (1i64..4, 0usize..5_000, 0i64..1_000).prop_map(|(records, size, timestamp)| Step::Append {
            records,
            size,
            timestamp,
        });
    let step = prop_oneof![
        20 => append,
        3 => (1usize..5).prop_map(|back| Step::Abort { back }),
        4 => Just(Step::Sync),
        1 => Just(Step::Restart),
        2 => Just(Step::Kill),
        2 => Just(Step::Crash),
        2 => any::<u64>().prop_map(Step::Torn),
        1 => garbage.prop_map(Step::Tear),
        1 => (0usize..20, 0usize..100, any::<u8>())
            .prop_map(|(file, at, byte)| Step::Spoil { file, at, byte }),
        1 => (0i64..=100).prop_map(|percent| Step::DeleteBefore { percent }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What the log should hold.
struct Model {
    files: SimFiles,
    log: Log,
    batches: Vec<BatchView>,
    aborted: Vec<AbortedTransaction>,
    durable: usize,
    start: i64,
    /// What the broker's snapshot says: durable up to here.
    trusted: i64,
    due: Option<i64>,
}

impl Model {
    fn new() -> Self {
        let files = SimFiles::default();
        let log = open(&files, 0, &mut |_| None);
        Self {
            files,
            log,
            batches: Vec::new(),
            aborted: Vec::new(),
            durable: 0,
            start: 0,
            trusted: 0,
            due: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append {
                records,
                size,
                timestamp,
            } => self.append(records, size, timestamp),
            Step::Abort { back } => self.abort(back),
            Step::Sync => self.sync(false),
            Step::Restart => {
                self.sync(true);
                self.trusted = self.log.end();
                self.reopen();
            }
            Step::Kill => self.reopen(),
            Step::Crash => self.lose(SimFiles::crash),
            Step::Torn(seed) => {
                if self.durable == 0 {
                    // A log whose first segment is lost begins with the next, as in Kafka.
                    self.files.sync_dir(Path::new(FOLDER)).unwrap();
                }
                self.lose(|files| files.crash_keeping(&SeededRandom::new(seed)));
            }
            Step::Tear(garbage) => {
                let file = Arc::clone(&self.log.active.reader().log);
                file.write_all_at(&garbage, file.len().unwrap()).unwrap();
                self.reopen();
            }
            Step::Spoil { file, at, byte } => self.spoil(file, at, byte),
            Step::DeleteBefore { percent } => {
                self.start = self.start.max(self.log.end() * percent / 100);
                Log::write_start(&self.files, Path::new(FOLDER), self.start).unwrap();
                self.log.advance_start(self.start).run().unwrap();
            }
        }
    }

    /// The machine dies, and its disk crashes.
    fn lose(&mut self, crash: impl FnOnce(&SimFiles)) {
        let bases: Vec<i64> = self.log.bases().collect();
        crash(&self.files);
        let kept = self.kept(&bases);
        assert!(kept >= self.durable, "{kept} of {}", self.durable);
        self.durable = kept;
        self.batches.truncate(kept);
        let end = self.end();
        self.aborted.retain(|one| one.last_offset < end);
        self.reopen();
        // The start is durable at once; a log that ends before it begins anew there.
        if end < self.start {
            self.batches.clear();
            self.aborted.clear();
            self.durable = 0;
        }
    }

    /// How many batches at the start the disk holds whole, in the segments that the log had; those that were removed
    /// count.
    fn kept(&self, bases: &[i64]) -> usize {
        let mut at = (0, 0);
        let is_kept = |batch: &&BatchView| {
            let offset = batch.header.base_offset;
            let segment = bases.partition_point(|base| *base <= offset);
            let Some(base) = segment.checked_sub(1).map(|before| bases[before]) else {
                return true;
            };
            if at.0 != base {
                at = (base, 0);
            }
            let path = super::segment::path(Path::new(FOLDER), base, "log");
            let size = batch.bytes.len();
            let position = at.1;
            at.1 += size as u64;
            let there = self.files.exists(&path).then(|| {
                let file = self.files.open(&path).unwrap();
                file.read_exact_at(size, position).ok()
            });
            there.flatten().is_some_and(|bytes| bytes == batch.bytes)
        };
        self.batches.iter().take_while(is_kept).count()
    }

    fn append(&mut self, records: i64, size: usize, timestamp: i64) {
        let mut builder = BatchBuilder::new(Codec::None).leader_epoch(0);
        for _ in 0..records {
            builder.push(timestamp, None, Some(&vec![7; size]), &[]);
        }
        self.write(builder.build(self.log.end()).unwrap());
    }

    fn abort(&mut self, back: usize) {
        let Some(first) = self.batches.iter().rev().nth(back) else {
            return;
        };
        let (first_offset, last_offset) = (first.header.base_offset, self.log.end());
        let marker = control_batch(last_offset, 5, 0, false, 0, 1).unwrap();
        let last_stable = last_offset + 1;
        let one = AbortedTransaction {
            producer_id: 5,
            first_offset,
            last_offset,
            last_stable,
        };
        self.write_noting(marker, Some(&one));
        self.aborted.push(one);
    }

    fn write(&mut self, bytes: Bytes) {
        self.write_noting(bytes, None);
    }

    fn write_noting(&mut self, bytes: Bytes, aborts: Option<&AbortedTransaction>) {
        let batch = BatchView {
            header: BatchHeader::read(&bytes).unwrap(),
            bytes,
        };
        if self.log.is_full(&batch.header, SEGMENT_BYTES, i64::MAX) {
            self.due = Some(self.log.end());
            self.log.roll().unwrap();
        }
        self.log.append_marker(&batch, aborts).unwrap();
        self.batches.push(batch);
    }

    fn sync(&mut self, with_indexes: bool) {
        let unsynced = match with_indexes {
            true => self.log.take_all().unwrap(),
            false => self.log.take_unsynced(),
        };
        unsynced.sync().unwrap();
        self.durable = self.batches.len();
        self.trusted = self.due.take().unwrap_or(self.trusted);
    }

    /// Opens the log as a broker does after it was not stopped, or was: by `trusted`.
    fn reopen(&mut self) {
        self.due = None;
        let (trusted, known) = (self.trusted, &self.aborted);
        let mut expected: Vec<_> = self.batches.iter().map(|batch| batch.header).collect();
        expected.retain(|header| header.next_offset() > trusted);
        let mut replayed = Vec::new();
        self.log = open(&self.files, trusted, &mut |scanned| {
            replayed.push(scanned.header);
            known
                .iter()
                .find(|one| one.last_offset == scanned.header.base_offset)
                .copied()
        });
        // Those before the start may be heard of or not.
        let counts = |header: &BatchHeader| header.next_offset() > self.start;
        expected.retain(counts);
        replayed.retain(counts);
        assert_eq!(replayed, expected, "replayed from {trusted} on");
    }

    /// Damages an index that is believed at the next open.
    fn spoil(&mut self, file: usize, at: usize, byte: u8) {
        let names = self.files.list(Path::new(FOLDER)).unwrap();
        let indexes: Vec<_> = names
            .iter()
            .filter(|name| name.ends_with("index"))
            .collect();
        let is_time = |name: &str| name.ends_with(".timeindex");
        // Times and aborted transactions cannot be checked against the log without reading it; those
        // files can be lost, not lie.
        if indexes.is_empty() {
            return;
        }
        let name = indexes[file % indexes.len()];
        let file = self.files.open(&Path::new(FOLDER).join(name)).unwrap();
        if name.ends_with(".txnindex") {
            return;
        }
        let len = file.len().unwrap();
        if len == 0 || is_time(name) {
            file.set_len(0).unwrap();
        } else {
            file.write_all_at(&[byte], at as u64 % len).unwrap();
        }
        self.reopen();
    }

    fn end(&self) -> i64 {
        self.batches
            .last()
            .map_or(0, |batch| batch.header.next_offset())
    }

    fn check(&self) {
        let end = self.end().max(self.start);
        assert_eq!((self.log.start(), self.log.end()), (self.start, end));
        let kept = self
            .batches
            .iter()
            .filter(|batch| batch.header.next_offset() > self.start);
        let kept: Vec<&BatchView> = kept.collect();
        let all: Vec<&[u8]> = kept.iter().map(|batch| &batch.bytes[..]).collect();
        assert!(
            read_all(&self.log, self.start, end) == all.concat(),
            "all from the start"
        );
        for (at, batch) in kept.iter().enumerate() {
            let from = batch.header.base_offset.max(self.start);
            let reader = self.log.reader(from).unwrap().unwrap();
            let place = reader
                .place(from, batch.header.next_offset())
                .unwrap()
                .unwrap();
            assert_eq!(place.len(), batch.bytes.len() as u64);
            let one = place.cut(0, true).unwrap().unwrap();
            assert_eq!(one.read(), batch.bytes, "one from {from}");
            assert!(
                place
                    .cut(batch.bytes.len() as u64 - 1, false)
                    .unwrap()
                    .is_none()
            );
            for max in [900, 4_000, 9_000] {
                let place = reader.place(from, end).unwrap().unwrap();
                let rest = kept[at..].iter().map(|batch| &batch.bytes[..]);
                let (mut left, mut whole) = (place.len().min(max) as usize, Vec::new());
                for bytes in rest.take_while(|bytes| {
                    let fits = bytes.len() <= left;
                    left -= bytes.len().min(left);
                    fits
                }) {
                    whole.extend_from_slice(bytes);
                }
                let cut = place.cut(max, false).unwrap();
                assert!(cut.map_or(Bytes::new(), |cut| cut.read()) == whole);
            }
            for timestamp in [batch.header.max_timestamp, batch.header.max_timestamp + 1] {
                assert_eq!(first_at(&self.log, timestamp), self.first_at(timestamp));
            }
        }
        let of_kept = self
            .aborted
            .iter()
            .filter(|one| one.last_offset >= self.start);
        let of_kept: Vec<_> = of_kept.copied().collect();
        assert_eq!(self.log.aborted(self.start, end).unwrap(), of_kept);
    }

    fn first_at(&self, timestamp: i64) -> Option<i64> {
        let mut batches = self.batches.iter().map(|batch| &batch.header);
        let young = |header: &&BatchHeader| {
            header.max_timestamp >= timestamp && header.next_offset() > self.start
        };
        Some(batches.find(young)?.base_offset.max(self.start))
    }
}

fn open(files: &SimFiles, trusted: i64, replay: &mut Replay<'_>) -> Log {
    let files: Arc<dyn Files> = Arc::new(files.clone());
    Log::open(&files, Path::new(FOLDER), trusted, replay).unwrap()
}

fn readers(log: &Log, mut next: i64) -> impl Iterator<Item = Reader> {
    std::iter::from_fn(move || {
        let reader = log.reader(next).unwrap()?;
        next = reader.next();
        Some(reader)
    })
}

fn read_all(log: &Log, from: i64, to: i64) -> Vec<u8> {
    let places = readers(log, from).filter_map(|reader| reader.place(from, to).unwrap());
    let bytes: Vec<Bytes> = places
        .filter_map(|place| place.cut(u64::MAX, true).unwrap())
        .map(|slice| slice.read())
        .collect();
    bytes.concat()
}

fn first_at(log: &Log, timestamp: i64) -> Option<i64> {
    let mut found = readers(log, log.first_segment_at(timestamp))
        .filter_map(|reader| reader.first_at(timestamp, log.start()).unwrap());
    found.next().map(|(_, offset)| offset)
}

#[test]
fn one_file_is_open_for_all_who_read_a_full_segment() {
    let mut model = Model::new();
    (0..6).for_each(|_| model.append(1, 5_000, 5));
    let reader = |from| model.log.reader(from).unwrap().unwrap();
    let (first, second, other) = (reader(0), reader(1), reader(2));
    assert!(Arc::ptr_eq(&first.log, &second.log));
    assert!(!Arc::ptr_eq(&first.log, &other.log));
    assert_eq!(first.next(), other.base);
    // Nobody else keeps it open.
    let file = Arc::downgrade(&first.log);
    drop((first, second));
    assert_eq!(file.strong_count(), 0);
}

proptest! {
    #[test]
    fn the_log_is_the_durable_prefix_of_what_was_appended(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
            model.check();
        }
    }

    /// Whatever lies in the folder, the log opens, reads and takes more.
    #[test]
    fn hostile_files_never_panic(
        appends in proptest::collection::vec(0usize..3_000, 0..12),
        damages in proptest::collection::vec((0usize..20, 0u64..8_000, any::<[u8; 8]>()), 1..6),
        trusted in 0i64..20,
        from in 0i64..20,
    ) {
        let mut model = Model::new();
        for size in appends {
            model.append(1, size, 5);
        }
        let folder = Path::new(FOLDER);
        for (file, at, bytes) in damages {
            let names = model.files.list(folder).unwrap();
            let file = model.files.open(&folder.join(&names[file % names.len()])).unwrap();
            file.write_all_at(&bytes, at).unwrap();
        }
        let files: Arc<dyn Files> = Arc::new(model.files.clone());
        if let Ok(mut log) = Log::open(&files, folder, trusted, &mut |_| None) {
            if let Ok(Some(reader)) = log.reader(from) {
                if let Ok(Some(place)) = reader.place(from, i64::MAX) {
                    let _any = place.cut(1_000, true).is_ok();
                }
                let _any = reader.first_at(5, 0).is_ok();
            }
            let _any = log.aborted(0, i64::MAX).is_ok();
            let end = log.end();
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(1, None, None, &[]);
            let bytes = builder.build(end).unwrap();
            let batch = BatchView { header: BatchHeader::read(&bytes).unwrap(), bytes };
            log.append(&batch).unwrap();
            prop_assert_eq!(read_all(&log, end, end + 1), batch.bytes);
        }
    }
}
