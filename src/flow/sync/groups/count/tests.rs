use proptest::prelude::*;
use wire::{
    TopicPartition,
    batch::{BatchView, TRANSACTIONAL},
    record::{BatchBuilder, Codec, control_batch},
};

use super::*;

fn anchor(number: u64, source_offset: i64, target_offset: i64) -> Anchor {
    Anchor {
        unit: 1,
        term: 0,
        number,
        source_offset,
        target_offset,
        sequence: 0,
        left_out: 0,
    }
}

/// A batch on the source: which of its offsets still have a record.
#[derive(Clone, Debug)]
pub(in super::super) struct Written {
    kept: Vec<bool>,
    /// Part of a transaction that was aborted.
    aborted: bool,
    /// Offsets between it and the one before that nothing is left of.
    hole: i64,
}

pub(in super::super) fn written() -> impl Strategy<Value = Written> {
    let kept = proptest::collection::vec(proptest::bool::weighted(0.8), 1..5);
    let parts = (kept, proptest::bool::weighted(0.2), 0i64..3);
    parts.prop_map(|(kept, aborted, hole)| Written {
        kept,
        aborted,
        hole,
    })
}

/// As compaction leaves a batch: its first and last offset stay, records between them go.
fn batch(base: i64, one: &Written) -> Vec<u8> {
    let attributes = if one.aborted { TRANSACTIONAL } else { 0 };
    let mut builder = BatchBuilder::new(Codec::None)
        .attributes(attributes)
        .producer(9, 0, 0);
    for _ in &one.kept {
        builder.push(5, Some(b"k"), Some(b"v"), &[]);
    }
    let whole = BatchView::read(&builder.build(base).unwrap())
        .unwrap()
        .unwrap();
    let mut header = whole.header;
    let mut payload = Vec::new();
    let record = whole.payload().len() / one.kept.len();
    for (index, _) in one.kept.iter().enumerate().filter(|(_, kept)| **kept) {
        payload.extend_from_slice(&whole.payload()[index * record..][..record]);
        header.record_count += 1;
    }
    header.record_count -= one.kept.len() as i32;
    let size = header.to_bytes().len() + payload.len();
    header.length = i32::try_from(size).unwrap() - 12;
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&payload);
    bytes
}

/// Bytes, and the aborted transactions that begin in them.
type Piece = (Vec<u8>, Vec<(i64, i64)>);

/// Batches as they lie in a log.
pub(in super::super) struct Log {
    batches: Vec<Piece>,
    /// Offsets of all records that a reader sees.
    pub(in super::super) records: BTreeSet<i64>,
    pub(in super::super) end: i64,
}

impl Log {
    pub(in super::super) fn new(written: &[Written]) -> Self {
        let mut log = Self {
            batches: Vec::new(),
            records: BTreeSet::new(),
            end: 0,
        };
        for one in written {
            let at = log.end + one.hole;
            let mut bytes = batch(at, one);
            let kept = (at..).zip(&one.kept).filter(|(_, kept)| **kept);
            log.end = at + one.kept.len() as i64;
            if one.aborted {
                bytes.extend_from_slice(&control_batch(log.end, 9, 0, false, 0, 5).unwrap());
                log.end += 1;
                log.batches.push((bytes, vec![(9, at)]));
            } else {
                log.records.extend(kept.map(|(offset, _)| offset));
                log.batches.push((bytes, Vec::new()));
            }
        }
        log
    }

    /// All of it, in two reads.
    pub(in super::super) fn reads(&self, cut: usize) -> [Fetched; 2] {
        let (first, second) = self.batches.split_at(cut.min(self.batches.len()));
        [first, second].map(|some| {
            let bytes: Vec<u8> = some.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            Fetched {
                partition: TopicPartition::new("t", 0),
                high_watermark: self.end,
                last_stable_offset: self.end,
                log_start_offset: 0,
                records: bytes.into(),
                aborted: some
                    .iter()
                    .flat_map(|(_, aborted)| aborted.clone())
                    .collect(),
            }
        })
    }
}

