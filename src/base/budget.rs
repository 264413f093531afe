//! The byte budget of the process: what is in flight never exceeds it.
//!
//! A permit is taken before bytes are, travels with the batch, and is released when the batch is
//! acknowledged or dropped. A request larger than the whole budget is granted when nothing else is
//! in flight, so that one huge record still moves.
//!
//! It is fair by what is left: who holds some already gets more only below a part of what is free
//! ([`Share::has_room`]). One alone may hold a fifth; the more are slow, the less each of them gets, and there is
//! always something left for the one that comes next.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What one may hold, as a part of what is free (dynamic thresholds, Choudhury and Hahne 1998).
const ROOM: usize = 4;

/// The most that one may take at a time while `free` are free, so that something is left for the next.
pub fn fair(free: usize) -> usize {
    free / ROOM
}

/// Clones share one budget.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    total: u32,
    /// What it is a part of: all is taken there as well.
    whole: Option<Arc<Budget>>,
}

/// Bytes taken from one or several [`Budget`]s; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Permit {
    own: Vec<OwnedSemaphorePermit>,
    /// Of the buffer that this is a slice of: charged until the last slice is gone.
    _buffer: Option<Arc<Permit>>,
    _share: Option<Held>,
    _more: Vec<Permit>,
}

impl Permit {
    /// Both as one, which is not split any more.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self._more.push(more);
        self
    }

    /// The same, and it counts in the share of its partition.
    #[must_use]
    pub fn counted(mut self, share: &Share, bytes: usize) -> Self {
        self._share = Some(share.hold(bytes));
        self
    }

    /// Takes `bytes` out of it, if it has them beyond `keep`.
    pub fn split(&mut self, keep: usize, bytes: usize) -> Option<Self> {
        let has =
            |permit: &OwnedSemaphorePermit| permit.num_permits() >= keep.saturating_add(bytes);
        if !self.own.iter().all(has) {
            return None;
        }
        let own = self.own.iter_mut().filter_map(|permit| permit.split(bytes));
        Some(Self {
            own: own.collect(),
            ..Self::default()
        })
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
            _more: Vec::new(),
        }
    }
}

/// How many bytes one partition has in flight, so that none holds what others need.
#[derive(Clone, Debug, Default)]
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
    /// Nothing is held yet; `freed` is told whenever bytes come back.
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

    /// Whether the partition gets more while it may hold `room`, as is [`fair`]. One that holds nothing always does.
    pub fn has_room(&self, room: usize) -> bool {
        let held = self.in_flight();
        held == 0 || held < room
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
            whole: None,
        }
    }

    /// A part of this one: what is taken of it is taken here too, and never more than `total`.
    #[must_use]
    pub fn part(&self, total: usize) -> Self {
        Self {
            whole: Some(Arc::new(self.clone())),
            ..Self::new(total.min(self.total()))
        }
    }

    /// Waits until `bytes` are free, first come first served, and takes them.
    pub async fn take(&self, bytes: usize) -> Permit {
        let mut permit = Permit::default();
        for budget in self.all() {
            let free = Arc::clone(&budget.free)
                .acquire_many_owned(budget.charge(bytes))
                .await;
            permit
                .own
                .push(free.expect("the semaphore is never closed"));
        }
        permit
    }

    /// Takes `bytes` if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let mut permit = Permit::default();
        for budget in self.all() {
            let free = Arc::clone(&budget.free).try_acquire_many_owned(budget.charge(bytes));
            permit.own.push(free.ok()?);
        }
        Some(permit)
    }

    /// Takes `bytes`, or what there is of them.
    pub fn take_some(&self, bytes: usize) -> Permit {
        self.try_take(bytes.min(self.free())).unwrap_or_default()
    }

    /// Bytes in flight now.
    pub fn in_flight(&self) -> usize {
        (self.total as usize).saturating_sub(self.free.available_permits())
    }

    /// Bytes that could be taken now.
    pub fn free(&self) -> usize {
        let free = self.all().map(|budget| budget.free.available_permits());
        free.min().unwrap_or(0)
    }

    /// This one and what it is a part of; taken in this order, so that nobody waits for another in a circle.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |budget| budget.whole.as_deref())
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
    async fn a_part_is_taken_of_the_whole_too_and_split_like_it() {
        let whole = Budget::new(100);
        let part = whole.part(60);
        let mut permit = part.take(50).await;
        assert_eq!((part.free(), whole.free(), whole.in_flight()), (10, 50, 50));
        assert!(part.try_take(11).is_none());
        assert_eq!(whole.in_flight(), 50, "what was half taken is given back");
        let other = whole.take(45).await;
        assert_eq!(part.free(), 5);
        assert!(permit.split(30, 21).is_none());
        let split = permit.split(30, 20).unwrap();
        permit.shrink(10);
        assert_eq!((part.in_flight(), whole.in_flight()), (30, 75));
        let rest = permit.and(part.take_some(100));
        assert_eq!((part.in_flight(), whole.in_flight()), (55, 100));
        drop((rest, split, other));
        assert_eq!((part.in_flight(), whole.in_flight()), (0, 0));
    }

    /// As many as there may be take whatever they can and give nothing back: the one that comes next still gets
    /// something.
    #[test]
    fn however_many_hold_on_to_theirs_something_is_left() {
        for slow in [1, 5, 50, 500] {
            let budget = Budget::new(64 << 20);
            let shares: Vec<_> = std::iter::repeat_with(Share::default).take(slow).collect();
            let mut permits = Vec::new();
            loop {
                let mut grew = false;
                for share in &shares {
                    if share.has_room(fair(budget.free()))
                        && let Some(permit) = budget.try_take(16 << 10)
                    {
                        permits.push(permit.counted(share, 16 << 10));
                        grew = true;
                    }
                }
                if !grew {
                    break;
                }
            }
            assert!(budget.free() >= 128 << 10, "{slow} leave {}", budget.free());
        }
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
