//! Compaction of a partition against a model that has all of its records in memory: transactions, codecs, tombstones,
//! horizons, restarts, and too little memory for all keys.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::{record::Aborted, record::Record};

use super::*;

const RETENTION: i64 = 1_000;
/// Transactional producers have these ids, others follow.
const TRANSACTIONAL_IDS: i64 = 2;
const IDS: i64 = 4;

#[derive(Clone, Debug)]
enum Step {
    Append {
        producer: i64,
        codec: Codec,
        records: Vec<(u8, bool)>,
    },
    End {
        producer: i64,
        commit: bool,
    },
    Compact {
        max_map_bytes: usize,
    },
    Wait(i64),
    /// DeleteRecords, and `retention.bytes`.
    DeleteBefore {
        percent: i64,
    },
    Expire,
    Restart,
    Kill,
    LosePower,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = proptest::collection::vec((0u8..12, proptest::bool::weighted(0.8)), 1..6);
    let codec = (0..Codec::ALL.len()).prop_map(|at| Codec::ALL[at]);
    let step = prop_oneof![
        20 => (-1..IDS, codec, records).prop_map(|(producer, codec, records)| Step::Append {
            producer,
            codec,
            records,
        }),
        6 => (0..TRANSACTIONAL_IDS, any::<bool>())
            .prop_map(|(producer, commit)| Step::End { producer, commit }),
        3 => prop_oneof![Just(100usize), Just(1 << 20)]
            .prop_map(|max_map_bytes| Step::Compact { max_map_bytes }),
        2 => (1i64..RETENTION).prop_map(Step::Wait),
        1 => (0i64..=100).prop_map(|percent| Step::DeleteBefore { percent }),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::LosePower),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A record as it was written.
#[derive(Clone, Debug)]
struct Written {
    record: Record,
    /// None while its transaction is open.
    counts: Option<bool>,
    producer: i64,
    /// When a pass first came by; a tombstone goes `delete.retention.ms` later at the earliest.
    passed: Option<i64>,
}

pub(super) struct Model {
    pub(super) machine: Machine,
    written: BTreeMap<i64, Written>,
    /// The next sequence of each producer, and its last batch.
    producers: BTreeMap<i64, (i32, BatchView, i64)>,
    clock: i64,
    clean_to: i64,
}

impl Model {
    pub(super) fn new() -> Self {
        let machine = Machine::new(LogConfig {
            segment_bytes: 900,
            compacted: true,
            retention: Retention {
                ms: None,
                bytes: Some(6_000),
            },
            flush: true,
            compaction: Compaction {
                delete_retention_ms: RETENTION,
                ..config().compaction
            },
            ..config()
        });
        Self {
            machine,
            written: BTreeMap::new(),
            producers: BTreeMap::new(),
            clock: NOW,
            clean_to: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append {
                producer,
                codec,
                records,
            } => self.append(producer, codec, &records),
            Step::End { producer, commit } => self.end(producer, commit),
            Step::Compact { max_map_bytes } => self.compact(max_map_bytes),
            Step::Wait(ms) => {
                self.clock += ms;
                let ms = Duration::from_millis(ms.unsigned_abs());
                self.machine.clock.advance(ms);
            }
            Step::DeleteBefore { percent } => {
                let (start, _, end) = self.machine.ends();
                let offset = start + (end - start) * percent / 100;
                let deleted = self.machine.partition.delete_records(offset);
                assert_eq!(deleted, Ok(offset));
                assert_eq!(self.machine.ends().0, offset);
            }
            Step::Expire => self.machine.partition.expire_records().unwrap(),
            Step::Restart => self.machine.restart(),
            Step::Kill => self.machine.reopen(),
            Step::LosePower => self.machine.lose_power(),
        }
        self.check();
    }

