//! A whole batch as a slice.

use bytes::{Bytes, BytesMut};

use super::{BatchError, BatchHeader, HEADER_LEN, crc, header::CRC_START};

/// One batch: its header decoded, its bytes untouched.
#[derive(Clone, Debug)]
pub struct BatchView {
    /// What the first bytes say.
    pub header: BatchHeader,
    /// The whole batch.
    pub bytes: Bytes,
}

impl BatchView {
    /// The batch at the start of `bytes`; none if it is cut off there.
    ///
    /// # Errors
    /// If the bytes are no batch of format 2.
    pub fn read(bytes: &Bytes) -> Result<Option<Self>, BatchError> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let header = BatchHeader::read(bytes)?;
        if bytes.len() < header.size() {
            return Ok(None);
        }
        Ok(Some(Self {
            header,
            bytes: bytes.slice(..header.size()),
        }))
    }

    /// The records, as one compressed block unless the codec is none.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Whether the bytes are what was written.
    ///
    /// # Errors
    /// If they are not.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let found = crc(&self.bytes);
        let expected = self.header.crc;
        if found == expected {
            Ok(())
        } else {
            Err(BatchError::Crc { expected, found })
        }
    }

    /// A copy with another header; length and CRC are set from the bytes. The CRC stays as it is if nothing changes
    /// that it covers.
    #[must_use]
    pub fn with_header(&self, header: BatchHeader) -> Self {
        let mut header = BatchHeader {
            length: self.header.length,
            ..header
        };
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(&self.bytes[HEADER_LEN..]);
        let is_covered = bytes[CRC_START..HEADER_LEN] != self.bytes[CRC_START..HEADER_LEN];
        header.crc = if is_covered {
            crc(&bytes)
        } else {
            self.header.crc
        };
        bytes[CRC_START - 4..CRC_START].copy_from_slice(&header.crc.to_be_bytes());
        Self {
            header,
            bytes: bytes.freeze(),
        }
    }
}

/// The batches that follow each other in `bytes`. A batch that is cut off at the end is left out, as
/// every Fetch answer may end in one; after an error there is nothing more.
pub fn batches(mut bytes: Bytes) -> impl Iterator<Item = Result<BatchView, BatchError>> {
    std::iter::from_fn(move || {
        let next = BatchView::read(&bytes).transpose()?;
        bytes = match &next {
            Ok(batch) => bytes.slice(batch.bytes.len()..),
            Err(_) => Bytes::new(),
        };
        Some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Codec};

    #[test]
    fn a_batch_with_another_header_is_sound() {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(5, None, Some(b"value"), &[]);
        let batch = BatchView::read(&builder.build(0).unwrap());
        let batch = batch.unwrap().unwrap();
        let moved = BatchHeader {
            base_offset: 7,
            partition_leader_epoch: 3,
            ..batch.header
        };
        let owned = BatchHeader {
            producer_id: 9,
            ..moved
        };
        for (header, keeps_crc) in [(moved, true), (owned, false)] {
            let edited = batch.with_header(header);
            assert_eq!(edited.check_crc(), Ok(()));
            assert_eq!(edited.header.crc == batch.header.crc, keeps_crc);
            let read = BatchView::read(&edited.bytes).unwrap().unwrap();
            assert_eq!(read.header, edited.header);
        }
    }
}
