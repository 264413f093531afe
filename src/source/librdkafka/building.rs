//! A batch in the making: records copied out of librdkafka into one buffer.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use rdkafka::message::{BorrowedMessage, Headers, Message};

use wire::record::{Header, Record};

/// A batch is handed on at this size, or when nothing more is ready.
pub(super) const FULL_BYTES: usize = 256 << 10;
const FULL_RECORDS: usize = 4096;
/// What a record costs beside its bytes: its entry here and librdkafka's on the other side.
const RECORD_OVERHEAD: usize = 256;

/// Records of one partition, not yet handed on.
#[derive(Debug, Default)]
pub(super) struct Building {
    buffer: BytesMut,
    records: Vec<Raw>,
}

/// A record as places in the buffer.
#[derive(Debug)]
struct Raw {
    offset: i64,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

impl Building {
    /// Copies a record behind the others.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let key = message.key().map(|bytes| self.copy(bytes));
        let value = message.payload().map(|bytes| self.copy(bytes));
        let headers = message.headers().map(|headers| {
            let copied = headers.iter().map(|header| {
                let key = self.copy(header.key.as_bytes());
                (key, header.value.map(|bytes: &[u8]| self.copy(bytes)))
            });
            copied.collect()
        });
        self.records.push(Raw {
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key,
            value,
            headers: headers.unwrap_or_default(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL_BYTES || self.records.len() >= FULL_RECORDS
    }

    /// What to charge for it: the copy here, and the one that a librdkafka sink makes.
    pub(super) fn charge(&self) -> usize {
        2 * self.buffer.len() + RECORD_OVERHEAD * self.records.len()
    }

    /// The records; empty afterwards.
    pub(super) fn take(&mut self) -> Vec<Record> {
        let buffer = std::mem::take(&mut self.buffer).freeze();
        let slice = |range: Option<Range<usize>>| range.map(|range| cut(&buffer, range));
        let raw = std::mem::take(&mut self.records);
        raw.into_iter()
            .map(|raw| Record {
                offset: raw.offset,
                timestamp: raw.timestamp,
                key: slice(raw.key),
                value: slice(raw.value),
                headers: raw
                    .headers
                    .into_iter()
                    .map(|(key, value)| Header {
                        key: cut(&buffer, key),
                        value: slice(value),
                    })
                    .collect(),
            })
            .collect()
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }
}

fn cut(buffer: &Bytes, range: Range<usize>) -> Bytes {
    buffer.slice(range)
}
