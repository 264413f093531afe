//! Deadlines by the host's clock, for many waits with one timer.

use std::{io, sync::Arc, time::Duration};

use host::{BoxFuture, Clock};

/// A point in time that moves on; work is cut off when it has passed.
pub(crate) struct Deadline {
    clock: Arc<dyn Clock>,
    at: Duration,
    /// Goes off at or before `at`; none while nobody had to wait.
    timer: Option<(Duration, BoxFuture<'static, ()>)>,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn new(clock: &Arc<dyn Clock>, after: Duration) -> Self {
        let mut deadline = Self {
            clock: Arc::clone(clock),
            at: Duration::ZERO,
            timer: None,
        };
        deadline.set(after);
        deadline
    }

    /// Moves it to so long from now.
    pub(crate) fn set(&mut self, after: Duration) {
        self.at = self.clock.monotonic().saturating_add(after);
        if self
            .timer
            .as_ref()
            .is_some_and(|(goes_off, _)| *goes_off > self.at)
        {
            self.timer = None;
        }
    }

    /// Does `work`, until the deadline.
    pub(crate) async fn bound<T>(
        &mut self,
        what: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let (clock, at) = (&self.clock, self.at);
            let (_, timer) = self.timer.get_or_insert_with(|| {
                let left = at.saturating_sub(clock.monotonic());
                (at, clock.sleep(left))
            });
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = timer => {}
            }
            self.timer = None;
            if self.clock.monotonic() >= self.at {
                let reason = format!("{what} takes too long");
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use host::sim::SimClock;

    use super::*;

    #[tokio::test]
    async fn it_moves_on_and_ends_what_waits() {
        let sim = SimClock::new(0);
        let clock: Arc<dyn Clock> = Arc::new(sim.clone());
        let mut deadline = Deadline::new(&clock, Duration::from_secs(10));
        assert_eq!(deadline.bound("x", async { Ok(1) }).await.unwrap(), 1);
        sim.advance(Duration::from_secs(9));
        deadline.set(Duration::from_secs(10));
        let waits = tokio::spawn(async move {
            deadline
                .bound("x", std::future::pending::<io::Result<()>>())
                .await
        });
        for _ in 0..9 {
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            sim.advance(Duration::from_secs(1));
        }
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        sim.advance(Duration::from_secs(1));
        let error = waits.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
