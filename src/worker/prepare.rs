//! From a batch as it came to batches as the sink takes them. Pure.
//!
//! A sealed batch stays sealed unless there is a reason to open it (DESIGN "Rules for a sealed batch"): it
//! begins before the wanted offset, compaction took records out of it, it is larger than the target takes, or
//! it carries append times that the target would not keep. What was opened is sealed again with its codec.

use wire::{
    batch::BatchView,
    record::{BatchBuilder, Codec, Record, RecordError, decode},
};

use super::poison::{Piece, Poison};
use crate::{
    checkpoint::LastRecord,
    sink::{Form, Limits},
    source::Content,
};

/// A batch may decompress to as much.
const MAX_DECOMPRESSED: usize = 1 << 30;
/// What a record costs in a batch beside its bytes, at most: length, attributes, deltas, counts.
const RECORD_OVERHEAD: u64 = 40;
/// Plain bytes of a batch that is sealed again: as producers make them, and small enough to move on soon.
const SEAL_BYTES: u64 = 1 << 20;

/// What becomes one batch on the target, or no batch at all.
#[derive(Debug)]
pub(super) struct Part {
    /// The source offset to read after it.
    pub(super) next_offset: i64,
    /// As in its [`Batch`](crate::source::Batch); the source's batch is one, however it is cut.
    pub(super) epoch: i32,
    /// Where it begins on the source.
    pub(super) source_offset: i64,
    /// Time of the first record; -1: none.
    pub(super) timestamp: i64,
    /// How many records it holds.
    pub(super) records: u64,
    /// Bytes of the records; as they lie on the wire where they were not opened.
    pub(super) bytes: u64,
    /// The last record.
    pub(super) last: Option<LastRecord>,
    /// The records.
    pub(super) body: Body,
}

impl Part {
    /// Bytes that go to the target, as far as known here: what librdkafka will compress counts as it is.
    pub(super) fn size(&self) -> u64 {
        match &self.body {
            Body::Nothing | Body::Refused(_) => 0,
            Body::Open(_) => self.bytes,
            Body::Sealed(view) => view.bytes.len() as u64,
        }
    }
}

/// The records of a part.
#[derive(Debug)]
pub(super) enum Body {
    Nothing,
    /// Records that the target refuses, by offset.
    Refused(Vec<i64>),
    Open(Vec<Record>),
    Sealed(BatchView),
}

/// Why a batch cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// Its bytes are damaged: they were so on the source, or the source client's connection damaged them.
    #[error("the batch at offset {offset} is damaged: {error}")]
    Damaged { offset: i64, error: RecordError },
}

/// Makes parts of `content`, records before `first_offset` left out; the last one ends at `next_offset`.
pub(super) fn prepare(
    content: Content,
    (first_offset, next_offset): (i64, i64),
    form: Form,
    limits: &Limits,
    poison: &Poison,
) -> Result<Vec<Part>, PrepareError> {
    let (records, codec, epoch) = match content {
        Content::Nothing => (Vec::new(), limits.codec, -1),
        Content::Open(records) => (records, limits.codec, -1),
        Content::Sealed(view) => {
            let is_whole = !poison.concerns(first_offset, next_offset);
            let passes = opening(&view, first_offset, limits).is_none();
            if form == Form::Sealed && is_whole && passes {
                return Ok(vec![sealed(view, next_offset)]);
            }
            let codec = view.header.codec().unwrap_or(limits.codec);
            let records = open(&view, first_offset)?;
            (records, codec, view.header.partition_leader_epoch)
        }
    };
    if records.is_empty() {
        return Ok(vec![empty(first_offset, next_offset, Body::Nothing)]);
    }
    let mut parts = Vec::new();
    for piece in poison.cut(records) {
        match (piece, form) {
            (Piece::Refused(offsets), _) => {
                let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
                parts.push(empty(first, last + 1, Body::Refused(offsets)));
            }
            (Piece::Good(records), Form::Open) => {
                let part = opened(&records, epoch, Body::Nothing);
                let body = Body::Open(records);
                parts.push(Part { body, ..part });
            }
            (Piece::Good(records), Form::Sealed) => {
                parts.append(&mut seal(&records, codec, epoch, limits.max_batch_bytes)?);
            }
        }
    }
    if let Some(last) = parts.last_mut() {
        last.next_offset = next_offset;
    }
    Ok(parts)
}