    pub(super) fn append(&mut self, producer: i64, codec: Codec, records: &[(u8, bool)]) {
        let is_inside = (0..TRANSACTIONAL_IDS).contains(&producer);
        let sequence = self.producers.get(&producer).map_or(0, |known| known.0);
        let (id, epoch, sequence) = match producer {
            -1 => (-1, -1, -1),
            _ => (producer, 0, sequence),
        };
        let mut builder = BatchBuilder::new(codec)
            .producer(id, epoch, sequence)
            .transactional(is_inside);
        for (key, has_value) in records {
            let value = format!("value {} of {key}", self.written.len());
            let value = has_value.then_some(value.as_bytes());
            // Not in the order of time.
            let time = self.clock - self.written.len() as i64 * 37 % 500;
            builder.push(time, Some(&[*key]), value, &[]);
        }
        let batch = BatchView::read(&builder.build(0).unwrap());
        let batch = batch.unwrap().unwrap();
        let base = self.machine.base(&batch);
        self.machine.partition.make_durable().unwrap();
        let count = i32::try_from(records.len()).unwrap();
        if producer >= 0 {
            let known = (sequence + count, batch.clone(), base);
            self.producers.insert(producer, known);
        }
        for mut record in decode(&batch, 1 << 20).unwrap() {
            record.offset += base;
            let one = Written {
                counts: (!is_inside).then_some(true),
                producer,
                passed: None,
                record,
            };
            self.written.insert(one.record.offset, one);
        }
    }

    pub(super) fn end(&mut self, producer: i64, commit: bool) {
        let partition = &self.machine.partition;
        partition.append_marker(producer, 0, commit, 0).unwrap();
        let open = self.written.values_mut();
        for one in open.filter(|one| one.producer == producer) {
            one.counts.get_or_insert(commit);
        }
    }

    pub(super) fn compact(&mut self, max_map_bytes: usize) {
        let before = self.batches();
        let partition = &self.machine.partition;
        partition.compact(max_map_bytes, &|| false).unwrap();
        let checkpoint = self.machine.path("cleaner-offset-checkpoint");
        let clean_to = crate::log::offset_file::read(&self.machine.files, &checkpoint);
        let clean_to = clean_to.unwrap().unwrap_or(0);
        assert!(clean_to >= self.clean_to);
        self.clean_to = clean_to;
        let above = |batches: Vec<BatchView>| -> Vec<Bytes> {
            let above = batches
                .into_iter()
                .filter(|one| one.header.base_offset >= clean_to);
            above.map(|one| one.bytes).collect()
        };
        let after = self.batches();
        assert_eq!(
            above(before),
            above(after),
            "nothing above {clean_to} is touched"
        );
        for one in self.written.range_mut(..clean_to).map(|(_, one)| one) {
            one.passed.get_or_insert(self.clock);
        }
        if max_map_bytes > 1_000 {
            self.check_superseded();
        }
    }

    pub(super) fn batches(&self) -> Vec<BatchView> {
        let (mut next, _, end) = self.machine.ends();
        let mut all = Vec::new();
        while next < end {
            let found = self
                .machine
                .partition
                .find(next, Isolation::ReadUncommitted);
            let read = self.machine.partition.read(&found.unwrap(), 500, true);
            for batch in wire::batch::batches(read.unwrap().bytes()) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                assert!(
                    all.is_empty() || batch.header.base_offset >= next,
                    "offsets ascend"
                );
                next = batch.header.next_offset();
                all.push(batch);
            }
        }
        assert!(
            all.last()
                .is_none_or(|last| last.header.next_offset() == end)
        );
        all
    }

    /// What a consumer that reads what is committed sees, from wherever it begins.
    fn committed(&self) -> Vec<Record> {
        let (start, end, _) = self.machine.ends();
        let (mut next, mut all) = (start, Vec::new());
        while next < end {
            let found = self.machine.partition.find(next, Isolation::ReadCommitted);
            let read = self
                .machine
                .partition
                .read(&found.unwrap(), 500, true)
                .unwrap();
            let of = |one: &AbortedTransaction| (one.producer_id, one.first_offset);
            let aborted: Vec<_> = read.aborted.iter().map(of).collect();
            let mut aborted = Aborted::new(&aborted, Isolation::ReadCommitted);
            for batch in wire::batch::batches(read.bytes()) {
                let batch = batch.unwrap();
                if !aborted.skips(&batch).unwrap() {
                    let records = decode(&batch, 1 << 20).unwrap();
                    all.extend(records.into_iter().filter(|one| one.offset >= start));
                }
                next = batch.header.next_offset();
            }
        }
        all
    }

