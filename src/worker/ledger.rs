//! What is in flight, in order, and how far everything before it is acknowledged. Pure.
//!
//! A batch is acknowledged once it *and all before it* are. Batches without records are acknowledged
//! when they get to the front. Only the acknowledged prefix leaves the ledger, as [`Progress`].

use std::{collections::VecDeque, time::Duration};

use super::progress::Progress;
use crate::{
    base::budget::Permit,
    checkpoint::LastRecord,
    sink::Appended,
    source::{Batch, Record},
};

/// Batches and their answers.
#[derive(Debug)]
pub(super) struct Ledger {
    progress: Progress,
    entries: VecDeque<Entry>,
    next_ticket: u64,
}

/// What is remembered of a batch until it is acknowledged.
#[derive(Debug)]
struct Entry {
    ticket: u64,
    next_offset: i64,
    records: u64,
    bytes: u64,
    last_record: Option<LastRecord>,
    sent_at: Duration,
    _permit: Permit,
}

/// A batch that became part of the acknowledged prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// An answer that contradicts the ledger.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LedgerError {
    /// The target's offsets went back: it is not the partition that was written before.
    #[error(
        "the target acknowledged offset {offset} behind offset {expected}: it is not the partition it was"
    )]
    WentBack { offset: i64, expected: i64 },
    /// The sink answered for another batch than the oldest.
    #[error("the sink answered ticket {answered} where {expected} was next")]
    Order { answered: u64, expected: u64 },
}

impl Ledger {
    /// Begins behind what is acknowledged already.
    pub(super) fn new(progress: Progress) -> Self {
        Self {
            progress,
            entries: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Takes a batch up; its records are the caller's to send under the ticket. None for a batch
    /// without records.
    pub(super) fn push(&mut self, batch: Batch, now: Duration) -> Option<(u64, Vec<Record>)> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.entries.push_back(Entry {
            ticket,
            next_offset: batch.next_offset,
            records: batch.records.len() as u64,
            bytes: batch.records.iter().map(Record::bytes).sum(),
            last_record: batch.records.last().map(|record| LastRecord {
                source_offset: record.offset,
                crc: record.crc(),
                leader_epoch: -1,
                payload_crc: None,
            }),
            sent_at: now,
            _permit: batch.permit,
        });
        self.settle_empty();
        (!batch.records.is_empty()).then_some((ticket, batch.records))
    }

    /// Takes an answer for the oldest batch that waits for one.
    pub(super) fn acknowledge(
        &mut self,
        ticket: u64,
        appended: Appended,
        now: Duration,
    ) -> Result<Settled, LedgerError> {
        let expected = self
            .entries
            .front()
            .map_or(self.next_ticket, |entry| entry.ticket);
        if expected != ticket {
            return Err(LedgerError::Order {
                answered: ticket,
                expected,
            });
        }
        if appended.first_offset < self.progress.target_offset {
            let expected = self.progress.target_offset;
            return Err(LedgerError::WentBack {
                offset: appended.first_offset,
                expected,
            });
        }
        let entry = self
            .entries
            .pop_front()
            .expect("its ticket was just compared");
        self.progress
            .advance(entry.next_offset, entry.records, entry.bytes);
        self.progress.appended(entry.last_record, appended);
        self.settle_empty();
        let took = now.saturating_sub(entry.sent_at);
        Ok(Settled {
            records: entry.records,
            bytes: entry.bytes,
            took,
        })
    }

    /// Forgets the newest batch: nobody will answer for it.
    pub(super) fn abandon_newest(&mut self) {
        self.entries.pop_back();
    }

    /// Forgets what is not acknowledged: it will be read and sent again.
    pub(super) fn rewind(&mut self) {
        self.entries.clear();
    }

    /// The acknowledged prefix.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Batches that wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.entries.len()
    }

    fn settle_empty(&mut self) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.records == 0) {
            self.progress.advance(entry.next_offset, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(first: i64, next: i64, records: i64) -> Batch {
        let record = |offset| Record {
            offset,
            timestamp: 1,
            key: None,
            value: Some(vec![0; 10].into()),
            headers: Vec::new(),
        };
        Batch {
            first_offset: first,
            next_offset: next,
            source_end: next,
            records: (first..first + records).map(record).collect(),
            permit: Permit::default(),
        }
    }

    fn appended(first_offset: i64, records: i64) -> Appended {
        Appended {
            first_offset,
            last_offset: first_offset + records - 1,
        }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn empty_batches_count_once_everything_before_them_is_acknowledged() {
        let mut ledger = Ledger::new(Progress::start(5, 0));
        assert!(ledger.push(batch(5, 9, 0), NOW).is_none());
        assert_eq!(ledger.progress().source_offset, 9);
        let (ticket, records) = ledger.push(batch(9, 12, 3), NOW).unwrap();
        assert_eq!(records.len(), 3);
        assert!(ledger.push(batch(12, 20, 0), NOW).is_none());
        assert_eq!(ledger.progress().source_offset, 9);
        let settled = ledger.acknowledge(ticket, appended(0, 3), NOW).unwrap();
        assert_eq!((settled.records, settled.bytes), (3, 30));
        assert_eq!(
            (
                ledger.progress().source_offset,
                ledger.progress().target_offset
            ),
            (20, 3)
        );
        assert_eq!(ledger.progress().last_record.unwrap().source_offset, 11);
    }

    #[test]
    fn a_target_whose_offsets_go_back_is_another_target() {
        let mut ledger = Ledger::new(Progress::start(0, 100));
        let (ticket, _) = ledger.push(batch(0, 1, 1), NOW).unwrap();
        let error = ledger.acknowledge(ticket, appended(0, 1), NOW).unwrap_err();
        assert_eq!(
            error,
            LedgerError::WentBack {
                offset: 0,
                expected: 100
            }
        );
        assert_eq!(ledger.progress().source_offset, 0);
    }

    proptest! {
        /// Against a model that only knows sums: whatever is pushed, acknowledged and rewound, the
        /// prefix is what was acknowledged in a row, and never more.
        #[test]
        fn the_prefix_is_what_was_acknowledged_in_a_row(
            steps in proptest::collection::vec((0u8..10, 0i64..4, 0i64..3), 1..200),
        ) {
            let mut ledger = Ledger::new(Progress::start(0, 0));
            let (mut read, mut acknowledged, mut target) = (0, 0, 0);
            let mut waiting: VecDeque<(Option<u64>, i64, i64)> = VecDeque::new();
            for (step, records, gap) in steps {
                match step {
                    0 => {
                        ledger.rewind();
                        waiting.clear();
                        read = acknowledged;
                    }
                    1..=5 => {
                        let next = read + records + gap;
                        let sent = ledger.push(batch(read, next, records), NOW);
                        waiting.push_back((sent.map(|(ticket, _)| ticket), next, records));
                        read = next;
                    }
                    _ => {
                        if let Some((Some(ticket), _, records)) = waiting.front().copied() {
                            ledger.acknowledge(ticket, appended(target, records), NOW).unwrap();
                            target += records;
                            let (_, next, _) = waiting.pop_front().unwrap();
                            acknowledged = next;
                        }
                    }
                }
                while let Some((_, next, _)) = waiting.pop_front_if(|(ticket, ..)| ticket.is_none()) {
                    acknowledged = next;
                }
                prop_assert_eq!(ledger.progress().source_offset, acknowledged);
                prop_assert_eq!(ledger.progress().target_offset, target);
                prop_assert_eq!(ledger.in_flight(), waiting.len());
            }
        }
    }
}
