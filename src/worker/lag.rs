//! How late a unit is, in time. The worker notes what changes; whoever wants to know computes the rest at that
//! moment, so the lag grows by itself, also while nothing moves and after the worker has stopped.
//!
//! * Records wait, here or known to lie on the source: the lag is the age of the first of them, by its own
//!   timestamp; where that is not known yet, by the newest acknowledged record, or by when the wait began.
//! * Nothing waits: 0, as long as the source was looked at within [`FRESH_MS`]; then the time since the last
//!   look, because what came since is not known.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use crate::source::Looks;

/// A look at the source counts as the present for so long.
pub const FRESH_MS: i64 = 5_000;
/// Of a time: there is none.
const NONE: i64 = i64::MAX;

/// The lag of one unit. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Lag(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Time of the oldest record that waits.
    oldest: AtomicI64,
    /// Since when an open transaction has held records back at the position.
    held_since: AtomicI64,
    /// The latest look before the present reader, and those of the present one.
    looks: Mutex<(i64, Option<Looks>)>,
}

impl Lag {
    /// Of a unit that has not been looked at before `now`, in milliseconds since 1970.
    pub fn new(now: i64) -> Self {
        Self(Arc::new(Inner {
            oldest: AtomicI64::new(NONE),
            held_since: AtomicI64::new(NONE),
            looks: Mutex::new((now, None)),
        }))
    }

    /// Milliseconds at `now`.
    pub fn ms(&self, now: i64) -> i64 {
        match self.0.oldest.load(Ordering::Relaxed) {
            NONE => Some(now.saturating_sub(self.looked())).filter(|age| *age > FRESH_MS),
            oldest => Some(now.saturating_sub(oldest)),
        }
        .unwrap_or(0)
        .max(0)
    }

    /// For how many milliseconds an open transaction has held the unit's records back; none if none does.
    pub fn held_ms(&self, now: i64) -> Option<i64> {
        let since = self.0.held_since.load(Ordering::Relaxed);
        (since != NONE).then(|| now.saturating_sub(since).max(0))
    }

    /// From now on the source is looked at by another reader.
    pub(super) fn follow(&self, looks: Looks) {
        let before = self.looked();
        *self.looks() = (before, Some(looks));
    }

