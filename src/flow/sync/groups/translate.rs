//! From what groups committed on the source to what that is on the target.
//!
//! The offset map answers most of it alone; where it does not, the source's records between two anchors are counted. What
//! was counted exactly is remembered as if it were in the map, so that a group that moves on costs only what it has read.
//! A round reads so many bytes, and what is not finished then goes on in the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    client::{Client, FetchRequest, OffsetSpec},
    error::ClientError,
};

use super::count::Count;
use crate::checkpoint::{
    NO_LOSS,
    offset_map::{Anchor, Answer, Cut, End, Ladder, Place, bounds, place},
};

/// Read from the source in one round.
pub(super) const BYTES_PER_ROUND: usize = 64 << 20;
const FETCH_BYTES: i32 = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Exact places that are remembered of a partition, besides the map's.
const MAX_PAIRS: usize = 256;
/// The same of all partitions, some 30 MB.
const MAX_ALL_PAIRS: usize = 300_000;
/// Finished counts that are kept of a partition because they are not exact.
const MAX_COUNTS: usize = 8;
/// Partitions of which something is remembered.
const MAX_PARTITIONS: usize = 20_000;
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// What is said of a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// So much.
    Answer(Answer),
    /// Not yet: the round is over before enough was read.
    Waits,
    /// The map does not reach back so far.
    Unknown,
    /// The target lost its end, and with it what this was: what is `held` still is at or before that, and nothing is known
    /// behind `end`.
    Lost { held: i64, end: i64 },
}

/// A unit of the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its partition on the source.
    pub source: TopicPartition,
    /// Its partition on the target.
    pub target: TopicPartition,
    /// Who it is in the offset map.
    pub in_map: u64,
    /// The flow does not copy what the source held before it (`start`).
    pub begins_late: bool,
    /// Ids of its topics on the source and on the target.
    pub topics: [Uuid; 2],
}

/// Reads the source, and remembers what it counted there.
#[derive(Debug)]
pub(super) struct Translator {
    source: Client,
    isolation: Isolation,
    /// By target partition.
    known: BTreeMap<TopicPartition, Known>,
    /// What this round may still read.
    budget: usize,
}

/// What was counted of one unit.
#[derive(Clone, Debug, Default)]
struct Known {
    unit: u64,
    cuts: Vec<Cut>,
    /// Exact places, by source and target offset.
    pairs: BTreeMap<(i64, i64), Anchor>,
    counts: Vec<Count>,
    /// What was found out of offsets that are asked for; a group that stands still costs nothing more.
    answers: BTreeMap<i64, Answer>,
}

impl Translator {
    /// Of flows that read `source` so.
    pub(super) fn new(source: Client, isolation: Isolation) -> Self {
        Self {
            source,
            isolation,
            known: BTreeMap::new(),
            budget: 0,
        }
    }

    /// Begins a round.
    pub(super) fn begin(&mut self) {
        self.budget = BYTES_PER_ROUND;
        let pairs: usize = self.known.values().map(|known| known.pairs.len()).sum();
        if pairs > MAX_ALL_PAIRS {
            // What groups that stand still need are the answers.
            self.known
                .values_mut()
                .for_each(|known| known.pairs.clear());
        }
        if self.known.len() > MAX_PARTITIONS {
            self.known.clear();
        }
    }

    /// Translates offsets that were committed for `unit`, of which the map holds `ladder`, and whose checkpoint tells `end`.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub(super) async fn translate(
        &mut self,
        unit: &Unit,
        ladder: &Ladder,
        end: Option<&End>,
        offsets: &BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, Told>, ClientError> {
        let mut told = BTreeMap::new();
        let mut anchors = ladder.anchors(unit.in_map);
        let cut = ladder.lost_end(unit.in_map);
        let lost = cut.map(|cut| cut.target_offset);
        let lost = lost.or(end.and_then(End::lost_end));
        if let Some(end) = end.filter(|_| cut.is_none()) {
            anchors = end.close(unit.in_map, anchors);
        }
        let mut known = self.known.remove(&unit.target).unwrap_or_default();
        known.begin(unit.in_map, ladder.cuts(unit.in_map));
        let held = anchors.last().copied();
        let reached = held.map_or(i64::MAX, |last| last.source_offset);
        let set_back = ladder.had_reached(unit.in_map, end.map_or(NO_LOSS, End::lost));
        for offset in offsets {
            let is_held = held.is_some_and(|held| *offset <= held.source_offset);
            if let Some(end) = lost.filter(|_| !is_held) {
                let held = held.map_or(0, |held| held.target_offset);
                told.insert(*offset, Told::Lost { held, end });
                continue;
            }
            // How far the copy is was not read; or it comes there a second time: what the target holds of it from before is
            // not passed over.
            let is_beyond = reached < *offset && (end.is_none() || *offset <= set_back);
            if is_beyond {
                told.insert(*offset, Told::Waits);
                continue;
            }
            let outcome = self
                .one(unit, &anchors, &mut known, *offset, offsets)
                .await?;
            told.insert(*offset, outcome);
        }
        known.end(offsets);
        if !known.is_empty() {
            self.known.insert(unit.target.clone(), known);
        }
        Ok(told)
    }

