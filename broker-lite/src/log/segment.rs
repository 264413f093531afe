//! One segment: a `.log` file and its indexes, growing ([`Active`]) or not ([`Sealed`]).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use host::{File, Files};
use wire::batch::{BatchHeader, BatchView};

use super::{
    index::{AbortedIndex, AbortedTransaction, Later, OffsetIndex, TimeIndex},
    reader::{Reader, header_at},
};

/// Bytes of log between two entries of an index (`index.interval.bytes`).
const INDEX_INTERVAL: u64 = 4096;

/// The files of a segment.
pub(super) const KINDS: [&str; 4] = ["log", "index", "timeindex", "txnindex"];

/// Where the file of a segment is.
pub(super) fn path(folder: &Path, base: i64, kind: &str) -> PathBuf {
    folder.join(format!("{base:020}.{kind}"))
}

/// First offset of the segment that a file `NAME.log` holds.
pub(super) fn base_of(name: &str) -> Option<i64> {
    offset(name.strip_suffix(".log")?)
}

/// First offset of the segment that a file is an index of.
pub(super) fn base_of_index(name: &str) -> Option<i64> {
    let (base, kind) = name.split_once('.')?;
    let is_index = kind != "log" && KINDS.contains(&kind);
    offset(base).filter(|_| is_index)
}

fn offset(digits: &str) -> Option<i64> {
    let is_offset = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_offset)
}

pub(super) fn remove(files: &dyn Files, folder: &Path, base: i64) -> io::Result<()> {
    KINDS
        .iter()
        .try_for_each(|kind| files.remove(&path(folder, base, kind)))
}

/// A segment that is complete. Holds no file open: there may be many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) base: i64,
    /// First offset of the segment that follows.
    pub(super) next: i64,
    /// Bytes of its log.
    pub(super) len: u64,
    pub(super) max_timestamp: i64,
}

impl Sealed {
    /// Trusts the indexes of a segment that is known to be whole if they look sound, else makes them
    /// again.
    pub(super) fn open(
        files: &Arc<dyn Files>,
        folder: &Path,
        base: i64,
        next: i64,
    ) -> io::Result<Self> {
        let sealed = Self {
            base,
            next,
            len: 0,
            max_timestamp: -1,
        };
        let reader = sealed.reader(files, folder)?;
        if let (Some((last_offset, position)), Some((max_timestamp, of))) =
            (reader.offsets.last(), reader.times.last())
            && reader
                .header(position)
                .is_ok_and(|header| header.last_offset() == last_offset)
            && (base..next).contains(&of)
        {
            return Ok(Self {
                len: reader.len,
                max_timestamp,
                ..sealed
            });
        }
        let mut segment = Active::open(files, folder, base)?;
        if !segment.recover(next, next, &mut |_| None)? {
            // It was whole once, and a reader of the rest is to hear of it: nothing is cut off.
            tracing::error!(file = %path(folder, base, "log").display(),
                position = segment.reader.len, "a batch is damaged");
        }
        segment.complete()?;
        segment.sync_indexes()?;
        Ok(Self {
            len: reader.len,
            ..segment.sealed(next)
        })
    }

    pub(super) fn reader(&self, files: &Arc<dyn Files>, folder: &Path) -> io::Result<Reader> {
        let log = files.open(&path(folder, self.base, "log"))?;
        self.reader_of(log, files, folder)
    }

    /// The same, with its log open already.
    pub(super) fn reader_of(
        &self,
        log: Arc<dyn File>,
        files: &Arc<dyn Files>,
        folder: &Path,
    ) -> io::Result<Reader> {
        let later = |kind| Later::new(files, path(folder, self.base, kind));
        Ok(Reader {
            base: self.base,
            next: self.next,
            len: log.len()?,
            log,
            offsets: OffsetIndex::open(later("index"), self.base)?,
            times: TimeIndex::open(later("timeindex"), self.base)?,
        })
    }
}

