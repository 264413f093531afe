//! What a partition remembers of its producers: the idempotence check and open transactions. Pure.
//!
//! The rules are those of `ProducerStateManager` and `ProducerAppendInfo`: the last five batches of each
//! producer; an exact repeat of one of them is a duplicate; a gap or an overlap is out of order; a
//! producer that is not known may begin with any sequence. A producer is forgotten when its last
//! batch's *record* time is older than the expiration.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::error::ResponseError;
use wire::batch::{BatchHeader, add_sequence};

/// Batches remembered per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES: usize = 5;

/// All producers of a partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    entries: BTreeMap<i64, Entry>,
    /// Ended transactions that were aborted, by their last offset.
    aborted: Vec<AbortedTransaction>,
}

#[derive(Debug)]
struct Entry {
    epoch: i16,
    batches: VecDeque<Appended>,
    last_timestamp: i64,
    coordinator_epoch: i32,
    /// First offset of the open transaction.
    transaction: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// A transaction whose records do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of its marker.
    pub(crate) last_offset: i64,
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerDescription {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_timestamp: i64,
    pub(crate) coordinator_epoch: i32,
    pub(crate) transaction_start: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Append,
    /// It is there already, at this offset.
    Duplicate { base_offset: i64 },
}

impl Producers {
    /// Whether a batch may be appended. Batches without producer id always may.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Verdict, ResponseError> {
        let Some(entry) = self
            .entries
            .get(&header.producer_id)
            .filter(|_| header.producer_id >= 0)
        else {
            return Ok(Verdict::Append);
        };
        let (first, last) = (header.base_sequence, header.last_sequence());
        if entry.epoch == header.producer_epoch {
            let same = |b: &&Appended| (b.first_sequence, b.last_sequence) == (first, last);
            if let Some(batch) = entry.batches.iter().find(same) {
                return Ok(Verdict::Duplicate {
                    base_offset: batch.base_offset,
                });
            }
        }
        if header.producer_epoch < entry.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let expected = match entry.batches.back() {
            // A new epoch begins at 0.
            _ if header.producer_epoch > entry.epoch => Some(0),
            Some(batch) => Some(add_sequence(batch.last_sequence, 1)),
            // Only markers so far.
            None => None,
        };
        match expected {
            Some(expected) if expected != first => Err(ResponseError::OutOfOrderSequenceNumber),
            // Readers would take it for a part of the transaction.
            _ if entry.transaction.is_some() && !header.is_transactional() => {
                Err(ResponseError::InvalidTxnState)
            }
            _ => Ok(Verdict::Append),
        }
    }

    /// Remembers a batch that was appended; its offsets are set.
    pub(crate) fn appended(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        let entry = self
            .entries
            .entry(header.producer_id)
            .or_insert_with(|| Entry::new(header));
        entry.enter_epoch(header.producer_epoch);
        if entry.batches.len() == BATCHES {
            entry.batches.pop_front();
        }
        entry.batches.push_back(Appended {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
        });
        entry.last_timestamp = header.max_timestamp;
        if header.is_transactional() {
            entry.transaction.get_or_insert(header.base_offset);
        }
    }

    /// Whether a marker of this epoch is late: its transaction was ended by a later one.
    pub(crate) fn is_fenced(&self, producer_id: i64, epoch: i16) -> bool {
        self.entries
            .get(&producer_id)
            .is_some_and(|entry| epoch < entry.epoch)
    }

    /// Remembers a marker that was appended.
    pub(crate) fn ended(&mut self, header: &BatchHeader, commit: bool, coordinator_epoch: i32) {
        let entry = self
            .entries
            .entry(header.producer_id)
            .or_insert_with(|| Entry::new(header));
        entry.enter_epoch(header.producer_epoch);
        entry.last_timestamp = header.max_timestamp;
        entry.coordinator_epoch = coordinator_epoch;
        if let Some(first_offset) = entry.transaction.take()
            && !commit
        {
            self.aborted.push(AbortedTransaction {
                producer_id: header.producer_id,
                first_offset,
                last_offset: header.base_offset,
            });
        }
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.entries
            .values()
            .filter_map(|entry| entry.transaction)
            .min()
    }

    /// Aborted transactions that overlap `from..to`.
    pub(crate) fn aborted(&self, from: i64, to: i64) -> Vec<AbortedTransaction> {
        let overlaps = |one: &&AbortedTransaction| one.last_offset >= from && one.first_offset < to;
        self.aborted.iter().filter(overlaps).copied().collect()
    }

    /// Forgets producers whose last record is older than `oldest`, open transactions aside.
    pub(crate) fn expire(&mut self, oldest: i64) {
        self.entries
            .retain(|_, entry| entry.transaction.is_some() || entry.last_timestamp >= oldest);
    }