    async fn one(
        &mut self,
        unit: &Unit,
        anchors: &[Anchor],
        known: &mut Known,
        offset: i64,
        asked: &BTreeSet<i64>,
    ) -> Result<Told, ClientError> {
        // What is before the beginning may still be there, and what the target held before it too: the same records, on the
        // way back after a move. Nobody is taken past them.
        let first = anchors.first().filter(|first| first.number == 0);
        let before = first.is_some_and(|it| offset < it.source_offset && it.target_offset > 0);
        if unit.begins_late && before {
            return Ok(Told::Unknown);
        }
        loop {
            let merged = known.merged(anchors);
            let (from, to) = match place(&merged, offset) {
                Place::At(target) => {
                    let (low, high) = (target, target);
                    return Ok(Told::Answer(Answer { low, high }));
                }
                Place::Unknown => return Ok(Told::Unknown),
                Place::Between(from, to) => (from, to),
            };
            if let Some(answer) = bounds(&from, &to) {
                return Ok(Told::Answer(answer));
            }
            if let Some(answer) = known.answer(offset, &from, &to) {
                return Ok(Told::Answer(answer));
            }
            let at = known.count(offset, from, to);
            let count = &mut known.counts[at];
            while !count.is_done() {
                if self.budget == 0 {
                    return Ok(Told::Waits);
                }
                let before = count.next();
                self.read(unit, count, asked).await?;
                if count.next() == before {
                    return Ok(Told::Waits);
                }
            }
            let (answer, pairs) = (count.answer(offset), count.pairs());
            // What is exact is from now on as in the map.
            let is_new = known.learn(&pairs, at);
            if !is_new || answer.is_exact() {
                known.answers.insert(offset, answer);
                return Ok(Told::Answer(answer));
            }
        }
    }

    async fn read(
        &mut self,
        unit: &Unit,
        count: &mut Count,
        asked: &BTreeSet<i64>,
    ) -> Result<(), ClientError> {
        let before = count.next();
        let request = FetchRequest {
            partition: unit.source.clone(),
            offset: before,
            max_bytes: FETCH_BYTES,
            max_wait: FETCH_WAIT,
            isolation: self.isolation,
        };
        match self.source.fetch(request).await {
            Ok(fetched) => {
                self.budget = self.budget.saturating_sub(fetched.records.len().max(1));
                count.take(&fetched, self.isolation, asked)
            }
            Err(error)
                if error
                    .api_error()
                    .is_some_and(|e| e.code == OFFSET_OUT_OF_RANGE) =>
            {
                let wanted = [(unit.source.clone(), OffsetSpec::Earliest)];
                let listed = self.source.list_offsets(&wanted, self.isolation).await?;
                match listed.into_iter().next() {
                    Some((_, Ok(start))) if start.offset > before => {
                        count.begins_at(start.offset);
                        Ok(())
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

impl Known {
    /// What was counted before another unit came, or the target was cut, says nothing now.
    fn begin(&mut self, unit: u64, cuts: &[Cut]) {
        if self.unit != unit || self.cuts != cuts {
            *self = Self {
                unit,
                cuts: cuts.to_vec(),
                ..Self::default()
            };
        }
    }

    /// The map's anchors, and what was counted where it contradicts none of them.
    fn merged(&self, anchors: &[Anchor]) -> Vec<Anchor> {
        let mut merged = Vec::with_capacity(anchors.len() + self.pairs.len());
        let mut pairs = self.pairs.values().copied().peekable();
        let place = |anchor: &Anchor| (anchor.source_offset, anchor.target_offset);
        for anchor in anchors {
            let (source, target) = place(anchor);
            while let Some(pair) = pairs.next_if(|pair| pair.source_offset < source) {
                let last = merged.last().map(place);
                let fits = last.is_some_and(|last| {
                    last.0 < pair.source_offset && last.1 <= pair.target_offset
                }) && pair.target_offset <= target;
                merged.extend(fits.then_some(pair));
            }
            merged.push(*anchor);
            while pairs.next_if(|pair| pair.source_offset <= source).is_some() {}
        }
        merged
    }

    /// What was found out of `offset`, which lies between these; not if it contradicts them, as after a branch of the source.
    fn answer(&self, offset: i64, from: &Anchor, to: &Anchor) -> Option<Answer> {
        let answer = self.answers.get(&offset).copied();
        answer.filter(|known| from.target_offset <= known.low && known.high <= to.target_offset)
    }

    /// Which count tells of `offset`, which lies between these; begun if none does.
    fn count(&mut self, offset: i64, from: Anchor, to: Anchor) -> usize {
        let mut counts = self.counts.iter();
        if let Some(at) = counts.position(|count| count.tells_of(offset, &from, &to)) {
            return at;
        }
        if self.counts.len() >= MAX_COUNTS {
            self.counts.remove(0);
        }
        self.counts.push(Count::new(from, to));
        self.counts.len() - 1
    }

    /// Remembers exact places that the count `at` found; whether one of them is new.
    fn learn(&mut self, pairs: &[Anchor], at: usize) -> bool {
        if pairs.is_empty() {
            return false;
        }
        self.counts.remove(at);
        let before = self.pairs.len();
        let place = |pair: &Anchor| (pair.source_offset, pair.target_offset);
        for pair in pairs {
            self.pairs.entry(place(pair)).or_insert(*pair);
        }
        self.pairs.len() > before
    }

    /// Keeps of what was found out what those have use for who ask for these offsets.
    fn end(&mut self, asked: &BTreeSet<i64>) {
        self.answers.retain(|offset, _| asked.contains(offset));
        if self.pairs.len() <= MAX_PAIRS {
            return;
        }
        let mut kept = BTreeMap::new();
        for offset in asked {
            let before = self.pairs.range(..(*offset, i64::MAX)).next_back();
            let behind = self.pairs.range((*offset, i64::MIN)..).next();
            kept.extend(
                before
                    .into_iter()
                    .chain(behind)
                    .map(|(at, pair)| (*at, *pair)),
            );
            if kept.len() >= MAX_PAIRS {
                break;
            }
        }
        self.pairs = kept;
    }

    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.counts.is_empty() && self.answers.is_empty()
    }
}

#[cfg(test)]
mod tests;
