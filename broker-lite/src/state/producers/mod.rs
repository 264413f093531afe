//! What a partition remembers of its producers: the idempotence check and open transactions. Pure.
//!
//! The rules are those of `ProducerStateManager` and `ProducerAppendInfo`: the last five batches of each
//! producer; an exact repeat of one of them is a duplicate; a gap or an overlap is out of order; a
//! producer that is not known may begin with any sequence. A producer is forgotten when its last
//! batch's *record* time is older than the expiration, at the next sweep.
//!
//! What is remembered is kept beside the log, see `snapshot.rs`.

pub(crate) mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};

use kafka_protocol::error::ResponseError;
use wire::batch::{BatchHeader, add_sequence};

use crate::log::{AbortedTransaction, LastRecord};

/// Batches remembered per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES: usize = 5;

/// When producers are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiration {
    /// `producer.id.expiration.ms`
    pub(crate) after_ms: i64,
    /// Between two sweeps: `producer.id.expiration.check.interval.ms`.
    pub(crate) check_ms: i64,
}

/// All producers of a partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    entries: BTreeMap<i64, Entry>,
    /// When expired producers were last looked for, ms since 1970.
    swept_ms: i64,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    epoch: i16,
    batches: VecDeque<Batch>,
    last_timestamp: i64,
    coordinator_epoch: i32,
    /// First offset of the open transaction.
    transaction: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    max_timestamp: i64,
}

impl Batch {
    fn last_offset(&self) -> i64 {
        // Sequences wrap, offsets do not.
        let count = add_sequence(self.last_sequence, -self.first_sequence);
        self.base_offset + i64::from(count)
    }
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
    /// It is there already, at this offset, with this largest timestamp.
    Duplicate {
        base_offset: i64,
        max_timestamp: i64,
    },
}

