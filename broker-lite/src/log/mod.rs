//! The log of one partition: segments of batches in Kafka's own format.
//!
//! A folder holds, for each segment, three files named by its first offset (20 digits):
//! * `.log`: batches as on the wire, with base offset and leader epoch set;
//! * `.index`: every 4 KB an entry of 8 bytes: offset (relative, of the batch's last record), position;
//! * `.timeindex`: as often an entry of 12 bytes: largest timestamp so far, offset (relative).
//!
//! So `kafka-dump-log` reads them. The indexes are also in memory; at open they are made from the
//! batches' headers, so a damaged index costs nothing. Of the last segment every batch's CRC is
//! checked and a torn tail cut off: an acknowledged batch was written whole before its answer.
//!
//! Invariants: offsets ascend; a batch never spans two segments; only the last segment grows.

mod segment;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use host::{File, Host};
pub(crate) use segment::Scanned;
use segment::Segment;
use wire::batch::{BatchHeader, BatchView};

/// Where a file of a log begins.
const LOG_START: &str = "log-start-offset";

/// A partition's batches on disk.
#[derive(Debug)]
pub(crate) struct Log {
    host: Host,
    folder: PathBuf,
    segments: Vec<Segment>,
    start: i64,
}

/// A piece of a segment that a reader may take without holding the log.
#[derive(Debug)]
pub(crate) struct Place {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
}

impl Log {
    /// Opens the log in `folder`, made if it is not there; `each` hears of every batch that is in it.
    pub(crate) fn open(
        host: &Host,
        folder: &Path,
        each: &mut dyn FnMut(Scanned),
    ) -> io::Result<Self> {
        let files = &host.files;
        files.create_dir_all(folder)?;
        let names = files.list(folder)?;
        let bases = names
            .iter()
            .filter_map(|name| name.strip_suffix(".log")?.parse::<i64>().ok());
        let bases: Vec<i64> = bases.collect();
        let mut log = Self {
            host: host.clone(),
            folder: folder.to_owned(),
            segments: Vec::new(),
            start: 0,
        };
        for (index, base) in bases.iter().enumerate() {
            let last = index + 1 == bases.len();
            log.segments
                .push(Segment::open(host, folder, *base, last, each)?);
        }
        if log.segments.is_empty() {
            log.segments.push(Segment::create(host, folder, 0)?);
        }
        log.start = log.read_start()?.max(log.segments[0].base());
        Ok(log)
    }

    /// First offset that is there.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.last().next_offset()
    }

    /// Appends a batch whose offsets are set.
    pub(crate) fn append(
        &mut self,
        batch: &BatchView,
        segment_bytes: u64,
        segment_ms: i64,
    ) -> io::Result<()> {
        let now = self.host.clock.wall_ms();
        if self
            .last()
            .is_full(batch.bytes.len() as u64, segment_bytes, segment_ms, now)
        {
            let base = self.end();
            self.last_mut().close()?;
            let segment = Segment::create(&self.host, &self.folder, base)?;
            self.segments.push(segment);
        }
        self.last_mut().append(batch, now)
    }

    /// The bytes from the batch that holds `offset` on, to the end of its segment or to the batch at
    /// or behind `limit`. None at or behind the end.
    pub(crate) fn place(&self, offset: i64, limit: i64) -> io::Result<Option<Place>> {
        let after = self
            .segments
            .partition_point(|segment| segment.base() <= offset);
        for segment in &self.segments[after.saturating_sub(1)..] {
            if let Some(position) = segment.position(offset)? {
                // Whole segments below the limit need no search.
                let end = if limit >= segment.next_offset() {
                    segment.len()
                } else {
                    segment.position(limit)?.unwrap_or(segment.len())
                };
                let file = segment.file();
                return Ok((position < end).then_some(Place {
                    file,
                    position,
                    end,
                }));
            }
        }
        Ok(None)
    }

    /// The headers of all batches from `offset` on, as long as `more` wants them.
    pub(crate) fn headers(
        &self,
        offset: i64,
        mut more: impl FnMut(&BatchHeader, &Place) -> bool,
    ) -> io::Result<()> {
        let mut next = offset;
        while let Some(place) = self.place(next, i64::MAX)? {
            let mut position = place.position;
            while let Some(header) = segment::header_at(&*place.file, position, place.end)? {
                let end = position + header.size() as u64;
                let batch = Place {
                    file: Arc::clone(&place.file),
                    position,
                    end,
                };
                if !more(&header, &batch) {
                    return Ok(());
                }
                (position, next) = (end, header.next_offset());
            }
        }
        Ok(())
    }

    /// The largest timestamps of the segments with their bases, for time look-ups.
    pub(crate) fn first_segment_at_time(&self, timestamp: i64) -> i64 {
        let found = self
            .segments
            .iter()
            .find(|segment| segment.max_timestamp() >= timestamp);
        found.map_or(self.end(), Segment::base).max(self.start)
    }

    /// Drops records before `offset`; whole segments before it are removed.
    pub(crate) fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        self.start = self.start.max(offset.min(self.end()));
        let path = self.folder.join(LOG_START);
        host::files::replace(&*self.host.files, &path, self.start.to_string().as_bytes())?;
        while self.segments.len() > 1 && self.segments[1].base() <= self.start {
            self.segments.remove(0).remove()?;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.last().sync()?;
        self.host.files.sync_dir(&self.folder)
    }

    fn read_start(&self) -> io::Result<i64> {
        let path = self.folder.join(LOG_START);
        if !self.host.files.exists(&path) {
            return Ok(0);
        }
        let file = self.host.files.open(&path)?;
        let length = usize::try_from(file.len()?.min(20)).unwrap_or(0);
        let text = String::from_utf8_lossy(&file.read_exact_at(length, 0)?).into_owned();
        text.trim().parse().map_err(|_| {
            let text = format!("{}: {text:?} is not an offset", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn last(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn last_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }
}

impl Place {
    /// At most `max` bytes of whole batches; if there is none that small, the first one if `min_one`.
    pub(crate) fn read(&self, max: usize, min_one: bool) -> io::Result<Bytes> {
        let wanted = usize::try_from(self.end - self.position)
            .unwrap_or(usize::MAX)
            .min(max);
        let bytes = self.file.read_exact_at(wanted, self.position)?;
        let mut whole = 0;
        while let Ok(header) = BatchHeader::read(&bytes[whole..])
            && whole + header.size() <= bytes.len()
        {
            whole += header.size();
        }
        if whole > 0 || !min_one {
            let mut bytes = Bytes::from(bytes);
            bytes.truncate(whole);
            return Ok(bytes);
        }
        let Some(header) = segment::header_at(&*self.file, self.position, self.end)? else {
            return Ok(Bytes::new());
        };
        Ok(self
            .file
            .read_exact_at(header.size(), self.position)?
            .into())
    }
}
