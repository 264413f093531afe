//! Compaction: of each key the newest record stays (`LogCleaner`, `Cleaner`).
//!
//! A [`Pass`] reads the part of a log that is dirty and remembers the newest offset of each key in bounded memory; then
//! it writes each segment up to there anew without what is superseded, and puts it in the place of the old ones
//! (`swap.rs`). What does not fit into the memory waits for the next pass.
//!
//! Offsets, sequences and the ends of batches stay as they were. Records of aborted transactions go. Tombstones and
//! markers of transactions that have no records left get a delete horizon, and go in a pass after it (KIP-534).
//!
//! The log goes on meanwhile: it is locked for single looks only ([`Source`]).

mod filter;
mod offset_map;
mod range;
#[cfg(test)]
mod tests;
mod transactions;

use std::{collections::HashMap, fmt::Display, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use host::Files;
use wire::{batch::BatchView, record::decode};

pub(crate) use self::{filter::LastRecord, range::Compaction};
use self::{
    filter::{Filter, Kept},
    offset_map::OffsetMap,
    range::{DirtyRange, groups},
    transactions::{Marker, Transactions},
};
use super::{AbortedTransaction, Log, MAX_DECOMPRESSED, Reader, segment::Sealed, swap};

/// The log that is cleaned. `Interrupted`: the cleaning is to end; another pass will do it.
pub(crate) trait Source {
    /// The segment that begins at `base`; none if it is out of date and gone.
    fn segment(&self, base: i64) -> io::Result<Option<Reader>>;
    /// Aborted transactions that overlap `from..to`.
    fn aborted(&self, from: i64, to: i64) -> io::Result<Vec<AbortedTransaction>>;
    /// Puts what was cleaned in the place of what it was cleaned of; false if that is not there any more. After an
    /// error nobody knows how far it came.
    fn replace(&self, cleaned: &Cleaned) -> io::Result<bool>;
    /// `Interrupted` when the cleaning is to end.
    fn check(&self) -> io::Result<()>;
}

/// What is not in the log.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) now: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) segment_bytes: u64,
    /// Most bytes of memory for keys.
    pub(crate) max_map_bytes: usize,
    /// Producers that are remembered, by id.
    pub(crate) producers: HashMap<i64, LastRecord>,
}

/// A segment that stands for some others.
#[derive(Clone, Debug)]
pub(crate) struct Cleaned {
    /// First offsets of the segments it was made of.
    pub(super) of: Vec<i64>,
    pub(super) segment: Sealed,
}

/// One cleaning of a log.
#[derive(Debug)]
pub(crate) struct Pass {
    files: Arc<dyn Files>,
    folder: PathBuf,
    segments: Vec<Sealed>,
    range: DirtyRange,
}

impl Log {
    /// What is to be cleaned now, if anything is; `first_dirty` is where the last pass came to.
    pub(crate) fn to_clean(
        &self,
        compaction: &Compaction,
        first_dirty: i64,
        limit: i64,
        now: i64,
    ) -> io::Result<Option<Pass>> {
        let first_dirty = match (self.start..=self.end()).contains(&first_dirty) {
            true => first_dirty,
            false => self.start,
        };
        let first_time = |segment: &Sealed| {
            let reader = segment.reader(&*self.files, &self.folder)?;
            match segment.len {
                0 => Ok(-1),
                _ => Ok(reader.header(0)?.first_timestamp()),
            }
        };
        let range = compaction.dirty_range(&self.sealed, first_dirty, limit, now, first_time)?;
        Ok(range.map(|range| Pass {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            segments: self.sealed.clone(),
            range,
        }))
    }

    /// The segment that begins at `base`, which does not grow any more.
    pub(crate) fn segment(&self, base: i64) -> io::Result<Option<Reader>> {
        let found = self.sealed.iter().find(|segment| segment.base == base);
        let reader = found.map(|segment| segment.reader(&*self.files, &self.folder));
        reader.transpose()
    }
}

impl Pass {
    /// Cleans; returns the first offset that is dirty now. Blocks for long.
    pub(crate) fn run(&self, source: &dyn Source, terms: &Terms) -> io::Result<i64> {
        let map = self.newest(source, terms)?;
        let count = self.segments.partition_point(|one| one.base < map.end());
        let mut transactions = Transactions::default();
        for group in groups(&self.segments[..count], terms.segment_bytes) {
            let discard = || swap::discard(&*self.files, &self.folder, group[0].base);
            let cleaned = self.rewrite(group, source, terms, &map, &mut transactions);
            let cleaned = cleaned.or_else(|error| discard().and(Err(error)))?;
            // If this fails, what was cleaned may be all that is left: the next open completes it.
            let is_replaced = match &cleaned {
                Some(cleaned) => source.replace(cleaned)?,
                None => false,
            };
            if !is_replaced {
                discard()?;
            }
        }
        Ok(map.end())
    }

