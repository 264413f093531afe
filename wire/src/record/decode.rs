//! Wire bytes to records.

use bytes::Bytes;

use super::{Header, Record, RecordError, varint};
use crate::{batch::BatchView, codec::Codec, compression::decompress};

/// Opens a batch: all its records, offsets absolute. The CRC is not looked at. Decompresses to at most
/// `max_decompressed` bytes; keys and values are slices of one buffer.
///
/// In a LogAppendTime batch every record has the batch's max timestamp
/// (`DefaultRecordBatch.RecordIterator`).
///
/// # Errors
/// If the batch is damaged, larger than allowed, or does not hold exactly the records it announces.
pub fn decode(batch: &BatchView, max_decompressed: usize) -> Result<Vec<Record>, RecordError> {
    let header = &batch.header;
    let plain = match header.codec()? {
        Codec::None => batch.payload(),
        codec => decompress(codec, &batch.payload(), max_decompressed)?.into(),
    };
    let mut cursor = Cursor {
        rest: &plain[..],
        plain: &plain,
    };
    // A record has at least 7 bytes, so a forged count reserves no more than a few times the input.
    let count = header.record_count.max(0).unsigned_abs() as usize;
    let mut records = Vec::with_capacity(count.min(plain.len() / 7));
    for index in 0..count {
        let mut record = cursor
            .record()
            .map_err(|reason| RecordError::Malformed { index, reason })?;
        record.offset = header.base_offset.wrapping_add(record.offset);
        record.timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.wrapping_add(record.timestamp)
        };
        records.push(record);
    }
    match cursor.rest.len() {
        0 => Ok(records),
        trailing => Err(RecordError::Trailing(trailing)),
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    /// What `rest` is the end of.
    plain: &'a Bytes,
}

impl Cursor<'_> {
    /// The next record; offset and timestamp are still deltas.
    fn record(&mut self) -> Result<Record, &'static str> {
        let length = self.length()?.ok_or("negative length")?;
        let end = self.rest.len().checked_sub(length).ok_or("it is cut off")?;
        let (_attributes, rest) = self.rest.split_first().ok_or("it is cut off")?;
        self.rest = rest;
        let timestamp = self.varint()?;
        let offset = self.varint()?;
        let key = self.nullable()?;
        let value = self.nullable()?;
        let count = self.length()?.ok_or("negative header count")?;
        // A header has at least 2 bytes.
        let mut headers = Vec::with_capacity(count.min(self.rest.len() / 2));
        for _ in 0..count {
            let key = self.nullable()?.ok_or("null header key")?;
            headers.push(Header {
                key,
                value: self.nullable()?,
            });
        }
        if self.rest.len() != end {
            return Err("its length is not that of its fields");
        }
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }

    fn varint(&mut self) -> Result<i64, &'static str> {
        varint::take(&mut self.rest).ok_or("it is cut off")
    }

    /// A length; none for a negative one, which stands for null.
    fn length(&mut self) -> Result<Option<usize>, &'static str> {
        Ok(usize::try_from(self.varint()?).ok())
    }

    fn nullable(&mut self) -> Result<Option<Bytes>, &'static str> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        let (field, rest) = self.rest.split_at_checked(length).ok_or("it is cut off")?;
        self.rest = rest;
        Ok(Some(self.plain.slice_ref(field)))
    }
}