/// The aborted transactions of a segment; most have none, and no file.
pub(super) fn aborted(
    files: &Arc<dyn Files>,
    folder: &Path,
    base: i64,
) -> io::Result<Option<AbortedIndex>> {
    let path = path(folder, base, "txnindex");
    if !files.exists(&path) {
        return Ok(None);
    }
    AbortedIndex::open(Later::new(files, path)).map(Some)
}

/// The segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    files: Arc<dyn Files>,
    folder: PathBuf,
    reader: Reader,
    since_index: u64,
    max_timestamp: i64,
    /// Last offset of the batch that holds the largest timestamp.
    max_timestamp_offset: i64,
    /// Largest timestamp of the first batch: rolling by time counts from it.
    first_timestamp: Option<i64>,
    aborted: Option<AbortedIndex>,
    /// Part of a batch that could not be written stands behind the others.
    is_torn: bool,
    /// Of the files' names.
    suffix: &'static str,
}

/// A batch that was found at open.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Its header.
    pub(crate) header: BatchHeader,
    /// The whole batch, if it is a control batch.
    pub(crate) control: Option<BatchView>,
}

/// Hears of the batches that are found at open, and tells which of them aborts what.
pub(crate) type Replay<'a> = dyn FnMut(Scanned) -> Option<AbortedTransaction> + 'a;

impl Active {
    /// Opens the segment that begins at `base`, made if it is not there; nothing of it counts yet.
    pub(super) fn open(files: &Arc<dyn Files>, folder: &Path, base: i64) -> io::Result<Self> {
        Self::open_as(files, folder, base, "")
    }

    /// Opens it from files whose names end in `suffix`.
    pub(super) fn open_as(
        files: &Arc<dyn Files>,
        folder: &Path,
        base: i64,
        suffix: &'static str,
    ) -> io::Result<Self> {
        let named = |kind: &str| path(folder, base, &format!("{kind}{suffix}"));
        let later = |kind| Later::new(files, named(kind));
        let aborted = match files.exists(&named("txnindex")) {
            true => Some(AbortedIndex::open(later("txnindex"))?),
            false => None,
        };
        Ok(Self {
            reader: Reader {
                base,
                next: base,
                len: 0,
                log: files.open(&named("log"))?,
                offsets: OffsetIndex::open(later("index"), base)?,
                times: TimeIndex::open(later("timeindex"), base)?,
            },
            since_index: 0,
            max_timestamp: -1,
            max_timestamp_offset: base,
            first_timestamp: None,
            aborted,
            is_torn: false,
            suffix,
            files: Arc::clone(files),
            folder: folder.to_owned(),
        })
    }

    /// Makes the segment that begins at `base`, with nothing in it.
    pub(super) fn create(files: &Arc<dyn Files>, folder: &Path, base: i64) -> io::Result<Self> {
        remove(&**files, folder, base)?;
        Self::open(files, folder, base)
    }

    /// Counts what the file holds: below `trusted` by the indexes and headers, from there on batch by
    /// batch with CRC, each told to `replay`. False if there is more in it than whole batches before `limit`.
    pub(super) fn recover(
        &mut self,
        trusted: i64,
        limit: i64,
        replay: &mut Replay<'_>,
    ) -> io::Result<bool> {
        let end = self.reader.log.len()?;
        self.cut_indexes(trusted)?;
        if trusted < limit {
            self.drop_torn_notes(end)?;
        }
        let are_sound = self.skip_trusted(end)?;
        if !are_sound {
            self.reader.offsets.clear()?;
            self.reader.times.clear()?;
        }
        while let Some(header) = self.next_header(end, limit)? {
            let batch = if header.next_offset() > trusted {
                let bytes = self
                    .reader
                    .log
                    .read_exact_at(header.size(), self.reader.len)?;
                Some(BatchView {
                    header,
                    bytes: Bytes::from(bytes),
                })
            } else {
                None
            };
            if batch
                .as_ref()
                .is_some_and(|batch| batch.check_crc().is_err())
            {
                break;
            }
            self.note(&header);
            if let Some(batch) = batch {
                let control = header.is_control().then_some(batch);
                if let Some(aborted) = replay(Scanned { header, control }) {
                    self.push_aborted(&aborted)?;
                }
            }
        }
        if !are_sound && self.reader.base < trusted {
            self.sync_indexes()?;
        }
        self.reader.offsets.close();
        self.reader.times.close();
        Ok(self.reader.len == end)
    }