    pub(super) fn check(&self) {
        let seen = self.committed();
        let (start, stable, _) = self.machine.ends();
        let mut newest: BTreeMap<&Bytes, &Written> = BTreeMap::new();
        for one in self.written.range(start..stable).map(|(_, one)| one) {
            if one.counts == Some(true) {
                newest.insert(one.record.key.as_ref().unwrap(), one);
            }
        }
        let mut found: BTreeMap<&Bytes, &Record> = BTreeMap::new();
        for record in &seen {
            let written = &self.written[&record.offset];
            assert_eq!((record, Some(true)), (&written.record, written.counts));
            let before = found.insert(record.key.as_ref().unwrap(), record);
            assert!(before.is_none_or(|before| before.offset < record.offset));
        }
        for (key, written) in newest {
            let record = found.remove(key);
            let may_be_gone = written.record.value.is_none()
                && written
                    .passed
                    .is_some_and(|at| self.clock >= at + RETENTION);
            match record {
                Some(record) => assert_eq!(record.offset, written.record.offset, "the newest"),
                None => assert!(may_be_gone, "{written:?}"),
            }
        }
        assert!(found.is_empty());
        self.check_times(start);
    }

    /// What ListOffsets finds is what is there.
    fn check_times(&self, start: i64) {
        let all: Vec<(i64, i64)> = self
            .batches()
            .iter()
            .flat_map(|batch| decode(batch, 1 << 20).unwrap())
            .filter(|record| record.offset >= start)
            .map(|record| (record.timestamp, record.offset))
            .collect();
        let mut times: Vec<i64> = all.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        times.dedup();
        for time in times.iter().step_by(1 + times.len() / 5) {
            let first = all.iter().find(|one| one.0 >= *time).copied();
            let found = self.machine.partition.offset_at(*time).unwrap();
            assert_eq!(found, first, "{time}");
        }
    }

    /// Below what was cleaned each key is there once, and nothing of aborted transactions.
    pub(super) fn check_superseded(&self) {
        let start = self.machine.ends().0;
        let mut keys = BTreeMap::new();
        for batch in self.batches() {
            let header = batch.header;
            if header.is_control() || header.next_offset() > self.clean_to {
                continue;
            }
            let records = decode(&batch, 1 << 20).unwrap();
            for record in records.into_iter().filter(|one| one.offset >= start) {
                assert_eq!(self.written[&record.offset].counts, Some(true));
                let before = keys.insert(record.key.clone().unwrap(), record.offset);
                assert_eq!(before, None, "{record:?}");
            }
        }
    }

    /// Whoever reads the whole log again remembers the last batch of each producer.
    pub(super) fn check_producers(mut self) {
        for producer in 0..TRANSACTIONAL_IDS {
            self.end(producer, true);
        }
        let snapshot = self.machine.path("producers.snapshot");
        let (start, stable, end) = self.machine.ends();
        self.machine.files.remove(&snapshot).unwrap();
        self.machine.reopen();
        assert_eq!(self.machine.ends(), (start, stable, end));
        self.check();
        for (_, (_, batch, base)) in std::mem::take(&mut self.producers) {
            if base < start {
                // Nobody can know.
                continue;
            }
            assert_eq!(self.machine.base(&batch), base, "a repeat");
        }
        assert_eq!(self.machine.ends(), (start, stable, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn compaction_keeps_what_counts(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        model.compact(1 << 20);
        model.check();
        model.check_producers();
    }
}
