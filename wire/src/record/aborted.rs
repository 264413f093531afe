//! Which batches of a Fetch answer hold no records for the reader.

use std::collections::{BTreeSet, VecDeque};

use super::{ControlType, RecordError, control_type};
use crate::{Isolation, batch::BatchView};

/// Markers and, under read_committed, batches of aborted transactions: the rule of
/// `CompletedFetch.nextFetchedRecord`. Before each batch the transactions that begin at or before its last
/// offset come into effect; an abort marker of the producer ends its transaction.
#[derive(Debug)]
pub struct Aborted {
    isolation: Isolation,
    upcoming: VecDeque<(i64, i64)>,
    producers: BTreeSet<i64>,
}

impl Aborted {
    /// For the batches of one answer, given the aborted transactions that it names: producer id, first offset.
    pub fn new(aborted: &[(i64, i64)], isolation: Isolation) -> Self {
        let mut upcoming: Vec<_> = aborted.to_vec();
        upcoming.sort_by_key(|(_, first_offset)| *first_offset);
        Self {
            isolation,
            upcoming: upcoming.into(),
            producers: BTreeSet::new(),
        }
    }

    /// Whether the next batch is to be passed over. Batches must come in order, each once.
    ///
    /// # Errors
    /// If a marker cannot be read.
    pub fn skips(&mut self, batch: &BatchView) -> Result<bool, RecordError> {
        let header = &batch.header;
        while let Some((producer, _)) = self
            .upcoming
            .pop_front_if(|(_, first)| *first <= header.last_offset())
        {
            self.producers.insert(producer);
        }
        if header.is_control() {
            // Compaction leaves markers without their record: what they ended is gone.
            let is_marker = header.record_count > 0;
            if is_marker && control_type(batch)? == ControlType::Abort {
                self.producers.remove(&header.producer_id);
            }
            return Ok(true);
        }
        let aborted = header.is_transactional() && self.producers.contains(&header.producer_id);
        Ok(aborted && self.isolation == Isolation::ReadCommitted)
    }
}
