//! The state machine of one transactional id, after Kafka's `TransactionMetadata` and
//! `TransactionCoordinator`. Pure: a step takes the current state and yields the next one, which
//! is written down before it counts.
//!
//! Two client protocols meet here: transactions as of KIP-98 (EndTxn up to version 4), where the
//! epoch changes only at InitProducerId, and those of KIP-890 (EndTxn 5), where every end bumps it.
//!
//! Invariants: the pair (producer id, epoch) never goes back and is never handed out twice;
//! `partitions` and `groups` are empty unless a transaction is open or being ended.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};

use super::Part;

/// No producer id, no epoch.
pub(crate) const NONE: i16 = -1;

/// The last epoch that a client may hold; `i16::MAX` itself is kept for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// Where a transactional id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

use TransactionState::{
    CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
};

impl TransactionState {
    pub(crate) const ALL: [Self; 6] = [
        Empty,
        Ongoing,
        PrepareCommit,
        PrepareAbort,
        CompleteCommit,
        CompleteAbort,
    ];

    /// The name in DescribeTransactions and ListTransactions.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Ongoing => "Ongoing",
            PrepareCommit => "PrepareCommit",
            PrepareAbort => "PrepareAbort",
            CompleteCommit => "CompleteCommit",
            CompleteAbort => "CompleteAbort",
        }
    }

    /// The decision is made and its markers are not all written.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, PrepareCommit | PrepareAbort)
    }
}

/// A producer id and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    /// The producer id before the last step, for clients that repeat a lost request.
    previous_producer_id: i64,
    /// Takes over when the end that is under way completes; -1: none.
    next_producer_id: i64,
    pub(crate) epoch: i16,
    last_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) state: TransactionState,
    pub(crate) parts: BTreeSet<Part>,
    /// ms since 1970; -1 before the first transaction.
    pub(crate) started_ms: i64,
    /// Whether the client ends transactions by KIP-890.
    bumps_at_end: bool,
}

/// What InitProducerId leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Initialized {
    /// Write this; the client gets its producer.
    Ready(Transaction),
    /// A transaction is open: write this, abort, and let the client ask again.
    AbortFirst(Transaction),
}

/// What EndTxn leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A repeated request: it has been done.
    Already(Producer),
    /// Write this, then the markers.
    Prepare(Transaction),
}

impl Transaction {
    /// A transactional id that nobody has used. Its first epoch is yet to come.
    pub(crate) fn new(transactional_id: &str, producer_id: i64, timeout_ms: i32) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            producer_id,
            previous_producer_id: NONE.into(),
            next_producer_id: NONE.into(),
            epoch: NONE,
            last_epoch: NONE,
            timeout_ms,
            state: Empty,
            parts: BTreeSet::new(),
            started_ms: NONE.into(),
            bumps_at_end: false,
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// When an open transaction is aborted, ms since 1970.
    pub(crate) fn expires_ms(&self) -> Option<i64> {
        let end = self.started_ms.saturating_add(i64::from(self.timeout_ms));
        (self.state == Ongoing).then_some(end)
    }

    fn is_exhausted(&self) -> bool {
        self.epoch >= LAST_EPOCH
    }

    fn step(&self, state: TransactionState) -> Self {
        Self {
            previous_producer_id: self.producer_id,
            state,
            ..self.clone()
        }
    }

    /// InitProducerId. `expected` is what a client that recovers from an error holds (KIP-360).
    pub(crate) fn init(
        &self,
        expected: Option<Producer>,
        timeout_ms: i32,
        new_producer_id: impl FnOnce() -> Result<i64, ResponseError>,
    ) -> Result<Initialized, ResponseError> {
        let known = |e: Producer| {
            self.epoch == NONE
                || e.id == self.producer_id
                || (e.id == self.previous_producer_id && e.epoch >= LAST_EPOCH)
        };
        if !expected.is_none_or(known) {
            return Err(ResponseError::ProducerFenced);
        }
        match self.state {
            PrepareCommit | PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            Ongoing => Ok(Initialized::AbortFirst(self.fence())),
            Empty | CompleteCommit | CompleteAbort => {
                let (producer, last_epoch) = self.next_producer(expected, new_producer_id)?;
                Ok(Initialized::Ready(Self {
                    producer_id: producer.id,
                    epoch: producer.epoch,
                    last_epoch,
                    timeout_ms,
                    parts: BTreeSet::new(),
                    started_ms: NONE.into(),
                    ..self.step(Empty)
                }))
            }
        }
    }

    /// The producer after InitProducerId, and the epoch that a repeated request would name.
    fn next_producer(
        &self,
        expected: Option<Producer>,
        new_producer_id: impl FnOnce() -> Result<i64, ResponseError>,
    ) -> Result<(Producer, i16), ResponseError> {
        if self.is_exhausted() && expected.is_none_or(|e| e.epoch == self.epoch) {
            let id = new_producer_id()?;
            let last = if expected.is_some() { self.epoch } else { NONE };
            return Ok((Producer { id, epoch: 0 }, last));
        }
        let id = self.producer_id;
        let bumped = |epoch: i16| Producer {
            id,
            epoch: epoch + 1,
        };
        match expected {
            None => Ok((bumped(self.epoch), NONE)),
            Some(e) if self.epoch == NONE || e.epoch == self.epoch => {
                Ok((bumped(self.epoch), self.epoch))
            }
            Some(e) if e.epoch == self.last_epoch => Ok((self.producer(), self.last_epoch)),
            Some(_) => Err(ResponseError::ProducerFenced),
        }
    }

