//! What a leader demands of a batch that a client sends, in Kafka's order (`ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`), and what it changes of it.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use wire::{
    batch::{BatchHeader, BatchView, LENGTH_END, LOG_APPEND_TIME},
    record::{BatchBuilder, Codec, Record, RecordError, decode},
};

use super::partition::LogConfig;
use crate::log::MAX_DECOMPRESSED;

/// Smallest length field of any record format (`LegacyRecord.RECORD_OVERHEAD_V0`).
const MIN_LENGTH: i32 = 14;

/// First version of Produce whose clients may send zstd (KIP-110).
pub(crate) const ZSTD: i16 = 7;

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ResponseError,
    pub(crate) message: Option<String>,
    /// Records that are to blame: index in the batch, why.
    pub(crate) records: Vec<(i32, String)>,
    /// -1 where Kafka does not tell it.
    pub(crate) log_start_offset: i64,
}

impl Refusal {
    pub(crate) fn of(error: ResponseError) -> Self {
        Self {
            error,
            message: None,
            records: Vec::new(),
            log_start_offset: -1,
        }
    }

    /// Kafka tells the client no reason; here the log has it.
    fn untold(error: ResponseError, reason: impl Into<String>) -> Self {
        tracing::debug!(%error, reason = reason.into(), "a batch is refused");
        Self::of(error)
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::untold(ResponseError::InvalidRecord, reason)
    }

    /// With the partition's start, which Kafka tells with errors that it did not foresee.
    pub(crate) fn at(self, log_start_offset: i64) -> Self {
        Self {
            log_start_offset,
            ..self
        }
    }
}

/// Why the start of the first batch cannot be read; Kafka tells it.
pub(crate) fn unreadable(records: &[u8]) -> Option<Refusal> {
    let length = records.get(8..LENGTH_END)?.first_chunk()?;
    let length = i32::from_be_bytes(*length);
    let magic = records.get(16)?.cast_signed();
    let message = if length < MIN_LENGTH {
        format!("Record size {length} is less than the minimum record overhead ({MIN_LENGTH})")
    } else if (0..=2).contains(&magic) {
        return None;
    } else {
        format!("Invalid magic found in record: {magic}")
    };
    Some(Refusal {
        message: Some(message),
        ..Refusal::of(ResponseError::CorruptMessage)
    })
}

/// Exactly one batch of format 2, as Produce `version` may carry it. What follows it and is not whole is
/// left out.
pub(crate) fn one_batch(records: &Bytes, version: i16) -> Result<BatchView, Refusal> {
    let size = next_size(records)?;
    let size = size.ok_or_else(|| Refusal::invalid("there is no whole record batch"))?;
    let magic = records[16];
    if magic != 2 {
        let message = format!("record format {magic} is no longer written, only 2");
        return Err(Refusal::invalid(message));
    }
    let header = BatchHeader::read(&records[..size]);
    let header = header.map_err(|error| corrupt(error.to_string()))?;
    if version < ZSTD && header.codec() == Ok(Codec::Zstd) {
        return Err(Refusal::of(ResponseError::UnsupportedCompressionType));
    }
    if next_size(&records[size..])?.is_some() {
        return Err(Refusal::invalid("there is more than one record batch"));
    }
    Ok(BatchView {
        header,
        bytes: records.slice(..size),
    })
}

/// Bytes of the batch at the start; none if it is cut off (`ByteBufferLogInputStream`).
fn next_size(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(length) = bytes
        .get(8..LENGTH_END)
        .and_then(|length| length.first_chunk())
    else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    if length < MIN_LENGTH {
        return Err(corrupt(format!("a batch length of {length} is too small")));
    }
    match bytes.get(16) {
        None => return Ok(None),
        Some(0..=2) => {}
        Some(magic) => return Err(corrupt(format!("there is no record format {magic}"))),
    }
    let size = LENGTH_END + length.unsigned_abs() as usize;
    Ok(Some(size).filter(|size| *size <= bytes.len()))
}

