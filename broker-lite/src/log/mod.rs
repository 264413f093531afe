//! The log of one partition: segments of batches in Kafka's own format.
//!
//! A folder holds, for each segment, files named by its first offset (20 digits):
//! * `.log`: batches as on the wire, with base offset and leader epoch (0) set;
//! * `.index`, `.timeindex`, `.txnindex`: see `index.rs`.
//!
//! So `kafka-dump-log` reads them. `log-start-offset` holds, as text, the first offset that counts.
//! `retention.rs` says what is out of date, `cleaner/` removes what is superseded.
//!
//! What is appended survives the process. It survives the machine once [`Unsynced::sync`] is done.
//! At open the caller says up to which offset the log is known to be whole and durable (`trusted`):
//! below, indexes and headers are believed; from there on every batch's CRC is checked, the log ends
//! before the first one that is not whole, and the caller hears of each batch.
//!
//! Invariants: offsets ascend; a batch never spans two segments; only the last segment grows.

mod cleaner;
mod index;
pub(crate) mod offset_file;
mod place;
mod reader;
mod retention;
mod segment;
mod shared;
mod swap;
#[cfg(test)]
mod tests;

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use cleaner::{Cleaned, Compaction, LastRecord, Source, Terms};
use host::{File, Files};
pub(crate) use index::AbortedTransaction;
pub(crate) use place::{Place, Slice};
pub(crate) use reader::{MAX_DECOMPRESSED, Reader};
use retention::Extent;
pub(crate) use retention::Retention;
use segment::{Active, Sealed};
pub(crate) use segment::{Replay, Scanned};
use shared::Shared;
use wire::batch::{BatchHeader, BatchView};

/// Where a file of a log begins.
const LOG_START: &str = "log-start-offset";

/// A partition's batches on disk.
#[derive(Debug)]
pub(crate) struct Log {
    files: Arc<dyn Files>,
    folder: PathBuf,
    sealed: Vec<Sealed>,
    active: Active,
    start: i64,
    /// Files of sealed segments that no sync has reached yet.
    unsynced: Vec<Arc<dyn File>>,
    /// Files were made since the last sync.
    has_new_names: bool,
    /// How often segments were replaced or removed.
    changed: u64,
    shared: Shared,
}

/// What a sync has to reach so that a log is durable up to `end`.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(crate) end: i64,
    files: Vec<Arc<dyn File>>,
    names: Option<(Arc<dyn Files>, PathBuf)>,
}

impl Unsynced {
    /// Makes it durable. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync())?;
        match &self.names {
            Some((files, folder)) => files.sync_dir(folder),
            None => Ok(()),
        }
    }
}

/// Segments that do not count any more, whose files are there.
#[derive(Debug)]
#[must_use = "the files stay until it has run"]
pub(crate) struct Removal {
    files: Arc<dyn Files>,
    folder: PathBuf,
    bases: Vec<i64>,
}

impl Removal {
    /// Removes the files, oldest first. Blocks.
    pub(crate) fn run(self) -> io::Result<()> {
        let remove = |base: &i64| segment::remove(&*self.files, &self.folder, *base);
        self.bases.iter().try_for_each(remove)
    }
}

impl Log {
    /// Opens the log in `folder`, made if it is not there.
    pub(crate) fn open(
        files: &Arc<dyn Files>,
        folder: &Path,
        trusted: i64,
        replay: &mut Replay<'_>,
    ) -> io::Result<Self> {
        files.create_dir_all(folder)?;
        let start = offset_file::read(&**files, &folder.join(LOG_START))?.unwrap_or(0);
        let names = swap::recover(&**files, folder)?;
        let bases = bases(&**files, folder, &names, start)?;
        let (mut sealed, mut unsynced, mut active) = (Vec::new(), Vec::new(), None);
        for (at, base) in bases.iter().copied().enumerate() {
            let next = bases.get(at + 1).copied();
            if let Some(next) = next.filter(|next| *next <= trusted) {
                sealed.push(Sealed::open(files, folder, base, next)?);
                continue;
            }
            let mut segment = Active::open(files, folder, base)?;
            let is_whole = segment.recover(trusted, next.unwrap_or(i64::MAX), replay)?;
            if !is_whole {
                segment.cut_off()?;
            }
            // Batches may be missing before a boundary without any being torn.
            if let Some(next) = next.filter(|next| is_whole && segment.reader().next == *next) {
                segment.complete()?;
                unsynced.extend(segment.all_files()?);
                sealed.push(segment.sealed(next));
                continue;
            }
            for behind in &bases[at + 1..] {
                tracing::warn!(folder = %folder.display(), base_offset = behind,
                    "remove a segment behind a damaged one");
                segment::remove(&**files, folder, *behind)?;
            }
            if at + 1 < bases.len() {
                // They must not come back behind what is written in their place.
                files.sync_dir(folder)?;
            }
            active = Some(segment);
            break;
        }
        let active = active.map_or_else(|| Active::create(files, folder, start), Ok)?;
        let mut log = Self {
            files: Arc::clone(files),
            folder: folder.to_owned(),
            sealed,
            active,
            start,
            unsynced,
            has_new_names: true,
            changed: 0,
            shared: Shared::default(),
        };
        if log.end() < start {
            log.restart_at(start)?;
        }
        log.start = start.max(log.first_base());
        Ok(log)
    }

