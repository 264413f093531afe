//! Records that the target refuses for good: which ones they are. Pure.
//!
//! A leader refuses a batch as a whole, and librdkafka makes one batch of several of ours. So what was in flight at a
//! refusal is sent again one part at a time, in smaller and smaller parts, until one record alone is refused: that one
//! is poison, whatever the leader named, and nothing else is ever left out. Between two refusals the target is
//! reconciled like after any doubt, and a refused batch was certainly not appended (EXACTNESS 4), so cutting it anew
//! changes no sequence that is in use.
//!
//! A record that is left out takes no sequence. That its worker waits for a checkpoint behind it before it sends the
//! next one (a barrier, EXACTNESS 5) keeps the numbering right: a start before that checkpoint meets the record
//! again, a start from it begins behind the record.

use std::{collections::BTreeMap, time::Duration};

use wire::record::Record;

use crate::config::OnPoison;

/// Lines about single records in [`PERIOD`]; the counter has them all.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

/// What is known of one partition's poison.
#[derive(Debug)]
pub(super) struct Poison {
    pub(super) policy: OnPoison,
    /// Records that were refused alone, and why.
    refused: BTreeMap<i64, String>,
    suspect: Option<Suspect>,
    /// The target refused records together, and every one of them alone it took.
    together: bool,
    /// In this pass batches go one at a time, so one that is refused is refused alone.
    alone: bool,
    lines: (Duration, u32),
}

/// A range of source offsets with a record that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    first: i64,
    next: i64,
    /// How many records may go together.
    most: usize,
    /// One of them was refused alone.
    found: bool,
}

/// A part of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// To be sent.
    Good(Vec<Record>),
    /// Refused, every one: offsets.
    Refused(Vec<i64>),
}

impl Poison {
    pub(super) fn new(policy: OnPoison) -> Self {
        Self {
            policy,
            refused: BTreeMap::new(),
            suspect: None,
            together: false,
            alone: false,
            lines: (Duration::ZERO, 0),
        }
    }

    /// This record alone was refused.
    pub(super) fn found(&mut self, offset: i64, reason: &str) {
        if let Some(suspect) = &mut self.suspect {
            suspect.found = true;
        }
        self.refused.insert(offset, reason.to_owned());
    }

    /// A batch of `records` records that begins at the source offset `first` was refused, while nothing behind `next` was
    /// in flight.
    pub(super) fn refuse(&mut self, first: i64, next: i64, records: u64, reason: &str) {
        let most = usize::try_from(records.div_ceil(2)).unwrap_or(usize::MAX);
        match &mut self.suspect {
            Some(_) if self.alone && records <= 1 => self.found(first, reason),
            // All of the range is cut so: one poisonous record is seldom alone.
            Some(suspect) if self.alone => suspect.most = most,
            // Refused together with the first one.
            Some(_) => {}
            None => {
                self.suspect = Some(Suspect {
                    first,
                    next,
                    most,
                    found: false,
                });
            }
        }
    }

    /// A pass begins.
    pub(super) fn begin(&mut self) {
        self.alone = self.suspect.is_some();
    }

    /// Whether one batch has to be answered before the next one is sent.
    pub(super) fn isolates(&self) -> bool {
        self.alone
    }

    /// Whether a batch of this range has to be opened.
    pub(super) fn concerns(&self, first: i64, next: i64) -> bool {
        self.refused.range(first..next).next().is_some()
            || self
                .suspect
                .is_some_and(|suspect| suspect.first < next && first < suspect.next)
    }

    /// Whether batches may be made one: not while a record is looked for, nor after the target refused several for
    /// nothing but being together.
    pub(super) fn lets_join(&self) -> bool {
        self.suspect.is_none() && self.refused.is_empty() && !self.together
    }

