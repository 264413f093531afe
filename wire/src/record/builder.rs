//! Records to wire bytes.

use bytes::Bytes;

use super::{Codec, Header, RecordError, varint};
use crate::{
    batch::{BatchHeader, HEADER_LEN, LENGTH_END, NO_PRODUCER_ID, TRANSACTIONAL, crc},
    compression::compress,
};

/// Collects records of one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: i16,
    producer: (i64, i16, i32),
    leader_epoch: i32,
    records: Vec<u8>,
    count: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset_delta: i32,
    /// What the header says, if it is not that of the last record.
    spans: Option<i32>,
}

impl BatchBuilder {
    /// An empty batch, as a producer without idempotence sends it.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            attributes: codec as i16,
            producer: (NO_PRODUCER_ID, -1, -1),
            leader_epoch: -1,
            records: Vec::new(),
            count: 0,
            base_timestamp: None,
            max_timestamp: -1,
            last_offset_delta: -1,
            spans: None,
        }
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.attributes = if on {
            self.attributes | TRANSACTIONAL
        } else {
            self.attributes & !TRANSACTIONAL
        };
        self
    }

    /// Sets other attribute bits, the codec aside.
    #[must_use]
    pub fn attributes(mut self, bits: i16) -> Self {
        self.attributes = (bits & !0b111) | self.codec as i16;
        self
    }

    /// Sets producer id, epoch and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Sets the partition leader epoch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Counts the records' times from here, not from the first one: where it is a delete horizon (KIP-534).
    #[must_use]
    pub fn base_timestamp(mut self, timestamp: i64) -> Self {
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Sets where the batch ends, as compaction keeps it when the last record goes.
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.spans = Some(delta);
        self
    }

    /// Makes room for so many bytes of records, so that they are not moved while they grow.
    #[must_use]
    pub fn reserve(mut self, bytes: usize) -> Self {
        self.records.reserve(bytes);
        self
    }

    /// Appends a record behind the others.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        self.push_at(
            self.last_offset_delta.wrapping_add(1),
            timestamp,
            key,
            value,
            headers,
        );
    }

    /// Appends a record with an offset delta of its own, as compaction leaves it.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let fields = [timestamp_delta, offset_delta.into(), headers.len() as i64];
        let mut length = 1 + nullable_len(key) + nullable_len(value);
        length += fields.map(varint::len).iter().sum::<usize>();
        for header in headers {
            length += nullable_len(Some(&header.key)) + nullable_len(header.value.as_deref());
        }
        let bytes = &mut self.records;
        varint::put(bytes, length as i64);
        let begin = bytes.len();
        // No attributes.
        bytes.push(0);
        varint::put(bytes, timestamp_delta);
        varint::put(bytes, offset_delta.into());
        put_nullable(bytes, key);
        put_nullable(bytes, value);
        varint::put(bytes, headers.len() as i64);
        for header in headers {
            put_nullable(bytes, Some(&header.key));
            put_nullable(bytes, header.value.as_deref());
        }
        debug_assert_eq!(bytes.len() - begin, length);
        self.count = self.count.saturating_add(1);
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, not compressed.
    pub fn plain_len(&self) -> usize {
        self.records.len()
    }

    /// The whole batch with its CRC; producers send base offset 0.
    ///
    /// # Errors
    /// If it is larger than a batch can be.
    pub fn build(self, base_offset: i64) -> Result<Bytes, RecordError> {
        let records = match self.codec {
            Codec::None => self.records,
            codec => compress(codec, &self.records).map_err(RecordError::Compress)?,
        };
        let length = i32::try_from(HEADER_LEN - LENGTH_END + records.len());
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut header = BatchHeader {
            base_offset,
            length: length.map_err(|_| RecordError::TooLarge)?,
            partition_leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.spans.unwrap_or(self.last_offset_delta),
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count,
        };
        let mut batch = Vec::with_capacity(HEADER_LEN + records.len());
        batch.extend_from_slice(&header.to_bytes());
        batch.extend_from_slice(&records);
        header.crc = crc(&batch);
        batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        Ok(batch.into())
    }
}

fn nullable_len(field: Option<&[u8]>) -> usize {
    field.map_or(varint::len(-1), |field| {
        varint::len(field.len() as i64) + field.len()
    })
}

fn put_nullable(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::put(bytes, -1),
        Some(field) => {
            varint::put(bytes, field.len() as i64);
            bytes.extend_from_slice(field);
        }
    }
}