    /// First offset that is there.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.active.reader().next()
    }

    /// First offset of the segment that grows.
    pub(crate) fn active_base(&self) -> i64 {
        self.active.reader().base
    }

    /// How often segments were replaced or removed: who found something before and looks for more of it after has to
    /// begin again.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// This is what was left when `other` was cut off.
    pub(crate) fn succeeds(&mut self, other: &Self) {
        self.changed = other.changed + 1;
    }

    /// Bytes of all segments, without indexes.
    pub(crate) fn size(&self) -> u64 {
        let sealed = self.sealed.iter().map(|segment| segment.len);
        sealed.sum::<u64>() + self.active.reader().len
    }

    /// Whether a batch belongs into a new segment.
    pub(crate) fn is_full(
        &self,
        header: &BatchHeader,
        segment_bytes: u64,
        segment_ms: i64,
    ) -> bool {
        self.active.is_full(header, segment_bytes, segment_ms)
    }

    /// Appends a batch whose offsets are set.
    pub(crate) fn append(&mut self, batch: &BatchView) -> io::Result<()> {
        self.active.append(batch)
    }

    /// Appends a marker at the end, and notes what it aborts: the note first, or readers would take aborted records for
    /// good ones.
    pub(crate) fn append_marker(
        &mut self,
        marker: &BatchView,
        aborts: Option<&AbortedTransaction>,
    ) -> io::Result<()> {
        let offset = self.end();
        if let Some(one) = aborts {
            self.active.push_aborted(one)?;
        }
        self.append(marker).or_else(|error| {
            self.active.pop_aborted(offset)?;
            Err(error)
        })
    }

    /// The segment where `offset` is or, in a gap, the one behind it; none at the end.
    pub(crate) fn reader(&self, offset: i64) -> io::Result<Option<Reader>> {
        let at = self
            .sealed
            .partition_point(|segment| segment.next <= offset);
        match self.sealed.get(at) {
            Some(segment) => {
                let name = segment::path(&self.folder, segment.base, "log");
                let log = self.shared.get(segment.base, || self.files.open(&name))?;
                segment.reader_of(log, &self.files, &self.folder).map(Some)
            }
            None if offset < self.end() => Ok(Some(self.active.reader().clone())),
            None => Ok(None),
        }
    }

    /// Where records as young as `timestamp` may begin: a segment's first offset, or the end.
    pub(crate) fn first_segment_at(&self, timestamp: i64) -> i64 {
        let sealed = self
            .sealed
            .iter()
            .find(|one| one.max_timestamp >= timestamp);
        match sealed {
            Some(segment) => segment.base,
            None if self.active.max_timestamp() >= timestamp => self.active.reader().base,
            None => self.end(),
        }
    }

    /// The largest timestamp of all.
    pub(crate) fn max_timestamp(&self) -> i64 {
        let sealed = self.sealed.iter().map(|segment| segment.max_timestamp);
        sealed.fold(self.active.max_timestamp(), i64::max)
    }

    /// Aborted transactions that overlap `from..to`.
    pub(crate) fn aborted(&self, from: i64, to: i64) -> io::Result<Vec<AbortedTransaction>> {
        let mut found = Vec::new();
        let at = self.sealed.partition_point(|segment| segment.next <= from);
        for segment in &self.sealed[at..] {
            let index = segment::aborted(&self.files, &self.folder, segment.base)?;
            if let Some(index) = index
                && index.collect(from, to, &mut found)?
            {
                return Ok(found);
            }
        }
        if let Some(index) = self.active.aborted() {
            index.collect(from, to, &mut found)?;
        }
        Ok(found)
    }

    /// First offset of what is not out of date at `now`; looks at what ends at or before `limit`.
    pub(crate) fn expired_before(
        &self,
        retention: &Retention,
        now: i64,
        limit: i64,
    ) -> io::Result<i64> {
        if *retention == Retention::default() {
            return Ok(self.start);
        }
        let mut extents = Vec::with_capacity(self.sealed.len() + 1);
        for segment in &self.sealed {
            extents.push(Extent {
                next: segment.next,
                bytes: segment.len,
                time: self.time(segment.max_timestamp, || {
                    segment.reader(&self.files, &self.folder)
                })?,
            });
        }
        let active = self.active.reader();
        if active.len > 0 {
            extents.push(Extent {
                next: active.next,
                bytes: active.len,
                time: self.time(self.active.max_timestamp(), || Ok(active.clone()))?,
            });
        }
        let expired = retention.expired(&extents, now, limit);
        let last = expired.checked_sub(1).map(|last| extents[last].next);
        Ok(last.map_or(self.start, |next| next.max(self.start)))
    }

    /// The time of a segment's youngest record; when it was written if none has one (`LogSegment.largestTimestamp`).
    fn time(
        &self,
        max_timestamp: i64,
        reader: impl FnOnce() -> io::Result<Reader>,
    ) -> io::Result<Option<i64>> {
        if max_timestamp >= 0 {
            return Ok(Some(max_timestamp));
        }
        let modified = reader()?.log.modified_ms();
        match modified {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            modified => modified.map(Some),
        }
    }

    /// Where the last of the segments ends whose records all lie before `offset`; none if there is none.
    pub(crate) fn goes_with(&self, offset: i64) -> Option<i64> {
        let old = self.sealed.partition_point(|one| one.next <= offset);
        old.checked_sub(1).map(|last| self.sealed[last].next)
    }

    /// Notes durably that the log in `folder` begins at `start`.
    pub(crate) fn write_start(files: &dyn Files, folder: &Path, start: i64) -> io::Result<()> {
        offset_file::write(files, &folder.join(LOG_START), start)
    }

    /// Drops records before `start`, which is noted. The files of whole segments before it are still to be removed;
    /// the next open does it otherwise. Readers that hold them go on, so there is no `file.delete.delay.ms`.
    pub(crate) fn advance_start(&mut self, start: i64) -> Removal {
        self.start = self.start.max(start);
        let old = self.sealed.partition_point(|one| one.next <= self.start);
        let bases: Vec<i64> = self.sealed.drain(..old).map(|one| one.base).collect();
        self.changed += u64::from(!bases.is_empty());
        Removal {
            bases,
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
        }
    }

    /// Cuts the files off before the batch that holds `offset`; false if there is none. The log has to be opened
    /// again.
    pub(crate) fn truncate(&mut self, offset: i64) -> io::Result<bool> {
        let mut next = offset;
        loop {
            let Some(reader) = self.reader(next)? else {
                return Ok(false);
            };
            if let Some(position) = reader.position(offset)? {
                let behind: Vec<i64> = self.bases().filter(|base| *base > reader.base).collect();
                for base in behind {
                    segment::remove(&*self.files, &self.folder, base)?;
                }
                swap::cut(
                    &*self.files,
                    &self.folder,
                    reader.base,
                    &*reader.log,
                    position,
                )?;
                return Ok(true);
            }
            // The segment ends in a gap.
            next = reader.next();
        }
    }

    /// What was appended and is not durable. Indexes of the growing segment are left out: they can be made
    /// again.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        let log = Arc::clone(&self.active.reader().log);
        self.take_with([log])
    }

    /// All that is not durable: after its sync the log is to be trusted up to its end.
    pub(crate) fn take_all(&mut self) -> io::Result<Unsynced> {
        self.active.complete()?;
        // The index of aborted transactions is made when it is needed.
        self.has_new_names = true;
        let files = self.active.all_files()?;
        Ok(self.take_with(files))
    }

    fn take_with(&mut self, active: impl IntoIterator<Item = Arc<dyn File>>) -> Unsynced {
        let mut files = mem::take(&mut self.unsynced);
        files.extend(active);
        let names = mem::take(&mut self.has_new_names)
            .then(|| (Arc::clone(&self.files), self.folder.clone()));
        let end = self.end();
        Unsynced { end, files, names }
    }

    /// Begins a new segment at the end. There must be something in the one that grows: two of the same name would
    /// be one.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        let base = self.end();
        if base == self.active_base() {
            return Ok(());
        }
        self.active.complete()?;
        let files = self.active.all_files()?;
        let next = Active::create(&self.files, &self.folder, base)?;
        let full = mem::replace(&mut self.active, next);
        self.unsynced.extend(files);
        self.sealed.push(full.sealed(base));
        self.has_new_names = true;
        Ok(())
    }

    /// Everything lies before the start: nothing of it counts.
    fn restart_at(&mut self, start: i64) -> io::Result<()> {
        let bases: Vec<i64> = self.bases().collect();
        for base in bases {
            segment::remove(&*self.files, &self.folder, base)?;
        }
        self.sealed.clear();
        self.active = Active::create(&self.files, &self.folder, start)?;
        Ok(())
    }

    fn first_base(&self) -> i64 {
        self.sealed
            .first()
            .map_or(self.active.reader().base, |segment| segment.base)
    }

    /// First offsets of the segments.
    fn bases(&self) -> impl Iterator<Item = i64> {
        let active = self.active.reader().base;
        self.sealed
            .iter()
            .map(|segment| segment.base)
            .chain([active])
    }
}

/// First offsets of the segments in `folder` that a log from `start` on has. What is left of older ones goes: which of
/// their files a crash left is not known, and there may be gaps among them.
fn bases(files: &dyn Files, folder: &Path, names: &[String], start: i64) -> io::Result<Vec<i64>> {
    let logs = names.iter().filter_map(|name| segment::base_of(name));
    let mut bases: Vec<i64> = logs.collect();
    let old = bases.windows(2).take_while(|pair| pair[1] <= start).count();
    for base in bases.drain(..old) {
        segment::remove(files, folder, base)?;
    }
    let is_stray = |name: &&String| {
        segment::base_of_index(name).is_some_and(|base| bases.binary_search(&base).is_err())
    };
    let mut stray = names.iter().filter(is_stray);
    stray.try_for_each(|name| files.remove(&folder.join(name)))?;
    Ok(bases)
}
