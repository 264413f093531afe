//! One segment: a `.log` file and its two indexes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use host::{File, Host};
use wire::batch::{BatchHeader, BatchView, HEADER_LEN};

/// Bytes of log between two entries of an index (`index.interval.bytes`).
const INDEX_INTERVAL: u64 = 4096;

/// A batch that was found at open.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Its header.
    pub(crate) header: BatchHeader,
    /// The whole batch, if it is a control batch.
    pub(crate) control: Option<BatchView>,
}

#[derive(Debug)]
pub(super) struct Segment {
    base: i64,
    next: i64,
    len: u64,
    max_timestamp: i64,
    /// Last offset of the batch that holds the largest timestamp.
    max_timestamp_offset: i64,
    /// When the first batch was appended or, after a restart, its time.
    created_ms: Option<i64>,
    /// Last offset and position of indexed batches.
    index: Vec<(i64, u64)>,
    since_index: u64,
    /// Largest timestamp that is in the time index.
    indexed_timestamp: i64,
    log: Arc<dyn File>,
    offset_index: Arc<dyn File>,
    time_index: Arc<dyn File>,
    paths: [PathBuf; 3],
    host: Host,
}

impl Segment {
    pub(super) fn create(host: &Host, folder: &Path, base: i64) -> io::Result<Self> {
        let path = |kind| folder.join(format!("{base:020}.{kind}"));
        let paths = ["log", "index", "timeindex"].map(path);
        let [log, offset_index, time_index] = &paths;
        let files = &host.files;
        Ok(Self {
            base,
            next: base,
            len: 0,
            max_timestamp: -1,
            max_timestamp_offset: base,
            created_ms: None,
            index: Vec::new(),
            since_index: 0,
            indexed_timestamp: -1,
            log: files.open(log)?,
            offset_index: files.open(offset_index)?,
            time_index: files.open(time_index)?,
            paths,
            host: host.clone(),
        })
    }

    /// Opens a segment that is there. Of the last one the batches are checked, and what is not whole is
    /// cut off; its indexes are written anew.
    pub(super) fn open(
        host: &Host,
        folder: &Path,
        base: i64,
        is_last: bool,
        each: &mut dyn FnMut(Scanned),
    ) -> io::Result<Self> {
        let mut segment = Self::create(host, folder, base)?;
        let end = segment.log.len()?;
        if is_last {
            segment.offset_index.set_len(0)?;
            segment.time_index.set_len(0)?;
        }
        while let Some(header) = header_at(&*segment.log, segment.len, end)? {
            if header.base_offset < segment.next {
                break;
            }
            let whole = is_last || header.is_control();
            let batch = if whole {
                segment.batch_at(segment.len, &header)?
            } else {
                None
            };
            if is_last
                && batch
                    .as_ref()
                    .is_none_or(|batch| batch.check_crc().is_err())
            {
                break;
            }
            let control = batch.filter(|_| header.is_control());
            segment.note(&header, is_last)?;
            segment.created_ms.get_or_insert(header.max_timestamp);
            each(Scanned { header, control });
        }
        if segment.len < end {
            let path = segment.paths[0].display();
            if !is_last {
                let text = format!("{path}: damaged at byte {}, before its end", segment.len);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            tracing::warn!(file = %path, position = segment.len, bytes = end - segment.len,
                next_offset = segment.next, "cut off a torn tail");
            segment.log.set_len(segment.len)?;
        }
        Ok(segment)
    }

    pub(super) fn base(&self) -> i64 {
        self.base
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.next
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    pub(super) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.log)
    }

    /// Whether a batch of `bytes` belongs into a new segment.
    pub(super) fn is_full(&self, bytes: u64, max_bytes: u64, max_ms: i64, now: i64) -> bool {
        let old = self
            .created_ms
            .is_some_and(|created| now.saturating_sub(created) > max_ms);
        // Index entries hold 31 bits of offset.
        let far = self.next - self.base > i64::from(i32::MAX) - 1_000_000;
        self.len > 0 && (self.len + bytes > max_bytes || old || far)
    }

    pub(super) fn append(&mut self, batch: &BatchView, now: i64) -> io::Result<()> {
        if let Err(error) = self.log.write_all_at(&batch.bytes, self.len) {
            // Half a batch must not stand before the next one.
            self.log.set_len(self.len)?;
            return Err(error);
        }
        self.created_ms.get_or_insert(now);
        self.note(&batch.header, true)
    }

    /// Counts a batch that stands at the end.
    fn note(&mut self, header: &BatchHeader, write_index: bool) -> io::Result<()> {
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = header.last_offset();
        }
        if self.since_index > INDEX_INTERVAL {
            self.index.push((header.last_offset(), self.len));
            self.since_index = 0;
            if write_index {
                self.write_index(header.last_offset())?;
                self.write_time_index()?;
            }
        }
        self.since_index += header.size() as u64;
        self.len += header.size() as u64;
        self.next = header.next_offset();
        Ok(())
    }

    fn write_index(&self, last_offset: i64) -> io::Result<()> {
        let mut entry = relative(last_offset, self.base).to_be_bytes().to_vec();
        entry.extend_from_slice(&u32::try_from(self.len).unwrap_or(u32::MAX).to_be_bytes());
        self.offset_index
            .write_all_at(&entry, self.offset_index.len()?)
    }

    fn write_time_index(&mut self) -> io::Result<()> {
        if self.max_timestamp <= self.indexed_timestamp {
            return Ok(());
        }
        self.indexed_timestamp = self.max_timestamp;
        let mut entry = self.max_timestamp.to_be_bytes().to_vec();
        entry.extend_from_slice(&relative(self.max_timestamp_offset, self.base).to_be_bytes());
        self.time_index.write_all_at(&entry, self.time_index.len()?)
    }

    /// No more batches come: the time index ends with the largest timestamp.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.write_time_index()?;
        self.sync()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync()?;
        self.offset_index.sync()?;
        self.time_index.sync()
    }

    pub(super) fn remove(self) -> io::Result<()> {
        self.paths
            .iter()
            .try_for_each(|path| self.host.files.remove(path))
    }

    /// Where the batch begins whose last offset is at or behind `offset`; none behind the end.
    pub(super) fn position(&self, offset: i64) -> io::Result<Option<u64>> {
        let after = self.index.partition_point(|(last, _)| *last < offset);
        let mut position = after
            .checked_sub(1)
            .map_or(0, |before| self.index[before].1);
        while let Some(header) = header_at(&*self.log, position, self.len)? {
            if header.last_offset() >= offset {
                return Ok(Some(position));
            }
            position += header.size() as u64;
        }
        Ok(None)
    }

    fn batch_at(&self, position: u64, header: &BatchHeader) -> io::Result<Option<BatchView>> {
        let bytes = Bytes::from(self.log.read_exact_at(header.size(), position)?);
        Ok(BatchView::read(&bytes).ok().flatten())
    }
}

/// The header at `position`, if a whole batch lies before `end`.
pub(super) fn header_at(
    file: &dyn File,
    position: u64,
    end: u64,
) -> io::Result<Option<BatchHeader>> {
    if position + HEADER_LEN as u64 > end {
        return Ok(None);
    }
    let header = BatchHeader::read(&file.read_exact_at(HEADER_LEN, position)?);
    Ok(header
        .ok()
        .filter(|header| position + header.size() as u64 <= end))
}

/// An offset as index entries have it; [`Segment::is_full`] keeps it in range.
fn relative(offset: i64, base: i64) -> i32 {
    i32::try_from(offset - base).unwrap_or(i32::MAX)
}
