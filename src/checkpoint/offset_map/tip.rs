//! What the owner of a unit adds to the map. Pure.

use super::{
    anchor::{Anchor, Cut, Entry, MAX_CUTS},
    ladder::Ladder,
};
use crate::{
    checkpoint::{self, Checkpoint, ProducerState},
    worker::{Losses, Progress, wrap},
};

/// Stands for how many records were left out between two places where nobody counted them.
pub(super) const UNTOLD: u64 = 1 << 40;

/// The newest end of a unit's map.
#[derive(Clone, Debug)]
pub struct Tip {
    unit: u64,
    newest: Option<Anchor>,
    /// Where this owner goes on, if that is not where the map ends.
    jump: Option<Anchor>,
    cuts: Vec<Cut>,
    /// Whether the newest of them is not in the map yet.
    cut_now: bool,
    /// What this owner left out, as far as anchors tell of it.
    left_out: u64,
    /// Losses of the target that cuts tell of already, as this owner counts them.
    losses: u64,
}

impl Tip {
    /// Of `unit`, which goes on at `start` and whose target partition has these records in the map.
    pub fn new(unit: u64, ladder: Option<&Ladder>, start: &Checkpoint) -> Self {
        let newest = ladder.and_then(|ladder| ladder.anchors(unit).pop());
        let cuts = ladder.map_or_else(Vec::new, |ladder| ladder.cuts(unit).to_vec());
        let cut = newest.and_then(|newest| cut_before(&newest, mark(Some(&newest), &cuts), start));
        let cuts = cut.map_or_else(|| cuts.clone(), |cut| with_cut(&cuts, cut));
        let jump = |newest: Anchor| jump(&newest, mark(Some(&newest), &cuts), start);
        Self {
            unit,
            newest,
            jump: newest.and_then(jump),
            cuts,
            cut_now: cut.is_some(),
            left_out: 0,
            losses: 0,
        }
    }

    /// The map was lost: the next records begin it anew.
    pub fn anew(&mut self) {
        (self.newest, self.jump) = (None, None);
        self.cuts.clear();
        self.cut_now = false;
    }

    /// What to write before a checkpoint at `progress`, of a unit that was at `start` when it began here; nothing, if the
    /// map says it already.
    pub fn next(&self, start: &Checkpoint, progress: &Progress) -> Vec<Entry> {
        let known = match self.newest {
            Some(_) => self.jump.into_iter().collect(),
            None => self.beginning(start, progress),
        };
        let newest = known.last().copied().or(self.newest);
        let mut entries: Vec<Entry> = known.into_iter().map(Entry::Anchor).collect();
        let lost = self.untold(progress);
        let mut cuts = self.cuts.clone();
        if self.cut_now {
            entries.push(Entry::Cuts {
                unit: self.unit,
                cuts: cuts.clone(),
            });
        }
        if let (Some(losses), Some(newest)) = (lost, &newest) {
            cuts = with_cut(&cuts, cut_at(Some(newest), &cuts, losses.target_offset));
            entries.push(Entry::Cuts {
                unit: self.unit,
                cuts: cuts.clone(),
            });
        }
        // What an owner before this one copied is gone through again after a start.
        let is_told = newest.is_some_and(|newest| {
            progress.source_offset <= newest.source_offset
                && progress.target_offset <= newest.target_offset
        });
        if !is_told || lost.is_some() {
            let (term, number) = mark(newest.as_ref(), &cuts);
            let since = progress.left_out.saturating_sub(self.left_out);
            entries.push(Entry::Anchor(Anchor {
                unit: self.unit,
                term: progress.producer.as_ref().map_or(0, self::term).max(term),
                number: number + 1,
                source_offset: progress.source_offset,
                target_offset: progress.target_offset,
                sequence: wrap(progress.sequence),
                left_out: newest.map_or(0, |newest| newest.left_out) + since,
            }));
        }
        entries
    }

    /// Losses that no cut tells of yet.
    pub fn untold(&self, progress: &Progress) -> Option<Losses> {
        progress.losses.filter(|losses| losses.count > self.losses)
    }

    /// What to write where the target lost its end and the copy stops for that: a cut, and nothing behind it.
    pub fn lost(&self, progress: &Progress) -> Vec<Entry> {
        let losses = self.untold(progress).filter(|_| self.newest.is_some());
        let cut = losses.map(|losses| {
            let cut = cut_at(self.newest.as_ref(), &self.cuts, losses.target_offset);
            Entry::Cuts {
                unit: self.unit,
                cuts: with_cut(&self.cuts, cut),
            }
        });
        cut.into_iter().collect()
    }

    /// They are written.
    pub fn wrote(&mut self, entries: &[Entry], progress: &Progress) {
        for entry in entries {
            match entry {
                Entry::Anchor(anchor) => self.newest = Some(*anchor),
                Entry::Cuts { cuts, .. } => self.cuts.clone_from(cuts),
            }
        }
        self.jump = None;
        self.cut_now = false;
        self.losses = progress.losses.map_or(0, |losses| losses.count);
        let offset = self.newest.map(|newest| newest.source_offset);
        if offset == Some(progress.source_offset) {
            self.left_out = progress.left_out;
        }
    }