    /// The newest offset of each key in the dirty part (`Cleaner.buildOffsetMap`).
    fn newest(&self, source: &dyn Source, terms: &Terms) -> io::Result<OffsetMap> {
        let DirtyRange { first_dirty, end } = self.range;
        let keys = (end - first_dirty).unsigned_abs();
        let mut map = OffsetMap::new(first_dirty, keys, terms.max_map_bytes);
        let mut transactions = Transactions::default();
        transactions.expect(source.aborted(first_dirty, end)?);
        let dirty = self.segments.iter();
        let dirty = dirty.filter(|one| one.next > first_dirty && one.next <= end);
        for segment in dirty {
            let Some(batches) = sound(source, segment, first_dirty)? else {
                continue;
            };
            for batch in batches {
                if !note(&mut map, &batch?, first_dirty, &mut transactions)? {
                    return Ok(map);
                }
            }
            map.reach(segment.next);
        }
        Ok(map)
    }

    /// Writes what stays of a group of segments, durably; none if one of them is gone.
    fn rewrite(
        &self,
        group: &[Sealed],
        source: &dyn Source,
        terms: &Terms,
        map: &OffsetMap,
        transactions: &mut Transactions,
    ) -> io::Result<Option<Cleaned>> {
        let (first, last) = (group[0], group[group.len() - 1]);
        let filter = Filter {
            map,
            now: terms.now,
            delete_retention_ms: terms.delete_retention_ms,
            producers: &terms.producers,
            end: last.next,
        };
        let mut cleaned = swap::create(&self.files, &self.folder, first.base)?;
        for segment in group {
            transactions.expect(source.aborted(segment.base, segment.next)?);
            let Some(batches) = sound(source, segment, segment.base)? else {
                return Ok(None);
            };
            for batch in batches {
                let batch = batch?;
                let (kept, aborted) = filter.keep(&batch, transactions).map_err(damaged)?;
                match kept {
                    Kept::Nothing => {}
                    Kept::Whole => cleaned.append(&batch)?,
                    Kept::Part(bytes) => cleaned.append(&view(bytes)?)?,
                }
                if let Some(aborted) = aborted {
                    cleaned.push_aborted(&aborted)?;
                }
            }
        }
        swap::commit(&*self.files, &self.folder, &mut cleaned)?;
        Ok(Some(Cleaned {
            of: group.iter().map(|segment| segment.base).collect(),
            segment: cleaned.sealed(last.next),
        }))
    }
}

/// The batches of a segment from the one that holds `offset` on; none if it is gone. Each is what was written, and where it belongs: an
/// offset that is in no checksum must not supersede anything.
fn sound<'a>(
    source: &'a dyn Source,
    segment: &'a Sealed,
    offset: i64,
) -> io::Result<Option<impl Iterator<Item = io::Result<BatchView>> + 'a>> {
    let Some(reader) = source.segment(segment.base)? else {
        return Ok(None);
    };
    let (batches, mut next) = (reader.batches_from(offset)?, segment.base);
    Ok(Some(batches.map(move |batch| {
        source.check()?;
        let batch = batch.map_err(|error| error_in(segment, next, error))?;
        let (first, end) = (batch.header.base_offset, batch.header.next_offset());
        if first < next || end > segment.next {
            let error = format!("a batch with the offsets {first} to {end}");
            return Err(error_in(segment, next, error));
        }
        let checked = batch.check_crc();
        checked.map_err(|error| error_in(segment, first, error))?;
        next = end;
        Ok(batch)
    })))
}

fn error_in(segment: &Sealed, offset: i64, error: impl Display) -> io::Error {
    let text = format!("segment {:020}, offset {offset}: {error}", segment.base);
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Remembers the keys of a batch; false if there is no room for one.
fn note(
    map: &mut OffsetMap,
    batch: &BatchView,
    first_dirty: i64,
    transactions: &mut Transactions,
) -> io::Result<bool> {
    let header = &batch.header;
    let is_left_out = match header.is_control() {
        true => {
            let _marker: Marker = transactions.marker(batch).map_err(damaged)?;
            true
        }
        false => transactions.is_aborted(header),
    };
    if !is_left_out {
        let records = decode(batch, MAX_DECOMPRESSED).map_err(damaged)?;
        let dirty = records.iter().filter(|record| record.offset >= first_dirty);
        for record in dirty {
            if let Some(key) = &record.key
                && !map.put(key, record.offset)
            {
                return Ok(false);
            }
            map.reach(record.offset + 1);
        }
    }
    map.reach(header.next_offset());
    Ok(true)
}

fn view(bytes: Bytes) -> io::Result<BatchView> {
    let view = BatchView::read(&bytes).map_err(damaged)?;
    view.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
