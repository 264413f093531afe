//! How much is read ahead of the target from a near broker (decision 0008). Pure.

use std::time::Duration;

use super::request::MAX_RESPONSE;

/// What is read ahead, as a part of the budget: what is on its way to the target and an answer more, and so few
/// buffers that they are used again (`wire::frame`).
const PART: usize = 8;
/// For how long nothing comes back before more is read: those that hold all of it may be the ones whose target hangs.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Twice as long each time, so that a target that hangs as a whole is not given all of the memory at once.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// What all partitions of one broker may hold together.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Bytes beyond the usual part for those that hold nothing, because nothing came back of that.
    beyond: usize,
    pause: Duration,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            beyond: 0,
            pause: FIRST_PAUSE,
        }
    }
}

impl Ahead {
    /// What one partition may hold while all hold `held` of a budget of `total`: twice what is left. One alone gets two
    /// thirds of it so, which is five batches of 1 MiB, and many share nearly all of it.
    pub(super) fn room(&self, held: usize, total: usize) -> usize {
        (total / PART).saturating_sub(held) * 2
    }

    /// Whether even those that hold nothing have to wait.
    pub(super) fn is_full(&self, held: usize, total: usize) -> bool {
        held >= total / PART + self.beyond
    }

    /// How long they wait for bytes that come back.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Bytes came back, and `held` are held now.
    pub(super) fn freed(&mut self, held: usize, total: usize) {
        self.pause = FIRST_PAUSE;
        if held < total / PART {
            self.beyond = 0;
        }
    }

    /// Nothing came back for the time of a pause: there is one answer more for those that hold nothing.
    pub(super) fn stalled(&mut self, held: usize, total: usize) {
        self.beyond = held.saturating_sub(total / PART) + MAX_RESPONSE;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 64 << 20;

    /// What is held after so long in which nothing comes back, and ever more partitions have something.
    fn held_after(seconds: u64) -> usize {
        let (mut ahead, mut held, mut at) = (Ahead::default(), 0, Duration::ZERO);
        loop {
            while !ahead.is_full(held, TOTAL) {
                held += MAX_RESPONSE;
            }
            at += ahead.pause();
            if at > Duration::from_secs(seconds) {
                return held;
            }
            ahead.stalled(held, TOTAL);
        }
    }

    #[test]
    fn a_target_that_hangs_gets_more_more_and_more_slowly() {
        assert_eq!(held_after(0), 8 << 20);
        assert_eq!(held_after(1), 14 << 20);
        assert_eq!(held_after(5), 18 << 20);
    }

    #[test]
    fn behind_partitions_that_hang_others_go_on_without_pauses() {
        let mut ahead = Ahead::default();
        let hanging = 9 << 20;
        assert!(ahead.is_full(hanging, TOTAL));
        ahead.stalled(hanging, TOTAL);
        for _ in 0..10 {
            assert!(!ahead.is_full(hanging + MAX_RESPONSE / 2, TOTAL));
            assert_eq!(ahead.room(hanging, TOTAL), 0, "only who holds nothing");
            ahead.freed(hanging, TOTAL);
            assert_eq!(ahead.pause(), FIRST_PAUSE);
        }
        // Once they are through, it is as before.
        ahead.freed(0, TOTAL);
        assert!(ahead.is_full(hanging, TOTAL));
        assert_eq!(ahead.room(0, TOTAL), 16 << 20);
    }
}