    /// Indexes that were made again are as durable as what is trusted: the next open believes them.
    fn sync_indexes(&self) -> io::Result<()> {
        self.reader.offsets.file()?.sync()?;
        self.reader.times.file()?.sync()
    }

    /// Cuts off what does not count.
    pub(super) fn cut_off(&self) -> io::Result<()> {
        tracing::warn!(file = %path(&self.folder, self.reader.base, "log").display(),
            position = self.reader.len, next_offset = self.reader.next,
            "cut off what is no whole batch");
        self.reader.log.set_len(self.reader.len)?;
        // What is written in its place must not meet it again after the next loss of power.
        self.reader.log.sync()
    }

    fn cut_indexes(&mut self, offset: i64) -> io::Result<()> {
        self.reader.offsets.keep_before(offset)?;
        self.reader.times.keep_before(offset)?;
        self.aborted
            .as_mut()
            .map_or(Ok(()), |aborted| aborted.keep_before(offset))
    }

    /// Drops what the index of aborted transactions has last as long as the log has no such marker: a loss of power
    /// may leave half of an entry.
    fn drop_torn_notes(&mut self, end: u64) -> io::Result<()> {
        let whole = self.reader.up_to(end);
        let Some(aborted) = &mut self.aborted else {
            return Ok(());
        };
        while let Some(one) = aborted.last() {
            let header = whole.header_of(one.last_offset)?;
            let is_marker = |header: BatchHeader| {
                header.is_control()
                    && (header.base_offset, header.producer_id)
                        == (one.last_offset, one.producer_id)
            };
            if header.is_some_and(is_marker) {
                return Ok(());
            }
            aborted.pop()?;
        }
        Ok(())
    }

    /// Goes to the last indexed batch, if the indexes are sound.
    fn skip_trusted(&mut self, end: u64) -> io::Result<bool> {
        let reader = &mut self.reader;
        if let Some(first) = header_at(&*reader.log, 0, end)? {
            self.first_timestamp = Some(first.max_timestamp).filter(|time| *time >= 0);
        }
        let (Some((last_offset, position)), Some((max_timestamp, of))) =
            (reader.offsets.last(), reader.times.last())
        else {
            return Ok(false);
        };
        let header = header_at(&*reader.log, position, end)?;
        let Some(header) = header.filter(|header| header.last_offset() == last_offset) else {
            return Ok(false);
        };
        let youngest = reader.up_to(end).header_of(of)?;
        if youngest.is_none_or(|youngest| youngest.max_timestamp != max_timestamp) {
            return Ok(false);
        }
        // The index has an entry for this very batch, so none is due before the interval is over.
        (reader.len, reader.next) = (position, header.base_offset);
        (self.max_timestamp, self.max_timestamp_offset) = (max_timestamp, of);
        Ok(true)
    }

    /// The header at the end of what counts, if its batch may stand there.
    fn next_header(&self, end: u64, limit: i64) -> io::Result<Option<BatchHeader>> {
        let reader = &self.reader;
        let header = header_at(&*reader.log, reader.len, end)?;
        Ok(header.filter(|header| {
            header.base_offset >= reader.next
                && header.next_offset() <= limit
                && self.is_near(header.last_offset())
        }))
    }

