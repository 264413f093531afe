//! Reading a segment without holding the log.
//!
//! A [`Reader`] has the segment's files and how far they were written when it was taken. What is
//! written never changes, and a removed file stays readable, so it needs no lock.

use std::{io, sync::Arc};

use bytes::Bytes;
use host::File;
use wire::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    record::decode,
};

use super::{
    Place,
    index::{OffsetIndex, TimeIndex},
};

/// Batches decompress to at most as much.
pub(crate) const MAX_DECOMPRESSED: usize = 256 << 20;

/// A segment as far as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) base: i64,
    pub(super) next: i64,
    pub(super) len: u64,
    pub(super) log: Arc<dyn File>,
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
}

impl Reader {
    /// Offset after the last batch.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// The batches from the one that holds `offset` on, up to the one at or behind `limit`. None if all
    /// of them lie before `offset`.
    pub(crate) fn place(&self, offset: i64, limit: i64) -> io::Result<Option<Place>> {
        let Some(position) = self.position(offset)? else {
            return Ok(None);
        };
        let end = if limit >= self.next {
            self.len
        } else {
            self.position(limit)?.unwrap_or(self.len)
        };
        Ok(Some(Place {
            reader: self.clone(),
            position,
            end: end.max(position),
            next: limit.min(self.next),
        }))
    }

    /// The batches from the one that holds `offset` on, read a piece at a time.
    pub(super) fn batches_from(&self, offset: i64) -> io::Result<Batches> {
        Ok(Batches {
            log: Arc::clone(&self.log),
            position: self.position(offset)?.unwrap_or(self.len),
            end: self.len,
            read: Bytes::new(),
        })
    }

    /// Time and offset of the first record, from `start` on, that is not older than `timestamp`.
    pub(crate) fn first_at(&self, timestamp: i64, start: i64) -> io::Result<Option<(i64, i64)>> {
        let from = self.times.floor(timestamp)?.max(start);
        let mut at = self.position(from)?;
        while let Some(position) = at.filter(|position| *position < self.len) {
            let header = self.header(position)?;
            if header.max_timestamp >= timestamp && header.last_offset() >= start {
                let found = first_record_at(&self.batch(position, &header)?, timestamp, start)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            at = Some(position + header.size() as u64);
        }
        Ok(None)
    }

    /// Where the batch begins whose last offset is at or behind `offset`.
    pub(super) fn position(&self, offset: i64) -> io::Result<Option<u64>> {
        let mut position = self.indexed(offset);
        while position < self.len {
            let header = self.header(position)?;
            if header.last_offset() >= offset {
                return Ok(Some(position));
            }
            position += header.size() as u64;
        }
        Ok(None)
    }

    /// The same segment with as many bytes, which are not known to be whole.
    pub(super) fn up_to(&self, end: u64) -> Self {
        Self {
            len: end,
            ..self.clone()
        }
    }

    /// The header of the batch that holds `offset`; none if the segment has none, or is damaged before.
    pub(super) fn header_of(&self, offset: i64) -> io::Result<Option<BatchHeader>> {
        let mut position = self.indexed(offset);
        while let Some(header) = header_at(&*self.log, position, self.len)? {
            if header.last_offset() >= offset {
                return Ok(Some(header).filter(|header| header.base_offset <= offset));
            }
            position += header.size() as u64;
        }
        Ok(None)
    }

    /// Where to begin to look for `offset`: what the index says, if it can be read and a batch confirms it.
    fn indexed(&self, offset: i64) -> u64 {
        let found = self.offsets.floor(offset).ok().flatten();
        let found = found.filter(|(last_offset, position)| {
            let header = self.header(*position);
            header.is_ok_and(|header| header.last_offset() == *last_offset)
        });
        found.map_or(0, |(_, position)| position)
    }

    /// The header of the batch at `position`.
    pub(super) fn header(&self, position: u64) -> io::Result<BatchHeader> {
        self.header_before(position, self.len)
    }

    /// The same, of a batch that lies before `end`.
    pub(super) fn header_before(&self, position: u64, end: u64) -> io::Result<BatchHeader> {
        header_at(&*self.log, position, end)?.ok_or_else(|| {
            let text = format!("segment {:020}: no batch at byte {position}", self.base);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn batch(&self, position: u64, header: &BatchHeader) -> io::Result<BatchView> {
        let bytes = self.log.read_exact_at(header.size(), position)?.into();
        Ok(BatchView {
            header: *header,
            bytes,
        })
    }
}

/// Bytes that are read at once where all of a segment is.
pub(super) const PIECE: usize = 1 << 20;

/// The batches of a segment, one after the other.
#[derive(Debug)]
pub(super) struct Batches {
    log: Arc<dyn File>,
    position: u64,
    end: u64,
    read: Bytes,
}

impl Batches {
    fn read_next(&mut self) -> io::Result<Option<BatchView>> {
        if let Some(batch) = self.take_next()? {
            return Ok(Some(batch));
        }
        if self.position == self.end {
            return Ok(None);
        }
        let Some(header) = header_at(&*self.log, self.position, self.end)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let piece = left.min(PIECE).max(header.size());
        self.read = self.log.read_exact_at(piece, self.position)?.into();
        self.take_next()
    }

    /// The next batch of what was read; none if it is not whole.
    fn take_next(&mut self) -> io::Result<Option<BatchView>> {
        let next = BatchView::read(&self.read);
        let next = next.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(batch) = &next {
            self.read = self.read.slice(batch.bytes.len()..);
            self.position += batch.bytes.len() as u64;
        }
        Ok(next)
    }
}

impl Iterator for Batches {
    type Item = io::Result<BatchView>;

    /// Whoever meets an error stops.
    fn next(&mut self) -> Option<Self::Item> {
        self.read_next().transpose()
    }
}

fn first_record_at(
    batch: &BatchView,
    timestamp: i64,
    start: i64,
) -> io::Result<Option<(i64, i64)>> {
    let records = decode(batch, MAX_DECOMPRESSED)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut records = records.iter();
    let found = records.find(|one| one.timestamp >= timestamp && one.offset >= start);
    Ok(found.map(|one| (one.timestamp, one.offset)))
}

/// The header at `position`, if a whole batch lies before `end` and its offsets ascend.
pub(super) fn header_at(
    log: &dyn File,
    position: u64,
    end: u64,
) -> io::Result<Option<BatchHeader>> {
    let left = end.saturating_sub(position);
    if left < HEADER_LEN as u64 {
        return Ok(None);
    }
    let header = BatchHeader::read(&log.read_exact_at(HEADER_LEN, position)?).ok();
    Ok(header.filter(|header| header.size() as u64 <= left && header.last_offset_delta >= 0))
}
