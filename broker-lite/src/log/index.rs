//! The indexes beside a segment: files of entries of one size, ascending. All can be made again from
//! the segment, so none is needed for an answer; a damaged one costs time.
//!
//! * `.index`, 8 bytes: offset of a batch's last record minus the segment's base i32, position i32
//!   (`OffsetIndex`);
//! * `.timeindex`, 12 bytes: largest timestamp so far i64, offset of the last record of its batch minus
//!   the base i32 (`TimeIndex`);
//! * `.txnindex`, 34 bytes: version i16 (0), producer id i64, first offset i64, last offset (the
//!   marker's) i64, last stable offset after it i64 (`AbortedTxn`).

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use host::{File, Files};

/// A file that is opened, and made, when it is needed: of many segments that grow most do so slowly.
#[derive(Clone, Debug)]
pub(super) struct Later {
    files: Arc<dyn Files>,
    path: PathBuf,
    file: Arc<OnceLock<Arc<dyn File>>>,
}

impl Later {
    pub(super) fn new(files: &Arc<dyn Files>, path: PathBuf) -> Self {
        Self {
            files: Arc::clone(files),
            path,
            file: Arc::default(),
        }
    }

    fn get(&self) -> io::Result<&Arc<dyn File>> {
        match self.file.get() {
            Some(file) => Ok(file),
            None => {
                let file = self.files.open(&self.path)?;
                Ok(self.file.get_or_init(|| file))
            }
        }
    }

    fn close(&mut self) {
        self.file = Arc::default();
    }
}

/// Entries that are read at once.
const PIECE: u64 = 4096;

/// A file of entries of `N` bytes.
#[derive(Clone, Debug)]
struct Table<const N: usize> {
    file: Later,
    count: u64,
    /// The last entry, which is asked for most.
    last: Option<[u8; N]>,
}

impl<const N: usize> Table<N> {
    /// The whole entries that are in `file`.
    fn open(file: Later) -> io::Result<Self> {
        let len = match file.files.exists(&file.path) {
            true => file.get()?.len()?,
            false => 0,
        };
        let mut table = Self {
            count: len / N as u64,
            file,
            last: None,
        };
        table.read_last()?;
        Ok(table)
    }

    fn read_last(&mut self) -> io::Result<()> {
        let last = self.count.checked_sub(1);
        self.last = last.map(|at| self.get(at)).transpose()?;
        Ok(())
    }

    fn get(&self, at: u64) -> io::Result<[u8; N]> {
        let bytes = self.file.get()?.read_exact_at(N, at * N as u64)?;
        bytes
            .try_into()
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn push(&mut self, entry: [u8; N]) -> io::Result<()> {
        let file = self.file.get()?;
        file.write_all_at(&entry, self.count * N as u64)?;
        self.count += 1;
        self.last = Some(entry);
        Ok(())
    }

    fn cut(&mut self, count: u64) -> io::Result<()> {
        if self.file.files.exists(&self.file.path) {
            self.file.get()?.set_len(count * N as u64)?;
        }
        self.count = count;
        self.read_last()
    }

    /// Drops the first entry that does not follow the one before it, and all behind: what was not durable when the
    /// machine lost its power may be anything, zeros above all.
    fn keep_while(
        &mut self,
        follows: impl Fn(Option<&[u8; N]>, &[u8; N]) -> bool,
    ) -> io::Result<()> {
        let (mut kept, mut last) = (0, None);
        'pieces: while kept < self.count {
            let entries = (self.count - kept).min(PIECE);
            let bytes = entries as usize * N;
            let bytes = self.file.get()?.read_exact_at(bytes, kept * N as u64)?;
            for entry in bytes.as_chunks::<N>().0 {
                if !follows(last.as_ref(), entry) {
                    break 'pieces;
                }
                last = Some(*entry);
                kept += 1;
            }
        }
        self.cut(kept)
    }