    /// The first records of a unit that has none: where its copy begins; or, if it had begun when there was no map, the
    /// places that checkpoints know.
    fn beginning(&self, start: &Checkpoint, progress: &Progress) -> Vec<Anchor> {
        let (source, target) = (start.source_offset, start.target_offset);
        let begun = first(self.unit, start);
        if is_fresh(start) {
            return vec![begun];
        }
        // Those of another branch of the source are not among them.
        let fits = |known: &&checkpoint::Anchor| {
            let (from, to) = (known.source_offset, known.target_offset);
            (from < source && to <= target) || (from > source && to >= target)
        };
        let known = progress.anchors.iter().filter(fits);
        let known = known.map(|one| (one.source_offset, one.target_offset, one.sequence));
        let begun_at = Some((source, target, start.sequence));
        let mut places: Vec<_> = known
            .chain(begun_at.filter(|_| progress.losses.is_none()))
            .collect();
        places.sort_unstable();
        let (term, newest) = mark(None, &self.cuts);
        let anchors = places.into_iter().zip(1..);
        let anchors = anchors.map(|((source_offset, target_offset, sequence), place)| Anchor {
            term: begun.term.max(term),
            number: newest + place,
            source_offset,
            target_offset,
            sequence,
            left_out: place * UNTOLD,
            ..begun
        });
        anchors.collect()
    }
}

/// The anchor of a copy that begins at `start`.
fn first(unit: u64, start: &Checkpoint) -> Anchor {
    Anchor {
        unit,
        term: start.producer.as_ref().map_or(0, term),
        number: 0,
        source_offset: start.source_offset,
        target_offset: start.target_offset,
        sequence: start.sequence,
        left_out: 0,
    }
}

/// The anchor of `start` if that is behind a gap of the source, or further back on it than what the target holds already.
/// An owner that goes on behind `newest` on both sides, as after a crash, comes to it again.
fn jump(newest: &Anchor, (term, number): (u64, u64), start: &Checkpoint) -> Option<Anchor> {
    let (source, target) = (start.source_offset, start.target_offset);
    let lost = cut_before(newest, (term, number), start).is_some();
    if !lost && (source == newest.source_offset || target < newest.target_offset) {
        return None;
    }
    let passed_over = u64::from(lost || source > newest.source_offset);
    let first = first(newest.unit, start);
    Some(Anchor {
        term: first.term.max(term),
        number: number + 1,
        left_out: newest.left_out + passed_over * UNTOLD,
        ..first
    })
}

/// The cut that is due if the target lost `newest`: `start` writes on where it ends, as somebody decided, or it was lost while
/// the map was not written.
fn cut_before(newest: &Anchor, (term, number): (u64, u64), start: &Checkpoint) -> Option<Cut> {
    let appends = start.appends_at.filter(|at| *at == start.target_offset);
    let ends = appends.into_iter().chain(start.unmapped).min()?;
    (ends < newest.target_offset).then_some(Cut {
        term,
        number,
        target_offset: ends,
    })
}

/// A cut of all that is there, at `target_offset`.
fn cut_at(newest: Option<&Anchor>, cuts: &[Cut], target_offset: i64) -> Cut {
    let (term, number) = mark(newest, cuts);
    Cut {
        term,
        number,
        target_offset,
    }
}

/// Term and number of the newest anchor that there was; a cut may have taken it away.
fn mark(newest: Option<&Anchor>, cuts: &[Cut]) -> (u64, u64) {
    let known = newest.map(|newest| (newest.term, newest.number));
    let cut = cuts.last().map(|cut| (cut.term, cut.number));
    known.max(cut).unwrap_or_default()
}

/// Whether nothing of the unit was copied before, as far as its first checkpoint can tell.
fn is_fresh(start: &Checkpoint) -> bool {
    start.last_record.is_none() && start.appends_at.is_none() && start.anchors.is_empty()
}

pub(super) fn term(producer: &ProducerState) -> u64 {
    let epoch = u64::from(producer.epoch.max(0).unsigned_abs());
    (u64::from(producer.generation) << 16) | epoch
}

/// `cuts` with another one behind them. One that reaches further back says all that those before it say.
fn with_cut(cuts: &[Cut], cut: Cut) -> Vec<Cut> {
    let mut cuts = cuts.to_vec();
    cuts.retain(|older| older.target_offset < cut.target_offset);
    cuts.push(cut);
    if cuts.len() > MAX_CUTS {
        // The two oldest, as one that is true of both.
        let oldest = cuts.remove(0);
        cuts[0].target_offset = oldest.target_offset.min(cuts[0].target_offset);
    }
    cuts
}

#[cfg(test)]
mod tests;
