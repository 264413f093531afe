//! Where the copy of a unit ends, which the map alone does not tell: it may not have been written for a while, or not by
//! the owner that there is now. Pure.

use super::{
    anchor::Anchor,
    tip::{UNTOLD, term},
};
use crate::{
    checkpoint::{Checkpoint, NO_LOSS},
    worker::StopReason,
};

/// How far a unit is, as its checkpoint tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    source_offset: i64,
    target_offset: i64,
    term: u64,
    sequence: i32,
    unmapped: Option<i64>,
    /// The copy stopped because the target lost its end.
    is_lost: bool,
}

impl End {
    /// Of what `checkpoint` is about.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            source_offset: checkpoint.source_offset,
            target_offset: checkpoint.target_offset,
            term: checkpoint.producer.as_ref().map_or(0, term),
            sequence: checkpoint.sequence,
            unmapped: checkpoint.unmapped,
            is_lost: checkpoint
                .stopped
                .as_ref()
                .is_some_and(|stopped| stopped.reason == StopReason::TargetTruncated.code()),
        }
    }

    /// Where the target ends, if the copy stopped because it lost what was behind, and that could not be written to the map.
    pub fn lost_end(&self) -> Option<i64> {
        self.unmapped
            .filter(|lost| self.is_lost && *lost != NO_LOSS)
    }

    /// Where the target was found to end while the map was not written; nothing in the map is true behind that.
    pub fn lost(&self) -> i64 {
        self.unmapped.unwrap_or(NO_LOSS)
    }

    /// What is to be believed of `unit`: `anchors`, as far as they are not older than what the map lacks, and the end
    /// behind them, if the target still holds that. What is between the last one and the end nobody told, so it is no more than a bound where offsets are not
    /// equally far apart.
    pub fn close(&self, unit: u64, mut anchors: Vec<Anchor>) -> Vec<Anchor> {
        let (source, target) = (self.source_offset, self.target_offset);
        if self.unmapped.is_some() {
            let most = target.min(self.lost());
            anchors.retain(|anchor| anchor.source_offset <= source && anchor.target_offset <= most);
        }
        let last = anchors.last().copied();
        let is_held = self.lost_end().is_none();
        let is_behind = last.is_none_or(|last| {
            let place = (last.source_offset, last.target_offset);
            place.0 <= source && place.1 <= target && place != (source, target)
        });
        if is_held && is_behind {
            anchors.push(Anchor {
                unit,
                term: self.term,
                // Not the place where the copy began.
                number: last.map_or(1, |last| last.number + 1),
                source_offset: source,
                target_offset: target,
                sequence: self.sequence,
                left_out: last.map_or(0, |last| last.left_out) + UNTOLD,
            });
        }
        anchors
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::lookup::{Answer, Place, bounds, place},
        *,
    };

    fn anchor(number: u64, source_offset: i64, target_offset: i64) -> Anchor {
        Anchor {
            unit: 7,
            term: 3,
            number,
            source_offset,
            target_offset,
            sequence: i32::try_from(target_offset).unwrap(),
            left_out: 0,
        }
    }

    fn end(source_offset: i64, target_offset: i64, unmapped: Option<i64>) -> End {
        End {
            source_offset,
            target_offset,
            term: 3,
            sequence: i32::try_from(target_offset).unwrap(),
            unmapped,
            is_lost: false,
        }
    }

    fn places(anchors: &[Anchor]) -> Vec<(i64, i64)> {
        anchors
            .iter()
            .map(|a| (a.source_offset, a.target_offset))
            .collect()
    }

    fn map() -> Vec<Anchor> {
        vec![anchor(0, 0, 0), anchor(1, 50, 50), anchor(2, 100, 100)]
    }

    #[test]
    fn a_map_that_is_as_far_as_the_checkpoint_or_further_is_whole() {
        for far in [(100, 100), (80, 80)] {
            assert_eq!(end(far.0, far.1, None).close(7, map()), map());
        }
    }

    #[test]
    fn a_map_that_is_behind_is_closed_by_the_checkpoint() {
        // As many of all: known without a map.
        let closed = end(150, 150, Some(NO_LOSS)).close(7, map());
        assert_eq!(place(&closed, 120), Place::At(120));
        assert_eq!(place(&closed, 150), Place::At(150));
        assert_eq!(place(&closed, 900), Place::At(150));
        // Markers and the like: a bound, which no counting makes better.
        let closed = end(150, 140, Some(NO_LOSS)).close(7, map());
        let Place::Between(a, b) = place(&closed, 120) else {
            panic!("{:?}", place(&closed, 120));
        };
        let (low, high) = (100, 140);
        assert_eq!(bounds(&a, &b), Some(Answer { low, high }));
        assert_eq!(
            place(&end(30, 20, None).close(7, vec![]), 29),
            Place::Unknown
        );
        assert_eq!(
            place(&end(30, 20, None).close(7, vec![]), 30),
            Place::At(20)
        );
    }

    #[test]
    fn what_the_target_lost_while_the_map_was_not_written_is_not_believed() {
        let closed = end(90, 70, Some(60)).close(7, map());
        assert_eq!(places(&closed), [(0, 0), (50, 50), (90, 70)]);
        // It stopped there: its own place is not held.
        let stopped = End {
            is_lost: true,
            ..end(100, 100, Some(60))
        };
        assert_eq!(places(&stopped.close(7, map())), [(0, 0), (50, 50)]);
        assert_eq!(stopped.lost_end(), Some(60));
        assert_eq!(end(100, 100, Some(60)).lost_end(), None);
        // Set back on the source, and copied a second time.
        let closed = end(60, 130, Some(NO_LOSS)).close(7, map());
        assert_eq!(places(&closed), [(0, 0), (50, 50), (60, 130)]);
    }
}