impl Producers {
    /// Whether a batch may be appended. Batches without producer id always may.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Verdict, ResponseError> {
        if header.producer_id < 0 {
            return Ok(Verdict::Append);
        }
        let Some(entry) = self.entries.get(&header.producer_id) else {
            return Ok(Verdict::Append);
        };
        if let Some(batch) = entry.repeated(header) {
            return Ok(Verdict::Duplicate {
                base_offset: batch.base_offset,
                max_timestamp: batch.max_timestamp,
            });
        }
        if header.producer_epoch < entry.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let expected = match entry.batches.back() {
            Some(last) if header.producer_epoch == entry.epoch => {
                add_sequence(last.last_sequence, 1)
            }
            // A new epoch begins at 0, also one that only a marker was seen of.
            _ => 0,
        };
        if header.base_sequence != expected {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        if entry.transaction.is_some() && !header.is_transactional() {
            // Readers would take it for a part of the transaction.
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// Remembers a batch that was appended; its offsets are set.
    pub(crate) fn appended(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        let entry = self.entry(header);
        if entry.batches.len() == BATCHES {
            entry.batches.pop_front();
        }
        entry.batches.push_back(Batch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            max_timestamp: header.max_timestamp,
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

    /// What an abort marker will abort, if there is anything.
    pub(crate) fn aborts(&self, marker: &BatchHeader) -> Option<AbortedTransaction> {
        let id = marker.producer_id;
        let first_offset = self.entries.get(&id)?.transaction?;
        let others = self.entries.iter().filter(|(other, _)| **other != id);
        let open = others.filter_map(|(_, entry)| entry.transaction).min();
        Some(AbortedTransaction {
            producer_id: id,
            first_offset,
            last_offset: marker.base_offset,
            last_stable: open.unwrap_or(marker.next_offset()),
        })
    }

    /// Remembers a marker that was appended.
    pub(crate) fn ended(&mut self, header: &BatchHeader, coordinator_epoch: i32) {
        let entry = self.entry(header);
        entry.last_timestamp = header.max_timestamp;
        entry.coordinator_epoch = coordinator_epoch;
        entry.transaction = None;
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        let open = self.entries.values().filter_map(|entry| entry.transaction);
        open.min()
    }

    /// [`Producers::expire`] where it is due, every ten minutes as Kafka does: until then producers of old records are
    /// remembered too.
    pub(crate) fn sweep(&mut self, now_ms: i64, expiration: Expiration) {
        if now_ms.saturating_sub(self.swept_ms) >= expiration.check_ms {
            self.expire(now_ms, expiration.after_ms);
        }
    }

    /// Forgets producers whose last record is older than `expiration_ms`, open transactions aside.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.swept_ms = now_ms;
        self.entries.retain(|_, entry| {
            let age = now_ms.saturating_sub(entry.last_timestamp);
            entry.transaction.is_some() || age < expiration_ms
        });
    }

    /// Forgets a producer, or all, whatever their age, open transactions aside. Returns how many.
    pub(crate) fn forget(&mut self, id: Option<i64>) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|one, entry| entry.transaction.is_some() || id.is_some_and(|id| id != *one));
        before - self.entries.len()
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

    /// What each producer wrote last (`ProducerStateManager.lastRecordsOfActiveProducers`).
    pub(crate) fn last_records(&self) -> HashMap<i64, LastRecord> {
        let last = |(id, entry): (&i64, &Entry)| {
            let offset = entry.batches.back().map(Batch::last_offset);
            let epoch = entry.epoch;
            (*id, LastRecord { offset, epoch })
        };
        self.entries.iter().map(last).collect()
    }

    /// The producer of a batch, in the batch's epoch.
    fn entry(&mut self, header: &BatchHeader) -> &mut Entry {
        let epoch = header.producer_epoch;
        let entry = self.entries.entry(header.producer_id).or_insert(Entry {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: -1,
            coordinator_epoch: -1,
            transaction: None,
        });
        if entry.epoch != epoch {
            entry.epoch = epoch;
            entry.batches.clear();
        }
        entry
    }
}

impl Entry {
    /// The remembered batch that this one repeats. Only the sequences are compared, as in Kafka.
    fn repeated(&self, header: &BatchHeader) -> Option<&Batch> {
        let range = (header.base_sequence, header.last_sequence());
        let same = |batch: &&Batch| (batch.first_sequence, batch.last_sequence) == range;
        let mut batches = self.batches.iter();
        batches
            .find(same)
            .filter(|_| header.producer_epoch == self.epoch)
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
        let repeated = |base_offset| {
            Ok(Verdict::Duplicate {
                base_offset,
                max_timestamp: 5,
            })
        };
        assert_eq!(check(0, 103, 3), repeated(3));
        assert_eq!(check(0, 115, 3), repeated(15));
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
        producers.expire(1_004, 1_000);
        assert_eq!(producers.describe().len(), 2, "999 ms old");
        let expiration = Expiration {
            after_ms: 1_000,
            check_ms: 600_000,
        };
        producers.sweep(600_000, expiration);
        assert_eq!(producers.describe().len(), 2, "not yet looked at again");
        producers.sweep(601_004, expiration);
        assert_eq!(producers.describe().len(), 1);
        assert_eq!(producers.first_open(), Some(1));
        assert_eq!(producers.check(&batch(7, 0, 50, 1, 2)), Ok(Verdict::Append));
    }

    #[test]
    fn producers_are_looked_at_as_often_as_is_set() {
        let mut producers = Producers::default();
        let expiration = Expiration {
            after_ms: 1_000,
            check_ms: 1,
        };
        producers.sweep(1, expiration);
        producers.appended(&batch(7, 0, 0, 1, 0));
        producers.sweep(1, expiration);
        assert_eq!(producers.describe().len(), 1, "not yet");
        producers.sweep(1_005, expiration);
        assert_eq!(producers.describe().len(), 0);
    }

    #[test]
    fn a_marker_tells_what_it_aborted_and_what_is_stable_then() {
        let open = |id, offset| BatchHeader {
            attributes: wire::batch::TRANSACTIONAL,
            ..batch(id, 0, 0, 2, offset)
        };
        let mut producers = Producers::default();
        producers.appended(&open(8, 10));
        producers.appended(&open(9, 12));
        let marker = batch(8, 0, -1, 1, 20);
        let aborted = producers.aborts(&marker);
        producers.ended(&marker, 3);
        let expected = AbortedTransaction {
            producer_id: 8,
            first_offset: 10,
            last_offset: 20,
            last_stable: 12,
        };
        assert_eq!(aborted, Some(expected));
        producers.ended(&batch(9, 0, -1, 1, 21), 3);
        assert_eq!(producers.first_open(), None);
        let late = producers.aborts(&batch(9, 0, -1, 1, 22));
        assert_eq!(late, None, "nothing was open");
        let described = producers.describe();
        assert_eq!(
            (described[0].coordinator_epoch, described[0].last_sequence),
            (3, 1)
        );
    }

    #[test]
    fn a_new_epoch_that_only_a_marker_was_seen_of_begins_at_0() {
        let mut producers = Producers::default();
        producers.ended(&batch(8, 4, -1, 1, 20), 0);
        let check = |sequence| producers.check(&batch(8, 4, sequence, 1, 0));
        assert_eq!(check(0), Ok(Verdict::Append));
        assert_eq!(check(5), Err(ResponseError::OutOfOrderSequenceNumber));
    }
}
