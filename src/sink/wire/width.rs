//! How many partitions a request may have, after the broker closed the connection on some (EXACTNESS 13). Pure.
//!
//! One close is what a restart looks like. At the second within a minute there may be a partition whose batch the
//! broker, or what is between, cannot take, or a request that is too large for it: requests are halved at each
//! further close, and go out one at a time, so that a close befalls no others. What was closed on alone is found;
//! requests are whole again once it is out of the way, or after a minute without a close.

use std::time::Duration;

/// For how long a close is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// The width of requests on one connection.
#[derive(Debug, Default)]
pub(super) struct Width {
    limit: Option<usize>,
    /// The latest close, on the monotonic clock.
    closed: Option<Duration>,
}

/// What a close is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The first one in a while.
    First,
    /// Another one.
    Again,
    /// Another one, on a single partition.
    Alone,
}

impl Width {
    /// Partitions that a request may have, if not any number: then there may be one request at a time.
    pub(super) fn limit(&mut self, now: Duration) -> Option<usize> {
        if self.closed.is_none_or(|at| now >= at + MEMORY) {
            *self = Self::default();
        }
        self.limit
    }

    /// The connection was closed while the broker had a request with so many partitions.
    pub(super) fn closed(&mut self, partitions: usize, now: Duration) -> Close {
        let before = self.closed.replace(now);
        if before.is_none_or(|at| now >= at + MEMORY) {
            return Close::First;
        }
        self.limit = Some((partitions / 2).max(1));
        if partitions == 1 {
            Close::Alone
        } else {
            Close::Again
        }
    }

    /// What was closed on goes another way now.
    pub(super) fn found(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends all but those that were found, over and over; the broker closes on `bad`.
    fn find(partitions: usize, bad: usize) -> (usize, Width) {
        let mut width = Width::default();
        let (mut now, mut closes) = (SECOND, 0);
        loop {
            let limit = width.limit(now).unwrap_or(partitions);
            let all: Vec<_> = (0..partitions).collect();
            for request in all.chunks(limit) {
                now += SECOND;
                if !request.contains(&bad) {
                    continue;
                }
                closes += 1;
                if width.closed(request.len(), now) == Close::Alone {
                    width.found();
                    return (closes, width);
                }
            }
        }
    }

    #[test]
    fn rule_13_a_partition_that_is_closed_on_is_found_by_halving() {
        for (partitions, most) in [(1, 2), (2, 3), (8, 5), (50, 7)] {
            for bad in 0..partitions {
                let (closes, mut width) = find(partitions, bad);
                assert!(closes <= most, "{closes} closes for {partitions}");
                assert_eq!(width.limit(Duration::ZERO), None);
            }
        }
    }

    #[test]
    fn rule_13_one_close_is_no_reason_and_a_minute_of_success_is_one_to_grow_again() {
        let mut width = Width::default();
        assert_eq!(width.closed(8, SECOND), Close::First);
        assert_eq!(width.limit(SECOND), None);
        assert_eq!(width.closed(8, SECOND + MEMORY), Close::First);
        let now = SECOND * 2 + MEMORY;
        assert_eq!(width.closed(9, now), Close::Again);
        assert_eq!(width.limit(now + MEMORY - SECOND), Some(4));
        assert_eq!(width.limit(now + MEMORY), None);
    }
}