/// A part without records to send.
fn empty(source_offset: i64, next_offset: i64, body: Body) -> Part {
    Part {
        next_offset,
        epoch: -1,
        source_offset,
        timestamp: -1,
        records: 0,
        bytes: 0,
        last: None,
        body,
    }
}

/// Why the batch cannot go out as it is, for metrics; none: it can.
pub(super) fn opening(
    view: &BatchView,
    first_offset: i64,
    limits: &Limits,
) -> Option<&'static str> {
    let header = &view.header;
    if header.base_offset < first_offset {
        Some("trimmed")
    } else if header.record_count != header.last_offset_delta.wrapping_add(1) {
        Some("compacted")
    } else if view.bytes.len() > limits.max_batch_bytes {
        Some("too_large")
    } else if header.is_log_append_time() && !limits.log_append_time {
        Some("append_time")
    } else {
        None
    }
}

/// The records of a sealed batch from `first_offset` on.
pub(super) fn open(view: &BatchView, first_offset: i64) -> Result<Vec<Record>, PrepareError> {
    let offset = view.header.base_offset;
    let damaged = |error| PrepareError::Damaged { offset, error };
    view.check_crc().map_err(|error| damaged(error.into()))?;
    let mut records = decode(view, MAX_DECOMPRESSED).map_err(damaged)?;
    records.retain(|record| record.offset >= first_offset);
    Ok(records)
}

fn sealed(view: BatchView, next_offset: i64) -> Part {
    let header = &view.header;
    Part {
        next_offset,
        epoch: header.partition_leader_epoch,
        source_offset: header.base_offset,
        timestamp: header.first_timestamp(),
        records: u64::from(header.record_count.unsigned_abs()),
        bytes: view.bytes.len() as u64,
        last: Some(LastRecord {
            source_offset: header.last_offset(),
            crc: 0,
            leader_epoch: header.partition_leader_epoch,
            payload_crc: Some(view.payload_crc()),
        }),
        body: Body::Sealed(view),
    }
}

/// A part of opened records, not empty, in whatever form they go on.
fn opened(records: &[Record], epoch: i32, body: Body) -> Part {
    let first = records.first().map_or(0, |record| record.offset);
    let last = records.last();
    Part {
        next_offset: last.map_or(first, |record| record.offset + 1),
        epoch,
        source_offset: first,
        timestamp: records.first().map_or(-1, |record| record.timestamp),
        records: records.len() as u64,
        bytes: records.iter().map(Record::bytes).sum(),
        last: last.map(|record| LastRecord {
            source_offset: record.offset,
            crc: record.crc(),
            leader_epoch: epoch,
            payload_crc: None,
        }),
        body,
    }
}

/// Batches of `records`, each small enough for the target. A single record that is too large goes out all the same:
/// the limit may have been raised since it was asked for, and only the target's own refusal is one.
fn seal(
    records: &[Record],
    codec: Codec,
    epoch: i32,
    limit: usize,
) -> Result<Vec<Part>, PrepareError> {
    let mut parts = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|record| {
            bytes += record.bytes() + RECORD_OVERHEAD;
            bytes <= SEAL_BYTES
        });
        let (mut some, _) = rest.split_at(fits.count().max(1));
        let view = loop {
            let view = seal_one(some, codec)?;
            if view.bytes.len() <= limit || some.len() == 1 {
                break view;
            }
            some = &some[..some.len() / 2];
        };
        parts.push(opened(some, epoch, Body::Sealed(view)));
        rest = &rest[some.len()..];
    }
    Ok(parts)
}