    /// An abort that the broker decides on: the client's epoch is over. The client may still recover
    /// by naming it, as long as nobody else has initialized.
    pub(crate) fn fence(&self) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            last_epoch: self.epoch,
            ..self.step(PrepareAbort)
        }
    }

    fn validate(&self, producer: Producer) -> Result<(), ResponseError> {
        if producer.id != self.producer_id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if producer.epoch != self.epoch {
            Err(ResponseError::ProducerFenced)
        } else if self.state.is_ending() {
            Err(ResponseError::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn; `None` if all are in the transaction already.
    pub(crate) fn add(
        &self,
        producer: Producer,
        parts: &BTreeSet<Part>,
        now_ms: i64,
    ) -> Result<Option<Self>, ResponseError> {
        self.validate(producer)?;
        if self.state == Ongoing && parts.is_subset(&self.parts) {
            return Ok(None);
        }
        let started_ms = if self.state == Ongoing {
            self.started_ms
        } else {
            now_ms
        };
        let mut next = self.step(Ongoing);
        next.parts.extend(parts.iter().cloned());
        Ok(Some(Self { started_ms, ..next }))
    }

    /// Whether `part` belongs to the open transaction of `producer` (KIP-890, part 1).
    pub(crate) fn verify(&self, producer: Producer, part: &Part) -> Result<(), ResponseError> {
        self.validate(producer)?;
        if self.parts.contains(part) {
            Ok(())
        } else {
            Err(ResponseError::TransactionAbortable)
        }
    }

    /// EndTxn. `bumps` is set for clients of KIP-890.
    pub(crate) fn end(
        &self,
        producer: Producer,
        commit: bool,
        bumps: bool,
        now_ms: i64,
        new_producer_id: impl FnOnce() -> Result<i64, ResponseError>,
    ) -> Result<Ended, ResponseError> {
        let next = match (commit, bumps) {
            (commit, false) => return self.end_in_epoch(producer, commit),
            (true, true) => PrepareCommit,
            (false, true) => PrepareAbort,
        };
        let repeats_rotation = self.previous_producer_id == producer.id
            && producer.epoch == LAST_EPOCH
            && self.epoch == 0;
        let repeats = repeats_rotation || producer.epoch.checked_add(1) == Some(self.epoch);
        if producer.id != self.producer_id && !repeats_rotation {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        let current = producer.epoch == self.epoch;
        let allowed = match self.state {
            Ongoing | Empty => current,
            PrepareCommit | PrepareAbort => repeats && !repeats_rotation,
            CompleteCommit | CompleteAbort => repeats || current,
        };
        if !allowed {
            return Err(ResponseError::ProducerFenced);
        }
        match (self.state, commit, repeats) {
            (CompleteCommit, true, true) | (CompleteAbort, false, true) => {
                return Ok(Ended::Already(self.producer()));
            }
            (PrepareCommit, true, _) | (PrepareAbort, false, _) => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            (Ongoing, _, _)
            | (Empty, false, _)
            | (CompleteCommit | CompleteAbort, false, false) => {}
            _ => return Err(ResponseError::InvalidTxnState),
        }
        let next_producer_id = if self.is_exhausted() {
            new_producer_id()?
        } else {
            NONE.into()
        };
        Ok(Ended::Prepare(Self {
            next_producer_id,
            epoch: self.epoch + 1,
            last_epoch: self.epoch,
            started_ms: if self.state == Ongoing {
                self.started_ms
            } else {
                now_ms
            },
            bumps_at_end: true,
            ..self.step(next)
        }))
    }

    /// EndTxn as of KIP-98: a repeated request has the same epoch.
    fn end_in_epoch(&self, producer: Producer, commit: bool) -> Result<Ended, ResponseError> {
        if producer.id != self.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        match (self.state, commit) {
            (Ongoing, _) => {
                let next = if commit { PrepareCommit } else { PrepareAbort };
                let bumps_at_end = false;
                Ok(Ended::Prepare(Self {
                    bumps_at_end,
                    ..self.step(next)
                }))
            }
            (CompleteCommit, true) | (CompleteAbort, false) => Ok(Ended::Already(self.producer())),
            (PrepareCommit, true) | (PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// All markers of a prepared end are written.
    pub(crate) fn complete(&self) -> Self {
        let state = if self.state == PrepareCommit {
            CompleteCommit
        } else {
            CompleteAbort
        };
        let mut next = self.step(state);
        next.parts.clear();
        if self.next_producer_id >= 0 {
            next.producer_id = self.next_producer_id;
            next.next_producer_id = NONE.into();
            next.epoch = 0;
        }
        next
    }
}
