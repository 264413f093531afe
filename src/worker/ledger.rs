//! What is in flight, in order, and how far everything before it is acknowledged. Pure.
//!
//! A batch is acknowledged once it *and all before it* are. Batches without records are acknowledged
//! when they get to the front. Only the acknowledged prefix leaves the ledger, as [`Progress`].

use std::{collections::VecDeque, time::Duration};

use wire::batch::{BatchError, BatchView};

use super::{
    prepare::{Body, Part},
    progress::Progress,
};
use crate::{base::budget::Permit, checkpoint::LastRecord, sink::Appended};

/// Batches and their answers.
#[derive(Debug)]
pub(super) struct Ledger {
    progress: Progress,
    entries: VecDeque<Entry>,
    next_ticket: u64,
    /// Of the next record to be sent.
    next_sequence: i64,
}

/// What is remembered of a batch until it is acknowledged.
#[derive(Debug)]
struct Entry {
    ticket: u64,
    next_offset: i64,
    epoch: i32,
    records: u64,
    bytes: u64,
    last_record: Option<LastRecord>,
    source_offset: i64,
    timestamp: i64,
    sealed: Option<BatchView>,
    sent_at: Duration,
    _permit: Permit,
}

/// A batch that became part of the acknowledged prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Largest timestamp of a sealed batch; -1 for others.
    pub(super) max_timestamp: i64,
    /// Time of the first record; -1: none.
    pub(super) timestamp: i64,
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

impl Entry {
    fn max_timestamp(&self) -> i64 {
        self.sealed
            .as_ref()
            .map_or(-1, |view| view.header.max_timestamp)
    }
}

impl Ledger {
    /// Begins behind what is acknowledged already.
    pub(super) fn new(progress: Progress) -> Self {
        Self {
            next_sequence: progress.sequence,
            progress,
            entries: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Takes a part up; what it holds is to be sent under the ticket. `permit` is kept until it is acknowledged.
    pub(super) fn push(&mut self, part: &Part, permit: Permit, now: Duration) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.next_sequence += part.records.cast_signed();
        self.entries.push_back(Entry {
            ticket,
            next_offset: part.next_offset,
            epoch: part.epoch,
            records: part.records,
            bytes: part.bytes,
            last_record: part.last,
            sealed: match &part.body {
                Body::Sealed(view) => Some(view.clone()),
                Body::Nothing | Body::Refused(_) | Body::Open(_) => None,
            },
            source_offset: part.source_offset,
            timestamp: part.timestamp,
            sent_at: now,
            _permit: permit,
        });
        self.settle_empty();
        ticket
    }

    /// The target lost acknowledged records behind `place`. Nothing is in flight.
    pub(super) fn go_back(&mut self, place: Progress) {
        debug_assert!(
            self.entries.is_empty(),
            "nothing is sent before the place is known"
        );
        self.next_sequence = place.sequence;
        let held = place.target_offset;
        self.progress = Progress {
            left_out: self.progress.left_out,
            losses: self.progress.losses,
            ..place
        };
        self.progress.lose(held);
    }

    /// So many records before the next one to be read will never be sent.
    pub(super) fn left_out(&mut self, records: u64) {
        self.progress.left_out += records;
    }

    /// Everything up to and with `last` turned out to be on the target already, `records` in number; the
    /// target goes on at `target_offset`. Nothing is in flight. What was not written in this epoch takes no
    /// number of it: leaders want an epoch to begin at 0 (`ProducerAppendInfo.checkSequence`).
    pub(super) fn passed_over(
        &mut self,
        records: i64,
        in_this_epoch: bool,
        last: LastRecord,
        target_offset: i64,
    ) {
        debug_assert!(
            self.entries.is_empty(),
            "nothing is sent while records are passed over"
        );
        let numbered = if in_this_epoch {
            self.progress.began();
            records.unsigned_abs()
        } else {
            0
        };
        self.progress.advance(last.source_offset + 1, numbered, 0);
        let appended = Appended {
            first_offset: target_offset - 1,
            last_offset: target_offset - 1,
        };
        self.progress.appended(Some(last), appended);
        self.progress.epoch = last.leader_epoch;
        self.next_sequence = self.progress.sequence;
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
        self.progress.epoch = entry.epoch;
        self.settle_empty();
        let took = now.saturating_sub(entry.sent_at);
        Ok(Settled {
            max_timestamp: entry.max_timestamp(),
            timestamp: entry.timestamp,
            records: entry.records,
            bytes: entry.bytes,
            took,
        })
    }

    /// Forgets the newest batch: nobody will answer for it.
    pub(super) fn abandon_newest(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.next_sequence -= entry.records.cast_signed();
        }
    }