fn corrupt(reason: String) -> Refusal {
    Refusal::untold(ResponseError::CorruptMessage, reason)
}

/// What does not decompress is an error that Kafka does not foresee (`CompressionType.wrapForInput`).
fn undecodable(error: RecordError) -> Refusal {
    let code = match error {
        RecordError::Compression(_) => ResponseError::UnknownServerError,
        _ => ResponseError::InvalidRecord,
    };
    Refusal::untold(code, error.to_string())
}

/// The batch as it will be stored, and the header it will have but for what depends on where it is.
/// `partition` is for messages.
pub(crate) fn validate(
    batch: BatchView,
    partition: &str,
    config: &LogConfig,
    now: i64,
) -> Result<(BatchView, BatchHeader), Refusal> {
    let header = &batch.header;
    if header.base_offset != 0 {
        let base = header.base_offset;
        return Err(Refusal::invalid(format!("base offset {base} is not 0")));
    }
    check_size(&batch, config)?;
    batch
        .check_crc()
        .map_err(|error| corrupt(error.to_string()))?;
    check_header(header)?;
    let codec = header
        .codec()
        .map_err(|error| Refusal::untold(ResponseError::UnknownServerError, error.to_string()))?;
    if batch.payload().is_empty() && matches!(codec, Codec::Lz4 | Codec::Zstd) {
        // Kafka's decoders look at nothing in different ways: zstd's finds no records, lz4's misses its frame.
        let error = match codec {
            Codec::Lz4 => ResponseError::UnknownServerError,
            _ => ResponseError::InvalidRecord,
        };
        return Err(Refusal::untold(error, "there is nothing to decompress"));
    }
    let records = decode(&batch, MAX_DECOMPRESSED).map_err(undecodable)?;
    check_records(header, &records, partition, config, now)?;
    let wanted = config.compression.unwrap_or(codec);
    let is_consecutive = records
        .iter()
        .zip(0..)
        .all(|(record, at)| record.offset == at);
    let stored = if wanted != codec {
        let rebuilt = rebuild(header, &records, wanted)?;
        check_size(&rebuilt, config)?;
        rebuilt
    } else if codec == Codec::None || is_consecutive {
        // Deltas of uncompressed records are not looked at, as in Kafka.
        batch
    } else {
        // Kafka means to rebuild it, but fails with this error: it has skipped keys and values by then.
        let message = "the offsets inside the compressed batch are not consecutive";
        return Err(Refusal::untold(ResponseError::UnknownServerError, message));
    };
    if stored.bytes.len() as u64 > config.segment_bytes {
        return Err(Refusal::of(ResponseError::RecordListTooLarge));
    }
    let header = with_times(stored.header, &records, config, now);
    Ok((stored, header))
}

fn check_size(batch: &BatchView, config: &LogConfig) -> Result<(), Refusal> {
    let (size, limit) = (batch.bytes.len(), config.max_message_bytes);
    if size <= limit {
        return Ok(());
    }
    let message = format!("the batch has {size} bytes, max.message.bytes is {limit}");
    Err(Refusal::untold(ResponseError::MessageTooLarge, message))
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let (count, delta) = (header.record_count, header.last_offset_delta);
    if count <= 0 || delta < 0 || delta.checked_add(1) != Some(count) {
        return Err(Refusal::invalid(format!(
            "a count of {count} records does not fit the last offset delta {delta}"
        )));
    }
    if header.is_control() {
        return Err(Refusal::invalid("clients may not write control records"));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        let (id, sequence) = (header.producer_id, header.base_sequence);
        return Err(Refusal::invalid(format!(
            "producer id {id} with the sequence number {sequence}"
        )));
    }
    Ok(())
}

