//! Bytes that went by since somebody last looked, and a wake-up when they are many.
//!
//! One atomic addition for whoever counts; nobody polls.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: AtomicU64,
    bound: u64,
    reached: Notify,
}

impl Meter {
    /// Full at `bound` bytes.
    pub fn new(bound: u64) -> Self {
        Self(Arc::new(Inner {
            bytes: AtomicU64::new(0),
            bound,
            reached: Notify::new(),
        }))
    }

    /// So many more. What they stand for must be visible to others before.
    pub fn add(&self, bytes: u64) {
        let before = self.0.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before < self.0.bound && before.saturating_add(bytes) >= self.0.bound {
            self.0.reached.notify_one();
        }
    }

    /// Full now, whatever was counted.
    pub fn fill(&self) {
        self.add(self.0.bound);
    }

    /// Begins at 0 again: what was counted is about to be looked at.
    pub fn empty(&self) {
        self.0.bytes.swap(0, Ordering::AcqRel);
    }

    /// Waits until it is full; for one waiter. Cancel-safe.
    pub async fn full(&self) {
        // A wake-up may be older than the last emptying.
        while self.0.bytes.load(Ordering::Acquire) < self.0.bound {
            self.0.reached.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_full(meter: &Meter) -> bool {
        tokio::select! {
            biased;
            () = meter.full() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn it_is_full_at_its_bound_until_it_is_emptied() {
        let meter = Meter::new(10);
        meter.add(9);
        assert!(!is_full(&meter).await);
        meter.clone().add(1);
        assert!(is_full(&meter).await && is_full(&meter).await);
        // The wake-up of this addition is of no worth any more.
        meter.empty();
        assert!(!is_full(&meter).await);
        meter.add(25);
        assert!(is_full(&meter).await);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let meter = Meter::new(10);
        let waiter = tokio::spawn({
            let meter = meter.clone();
            async move { meter.full().await }
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
            meter.add(1);
        }
        waiter.await.unwrap();
    }
}