proptest! {
    /// Against a list of all offsets: whatever is left of the batches, however the interval cuts them, and in however
    /// many reads they come.
    #[test]
    fn it_counts_what_is_there(
        log in proptest::collection::vec(written(), 1..12), cut in 0usize..8,
        from in 0i64..12, to in 12i64..60, asked in proptest::collection::btree_set(0i64..60, 0..5),
    ) {
        let log = Log::new(&log);
        let to = to.min(log.end);
        prop_assume!(from < to);
        let count = |from: i64, to: i64| log.records.range(from..to).count() as i64;
        let all = count(from, to);
        let interval = (anchor(0, from, 100), anchor(1, to, 100 + all));
        let mut counted = Count::new(interval.0, interval.1);
        for fetched in log.reads(cut) {
            counted.take(&fetched, Isolation::ReadCommitted, &asked).unwrap();
        }
        prop_assert!(counted.is_done());
        for offset in asked.range(from..to) {
            let answer = counted.answer(*offset);
            prop_assert!(answer.is_exact());
            prop_assert_eq!(answer.low, 100 + count(from, *offset));
        }
        // Also where nothing was asked it is known from both sides.
        for offset in from..to {
            let (answer, is) = (counted.answer(offset), 100 + count(from, offset));
            prop_assert!(answer.low <= is && is <= answer.high, "{answer:?} {is}");
        }
        for pair in counted.pairs() {
            // Behind the interval there may be what was never copied.
            prop_assert!(pair.source_offset <= to);
            prop_assert_eq!(pair.target_offset, 100 + count(from, pair.source_offset));
        }
        // A source that has lost records since is no witness.
        let more = Count { to: anchor(1, to, 100 + all + 1), ..counted };
        prop_assert!(more.pairs().is_empty());
    }
}

/// All offsets of a batch, as it was copied.
fn as_written() -> impl Strategy<Value = Written> {
    (1usize..5, proptest::bool::weighted(0.2)).prop_map(|(count, aborted)| Written {
        kept: vec![true; count],
        aborted,
        hole: 0,
    })
}

proptest! {
    /// Against a list of all records that were copied: retention took some batches, compaction parts of others, and what
    /// is whole up to the end tells where it is, unless somebody else wrote there, or records were left out.
    #[test]
    fn what_is_whole_up_to_the_end_is_counted_from_behind(
        log in proptest::collection::vec(as_written(), 2..12), gone in 0usize..8, compacted in 0usize..4,
        asked in proptest::collection::btree_set(0i64..60, 0..8),
    ) {
        let (mut left, mut aborts, mut copied) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (mut at, mut start, mut whole) = (0, 0, 0);
        for (index, one) in log.iter().enumerate() {
            let base = at;
            at += one.kept.len() as i64;
            if !one.aborted {
                copied.extend(base..at);
            }
            let end = at + i64::from(one.aborted);
            let lost_some = index < gone + compacted && one.kept.len() > 2;
            if index < gone {
                (start, whole) = (end, end);
            } else {
                let mut one = one.clone();
                if lost_some {
                    one.kept[1] = false;
                    whole = at;
                }
                left.extend(batch(base, &one));
                if one.aborted {
                    aborts.push((9, base));
                    left.extend_from_slice(&control_batch(at, 9, 0, false, 0, 5).unwrap());
                }
            }
            at = end;
        }
        prop_assume!(start < at);
        let all = copied.len() as i64;
        let last = Anchor { sequence: i32::try_from(all).unwrap(), ..anchor(1, at, 100 + all) };
        let mut counted = Count::new(anchor(0, 0, 100), last);
        counted.begins_at(start);
        let fetched = Fetched {
            partition: TopicPartition::new("t", 0),
            high_watermark: at,
            last_stable_offset: at,
            log_start_offset: start,
            records: left.into(),
            aborted: aborts,
        };
        counted.take(&fetched, Isolation::ReadCommitted, &asked).unwrap();
        prop_assert!(counted.is_done());
        let pairs: BTreeMap<_, _> = counted
            .pairs()
            .iter()
            .map(|pair| (pair.source_offset, pair.target_offset))
            .collect();
        let is = |offset: i64| 100 + copied.range(..offset).count() as i64;
        for (source, target) in &pairs {
            prop_assert_eq!(*target, is(*source));
        }
        for offset in asked.range(whole..at) {
            prop_assert!(pairs.contains_key(offset), "{} of {:?}, whole from {}", offset, pairs, whole);
        }
        let knows_with = |to: Anchor| Count { to, ..counted.clone() }.pairs().len();
        if counted.records < all {
            prop_assert_eq!(knows_with(Anchor { target_offset: last.target_offset + 1, ..last }), 0);
            prop_assert_eq!(knows_with(Anchor { term: 1, ..last }), 0);
        }
        prop_assert_eq!(knows_with(Anchor { left_out: 1, ..last }), 0);
    }
}
