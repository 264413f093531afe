//! Reading a partition: the lock is held to find the segment, not while the disk is read.

use std::{io, sync::Arc};

use kafka_protocol::error::ResponseError;
use wire::Isolation;

use super::{Ends, Partition};
use crate::{
    log::{AbortedTransaction, Place, Slice},
    state::folders::Folder,
};

/// What there is to read from an offset on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) ends: Ends,
    offset: i64,
    isolation: Isolation,
    place: Option<Box<Place>>,
    /// [`crate::log::Log::changed`] before it was looked for.
    changed: u64,
}

impl Found {
    /// Bytes that are there, up to the end of a segment.
    pub(crate) fn len(&self) -> u64 {
        self.place.as_ref().map_or(0, |place| place.len())
    }
}

/// Records where they lie. Whoever cannot read them tells the folder.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) slice: Slice,
    pub(crate) home: Arc<Folder>,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Read {
    /// None: there are none.
    pub(crate) records: Option<Records>,
    pub(crate) ends: Ends,
    /// Aborted transactions in the range of `records`; none for those who read all.
    pub(crate) aborted: Vec<AbortedTransaction>,
}

#[cfg(test)]
impl Read {
    /// The batches themselves.
    pub(crate) fn bytes(&self) -> bytes::Bytes {
        let records = self.records.as_ref();
        records.map_or_else(bytes::Bytes::new, |records| records.slice.read())
    }
}

impl Partition {
    /// What there is from the batch that holds `offset` on. OFFSET_OUT_OF_RANGE before the start and
    /// behind the end.
    pub(crate) fn find(&self, offset: i64, isolation: Isolation) -> Result<Found, ResponseError> {
        let (ends, changed) = {
            let state = self.usable()?;
            (state.ends(), state.log.changed())
        };
        if !(ends.log_start..=ends.high_watermark).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let limit = ends.of(isolation);
        let place = match offset < limit {
            true => self.place(offset, limit)?.map(Box::new),
            false => None,
        };
        Ok(Found {
            ends,
            offset,
            isolation,
            place,
            changed,
        })
    }

    fn place(&self, offset: i64, limit: i64) -> Result<Option<Place>, ResponseError> {
        let failed = |error: io::Error| self.log_error(&error);
        let mut next = offset;
        loop {
            let state = self.usable()?;
            // Records that went since the last look must not be passed over.
            if offset < state.log.start() {
                return Err(ResponseError::OffsetOutOfRange);
            }
            let reader = state.log.reader(next).map_err(failed)?;
            drop(state);
            let Some(reader) = reader else {
                return Ok(None);
            };
            if let Some(place) = reader.place(offset, limit).map_err(failed)? {
                return Ok(Some(place));
            }
            // The segment ends in a gap.
            next = reader.next();
        }
    }

    /// At most `max_bytes` of whole batches of what was found; at least one batch if `min_one`.
    pub(crate) fn read(
        &self,
        found: &Found,
        max_bytes: u64,
        min_one: bool,
    ) -> Result<Read, ResponseError> {
        let cut = |place: &Place| place.cut(max_bytes, min_one);
        let slice = found.place.as_deref().map_or(Ok(None), cut);
        let slice = slice.map_err(|error| self.log_error(&error))?;
        let mut aborted = Vec::new();
        if found.isolation == Isolation::ReadCommitted
            && let Some(slice) = &slice
        {
            let state = self.state();
            if state.log.changed() != found.changed {
                // With aborted records goes what tells of them; these were read before.
                drop(state);
                let found = self.find(found.offset, found.isolation)?;
                return self.read(&found, max_bytes, min_one);
            }
            let listed = state.log.aborted(found.offset, slice.next);
            aborted = listed.map_err(|error| self.log_error(&error))?;
        }
        let records = slice.map(|slice| Records {
            slice,
            home: Arc::clone(&self.home),
        });
        Ok(Read {
            records,
            ends: found.ends,
            aborted,
        })
    }

    /// The first record that is not older than `timestamp`: its time and offset. Markers count, as in
    /// Kafka.
    pub(crate) fn offset_at(&self, timestamp: i64) -> Result<Option<(i64, i64)>, ResponseError> {
        let (next, start) = {
            let state = self.usable()?;
            (state.log.first_segment_at(timestamp), state.log.start())
        };
        self.first_at(timestamp, next, start)
    }

    /// The first record with the largest timestamp: its time and offset. None without records.
    pub(crate) fn max_timestamp(&self) -> Result<Option<(i64, i64)>, ResponseError> {
        let (timestamp, next) = {
            let state = self.usable()?;
            let timestamp = state.log.max_timestamp();
            (timestamp, state.log.first_segment_at(timestamp))
        };
        if timestamp < 0 {
            return Ok(None);
        }
        self.first_at(timestamp, next, 0)
    }

    fn first_at(
        &self,
        timestamp: i64,
        mut next: i64,
        start: i64,
    ) -> Result<Option<(i64, i64)>, ResponseError> {
        let failed = |error: io::Error| self.log_error(&error);
        loop {
            let reader = self.state().log.reader(next).map_err(failed)?;
            let Some(reader) = reader else {
                return Ok(None);
            };
            let found = reader.first_at(timestamp, start).map_err(failed)?;
            if found.is_some() {
                return Ok(found);
            }
            next = reader.next();
        }
    }
}
