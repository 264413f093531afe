//! How fast connections may be made (`max.connection.creation.rate`).

use std::time::Duration;

/// What may come at once after a quiet time, in seconds of the rate.
const BURST: Duration = Duration::from_secs(1);

/// So many in a second, counted by the virtual schedule of the leaky bucket (ITU-T I.371, GCRA).
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// When the next one is due, if they come evenly.
    due: Duration,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            due: Duration::ZERO,
        }
    }

    /// Takes a place; and how long until it may be used.
    pub(super) fn take(&mut self, now: Duration) -> Duration {
        let due = self.due.max(now);
        self.due = due + self.interval;
        // The first of a burst is due now, the last a second later.
        (due + self.interval).saturating_sub(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_waits() {
        let mut rate = Rate::new(4);
        let now = Duration::from_secs(100);
        for _ in 0..4 {
            assert_eq!(rate.take(now), Duration::ZERO);
        }
        assert_eq!(rate.take(now), Duration::from_millis(250));
        assert_eq!(rate.take(now), Duration::from_millis(500));
        let later = now + Duration::from_secs(10);
        assert_eq!(rate.take(later), Duration::ZERO);
    }

    proptest! {
        /// In no second pass more than twice the rate: a burst, and what comes due meanwhile.
        #[test]
        fn no_more_pass_than_may(per_second in 1u32..50, gaps in prop::collection::vec(0u64..300, 1..200)) {
            let mut rate = Rate::new(per_second);
            let (mut now, mut passed) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                now += rate.take(now);
                passed.push(now);
            }
            for (index, begin) in passed.iter().enumerate() {
                let end = *begin + Duration::from_secs(1);
                let within = passed[index..].iter().take_while(|at| **at < end).count();
                prop_assert!(within <= 2 * per_second as usize + 1, "{} of {}", within, per_second);
            }
        }
    }
}
