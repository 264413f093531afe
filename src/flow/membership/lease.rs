//! The lease of a member (EXACTNESS 7).
//!
//! A process that was cut off or suspended does not hear that its partitions went to another one. So it
//! writes only while the group cannot have given it up: until the session that it last confirmed could
//! have ended, less a margin, by a clock that counts suspend. Confirmed is the time just before a
//! commit that succeeded: brokers count it as a sign of life, and unlike a heartbeat it was written down by a
//! coordinator that is one.

use std::{sync::Arc, time::Duration};

use host::{BoxFuture, Clock};
use tokio::sync::watch;

use crate::worker::Lease;

/// Of a member whose session ends some time after its last sign of life.
#[derive(Debug)]
pub struct SessionLease {
    clock: Arc<dyn Clock>,
    /// What a confirmation is good for: the session's timeout less the margin.
    term: Duration,
    /// When membership was last confirmed, on the clock's monotonic time.
    confirmed: watch::Sender<Option<Duration>>,
}

impl SessionLease {
    /// Begins unconfirmed.
    pub fn new(clock: Arc<dyn Clock>, term: Duration) -> Self {
        Self {
            clock,
            term,
            confirmed: watch::Sender::new(None),
        }
    }

    /// A commit that began at `sent` succeeded.
    pub fn confirm(&self, sent: Duration) {
        self.confirmed
            .send_modify(|confirmed| *confirmed = (*confirmed).max(Some(sent)));
    }

    /// The group gave this member up.
    pub fn end(&self) {
        self.confirmed.send_replace(None);
    }
}

impl Lease for SessionLease {
    fn age(&self) -> Option<Duration> {
        let confirmed = *self.confirmed.borrow();
        confirmed.map(|at| self.clock.monotonic().saturating_sub(at))
    }

    fn may_write(&self) -> bool {
        self.age().is_some_and(|age| age < self.term)
    }

    fn granted(&self) -> BoxFuture<'_, ()> {
        let mut changes = self.confirmed.subscribe();
        Box::pin(async move {
            while !self.may_write() {
                // Ends with an error only if `self`, which is borrowed, were gone.
                if changes.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use host::sim::SimClock;

    use super::*;

    const TERM: Duration = Duration::from_secs(5);

    #[test]
    fn it_ends_a_term_after_the_last_confirmation_even_in_suspend() {
        let clock = SimClock::new(0);
        let lease = SessionLease::new(Arc::new(clock.clone()), TERM);
        assert!(!lease.may_write());
        lease.confirm(clock.monotonic());
        clock.advance(Duration::from_millis(4_999));
        assert!(lease.may_write());
        clock.advance(Duration::from_millis(1));
        assert!(!lease.may_write());
        lease.confirm(clock.monotonic());
        assert!(lease.may_write());
        clock.advance(Duration::from_secs(3600));
        assert!(!lease.may_write());
    }

    #[test]
    fn a_confirmation_counts_from_when_it_was_sent_and_never_goes_back() {
        let clock = SimClock::new(0);
        let lease = SessionLease::new(Arc::new(clock.clone()), TERM);
        let sent = clock.monotonic();
        clock.advance(TERM);
        lease.confirm(sent);
        assert!(!lease.may_write());
        lease.confirm(clock.monotonic());
        lease.confirm(sent);
        assert_eq!(lease.age(), Some(Duration::ZERO));
        lease.end();
        assert!(!lease.may_write());
    }

    #[tokio::test]
    async fn who_waits_for_it_goes_on_when_it_is_confirmed() {
        let clock = SimClock::new(0);
        let lease = Arc::new(SessionLease::new(Arc::new(clock.clone()), TERM));
        let waiting = Arc::clone(&lease);
        let waiting = tokio::spawn(async move { waiting.granted().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        lease.confirm(clock.monotonic());
        waiting.await.unwrap();
    }
}