/// Looks at each record; if one is wrong, none is written, and all that are wrong are named.
fn check_records(
    header: &BatchHeader,
    records: &[Record],
    partition: &str,
    config: &LogConfig,
    now: i64,
) -> Result<(), Refusal> {
    let mut blamed = Vec::new();
    let mut error = ResponseError::InvalidRecord;
    for (index, record) in (0..).zip(records) {
        if config.compacted && record.key.is_none() {
            let why = "Compacted topic cannot accept message without key in topic partition";
            blamed.push((index, format!("{why} {partition}")));
        } else if let Some(why) = wrong_time(header, record, config, now) {
            error = ResponseError::InvalidTimestamp;
            blamed.push((index, why));
        }
    }
    if blamed.is_empty() {
        return Ok(());
    }
    let message = match error {
        ResponseError::InvalidTimestamp => {
            "One or more records have been rejected due to invalid timestamp".to_owned()
        }
        _ => {
            let (count, all) = (blamed.len(), messages(&blamed));
            format!("One or more records have been rejected due to {count} record errors {all}")
        }
    };
    Err(Refusal {
        records: blamed,
        message: Some(message),
        ..Refusal::of(error)
    })
}

/// The first few of the errors, as Kafka lists them in the message of the whole batch.
fn messages(blamed: &[(i32, String)]) -> String {
    let one =
        |(index, why): &(i32, String)| format!("RecordError(batchIndex={index}, message='{why}')");
    let first: Vec<String> = blamed.iter().take(3).map(one).collect();
    format!(
        "in total, and only showing the first three errors at most: [{}]",
        first.join(", ")
    )
}

/// Why the time of a record is refused: out of the topic's range, or set where only the broker sets it.
fn wrong_time(
    header: &BatchHeader,
    record: &Record,
    config: &LogConfig,
    now: i64,
) -> Option<String> {
    let time = record.timestamp;
    if !config.log_append_time && time != -1 {
        let age = now.saturating_sub(time);
        let is_near = age <= config.before_max_ms && age >= config.after_max_ms.saturating_neg();
        let (oldest, youngest) = (
            now.wrapping_sub(config.before_max_ms),
            now.wrapping_add(config.after_max_ms),
        );
        return (!is_near).then(|| {
            let offset = record.offset;
            format!(
                "Timestamp {time} of message with offset {offset} is out of range. The timestamp \
                 should be within [{oldest}, {youngest}]"
            )
        });
    }
    header.is_log_append_time().then(|| {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let (offset, key, value) = (record.offset, size(&record.key), size(&record.value));
        // Kafka reads over keys and values of what it will not compress anew.
        let is_kept = header.codec().is_ok_and(|codec| {
            codec != Codec::None && config.compression.is_none_or(|wanted| wanted == codec)
        });
        let kind = if is_kept {
            "PartialDefaultRecord"
        } else {
            "DefaultRecord"
        };
        format!(
            "Invalid timestamp type in message {kind}(offset={offset}, timestamp={time}, \
             key={key} bytes, value={value} bytes). Producer should not set timestamp type to \
             LogAppendTime."
        )
    })
}

/// The same records with consecutive offsets, in another codec.
fn rebuild(header: &BatchHeader, records: &[Record], codec: Codec) -> Result<BatchView, Refusal> {
    let mut builder = BatchBuilder::new(codec)
        .transactional(header.is_transactional())
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, &record.headers);
    }
    let rebuilt = builder
        .build(0)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let rebuilt = BatchView::read(&rebuilt).ok().flatten();
    rebuilt.ok_or_else(|| Refusal::invalid("the batch cannot be compressed anew"))
}

/// The largest timestamp as the records have it, or the time of the append.
fn with_times(
    mut header: BatchHeader,
    records: &[Record],
    config: &LogConfig,
    now: i64,
) -> BatchHeader {
    if config.log_append_time {
        header.attributes |= LOG_APPEND_TIME;
        header.max_timestamp = now;
    } else {
        header.attributes &= !LOG_APPEND_TIME;
        let times = records.iter().map(|record| record.timestamp);
        header.max_timestamp = times.fold(-1, i64::max);
    }
    header
}
