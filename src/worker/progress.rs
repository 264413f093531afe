//! How far a worker is.

use crate::{
    checkpoint::{Anchor, LastRecord, MAX_ANCHORS, ProducerState},
    sink::Appended,
};

/// The acknowledged prefix of one unit: everything before it is on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The source offset to read next.
    pub source_offset: i64,
    /// Epoch of the leader that wrote what lies right before it; -1: not known, as after a start.
    pub epoch: i32,
    /// The target offset behind the last acknowledged record.
    pub target_offset: i64,
    /// The last record that was copied.
    pub last_record: Option<LastRecord>,
    /// Records appended in this epoch; what the leader sees of it is [`wrap`]ped.
    pub sequence: i64,
    /// The unit's producer, where sealed batches are or were written.
    pub producer: Option<ProducerState>,
    /// The unit writes behind records that are not to be compared, its own of before a gap or others': what it writes
    /// begins at this target offset.
    pub appends_at: Option<i64>,
    /// As in the checkpoint that it began with; the committer knows what became of it.
    pub unmapped: Option<i64>,
    /// Older exact pairs, newest first, exponentially spaced.
    pub anchors: Vec<Anchor>,
    /// Whether nothing of the unit is on its way to the target from before.
    pub settled: bool,
    /// Records that this worker left out for good (`on_poison`).
    pub left_out: u64,
    /// Where the target lost its end while this worker ran.
    pub losses: Option<Losses>,
    /// Records acknowledged by this worker.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How often a target lost what it had acknowledged, and the lowest offset at which it was found to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    /// Since the worker began.
    pub count: u64,
    /// Nothing before it was lost.
    pub target_offset: i64,
}

impl Progress {
    /// Nothing copied yet.
    pub fn start(source_offset: i64, target_offset: i64) -> Self {
        Self {
            source_offset,
            epoch: -1,
            target_offset,
            last_record: None,
            sequence: 0,
            producer: None,
            appends_at: None,
            unmapped: None,
            anchors: Vec::new(),
            settled: true,
            left_out: 0,
            losses: None,
            records: 0,
            bytes: 0,
        }
    }

    /// Where to go on in the source if the target ends at `end`: behind the newest pair that it still holds; -1: at
    /// the earliest, for no pair is known that it still holds.
    pub fn again_from(&self, end: i64) -> i64 {
        let mut anchors = self.anchors.iter();
        let held = anchors.find(|anchor| anchor.target_offset < end);
        held.map_or(-1, |anchor| anchor.source_offset + 1)
    }

    /// The place of `anchor`, one of its own epoch: its record is the next to be read, and on the target already.
    pub(super) fn back_to(&self, anchor: &Anchor) -> Self {
        let older = |one: &&Anchor| one.target_offset < anchor.target_offset;
        let records = i64::from(wrap(self.sequence).wrapping_sub(anchor.sequence) & i32::MAX);
        Self {
            source_offset: anchor.source_offset,
            epoch: -1,
            target_offset: anchor.target_offset,
            last_record: None,
            sequence: self.sequence - records,
            anchors: self.anchors.iter().filter(older).copied().collect(),
            settled: false,
            ..self.clone()
        }
    }

    /// The target lost what it had acknowledged behind `held`.
    pub(crate) fn lose(&mut self, held: i64) {
        let before = self.losses;
        self.losses = Some(Losses {
            count: before.map_or(1, |before| before.count + 1),
            target_offset: before.map_or(held, |before| before.target_offset.min(held)),
        });
    }

    pub(super) fn advance(&mut self, source_offset: i64, records: u64, bytes: u64) {
        self.source_offset = source_offset;
        self.records += records;
        self.bytes += bytes;
        self.sequence += records.cast_signed();
    }

    /// The next record is on the target already. Where no older pair is known, it makes one: without, a target that
    /// loses its end before anything more is copied could not be gone back into.
    pub(super) fn began(&mut self) {
        if self.anchors.is_empty() {
            self.anchors.push(Anchor {
                sequence: wrap(self.sequence),
                source_offset: self.source_offset,
                target_offset: self.target_offset,
            });
        }
    }

