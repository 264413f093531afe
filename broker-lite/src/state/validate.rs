//! What a leader demands of a batch that a client sends, in Kafka's order (`ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`).

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use wire::{
    batch::{BatchView, LOG_APPEND_TIME},
    record::{BatchBuilder, Codec, Record, decode},
};

use super::partition::{LogConfig, MAX_DECOMPRESSED};

/// Why a batch is not appended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ResponseError,
    pub(crate) message: Option<String>,
    /// Records that are to blame: index in the batch, why.
    pub(crate) records: Vec<(i32, String)>,
}

impl Refusal {
    pub(crate) fn of(error: ResponseError) -> Self {
        Self {
            error,
            message: None,
            records: Vec::new(),
        }
    }

    fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self {
            error,
            message: Some(message.into()),
            records: Vec::new(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ResponseError::InvalidRecord, message)
    }
}

/// The batch as it will be stored, base offset aside.
pub(crate) fn validate(
    records: &Bytes,
    config: &LogConfig,
    now: i64,
) -> Result<BatchView, Refusal> {
    let batch = one_batch(records)?;
    let header = &batch.header;
    if header.base_offset != 0 {
        return Err(Refusal::invalid(format!(
            "Base offset {} is not 0",
            header.base_offset
        )));
    }
    too_large(batch.bytes.len(), config)?;
    if batch.bytes.len() as u64 > config.segment_bytes {
        return Err(Refusal::of(ResponseError::RecordListTooLarge));
    }
    batch
        .check_crc()
        .map_err(|error| Refusal::new(ResponseError::CorruptMessage, error.to_string()))?;
    check_header(&batch)?;
    let opened =
        decode(&batch, MAX_DECOMPRESSED).map_err(|error| Refusal::invalid(error.to_string()))?;
    check_records(&opened, header.is_log_append_time(), config, now)?;
    let codec = header
        .codec()
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let wanted = config.compression.unwrap_or(codec);
    // Deltas of uncompressed records are not looked at, as in Kafka.
    let consecutive = opened
        .iter()
        .enumerate()
        .all(|(index, r)| r.offset == index as i64);
    let rebuilt = if wanted != codec || (codec != Codec::None && !consecutive) {
        let rebuilt = rebuild(&batch, &opened, wanted)?;
        too_large(rebuilt.bytes.len(), config)?;
        rebuilt
    } else {
        batch
    };
    Ok(with_times(&rebuilt, &opened, config, now))
}

/// Exactly one batch of format 2.
fn one_batch(records: &Bytes) -> Result<BatchView, Refusal> {
    match BatchView::read(records) {
        Ok(Some(batch)) if batch.bytes.len() == records.len() => Ok(batch),
        Ok(Some(_)) => Err(Refusal::invalid(
            "Produce requests take exactly one record batch",
        )),
        Ok(None) => Err(Refusal::new(
            ResponseError::CorruptMessage,
            "The batch is cut off",
        )),
        Err(error) => Err(Refusal::invalid(error.to_string())),
    }
}

fn check_header(batch: &BatchView) -> Result<(), Refusal> {
    let header = &batch.header;
    let (count, delta) = (header.record_count, header.last_offset_delta);
    if count <= 0 || delta < 0 || delta.checked_add(1) != Some(count) {
        return Err(Refusal::invalid(format!(
            "Record count {count} does not fit the last offset delta {delta}"
        )));
    }
    if header.is_control() {
        return Err(Refusal::invalid(
            "Clients are not allowed to write control records",
        ));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(Refusal::invalid(format!(
            "Invalid sequence number {}",
            header.base_sequence
        )));
    }
    Ok(())
}

fn check_records(
    records: &[Record],
    is_log_append_time: bool,
    config: &LogConfig,
    now: i64,
) -> Result<(), Refusal> {
    if config.compacted {
        let without_key = records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.key.is_none());
        let why = "Compacted topic cannot accept message without key in topic partition.";
        let blamed: Vec<_> = without_key
            .map(|(i, _)| (i as i32, why.to_owned()))
            .collect();
        if !blamed.is_empty() {
            let refusal = Refusal::invalid("One or more records have been rejected");
            return Err(Refusal {
                records: blamed,
                ..refusal
            });
        }
    }
    if config.log_append_time {
        return Ok(());
    }
    if is_log_append_time {
        let why = "LogAppendTime is not for producers to set";
        return Err(Refusal::new(ResponseError::InvalidTimestamp, why));
    }
    let oldest = now.saturating_sub(config.before_max_ms);
    let youngest = now.saturating_add(config.after_max_ms);
    let outside = records.iter().enumerate().filter(|(_, record)| {
        record.timestamp != -1 && !(oldest..=youngest).contains(&record.timestamp)
    });
    let why = |time| format!("Timestamp {time} is out of range: [{oldest}, {youngest}]");
    let blamed: Vec<_> = outside
        .map(|(i, record)| (i as i32, why(record.timestamp)))
        .collect();
    if blamed.is_empty() {
        return Ok(());
    }
    let message = "One or more records have been rejected due to invalid timestamp";
    Err(Refusal {
        records: blamed,
        ..Refusal::new(ResponseError::InvalidTimestamp, message)
    })
}

/// The same records with consecutive offsets, in another codec.
fn rebuild(batch: &BatchView, records: &[Record], codec: Codec) -> Result<BatchView, Refusal> {
    let header = &batch.header;
    let mut builder = BatchBuilder::new(codec)
        .attributes(header.attributes)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, &record.headers);
    }
    let bytes = builder
        .build(0)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let rebuilt = BatchView::read(&bytes).ok().flatten();
    rebuilt.ok_or_else(|| Refusal::invalid("The batch cannot be rebuilt"))
}

/// Max timestamp as the records have it, or the append time.
fn with_times(batch: &BatchView, records: &[Record], config: &LogConfig, now: i64) -> BatchView {
    let mut header = batch.header;
    if config.log_append_time {
        header.attributes |= LOG_APPEND_TIME;
        header.max_timestamp = now;
    } else {
        header.attributes &= !LOG_APPEND_TIME;
        header.max_timestamp = records
            .iter()
            .map(|record| record.timestamp)
            .max()
            .unwrap_or(-1);
    }
    if header == batch.header {
        batch.clone()
    } else {
        batch.with_header(header)
    }
}

fn too_large(bytes: usize, config: &LogConfig) -> Result<(), Refusal> {
    if bytes <= config.max_message_bytes {
        return Ok(());
    }
    let limit = config.max_message_bytes;
    let message = format!("The record batch size of {bytes} exceeds the limit of {limit}");
    Err(Refusal::new(ResponseError::MessageTooLarge, message))
}