/// One batch of `records`, not empty.
pub(super) fn seal_one(records: &[Record], codec: Codec) -> Result<BatchView, PrepareError> {
    let offset = records.first().map_or(0, |record| record.offset);
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, &record.headers);
    }
    let batch = builder.build(offset);
    let view = batch.and_then(|bytes| {
        let view = BatchView::read(&bytes)?;
        Ok(view.expect("a whole batch was just built"))
    });
    view.map_err(|error| PrepareError::Damaged { offset, error })
}

/// What parts hold, opened.
#[cfg(test)]
pub(super) fn records_of(parts: &[Part]) -> Vec<Record> {
    parts
        .iter()
        .flat_map(|part| match &part.body {
            Body::Nothing | Body::Refused(_) => Vec::new(),
            Body::Open(records) => records.clone(),
            Body::Sealed(view) => {
                view.check_crc().unwrap();
                decode(view, 1 << 30).unwrap()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnPoison;
    use proptest::prelude::*;
    use wire::batch::LOG_APPEND_TIME;

    const LIMITS: Limits = Limits {
        codec: Codec::Lz4,
        max_batch_bytes: 1 << 20,
        log_append_time: false,
    };

    fn prepare(
        content: Content,
        offsets: (i64, i64),
        form: Form,
        limits: &Limits,
    ) -> Result<Vec<Part>, PrepareError> {
        super::prepare(content, offsets, form, limits, &Poison::new(OnPoison::Stop))
    }

    fn record(offset: i64, size: usize) -> Record {
        Record {
            offset,
            timestamp: 1_700_000_000_000 + offset % 3,
            key: (offset % 2 == 0).then(|| vec![1; 3].into()),
            // Not compressible: sizes are what they seem.
            value: Some(
                (0..size)
                    .map(|i| (i as i64 * 7919 + offset * 31) as u8)
                    .collect::<Vec<_>>()
                    .into(),
            ),
            headers: Vec::new(),
        }
    }

    /// A batch at offset 100 whose records have these offset deltas.
    fn batch(deltas: &[i32], attributes: i16) -> BatchView {
        let mut builder = BatchBuilder::new(Codec::None)
            .attributes(attributes)
            .leader_epoch(5);
        for delta in deltas {
            let record = record(100 + i64::from(*delta), 20);
            builder.push_at(
                *delta,
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &[],
            );
        }
        BatchView::read(&builder.build(100).unwrap())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_whole_batch_stays_sealed() {
        let view = batch(&[0, 1, 2], 0);
        let parts = prepare(
            Content::Sealed(view.clone()),
            (100, 103),
            Form::Sealed,
            &LIMITS,
        )
        .unwrap();
        let [
            Part {
                body: Body::Sealed(same),
                records: 3,
                source_offset: 100,
                next_offset: 103,
                last,
                ..
            },
        ] = &parts[..]
        else {
            panic!("{parts:?}");
        };
        assert_eq!(same.bytes.as_ptr(), view.bytes.as_ptr());
        let last = last.unwrap();
        assert_eq!((last.source_offset, last.leader_epoch), (102, 5));
        assert_eq!(last.payload_crc, Some(crc32c::crc32c(&view.payload())));
    }

    #[test]
    fn what_begins_too_early_or_lost_records_is_opened() {
        for (deltas, first, wanted) in [
            (&[0, 1, 2, 3][..], 102, vec![102, 103]),
            (&[0, 2, 5], 100, vec![100, 102, 105]),
            (&[1, 2], 100, vec![101, 102]),
        ] {
            let view = batch(deltas, 0);
            let parts =
                prepare(Content::Sealed(view), (first, 106), Form::Sealed, &LIMITS).unwrap();
            let [part] = &parts[..] else {
                panic!("{parts:?}")
            };
            let Body::Sealed(view) = &part.body else {
                panic!("{part:?}")
            };
            assert_eq!(view.header.record_count, view.header.last_offset_delta + 1);
            assert_eq!(part.records, wanted.len() as u64);
            assert_eq!((part.source_offset, part.next_offset), (wanted[0], 106));
            let last = part.last.unwrap();
            let offset = *wanted.last().unwrap();
            assert_eq!(last.source_offset, offset);
            assert_eq!(
                (last.crc, last.payload_crc),
                (record(offset, 20).crc(), None)
            );
        }
    }

    #[test]
    fn append_times_are_kept_as_the_records_own() {
        let view = batch(&[0, 1], LOG_APPEND_TIME);
        let time = view.header.max_timestamp;
        let parts = prepare(
            Content::Sealed(view.clone()),
            (100, 102),
            Form::Sealed,
            &LIMITS,
        )
        .unwrap();
        assert!(
            records_of(&parts)
                .iter()
                .all(|record| record.timestamp == time)
        );
        let limits = Limits {
            log_append_time: true,
            ..LIMITS
        };
        let parts = prepare(Content::Sealed(view), (100, 102), Form::Sealed, &limits).unwrap();
        assert!(
            parts[0].last.unwrap().payload_crc.is_some(),
            "the target sets its own times"
        );
    }

    #[test]
    fn damage_is_found_when_a_batch_is_opened() {
        let view = batch(&[0, 1, 2], 0);
        let mut bytes = view.bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let view = BatchView::read(&bytes.into()).unwrap().unwrap();
        let error = prepare(Content::Sealed(view), (101, 103), Form::Sealed, &LIMITS).unwrap_err();
        assert!(
            matches!(error, PrepareError::Damaged { offset: 100, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_record_larger_than_the_target_takes_goes_alone() {
        let limits = Limits {
            codec: Codec::None,
            max_batch_bytes: 1000,
            ..LIMITS
        };
        let records = vec![record(1, 10), record(2, 2000), record(3, 10)];
        let parts = prepare(Content::Open(records), (1, 4), Form::Sealed, &limits).unwrap();
        let shape: Vec<_> = parts
            .iter()
            .map(|part| (part.source_offset, part.records))
            .collect();
        assert_eq!(shape, [(1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn refused_records_are_cut_out_in_either_form() {
        let mut poison = Poison::new(OnPoison::Skip);
        poison.found(101, "no");
        poison.found(102, "no");
        for form in [Form::Sealed, Form::Open] {
            let content = Content::Sealed(batch(&[0, 1, 2, 3], 0));
            let parts = super::prepare(content, (100, 104), form, &LIMITS, &poison).unwrap();
            let shape: Vec<_> = parts
                .iter()
                .map(|part| (part.source_offset, part.next_offset, part.records))
                .collect();
            assert_eq!(shape, [(100, 101, 1), (101, 103, 0), (103, 104, 1)]);
            assert!(matches!(&parts[1].body, Body::Refused(offsets) if offsets[..] == [101, 102]));
        }
    }

    proptest! {
        /// Whatever is cut how small, the same records come out in order, in batches that the target takes.
        #[test]
        fn splitting_keeps_every_record(
            sizes in proptest::collection::vec(0usize..400, 1..60),
            limit in 520usize..3000,
        ) {
            let records: Vec<_> = sizes.iter().enumerate().map(|(i, size)| record(i as i64, *size)).collect();
            let limits = Limits { codec: Codec::None, max_batch_bytes: limit, ..LIMITS };
            let next = records.len() as i64 + 5;
            let parts = prepare(Content::Open(records.clone()), (0, next), Form::Sealed, &limits).unwrap();
            let mut from = 0;
            for part in &parts {
                let Body::Sealed(view) = &part.body else { panic!() };
                prop_assert!(view.bytes.len() <= limit);
                prop_assert_eq!(part.source_offset, from);
                from = part.source_offset + part.records as i64;
            }
            prop_assert_eq!(parts.last().unwrap().next_offset, next);
            let out: Vec<_> = records_of(&parts).iter().map(Record::crc).collect();
            prop_assert_eq!(out, records.iter().map(Record::crc).collect::<Vec<_>>());
        }
    }
}
