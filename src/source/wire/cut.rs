//! From the records of one answer to batches. Pure.

use bytes::Bytes;
use wire::{
    Isolation,
    batch::batches,
    record::{Aborted, RecordError},
};

use crate::source::Content;

/// A part of a partition: everything from `first_offset` to `next_offset`.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) first_offset: i64,
    pub(super) next_offset: i64,
    pub(super) content: Content,
}

/// Bytes that are no batch, or no batch that is known here.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct CutError {
    pub(super) offset: i64,
    pub(super) error: RecordError,
}

/// Cuts `records`, fetched at `from`, into parts without a gap between them. Markers, aborted transactions and
/// what compaction emptied become part of the range before the next batch, or a part without records at the end.
/// What came before a damaged batch is kept.
pub(super) fn cut(
    records: Bytes,
    aborted: &[(i64, i64)],
    isolation: Isolation,
    from: i64,
) -> (Vec<Cut>, Option<CutError>) {
    let mut aborted = Aborted::new(aborted, isolation);
    let mut cuts = Vec::new();
    let (mut first_offset, mut next_offset) = (from, from);
    let mut failure = None;
    for batch in batches(records) {
        let skipped = batch.map_err(RecordError::from).and_then(|batch| {
            let skips = aborted.skips(&batch)? || batch.header.record_count == 0;
            Ok((batch, skips))
        });
        let (batch, skips) = match skipped {
            Ok(found) => found,
            Err(error) => {
                let offset = next_offset;
                failure = Some(CutError { offset, error });
                break;
            }
        };
        if batch.header.next_offset() <= from {
            continue;
        }
        next_offset = batch.header.next_offset();
        if !skips {
            cuts.push(Cut {
                first_offset,
                next_offset,
                content: Content::Sealed(batch),
            });
            first_offset = next_offset;
        }
    }
    if first_offset < next_offset {
        cuts.push(Cut {
            first_offset,
            next_offset,
            content: Content::Nothing,
        });
    }
    (cuts, failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::record::{BatchBuilder, Codec, control_batch};

    fn data(offset: i64, records: usize, producer: Option<i64>) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None);
        if let Some(id) = producer {
            builder = builder.producer(id, 0, 0).transactional(true);
        }
        for _ in 0..records {
            builder.push(1, None, Some(b"v"), &[]);
        }
        builder.build(offset).unwrap()
    }

    fn ranges(cuts: &[Cut]) -> Vec<(i64, i64, bool)> {
        let full = |cut: &Cut| matches!(cut.content, Content::Sealed(_));
        cuts.iter()
            .map(|cut| (cut.first_offset, cut.next_offset, full(cut)))
            .collect()
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let abort = control_batch(15, 7, 0, false, 0, 1).unwrap();
        let bytes = [
            data(8, 4, None),
            data(12, 3, Some(7)),
            abort,
            data(16, 2, None),
        ]
        .concat();
        let (cuts, failure) = cut(
            bytes.clone().into(),
            &[(7, 12)],
            Isolation::ReadCommitted,
            10,
        );
        assert!(failure.is_none());
        assert_eq!(ranges(&cuts), [(10, 12, true), (12, 18, true)]);
        let (cuts, _) = cut(bytes.into(), &[], Isolation::ReadUncommitted, 10);
        assert_eq!(
            ranges(&cuts),
            [(10, 12, true), (12, 15, true), (15, 18, true)]
        );
    }

    #[test]
    fn a_range_without_records_at_the_end_is_a_part() {
        let bytes = [data(0, 2, None), data(2, 3, Some(7))].concat();
        let (cuts, _) = cut(bytes.into(), &[(7, 2)], Isolation::ReadCommitted, 0);
        assert_eq!(ranges(&cuts), [(0, 2, true), (2, 5, false)]);
    }

    #[test]
    fn what_came_before_damage_is_kept_and_a_cut_off_batch_is_left_out() {
        let good = data(0, 2, None);
        let mut old = data(2, 3, None).to_vec();
        old[16] = 1;
        let (cuts, failure) = cut(
            [&good[..], &old].concat().into(),
            &[],
            Isolation::ReadCommitted,
            0,
        );
        assert_eq!(ranges(&cuts), [(0, 2, true)]);
        assert_eq!(failure.unwrap().offset, 2);
        let torn = [&good[..], &good[..70]].concat();
        let (cuts, failure) = cut(torn.into(), &[], Isolation::ReadCommitted, 0);
        assert_eq!(ranges(&cuts), [(0, 2, true)]);
        assert!(failure.is_none());
    }
}
