//! Where batches lie in a segment: they are found by the index and their headers, and are not read to be sent.

use std::{io, sync::Arc};

use host::File;
use wire::batch::BatchHeader;

use super::{Reader, reader::header_at};

/// Whole batches that follow each other in a segment.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) reader: Reader,
    pub(super) position: u64,
    pub(super) end: u64,
    /// None of their offsets is as large.
    pub(super) next: i64,
}

/// Whole batches as they lie in a file. What is written never changes, and a removed file stays readable.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) file: Arc<dyn File>,
    pub(crate) position: u64,
    pub(crate) len: u64,
    /// None of their offsets is as large.
    pub(crate) next: i64,
}

impl Place {
    /// Bytes of the batches.
    pub(crate) fn len(&self) -> u64 {
        self.end - self.position
    }

    /// At most `max` bytes of whole batches; if not even the first is that small, it alone if `min_one`. None if that
    /// is nothing.
    pub(crate) fn cut(&self, max: u64, min_one: bool) -> io::Result<Option<Slice>> {
        let (mut end, mut next) = (self.end, self.next);
        if self.len() > max {
            let limit = self.position + max;
            end = self.indexed(limit);
            let mut header = self.header(end)?;
            while end + header.size() as u64 <= limit {
                end += header.size() as u64;
                header = self.header(end)?;
            }
            next = header.base_offset;
            if end == self.position && min_one {
                end += header.size() as u64;
                next = header.next_offset();
            }
        }
        let slice = Slice {
            file: Arc::clone(&self.reader.log),
            position: self.position,
            len: end - self.position,
            next,
        };
        Ok(Some(slice).filter(|slice| slice.len > 0))
    }

    /// Where a batch begins, not far before `limit` if the index helps.
    fn indexed(&self, limit: u64) -> u64 {
        let found = self.reader.offsets.before(limit).ok().flatten();
        let found = found.filter(|(last_offset, position)| {
            let header = header_at(&*self.reader.log, *position, self.end);
            let header = header.ok().flatten();
            header.is_some_and(|header| header.last_offset() == *last_offset)
        });
        found.map_or(self.position, |(_, position)| position.max(self.position))
    }

    fn header(&self, position: u64) -> io::Result<BatchHeader> {
        self.reader.header_before(position, self.end)
    }
}

#[cfg(test)]
impl Slice {
    /// The batches themselves.
    pub(crate) fn read(&self) -> bytes::Bytes {
        let len = usize::try_from(self.len).unwrap();
        let bytes = self.file.read_exact_at(len, self.position);
        bytes.unwrap().into()
    }
}
