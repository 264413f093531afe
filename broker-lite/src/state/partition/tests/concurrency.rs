//! Everything at once for a while: nobody is shown what does not count, and nobody misses what does.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
};

use wire::record::Aborted;

use super::*;

const KEYS: u8 = 16;
const WRITES: i32 = 2_000;
/// Each write is a record and a marker; every third is aborted.
const ALL_KEYS: i64 = 2 * 3 * KEYS as i64;

struct Busy {
    machine: Machine,
    is_over: AtomicBool,
    /// Offset of the last record.
    appended: AtomicI64,
}

impl Busy {
    fn partition(&self) -> &Partition {
        &self.machine.partition
    }

    fn write(&self, sequence: i32) {
        let is_aborted = sequence % 3 == 0;
        let value: &[u8] = if is_aborted { b"aborted" } else { b"value" };
        let mut builder = BatchBuilder::new(Codec::None)
            .producer(ID, 0, sequence)
            .transactional(true);
        let key = sequence.to_be_bytes()[3] % KEYS;
        builder.push(NOW, Some(&[key]), Some(value), &[]);
        let batch = BatchView::read(&builder.build(0).unwrap());
        let base = self.machine.base(&batch.unwrap().unwrap());
        let ended = self.partition().append_marker(ID, 0, !is_aborted, 0);
        ended.unwrap();
        self.appended.store(base, SeqCst);
    }

    fn compact(&self) {
        while !self.is_over.load(SeqCst) {
            self.partition().compact(1 << 20, &|| false).unwrap();
        }
    }

    /// Removes all but what surely has all keys; it may come in the way of what is being compacted.
    fn delete(&self) {
        let start = self.appended.load(SeqCst) - 2 * ALL_KEYS;
        self.partition().delete_records(start.max(0)).unwrap();
    }

    /// How many keys there are, from the start to the end; none if the start moved. The end is asked for again: what
    /// compaction removes on the way has a newer record of its key, which may lie behind what was the end.
    fn read(&self) -> Option<usize> {
        let (mut next, mut keys) = (self.partition().ends().log_start, BTreeSet::new());
        while next < self.partition().ends().last_stable {
            let found = self.partition().find(next, Isolation::ReadCommitted);
            let read = found.and_then(|found| self.partition().read(&found, 400, true));
            let read = match read {
                Err(ResponseError::OffsetOutOfRange) => return None,
                read => read.unwrap(),
            };
            let of = |one: &AbortedTransaction| (one.producer_id, one.first_offset);
            let listed: Vec<_> = read.aborted.iter().map(of).collect();
            let mut aborted = Aborted::new(&listed, Isolation::ReadCommitted);
            for batch in wire::batch::batches(read.bytes()) {
                let batch = batch.unwrap();
                assert!(batch.header.next_offset() > next, "offsets ascend");
                next = batch.header.next_offset();
                if !aborted.skips(&batch).unwrap() {
                    for record in decode(&batch, 1 << 10).unwrap() {
                        assert_eq!(record.value.as_deref(), Some(&b"value"[..]));
                        keys.insert(record.key);
                    }
                }
            }
        }
        Some(keys.len())
    }

    fn read_on(&self) {
        while !self.is_over.load(SeqCst) {
            let has_all = self.appended.load(SeqCst) > 2 * ALL_KEYS;
            if let Some(keys) = self.read().filter(|_| has_all) {
                assert_eq!(keys, usize::from(KEYS));
            }
        }
    }
}

#[test]
fn a_reader_is_right_while_everything_changes() {
    let busy = Busy {
        machine: Machine::new(LogConfig {
            segment_bytes: 700,
            compacted: true,
            ..config()
        }),
        is_over: AtomicBool::new(false),
        appended: AtomicI64::new(0),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| busy.compact());
        scope.spawn(|| busy.read_on());
        scope.spawn(|| busy.read_on());
        for sequence in 0..WRITES {
            busy.write(sequence);
            if sequence % 250 == 0 {
                busy.delete();
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        busy.is_over.store(true, SeqCst);
    });
    assert_eq!(busy.read(), Some(usize::from(KEYS)));
}
