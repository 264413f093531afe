//! The byte budget of the process: what is in flight never exceeds it.
//!
//! A permit is taken before bytes are, travels with the batch, and is released when the batch is
//! acknowledged or dropped. A request larger than the whole budget is granted when nothing else is
//! in flight, so that one huge record still moves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Clones share one budget.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    total: u32,
}

/// Bytes taken from one or several [`Budget`]s; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Permit {
    own: Vec<OwnedSemaphorePermit>,
    /// Of the buffer that this is a slice of: charged until the last slice is gone.
    _buffer: Option<Arc<Permit>>,
    _share: Option<Held>,
}

impl Permit {
    /// Both as one.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.own.extend(other.own);
        self
    }

    /// Gives back what goes beyond `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        for permit in &mut self.own {
            let beyond = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(beyond));
        }
    }

    /// One slice of a buffer, which counts in its partition's share.
    pub fn slice(buffer: &Arc<Self>, share: &Share, bytes: usize) -> Self {
        Self {
            own: Vec::new(),
            _buffer: Some(Arc::clone(buffer)),
            _share: Some(share.hold(bytes)),
        }
    }
}

/// How many bytes one partition has in flight, so that none holds what others need.
#[derive(Clone, Debug)]
pub struct Share {
    held: Arc<AtomicUsize>,
    /// Told whenever some are given back.
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct Held {
    share: Share,
    bytes: usize,
}

impl Share {
    /// Nothing is held yet; `freed` is told when bytes come back.
    pub fn new(freed: Arc<Notify>) -> Self {
        Self {
            held: Arc::default(),
            freed,
        }
    }

    /// Bytes in flight now.
    pub fn in_flight(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn hold(&self, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Held {
            share: self.clone(),
            bytes,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.freed.notify_one();
    }
}

impl Budget {
    /// `total` bytes, at most 4 GiB.
    pub fn new(total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Waits until `bytes` are free, first come first served, and takes them.
    pub async fn take(&self, bytes: usize) -> Permit {
        let free = Arc::clone(&self.free)
            .acquire_many_owned(self.charge(bytes))
            .await;
        Permit {
            own: vec![free.expect("the semaphore is never closed")],
            ..Permit::default()
        }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        Arc::clone(&self.free)
            .try_acquire_many_owned(self.charge(bytes))
            .ok()
            .map(|free| Permit {
                own: vec![free],
                ..Permit::default()
            })
    }

    /// Bytes in flight now.
    pub fn in_flight(&self) -> usize {
        (self.total as usize).saturating_sub(self.free.available_permits())
    }

    /// The whole budget, in bytes.
    pub fn total(&self) -> usize {
        self.total as usize
    }

    fn charge(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_flight_never_exceeds_the_budget() {
        let budget = Budget::new(100);
        let first = budget.take(60).await;
        assert!(budget.try_take(41).is_none());
        let second = budget.try_take(40).unwrap();
        assert_eq!(budget.in_flight(), 100);
        drop((first, second));
        assert_eq!(budget.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_budget_moves_alone() {
        let budget = Budget::new(100);
        let small = budget.take(1).await;
        assert!(budget.try_take(500).is_none());
        drop(small);
        let huge = budget.try_take(500).unwrap();
        assert_eq!(budget.in_flight(), 100);
        drop(huge);
    }
}
