//! A target that lost records that it had acknowledged, as after an unclean election (EXACTNESS 10).
//!
//! The unit goes back to the newest pair of offsets that the target still holds: the batch there is the unit's own, and
//! has the number that the pair says. From there the worker passes over what the target holds, by sequence, and the
//! last of it is confirmed by content, as after every other doubt. The place is committed before anything is
//! written behind it. The epoch stays: whatever is late from before is refused by its number.

use wire::{TopicPartition, batch::BatchView};

use super::{End, Task};
use crate::{
    checkpoint::{Anchor, ProducerState},
    source::SourceError,
    telemetry::Retry,
    worker::{Progress, StopReason, reconcile::Reconciler, wrap},
};

/// The newest place of `progress` that the target, which ends at `end`, still holds; none if that cannot be told.
pub(super) async fn held(
    reconciler: &dyn Reconciler,
    target: &TopicPartition,
    progress: &Progress,
    producer: &ProducerState,
    end: i64,
) -> Result<Option<Progress>, End> {
    let below = |anchor: &&Anchor| anchor.target_offset < end;
    for anchor in progress.anchors.iter().filter(below) {
        let found = reconciler.read_back(target, anchor.target_offset).await;
        let found =
            found.map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target}: {why}")))?;
        if found.is_some_and(|batch| holds(&batch, anchor, producer)) {
            return Ok(Some(progress.back_to(anchor)));
        }
    }
    Ok(None)
}

/// Whether `batch` is the producer's and has `anchor`'s record under its number. Also right for what was compacted: the
/// header keeps its sequences.
fn holds(batch: &BatchView, anchor: &Anchor, producer: &ProducerState) -> bool {
    let header = &batch.header;
    let ours = header.producer_id == producer.id && header.producer_epoch == producer.epoch;
    let within = anchor.target_offset - header.base_offset;
    ours && (0..=i64::from(header.last_offset_delta)).contains(&within)
        && wrap(i64::from(header.base_sequence) + within) == anchor.sequence
}

impl Task {
    /// The target, which ends at `end`, holds none of the pairs that are known.
    pub(super) fn holds_none(&self, end: i64) -> End {
        let pairs = &self.ledger.progress().anchors;
        let oldest = pairs.last().map_or(0, |pair| pair.target_offset);
        self.truncated(end, end.min(oldest))
    }

    /// The target lost records behind `held`, and where to go on cannot be told.
    pub(super) fn truncated(&self, end: i64, held: i64) -> End {
        let (progress, target) = (self.ledger.progress(), &self.settings.route.target);
        let known = progress.target_offset;
        // Where others wrote since, an offset that is there says nothing.
        let at = if end < known {
            progress.again_from(end)
        } else {
            -1
        };
        let text = format!(
            "{target}: it ends at offset {end} and lost records of this flow before offset {known} that it had \
             acknowledged (an unclean election, a restored backup), and no pair of offsets is known to go back to; \
             compare both sides before it goes on"
        );
        End::TargetLost(held, StopReason::TargetTruncated, at, text)
    }

    /// How a failure of the source ends the pass. Where the target lost records that the source lost as well, nothing
    /// mends that.
    pub(super) fn source_end(&self, error: SourceError) -> End {
        let rewound = self.unit.as_ref().and_then(|unit| unit.rewound());
        match (rewound, error) {
            (Some(place), SourceError::OutOfRange { .. }) => {
                self.truncated(place.target_offset + 1, place.target_offset)
            }
            (_, error) => super::ends::source_end(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::record::{BatchBuilder, Codec};

    const PRODUCER: ProducerState = ProducerState {
        id: 1 << 62,
        generation: 0,
        epoch: 3,
        epoch_base: 0,
    };

    /// Three records at offsets 10 to 12.
    fn batch(id: i64, epoch: i16, base_sequence: i32) -> BatchView {
        let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, base_sequence);
        for _ in 0..3 {
            builder.push(5, None, Some(b"v"), &[]);
        }
        BatchView::read(&builder.build(10).unwrap())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn rule_10_only_an_own_batch_with_the_right_number_is_gone_back_to() {
        let anchor = |target_offset, sequence| Anchor {
            sequence,
            source_offset: 0,
            target_offset,
        };
        let id = PRODUCER.id;
        let ours = batch(id, 3, 100);
        assert!(holds(&ours, &anchor(12, 102), &PRODUCER));
        assert!(holds(&ours, &anchor(11, 101), &PRODUCER));
        assert!(!holds(&ours, &anchor(12, 101), &PRODUCER), "written anew");
        assert!(!holds(&ours, &anchor(13, 103), &PRODUCER), "not in it");
        assert!(!holds(&batch(id, 2, 100), &anchor(12, 102), &PRODUCER));
        assert!(!holds(&batch(7, 3, 100), &anchor(12, 102), &PRODUCER));
        let wraps = batch(id, 3, i32::MAX - 1);
        assert!(holds(&wraps, &anchor(12, 0), &PRODUCER));
    }
}