    fn looked(&self) -> i64 {
        let looks = self.looks();
        let latest = looks.1.as_ref().map_or(i64::MIN, Looks::latest);
        latest.max(looks.0)
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, (i64, Option<Looks>)> {
        self.0.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a unit is, as far as its lag is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The source offset behind what is acknowledged.
    pub(super) position: i64,
    /// Where the source ends; -1: not known.
    pub(super) end: i64,
    /// Whether an open transaction begins at that end.
    pub(super) held: bool,
    /// Time of the first record that has arrived and is not acknowledged, if there is one; -1: it has none.
    pub(super) waiting: Option<i64>,
}

/// The worker's side of a [`Lag`].
#[derive(Debug)]
pub(super) struct Timeline {
    lag: Lag,
    /// When everything was acknowledged for the first time; none: what comes is backfill.
    caught_up: Option<i64>,
}

impl Timeline {
    pub(super) fn new(lag: Lag) -> Self {
        Self {
            lag,
            caught_up: None,
        }
    }

    pub(super) fn follow(&self, looks: Looks) {
        self.lag.follow(looks);
    }

    /// Records up to this time are acknowledged, the first of them being from `first`. How long that took, if it
    /// tells something: records older than the first time that all was copied do not.
    pub(super) fn acknowledged(&self, first: i64, newest: i64, now: i64) -> Option<i64> {
        if newest > 0 {
            self.lag.0.oldest.store(newest, Ordering::Relaxed);
        }
        let live = self.caught_up.is_some_and(|since| first >= since);
        live.then(|| now.saturating_sub(first).max(0))
    }

    /// To be told after every change.
    pub(super) fn at(&mut self, place: Place, now: i64) {
        let Place {
            position,
            end,
            held,
            waiting,
        } = place;
        let oldest = &self.lag.0.oldest;
        let known = oldest.load(Ordering::Relaxed);
        let caught_up = waiting.is_none() && end >= 0 && position >= end;
        let behind_since = match waiting {
            Some(time) if time > 0 => time,
            _ if caught_up => NONE,
            // Its time is not known.
            _ => known.min(now),
        };
        oldest.store(behind_since, Ordering::Relaxed);
        if caught_up {
            self.caught_up.get_or_insert(now);
        }
        let held_since = &self.lag.0.held_since;
        if !(held && caught_up) {
            held_since.store(NONE, Ordering::Relaxed);
        } else if held_since.load(Ordering::Relaxed) == NONE {
            held_since.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(position: i64, end: i64, waiting: Option<i64>) -> Place {
        Place {
            position,
            end,
            held: false,
            waiting,
        }
    }

    fn unit() -> (Lag, Timeline, Looks) {
        let lag = Lag::new(NOW);
        let looks = Looks::default();
        lag.follow(looks.clone());
        (lag.clone(), Timeline::new(lag), looks)
    }

    #[test]
    fn it_is_the_age_of_the_oldest_record_that_waits() {
        let (lag, mut timeline, looks) = unit();
        looks.looked(NOW);
        timeline.at(at(0, 10, Some(NOW - 90_000)), NOW);
        assert_eq!(lag.ms(NOW), 90_000);
        assert_eq!(lag.ms(NOW + 1_000), 91_000, "it grows by itself");
        // Acknowledged up to a minute ago; what comes next has not arrived.
        timeline.acknowledged(NOW - 90_000, NOW - 60_000, NOW);
        timeline.at(at(5, 10, None), NOW);
        assert_eq!(lag.ms(NOW), 60_000);
        timeline.acknowledged(NOW - 60_000, NOW - 1, NOW);
        timeline.at(at(10, 10, None), NOW);
        assert_eq!(lag.ms(NOW), 0);
    }

    #[test]
    fn a_record_without_a_time_counts_from_when_it_was_seen() {
        let (lag, mut timeline, looks) = unit();
        looks.looked(NOW);
        timeline.at(at(0, 1, Some(-1)), NOW);
        timeline.at(at(0, 2, Some(-1)), NOW + 500);
        assert_eq!(lag.ms(NOW + 2_000), 2_000);
        timeline.at(at(2, 2, None), NOW + 2_000);
        // An end that is further, before anything has arrived.
        timeline.at(at(2, 3, None), NOW + 3_000);
        assert_eq!(lag.ms(NOW + 3_500), 500);
    }

    #[test]
    fn while_the_source_is_away_it_grows_from_the_last_look() {
        let (lag, mut timeline, looks) = unit();
        timeline.at(at(10, 10, None), NOW);
        looks.looked(NOW + 60_000);
        assert_eq!(lag.ms(NOW + 60_000 + FRESH_MS), 0);
        assert_eq!(lag.ms(NOW + 70_000), 10_000);
        // Another reader, which has not seen anything yet, changes nothing.
        let next = Looks::default();
        lag.follow(next.clone());
        assert_eq!(lag.ms(NOW + 70_000), 10_000);
        next.looked(NOW + 70_000);
        assert_eq!(lag.ms(NOW + 70_000), 0);
        // Never looked at: since it began.
        assert_eq!(Lag::new(NOW).ms(NOW + 7_000), 7_000);
    }

    #[test]
    fn latency_is_told_of_what_was_written_after_the_end_was_reached_once() {
        let (_, mut timeline, _) = unit();
        assert_eq!(timeline.acknowledged(NOW - 20, NOW - 10, NOW), None);
        timeline.at(at(5, -1, None), NOW);
        assert_eq!(
            timeline.acknowledged(NOW, NOW, NOW + 5),
            None,
            "the end is not known"
        );
        timeline.at(at(9, 9, None), NOW + 10);
        assert_eq!(timeline.acknowledged(NOW, NOW, NOW + 20), None, "backfill");
        assert_eq!(
            timeline.acknowledged(NOW + 10, NOW + 15, NOW + 40),
            Some(30)
        );
        // Behind again, for an outage: that is latency, not backfill.
        timeline.at(at(9, 99, Some(NOW + 50)), NOW + 60_000);
        assert_eq!(
            timeline.acknowledged(NOW + 50, NOW + 50, NOW + 90_050),
            Some(90_000)
        );
    }

    #[test]
    fn a_unit_is_held_while_it_waits_at_an_open_transaction() {
        let (lag, mut timeline, _) = unit();
        let place = |position, held| Place {
            held,
            ..at(position, 10, None)
        };
        timeline.at(place(8, true), NOW);
        assert_eq!(lag.held_ms(NOW), None, "there is something to copy before");
        timeline.at(place(10, true), NOW);
        timeline.at(place(10, true), NOW + 500);
        assert_eq!(lag.held_ms(NOW + 2_000), Some(2_000));
        timeline.at(place(10, false), NOW + 3_000);
        assert_eq!(lag.held_ms(NOW + 3_000), None);
    }
}