    /// Forgets aborted transactions that lie before `start`.
    pub(crate) fn forget_before(&mut self, start: i64) {
        self.aborted.retain(|one| one.last_offset >= start);
    }

    /// All producers.
    pub(crate) fn describe(&self) -> Vec<ProducerDescription> {
        let describe = |(id, entry): (&i64, &Entry)| ProducerDescription {
            id: *id,
            epoch: entry.epoch,
            last_sequence: entry.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: entry.transaction.unwrap_or(-1),
        };
        self.entries.iter().map(describe).collect()
    }
}

impl Entry {
    fn new(header: &BatchHeader) -> Self {
        Self {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: -1,
            coordinator_epoch: -1,
            transaction: None,
        }
    }

    fn enter_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: i64, epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
        let bytes = wire::record::BatchBuilder::new(wire::record::Codec::None)
            .producer(id, epoch, sequence)
            .build(offset)
            .unwrap();
        let header = BatchHeader::read(&bytes).unwrap();
        BatchHeader {
            last_offset_delta: count - 1,
            record_count: count,
            max_timestamp: 5,
            ..header
        }
    }

    /// What Kafka 4.1.1 answers to raw requests, row by row.
    #[test]
    fn sequences_are_judged_as_kafka_judges_them() {
        use ResponseError::{InvalidProducerEpoch, OutOfOrderSequenceNumber};
        let mut producers = Producers::default();
        // Unknown: any sequence. Then only the next one.
        for (offset, sequence) in [(0, 100), (3, 103), (6, 106), (9, 109), (12, 112), (15, 115)] {
            let header = batch(7, 0, sequence, 3, offset);
            assert_eq!(producers.check(&header), Ok(Verdict::Append), "{sequence}");
            producers.appended(&header);
        }
        let check = |epoch, sequence, count| producers.check(&batch(7, epoch, sequence, count, 0));
        assert_eq!(check(0, 103, 3), Ok(Verdict::Duplicate { base_offset: 3 }));
        assert_eq!(check(0, 115, 3), Ok(Verdict::Duplicate { base_offset: 15 }));
        assert_eq!(
            check(0, 100, 3),
            Err(OutOfOrderSequenceNumber),
            "older than five batches"
        );
        assert_eq!(check(0, 119, 3), Err(OutOfOrderSequenceNumber), "gap");
        assert_eq!(check(0, 116, 3), Err(OutOfOrderSequenceNumber), "overlap");
        assert_eq!(
            check(0, 115, 2),
            Err(OutOfOrderSequenceNumber),
            "part of a batch"
        );
        assert_eq!(check(1, 0, 3), Ok(Verdict::Append), "new epoch");
        assert_eq!(
            check(1, 118, 3),
            Err(OutOfOrderSequenceNumber),
            "new epoch not at 0"
        );
        let mut producers = Producers::default();
        producers.appended(&batch(7, 2, 0, 1, 0));
        assert_eq!(
            producers.check(&batch(7, 1, 1, 1, 0)),
            Err(InvalidProducerEpoch)
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.appended(&batch(7, 0, i32::MAX - 1, 3, 0));
        assert_eq!(producers.check(&batch(7, 0, 1, 1, 3)), Ok(Verdict::Append));
    }

    #[test]
    fn a_producer_expires_by_its_records_time_but_not_in_a_transaction() {
        let mut producers = Producers::default();
        producers.appended(&batch(7, 0, 0, 1, 0));
        let open = batch(8, 0, 0, 1, 1);
        producers.appended(&BatchHeader {
            attributes: wire::batch::TRANSACTIONAL,
            ..open
        });
        producers.expire(6);
        assert_eq!(producers.describe().len(), 1);
        assert_eq!(producers.first_open(), Some(1));
        assert_eq!(producers.check(&batch(7, 0, 50, 1, 2)), Ok(Verdict::Append));
    }

    #[test]
    fn aborted_transactions_are_listed_where_they_overlap() {
        let mut producers = Producers::default();
        let data = batch(8, 0, 0, 2, 10);
        producers.appended(&BatchHeader {
            attributes: wire::batch::TRANSACTIONAL,
            ..data
        });
        producers.ended(&batch(8, 0, -1, 1, 20), false, 0);
        assert_eq!(producers.first_open(), None);
        assert_eq!(producers.aborted(0, 10), []);
        assert_eq!(producers.aborted(0, 11).len(), 1);
        assert_eq!(producers.aborted(20, 30).len(), 1);
        assert_eq!(producers.aborted(21, 30), []);
    }
}