    pub(super) fn appended(&mut self, last_record: Option<LastRecord>, appended: Appended) {
        self.target_offset = appended.last_offset + 1;
        let Some(last) = last_record else { return };
        self.last_record = Some(last);
        self.anchors.insert(
            0,
            Anchor {
                sequence: wrap(self.sequence - 1),
                source_offset: last.source_offset,
                target_offset: appended.last_offset,
            },
        );
        thin(&mut self.anchors);
    }
}

/// A count of records as a sequence number: mod 2^31.
pub fn wrap(sequence: i64) -> i32 {
    (sequence & i64::from(i32::MAX)) as i32
}

/// Drops every anchor whose newer and older neighbours are near enough to do without it: the older one
/// at most four times as far from the end as the newer one. What stays is dense near the end and
/// reaches back to the beginning, with about two anchors for each factor of four.
fn thin(anchors: &mut Vec<Anchor>) {
    let Some(newest) = anchors.first().copied() else {
        return;
    };
    let distance = |anchor: &Anchor| newest.target_offset - anchor.target_offset;
    let mut index = 1;
    while index + 1 < anchors.len() {
        if distance(&anchors[index + 1]) <= 4 * distance(&anchors[index - 1]) {
            anchors.remove(index);
        } else {
            index += 1;
        }
    }
    anchors.truncate(MAX_ANCHORS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_dense_near_the_end_and_sparse_behind() {
        let mut progress = Progress::start(0, 0);
        for batch in 0..100_000i64 {
            progress.advance((batch + 1) * 10, 10, 1_000);
            let last = LastRecord {
                source_offset: batch * 10 + 9,
                crc: 0,
                leader_epoch: -1,
                payload_crc: None,
            };
            let appended = Appended {
                first_offset: batch * 10,
                last_offset: batch * 10 + 9,
            };
            progress.appended(Some(last), appended);
        }
        let anchors = &progress.anchors;
        assert!(
            (8..=MAX_ANCHORS).contains(&anchors.len()),
            "{}",
            anchors.len()
        );
        assert_eq!(anchors[0].target_offset, 999_999);
        assert!(anchors.iter().all(|a| a.source_offset == a.target_offset));
        assert!(
            anchors
                .iter()
                .all(|a| i64::from(a.sequence) == a.target_offset)
        );
        let distances: Vec<_> = anchors
            .iter()
            .map(|a| anchors[0].target_offset - a.target_offset)
            .collect();
        assert!(
            distances[1..].windows(2).all(|w| w[1] <= 5 * w[0]),
            "{distances:?}"
        );
        assert!(
            distances[1] <= 100 && *distances.last().unwrap() >= 50_000,
            "{distances:?}"
        );
    }

    #[test]
    fn a_target_that_lost_all_known_pairs_is_copied_again_from_the_earliest() {
        let anchor = |source_offset, target_offset| Anchor {
            sequence: 0,
            source_offset,
            target_offset,
        };
        let progress = Progress {
            anchors: vec![anchor(4_999, 2_999), anchor(3_000, 1_000)],
            ..Progress::start(5_000, 3_000)
        };
        assert_eq!(progress.again_from(2_999), 3_001);
        assert_eq!(progress.again_from(1_001), 3_001);
        assert_eq!(progress.again_from(1_000), -1);
        assert_eq!(progress.again_from(0), -1);
    }

    #[test]
    fn going_back_to_an_anchor_keeps_what_is_older() {
        let anchor = |sequence, source_offset, target_offset| Anchor {
            sequence,
            source_offset,
            target_offset,
        };
        // As a checkpoint tells it whose sequences began anew at 0 between its anchors.
        let progress = Progress {
            sequence: 5,
            anchors: vec![
                anchor(4, 4_999, 2_999),
                anchor(i32::MAX - 4, 4_900, 2_900),
                anchor(7, 100, 50),
            ],
            ..Progress::start(5_000, 3_000)
        };
        let back = progress.back_to(&progress.anchors[1]);
        let place = (back.source_offset, back.target_offset);
        assert_eq!(place, (4_900, 2_900));
        assert_eq!(wrap(back.sequence), i32::MAX - 4);
        assert_eq!(back.anchors, progress.anchors[2..]);
    }

    #[test]
    fn sequences_wrap() {
        assert_eq!(wrap(i64::from(i32::MAX)), i32::MAX);
        assert_eq!(wrap(i64::from(i32::MAX) + 1), 0);
    }
}
