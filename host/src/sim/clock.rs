//! A clock that stands still until a test moves it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{BoxFuture, Clock};

/// Clones share one time.
#[derive(Clone, Debug)]
pub struct SimClock {
    wall_ms: Arc<Mutex<i64>>,
    monotonic: Arc<watch::Sender<Duration>>,
}

impl SimClock {
    /// Starts at `wall_ms` on the calendar.
    pub fn new(wall_ms: i64) -> Self {
        Self {
            wall_ms: Arc::new(Mutex::new(wall_ms)),
            monotonic: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// Lets `duration` pass and wakes whoever slept until then.
    pub fn advance(&self, duration: Duration) {
        *self.wall() += i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.monotonic.send_modify(|now| *now += duration);
    }

    /// Sets the calendar, forwards or back, while no time passes.
    pub fn jump_to(&self, wall_ms: i64) {
        *self.wall() = wall_ms;
    }

    fn wall(&self) -> MutexGuard<'_, i64> {
        self.wall_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> i64 {
        *self.wall()
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut time = self.monotonic.subscribe();
        let until = self.monotonic() + duration;
        // The sender lives as long as any clone of the clock; without one, time stands still forever.
        Box::pin(async move {
            if time.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_has_come() {
        let clock = SimClock::new(1_000);
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.wall_ms(), 6_000);
    }

    #[test]
    fn a_jump_of_the_calendar_is_not_time_passing() {
        let clock = SimClock::new(1_000);
        clock.jump_to(-5);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (-5, Duration::ZERO));
    }
}