    /// How many entries at the start are `before`; the others are not.
    fn count_while(&self, before: impl Fn(&[u8; N]) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        // Most look-ups are for what came last.
        if self.last.as_ref().is_some_and(&before) {
            return Ok(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.get(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Offsets to positions.
#[derive(Clone, Debug)]
pub(super) struct OffsetIndex {
    base: i64,
    table: Table<8>,
}

impl OffsetIndex {
    pub(super) fn open(file: Later, base: i64) -> io::Result<Self> {
        let table = Table::open(file)?;
        Ok(Self { base, table })
    }

    /// The last indexed batch whose last offset is not behind `offset`: last offset and position.
    pub(super) fn floor(&self, offset: i64) -> io::Result<Option<(i64, u64)>> {
        self.last_while(|entry| self.decode(entry).0 <= offset)
    }

    /// The last indexed batch that begins at or before byte `position`: last offset and position.
    pub(super) fn before(&self, position: u64) -> io::Result<Option<(i64, u64)>> {
        self.last_while(|entry| self.decode(entry).1 <= position)
    }

    fn last_while(&self, counts: impl Fn(&[u8; 8]) -> bool) -> io::Result<Option<(i64, u64)>> {
        let count = self.table.count_while(counts)?;
        let entry = count
            .checked_sub(1)
            .map(|at| self.table.get(at))
            .transpose()?;
        Ok(entry.map(|entry| self.decode(&entry)))
    }

    pub(super) fn last(&self) -> Option<(i64, u64)> {
        self.table.last.map(|entry| self.decode(&entry))
    }

    pub(super) fn push(&mut self, last_offset: i64, position: u64) -> io::Result<()> {
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&relative(last_offset, self.base)?.to_be_bytes());
        let position = i32::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.table.push(entry)
    }

    /// Keeps the entries before `offset`, as far as they ascend.
    pub(super) fn keep_before(&mut self, offset: i64) -> io::Result<()> {
        let base = self.base;
        self.table.keep_while(|before, entry| {
            let (of, position) = decode_offset(base, entry);
            let ascends = before.is_none_or(|before| {
                let (last, lower) = decode_offset(base, before);
                last < of && lower < position
            });
            ascends && (base..offset).contains(&of)
        })
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.table.cut(0)
    }

    pub(super) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.table.file.get().cloned()
    }

    /// Until it is needed.
    pub(super) fn close(&mut self) {
        self.table.file.close();
    }

    fn decode(&self, entry: &[u8; 8]) -> (i64, u64) {
        decode_offset(self.base, entry)
    }
}

fn decode_offset(base: i64, entry: &[u8; 8]) -> (i64, u64) {
    let [a, b, c, d, e, f, g, h] = *entry;
    let offset = base.saturating_add(i32::from_be_bytes([a, b, c, d]).into());
    // A negative position is damage; it lies behind every file's end.
    let position = u64::try_from(i32::from_be_bytes([e, f, g, h])).unwrap_or(u64::MAX);
    (offset, position)
}

/// Timestamps to offsets.
#[derive(Clone, Debug)]
pub(super) struct TimeIndex {
    base: i64,
    table: Table<12>,
}

impl TimeIndex {
    pub(super) fn open(file: Later, base: i64) -> io::Result<Self> {
        let table = Table::open(file)?;
        Ok(Self { base, table })
    }

    /// An offset such that no record before its batch is as young as `timestamp`.
    pub(super) fn floor(&self, timestamp: i64) -> io::Result<i64> {
        let count = self
            .table
            .count_while(|entry| self.decode(entry).0 <= timestamp)?;
        let entry = count
            .checked_sub(1)
            .map(|at| self.table.get(at))
            .transpose()?;
        Ok(entry.map_or(self.base, |entry| self.decode(&entry).1))
    }

    /// The largest timestamp that is indexed, and the last offset of its batch.
    pub(super) fn last(&self) -> Option<(i64, i64)> {
        self.table.last.map(|entry| self.decode(&entry))
    }

    /// Adds an entry if its timestamp is larger than all before (`TimeIndex.maybeAppend`).
    pub(super) fn push(&mut self, timestamp: i64, last_offset: i64) -> io::Result<()> {
        if self.last().map_or(-1, |(last, _)| last) >= timestamp {
            return Ok(());
        }
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative(last_offset, self.base)?.to_be_bytes());
        self.table.push(entry)
    }

    /// Keeps the entries before `offset`, as far as they ascend.
    pub(super) fn keep_before(&mut self, offset: i64) -> io::Result<()> {
        let base = self.base;
        self.table.keep_while(|before, entry| {
            let (timestamp, of) = decode_time(base, entry);
            let ascends = before.is_none_or(|before| {
                let (earlier, last) = decode_time(base, before);
                earlier < timestamp && last < of
            });
            ascends && (base..offset).contains(&of)
        })
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.table.cut(0)
    }

    pub(super) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.table.file.get().cloned()
    }

    /// Until it is needed.
    pub(super) fn close(&mut self) {
        self.table.file.close();
    }

    fn decode(&self, entry: &[u8; 12]) -> (i64, i64) {
        decode_time(self.base, entry)
    }
}

fn decode_time(base: i64, entry: &[u8; 12]) -> (i64, i64) {
    let [a, b, c, d, e, f, g, h, offset @ ..] = *entry;
    let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (
        timestamp,
        base.saturating_add(i32::from_be_bytes(offset).into()),
    )
}

/// A transaction whose records do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of its marker.
    pub(crate) last_offset: i64,
    /// The last stable offset that the marker made.
    pub(crate) last_stable: i64,
}