    /// `records` in order, cut where they have to be.
    pub(super) fn cut(&self, records: Vec<Record>) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for record in records {
            let offset = record.offset;
            let refused = self.refused.contains_key(&offset);
            match pieces.last_mut() {
                Some(Piece::Refused(offsets)) if refused => offsets.push(offset),
                Some(Piece::Good(good)) if !refused && self.joins(good, offset) => {
                    good.push(record)
                }
                _ if refused => pieces.push(Piece::Refused(vec![offset])),
                _ => pieces.push(Piece::Good(vec![record])),
            }
        }
        pieces
    }

    /// Whether the record at `offset` may go with those before it.
    fn joins(&self, good: &[Record], offset: i64) -> bool {
        let Some(suspect) = self.suspect else {
            return true;
        };
        let is_inside = |offset| (suspect.first..suspect.next).contains(&offset);
        let last = good.last().map_or(offset, |record| record.offset);
        is_inside(last) == is_inside(offset) && (!is_inside(offset) || good.len() < suspect.most)
    }

    /// Why this record was refused.
    pub(super) fn reason(&self, offset: i64) -> &str {
        self.refused.get(&offset).map_or("", String::as_str)
    }

    /// Everything before `offset` is done with.
    pub(super) fn passed(&mut self, offset: i64) {
        if self
            .refused
            .first_key_value()
            .is_some_and(|(first, _)| *first < offset)
        {
            self.refused = self.refused.split_off(&offset);
        }
        if let Some(suspect) = self.suspect.take_if(|suspect| suspect.next <= offset) {
            self.together |= !suspect.found;
        }
        self.alone &= self.suspect.is_some();
    }

    /// Whether one more line about a single record is not too much.
    pub(super) fn may_log(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.lines.0) >= PERIOD {
            self.lines = (now, 0);
        }
        self.lines.1 += 1;
        self.lines.1 <= LINES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(offset: i64) -> Record {
        Record {
            offset,
            timestamp: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// What a target does with parts that are sent: all of them at once are one batch to it, unless they are sent one by
    /// one. Returns the offsets that are done with.
    fn send(poison: &mut Poison, records: Vec<Record>, bad: &dyn Fn(i64) -> bool) -> [Vec<i64>; 2] {
        poison.begin();
        let [mut arrived, mut left_out] = [Vec::new(), Vec::new()];
        let mut together: Vec<Vec<i64>> = Vec::new();
        let pieces = poison.cut(records);
        let last = pieces.len() - 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let sent = match piece {
                Piece::Good(records) => records.iter().map(|record| record.offset).collect(),
                Piece::Refused(offsets) => {
                    assert!(
                        together.is_empty() || !poison.isolates(),
                        "nothing is in flight then"
                    );
                    left_out.extend(offsets);
                    continue;
                }
            };
            together.push(sent);
            if !poison.isolates() && index < last && together.len() < 3 {
                continue;
            }
            let all: Vec<_> = together.concat();
            if all.iter().any(|offset| bad(*offset)) {
                for part in &together {
                    poison.refuse(part[0], all[all.len() - 1] + 1, part.len() as u64, "no");
                }
                break;
            }
            arrived.extend(all);
            together.clear();
        }
        let done = arrived
            .iter()
            .chain(&left_out)
            .max()
            .map_or(0, |offset| offset + 1);
        poison.passed(done);
        [arrived, left_out]
    }

    proptest! {
        /// Whatever is poisonous, a target that refuses exactly the batches with such a record in them gets all
        /// the others, each once and in order, and nothing but poison is left out.
        #[test]
        fn only_what_is_refused_alone_is_left_out(
            gaps in proptest::collection::vec((1i64..4, any::<bool>()), 1..80),
            batch in 1usize..40,
        ) {
            let mut offset = 0;
            let all: Vec<_> = gaps.iter().map(|(gap, bad)| { offset += gap; (offset, *bad) }).collect();
            let bad = |offset: i64| all.binary_search(&(offset, true)).is_ok();
            let (mut arrived, mut left_out) = (Vec::new(), Vec::new());
            let mut poison = Poison::new(OnPoison::Skip);
            for some in all.chunks(batch) {
                let mut rest: Vec<_> = some.iter().map(|(offset, _)| record(*offset)).collect();
                for pass in 0.. {
                    if rest.is_empty() {
                        break;
                    }
                    prop_assert!(pass <= 10 * some.len());
                    let [more, out] = send(&mut poison, rest.clone(), &bad);
                    let done = more.iter().chain(&out).max().map_or(0, |offset| offset + 1);
                    rest.retain(|record| record.offset >= done);
                    arrived.extend(more);
                    left_out.extend(out);
                }
            }
            let (wanted_out, wanted): (Vec<_>, Vec<_>) = all.iter().partition(|(_, bad)| *bad);
            let offsets = |some: Vec<(i64, bool)>| some.into_iter().map(|(offset, _)| offset).collect::<Vec<_>>();
            prop_assert_eq!(left_out, offsets(wanted_out));
            prop_assert_eq!(arrived, offsets(wanted));
        }
    }

    #[test]
    fn a_batch_that_was_never_refused_is_not_opened() {
        let mut poison = Poison::new(OnPoison::Stop);
        assert!(!poison.concerns(0, i64::MAX));
        poison.refuse(10, 20, 8, "no");
        assert!(!poison.concerns(0, 10) && poison.concerns(5, 11) && poison.concerns(19, 30));
        poison.passed(20);
        assert!(!poison.concerns(0, 30));
        poison.found(30, "no");
        assert!(poison.concerns(30, 40) && poison.reason(30) == "no");
    }

    #[test]
    fn the_log_is_not_flooded() {
        let mut poison = Poison::new(OnPoison::Skip);
        let at = Duration::from_secs;
        assert_eq!((0..100).filter(|_| poison.may_log(at(5_000))).count(), 10);
        assert!(!poison.may_log(at(5_059)) && poison.may_log(at(5_060)));
    }
}
