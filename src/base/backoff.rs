//! How long to wait before the next try: exponential, capped, with jitter.

use std::time::Duration;

use host::Random;

/// Doubles from `first` to `last`; each delay is drawn from its upper half, so that many waiters
/// do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays from `first`, doubling up to `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            next: first,
        }
    }

    /// The next delay.
    pub fn delay(&mut self, random: &dyn Random) -> Duration {
        let delay = self.next.mul_f64(0.5 + random.fraction() / 2.0);
        self.next = (self.next * 2).min(self.last);
        delay
    }

    /// After a success: start over.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::sim::SeededRandom;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over() {
        let random = SeededRandom::new(1);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for cap in [1, 2, 4, 4] {
            let delay = backoff.delay(&random);
            let cap = Duration::from_secs(cap);
            assert!(
                delay >= cap / 2 && delay < cap,
                "{delay:?} for a cap of {cap:?}"
            );
        }
        backoff.reset();
        assert!(backoff.delay(&random) < Duration::from_secs(1));
    }
}
