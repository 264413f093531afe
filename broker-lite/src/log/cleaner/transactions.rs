//! Which batches belong to transactions that were aborted, and which markers still end something
//! (`CleanedTransactionMetadata`). Pure.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

use wire::{
    batch::{BatchHeader, BatchView},
    record::{ControlType, RecordError, control_type},
};

use super::super::AbortedTransaction;

/// What is known of transactions while batches go by in their order.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted ones that may begin further on: first offset, the rest.
    ahead: BinaryHeap<Reverse<(i64, i64, i64, i64)>>,
    /// Aborted ones, by producer, and whether a batch of them was seen.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers of which batches were seen that no marker has ended.
    committed: HashSet<i64>,
}

/// What a marker means for what is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// It ends a transaction of which batches are there; an aborted one has to stay in the index.
    Needed(Option<AbortedTransaction>),
    /// Nothing is left of what it ended.
    Idle,
}

impl Transactions {
    /// Takes the aborted transactions of the batches that come next. Again is fine.
    pub(super) fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTransaction>) {
        let entry = |one: AbortedTransaction| {
            Reverse((
                one.first_offset,
                one.producer_id,
                one.last_offset,
                one.last_stable,
            ))
        };
        self.ahead.extend(aborted.into_iter().map(entry));
    }

    /// Sees a batch of records; true if its transaction was aborted.
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some((_, is_seen)) = self.aborted.get_mut(&header.producer_id) {
            *is_seen = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Sees a control batch.
    pub(super) fn marker(&mut self, batch: &BatchView) -> Result<Marker, RecordError> {
        let header = &batch.header;
        self.begin_up_to(header.last_offset());
        if header.record_count == 0 {
            return Ok(Marker::Idle);
        }
        Ok(match control_type(batch)? {
            ControlType::Abort => match self.aborted.remove(&header.producer_id) {
                Some((one, true)) => Marker::Needed(Some(one)),
                _ => Marker::Idle,
            },
            ControlType::Commit => match self.committed.remove(&header.producer_id) {
                true => Marker::Needed(None),
                false => Marker::Idle,
            },
            ControlType::Other(_) => Marker::Needed(None),
        })
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(Reverse((first_offset, producer_id, last_offset, last_stable))) = self
            .ahead
            .peek()
            .copied()
            .filter(|Reverse(one)| one.0 <= offset)
        {
            self.ahead.pop();
            let one = AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
                last_stable,
            };
            self.aborted.entry(producer_id).or_insert((one, false));
        }
    }
}