    /// Forgets what is not acknowledged: it will be read and sent again.
    pub(super) fn rewind(&mut self) {
        self.entries.clear();
        self.next_sequence = self.progress.sequence;
    }

    /// The acknowledged prefix.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Batches that wait for an answer, and ranges without records behind them.
    pub(super) fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Time of the first record that waits for its acknowledgement; -1: it has none.
    pub(super) fn oldest(&self) -> Option<i64> {
        let mut full = self.entries.iter().filter(|entry| entry.records > 0);
        full.next().map(|entry| entry.timestamp)
    }

    /// The sequence of the next record to be sent, not wrapped.
    pub(super) fn next_sequence(&self) -> i64 {
        self.next_sequence
    }

    /// How many sealed batches wait for an answer, and the smallest of their largest timestamps.
    pub(super) fn unresolved(&self) -> (usize, i64) {
        let sealed = self.entries.iter().filter(|entry| entry.records > 0);
        sealed.fold((0, i64::MAX), |(count, oldest), entry| {
            (count + 1, oldest.min(entry.max_timestamp()))
        })
    }

    /// What is wrong with the bytes of the sealed batch in flight that begins at `source_offset`, as they came
    /// from the source; none if nothing is.
    pub(super) fn damaged(&self, source_offset: i64) -> Option<BatchError> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.source_offset == source_offset)?;
        entry.sealed.as_ref()?.check_crc().err()
    }

    /// Where the batch in flight that holds `source_offset` begins, how many records it has, and where the source goes on
    /// behind all that is in flight.
    pub(super) fn holds(&self, source_offset: i64) -> Option<(i64, u64, i64)> {
        let mut entries = self.entries.iter().filter(|entry| entry.records > 0);
        let entry = entries
            .find(|entry| (entry.source_offset..entry.next_offset).contains(&source_offset))?;
        let next = self
            .entries
            .back()
            .map_or(entry.next_offset, |last| last.next_offset);
        Some((entry.source_offset, entry.records, next))
    }

    fn settle_empty(&mut self) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.records == 0) {
            self.progress.advance(entry.next_offset, 0, 0);
            self.progress.epoch = entry.epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{poison::Poison, prepare::prepare},
        *,
    };
    use crate::{
        config::OnPoison,
        sink::{Form, Limits},
        source::Content,
    };
    use proptest::prelude::*;
    use wire::record::{Codec, Record};

    /// Pushes a part; its ticket, if it holds records.
    fn push(ledger: &mut Ledger, first: i64, next: i64, records: i64) -> Option<u64> {
        let record = |offset| Record {
            offset,
            timestamp: 1,
            key: None,
            value: Some(vec![0; 10].into()),
            headers: Vec::new(),
        };
        let records: Vec<_> = (first..first + records).map(record).collect();
        let content = match records.len() {
            0 => Content::Nothing,
            _ => Content::Open(records),
        };
        let limits = Limits {
            codec: Codec::None,
            max_batch_bytes: 1 << 20,
            log_append_time: false,
        };
        let poison = Poison::new(OnPoison::Stop);
        let parts = prepare(content, (first, next), Form::Open, &limits, &poison).unwrap();
        let ticket = ledger.push(&parts[0], Permit::default(), NOW);
        (parts[0].records > 0).then_some(ticket)
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
        assert!(push(&mut ledger, 5, 9, 0).is_none());
        assert_eq!(ledger.progress().source_offset, 9);
        let ticket = push(&mut ledger, 9, 12, 3).unwrap();
        assert!(push(&mut ledger, 12, 20, 0).is_none());
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
        let ticket = push(&mut ledger, 0, 1, 1).unwrap();
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
                        let sent = push(&mut ledger, read, next, records);
                        waiting.push_back((sent, next, records));
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