/// The aborted transactions whose markers lie in a segment.
#[derive(Clone, Debug)]
pub(super) struct AbortedIndex(Table<34>);

impl AbortedIndex {
    pub(super) fn open(file: Later) -> io::Result<Self> {
        Ok(Self(Table::open(file)?))
    }

    pub(super) fn push(&mut self, one: &AbortedTransaction) -> io::Result<()> {
        let mut entry = [0; 34];
        let fields = [
            one.producer_id,
            one.first_offset,
            one.last_offset,
            one.last_stable,
        ];
        for (place, field) in entry[2..].chunks_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        self.0.push(entry)
    }

    /// Adds to `found` the transactions that overlap `from..to`; false if the next segment may have
    /// more of them.
    pub(super) fn collect(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTransaction>,
    ) -> io::Result<bool> {
        let first = self
            .0
            .count_while(|entry| decode_aborted(entry).last_offset < from)?;
        for at in first..self.0.count {
            let one = decode_aborted(&self.0.get(at)?);
            if one.first_offset < to {
                found.push(one);
            }
            if one.last_stable >= to {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps the entries whose markers lie before `offset`, as far as they ascend.
    pub(super) fn keep_before(&mut self, offset: i64) -> io::Result<()> {
        self.0.keep_while(|before, entry| {
            let one = decode_aborted(entry);
            let last = before.map(|before| decode_aborted(before).last_offset);
            let ascends = last.is_none_or(|last| last < one.last_offset);
            ascends && one.first_offset < one.last_offset && one.last_offset < offset
        })
    }

    pub(super) fn last(&self) -> Option<AbortedTransaction> {
        self.0.last.as_ref().map(decode_aborted)
    }

    /// Drops the last entry.
    pub(super) fn pop(&mut self) -> io::Result<()> {
        self.0.cut(self.0.count.saturating_sub(1))
    }

    /// Drops the entries whose markers lie from `offset` on.
    pub(super) fn cut(&mut self, offset: i64) -> io::Result<()> {
        let count = self
            .0
            .count_while(|entry| decode_aborted(entry).last_offset < offset)?;
        self.0.cut(count)
    }

    pub(super) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.0.file.get().cloned()
    }
}

fn decode_aborted(entry: &[u8; 34]) -> AbortedTransaction {
    let field = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entry[at..at + 8]);
        i64::from_be_bytes(bytes)
    };
    AbortedTransaction {
        producer_id: field(2),
        first_offset: field(10),
        last_offset: field(18),
        last_stable: field(26),
    }
}

/// An offset as entries have it; a segment is closed before it is out of range.
fn relative(offset: i64, base: i64) -> io::Result<i32> {
    i32::try_from(offset - base).map_err(|_| io::ErrorKind::InvalidInput.into())
}