    /// Whether index entries can hold `offset`.
    fn is_near(&self, offset: i64) -> bool {
        offset
            .checked_sub(self.reader.base)
            .is_some_and(|relative| relative <= i32::MAX.into())
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    pub(super) fn aborted(&self) -> Option<&AbortedIndex> {
        self.aborted.as_ref()
    }

    /// Whether `header`'s batch belongs into a new segment (`LogSegment.shouldRoll`): time is that of
    /// the records.
    pub(super) fn is_full(&self, header: &BatchHeader, max_bytes: u64, max_ms: i64) -> bool {
        let age = self
            .first_timestamp
            .map_or(0, |first| header.max_timestamp.saturating_sub(first));
        let len = self.reader.len;
        len > 0
            && (len + header.size() as u64 > max_bytes
                || age > max_ms
                || !self.is_near(header.last_offset()))
    }

    /// Writes a batch behind the others. After an error nothing of it counts.
    pub(super) fn append(&mut self, batch: &BatchView) -> io::Result<()> {
        self.mend()?;
        let len = self.reader.len;
        if len > i32::MAX.unsigned_abs().into() {
            // An index could not tell where it is.
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Err(error) = self.reader.log.write_all_at(&batch.bytes, len) {
            self.is_torn = true;
            // If that fails too, the next write tries again first.
            let _mended = self.mend();
            return Err(error);
        }
        self.note(&batch.header);
        Ok(())
    }

    /// Half a batch must not stand before the next one, nor at the end of a segment.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.reader.log.set_len(self.reader.len)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Counts a batch that stands at the end.
    fn note(&mut self, header: &BatchHeader) {
        if self.reader.len == 0 {
            self.first_timestamp = Some(header.max_timestamp).filter(|time| *time >= 0);
        }
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = header.last_offset();
        }
        // A batch counts without its entry; if there is no room for it, the next one may have one.
        if self.since_index > INDEX_INTERVAL && self.index(header.last_offset()).is_ok() {
            self.since_index = 0;
        }
        self.since_index += header.size() as u64;
        self.reader.len += header.size() as u64;
        self.reader.next = header.next_offset();
    }

    /// Indexes the batch that begins at the end.
    fn index(&mut self, last_offset: i64) -> io::Result<()> {
        let reader = &mut self.reader;
        reader.offsets.push(last_offset, reader.len)?;
        reader
            .times
            .push(self.max_timestamp, self.max_timestamp_offset)
    }

    /// Notes that a marker in this segment aborted a transaction.
    pub(super) fn push_aborted(&mut self, one: &AbortedTransaction) -> io::Result<()> {
        if self.aborted.is_none() {
            let kind = format!("txnindex{}", self.suffix);
            let path = path(&self.folder, self.reader.base, &kind);
            self.aborted = Some(AbortedIndex::open(Later::new(&self.files, path))?);
        }
        self.aborted
            .as_mut()
            .map_or(Ok(()), |aborted| aborted.push(one))
    }

    /// Drops the note of a marker at `offset`, which could not be written.
    pub(super) fn pop_aborted(&mut self, offset: i64) -> io::Result<()> {
        let aborted = self.aborted.as_mut();
        aborted.map_or(Ok(()), |aborted| aborted.cut(offset))
    }

    /// The time index of a segment that is trusted ends with its largest timestamp.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.mend()?;
        self.reader
            .times
            .push(self.max_timestamp, self.max_timestamp_offset)
    }

    /// What this segment is once `next` begins the one behind it.
    pub(super) fn sealed(&self, next: i64) -> Sealed {
        Sealed {
            base: self.reader.base,
            next,
            len: self.reader.len,
            max_timestamp: self.max_timestamp,
        }
    }

    /// All files of it, the log first.
    pub(super) fn all_files(&self) -> io::Result<Vec<Arc<dyn File>>> {
        let reader = &self.reader;
        let mut all = vec![
            Arc::clone(&reader.log),
            reader.offsets.file()?,
            reader.times.file()?,
        ];
        if let Some(aborted) = &self.aborted {
            all.push(aborted.file()?);
        }
        Ok(all)
    }
}
