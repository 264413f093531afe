//! Errors that come again and again, a line in the log now and then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Between two lines.
const PAUSE_MS: u64 = 60_000;

/// How often there was reason to complain, and when it was last said. Of two at the same moment one may be said too many.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// When the next may be said.
    next_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Complaints {
    /// One more, by the monotonic clock; if it is to be said, how many since the last that was.
    pub(crate) fn say(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let unsaid = self.unsaid.fetch_add(1, Ordering::Relaxed) + 1;
        if now < self.next_ms.load(Ordering::Relaxed) {
            return None;
        }
        self.next_ms
            .store(now.saturating_add(PAUSE_MS), Ordering::Relaxed);
        self.unsaid.store(0, Ordering::Relaxed);
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_minute_is_said_and_the_others_counted() {
        let complaints = Complaints::default();
        let said: Vec<_> = (0..3)
            .flat_map(|minute| (0..60).map(move |second| minute * 60 + second))
            .filter_map(|seconds| complaints.say(Duration::from_secs(1000 + seconds)))
            .collect();
        assert_eq!(said, [1, 60, 60]);
    }
}
