//! Rates: what a topic, and the whole flow, may copy in a second.
//!
//! A limiter is a bucket that holds one second's worth and fills at its rate (GCRA, by `governor`, on the host's
//! clock). It is shared: a topic's by the topic's workers, the flow's by all. Before a worker sends what came in
//! a batch it pays for it, in parts. Who waits is served in the order of arrival, part by part, so that a large
//! batch holds nobody up for longer than a part of it takes.

use std::{
    collections::{BTreeMap, VecDeque},
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use host::{BoxFuture, Clock};
use tokio::sync::Mutex;

use crate::config::Rate;

/// Cells in a second, at most: the limiter counts whole nanoseconds for each, so more of them would make a rate
/// inexact by more than a thousandth. A cell stands for several bytes where a rate is higher.
const CELLS: u64 = 1_000_000;

/// Parts in a second. A part as large as the whole bucket would lose whatever a timer is late.
const PARTS: u32 = 10;

/// The limiters of one flow.
#[derive(Debug)]
pub struct Throttles {
    clock: Arc<dyn Clock>,
    flow: Limiters,
    /// By source topic; they stay when its workers end, so that a restart gives no new burst.
    topics: BTreeMap<String, Limiters>,
}

impl Throttles {
    /// `rate` is the whole flow's.
    pub fn new(clock: Arc<dyn Clock>, rate: Rate) -> Self {
        Self {
            flow: Limiters::new(&clock, rate),
            clock,
            topics: BTreeMap::new(),
        }
    }

    /// What limits a worker of `topic`, whose own rate is `rate`.
    pub fn of(&mut self, topic: &str, rate: Rate) -> Throttle {
        let own = if rate == Rate::default() {
            Limiters::default()
        } else if let Some(known) = self.topics.get(topic) {
            known.clone()
        } else {
            let new = Limiters::new(&self.clock, rate);
            self.topics.insert(topic.to_owned(), new.clone());
            new
        };
        // The topic's own first: who waits for it does not stand in the flow's queue.
        Throttle([own, self.flow.clone()])
    }
}

/// What limits one worker.
#[derive(Clone, Debug, Default)]
pub struct Throttle([Limiters; 2]);

impl Throttle {
    /// Bytes that the worker's topic may copy in a second; none: no limit.
    pub fn topic_bytes(&self) -> Option<u64> {
        self.0[0].bytes.as_ref().map(|limiter| limiter.second())
    }

    /// What is to be paid before so much is sent; none: nothing.
    pub(super) fn toll(&self, bytes: u64, records: u64) -> Option<Toll> {
        let due = |limiter: &Option<Arc<Limiter>>, left| {
            let limiter = limiter.clone()?;
            (left > 0).then_some(Due { limiter, left })
        };
        let each = self.0.iter();
        let dues = each.flat_map(|own| [due(&own.bytes, bytes), due(&own.records, records)]);
        let dues: VecDeque<_> = dues.flatten().collect();
        (!dues.is_empty()).then_some(Toll { dues, paying: None })
    }
}

#[derive(Clone, Debug, Default)]
struct Limiters {
    bytes: Option<Arc<Limiter>>,
    records: Option<Arc<Limiter>>,
}

impl Limiters {
    fn new(clock: &Arc<dyn Clock>, rate: Rate) -> Self {
        let limiter = |rate| Arc::new(Limiter::new(Arc::clone(clock), rate));
        Self {
            bytes: rate.bytes.map(limiter),
            records: rate.records.map(limiter),
        }
    }
}

/// What a worker has to pay for what it is about to send.
pub(super) struct Toll {
    dues: VecDeque<Due>,
    /// The part that is being paid: its place in the limiter's queue.
    paying: Option<BoxFuture<'static, Duration>>,
}

struct Due {
    limiter: Arc<Limiter>,
    left: u64,
}

impl Toll {
    /// Gives up its place in the limiter's queue until it pays on.
    pub(super) fn leave_queue(&mut self) {
        self.paying = None;
    }

    /// Pays the next part; how long that took, and whether it was the last. Cancel-safe: the place in the queue
    /// is kept until the toll itself is dropped.
    pub(super) async fn pay(&mut self) -> (Duration, bool) {
        let Some(Due { limiter, left }) = self.dues.front_mut() else {
            return (Duration::ZERO, true);
        };
        let part = limiter.part().min(*left);
        let paying = self
            .paying
            .get_or_insert_with(|| Box::pin(Arc::clone(limiter).take(part)));
        let waited = paying.await;
        self.paying = None;
        *left -= part;
        if *left == 0 {
            self.dues.pop_front();
        }
        (waited, self.dues.is_empty())
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, HostClock, NoOpMiddleware<Duration>>;

/// One rate.
#[derive(Debug)]
struct Limiter {
    bucket: Bucket,
    clock: Arc<dyn Clock>,
    /// What one cell of the bucket stands for.
    unit: u64,
    /// Cells of one second.
    cells: NonZeroU32,
    /// Held by whose turn it is; what was charged and is less than a cell.
    turn: Mutex<u64>,
}

impl Limiter {
    fn new(clock: Arc<dyn Clock>, rate: NonZeroU64) -> Self {
        let unit = rate.get().div_ceil(CELLS);
        let cells = u32::try_from(rate.get() / unit).ok();
        let cells = cells.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let host = HostClock(Arc::clone(&clock));
        Self {
            bucket: RateLimiter::direct_with_clock(Quota::per_second(cells), host),
            clock,
            unit,
            cells,
            turn: Mutex::default(),
        }
    }

    /// One second's worth.
    fn second(&self) -> u64 {
        u64::from(self.cells.get()) * self.unit
    }

    /// What is paid at a time, at most.
    fn part(&self) -> u64 {
        u64::from((self.cells.get() / PARTS).max(1)) * self.unit
    }

    /// Waits for its turn, then until `amount`, at most a part, may go; how long that was.
    async fn take(self: Arc<Self>, amount: u64) -> Duration {
        let from = self.clock.monotonic();
        let mut rest = self.turn.lock().await;
        let charged = *rest + amount;
        // No more than the bucket holds: `rest` is less than a cell.
        let cells = u32::try_from(charged / self.unit).unwrap_or(u32::MAX);
        if let Some(cells) = NonZeroU32::new(cells.min(self.cells.get())) {
            while let Ok(Err(later)) = self.bucket.check_n(cells) {
                let pause = later.wait_time_from(self.clock.monotonic());
                self.clock.sleep(pause).await;
            }
        }
        *rest = charged % self.unit;
        self.clock.monotonic().saturating_sub(from)
    }
}

#[derive(Debug)]
struct HostClock(Arc<dyn Clock>);

impl GovernorClock for HostClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use host::sim::SimClock;
    use proptest::prelude::*;

    use super::*;

    fn rate(bytes: u64, records: u64) -> Rate {
        Rate {
            bytes: NonZeroU64::new(bytes),
            records: NonZeroU64::new(records),
        }
    }

    /// Throttles on a clock that only moves when it is told to.
    fn throttles(flow: Rate) -> (SimClock, Throttles) {
        let clock = SimClock::new(0);
        let throttles = Throttles::new(Arc::new(clock.clone()), flow);
        (clock, throttles)
    }

    /// Lets time pass in small steps until `toll` is paid; how long that took.
    async fn pay(clock: &SimClock, mut toll: Toll) -> Duration {
        let from = clock.monotonic();
        loop {
            tokio::select! {
                biased;
                (_, last) = toll.pay() => if last {
                    return clock.monotonic() - from;
                },
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
            }
        }
    }

    async fn waits(toll: &mut Toll) -> bool {
        tokio::select! {
            biased;
            _ = toll.pay() => false,
            () = tokio::task::yield_now() => true,
        }
    }

    fn milliseconds(took: Duration) -> u128 {
        took.as_millis()
    }

    #[test]
    fn without_a_rate_there_is_nothing_to_pay() {
        let (_, mut throttles) = throttles(Rate::default());
        let free = throttles.of("t", Rate::default());
        assert!(free.toll(u64::MAX, u64::MAX).is_none() && free.topic_bytes().is_none());
        let records_only = throttles.of("t", rate(0, 5));
        assert!(
            records_only.toll(9, 0).is_none(),
            "a range without records costs nothing"
        );
    }

    #[tokio::test]
    async fn a_second_goes_at_once_and_a_batch_above_it_in_parts() {
        let (clock, mut throttles) = throttles(Rate::default());
        let throttle = throttles.of("t", rate(1000, 0));
        assert_eq!(throttle.topic_bytes(), Some(1000));
        assert_eq!(
            milliseconds(pay(&clock, throttle.toll(1000, 1).unwrap()).await),
            0
        );
        // Nothing is left; what takes 3.45 seconds goes in 35 parts.
        let mut toll = throttle.toll(3450, 1).unwrap();
        for part in 1..=35 {
            assert!(waits(&mut toll).await);
            clock.advance(Duration::from_millis(if part < 35 { 100 } else { 50 }));
            assert_eq!(toll.pay().await.1, part == 35);
        }
        // A long rest gives one second's worth and not more.
        clock.advance(Duration::from_secs(60));
        assert_eq!(
            milliseconds(pay(&clock, throttle.toll(2000, 1).unwrap()).await),
            1000
        );
    }

    #[tokio::test]
    async fn the_scarcer_of_bytes_and_records_counts_of_topic_and_flow_too() {
        let (clock, mut throttles) = throttles(rate(0, 10));
        let slow = throttles.of("slow", rate(100, 0));
        let free = throttles.of("free", Rate::default());
        assert_eq!(
            milliseconds(pay(&clock, slow.toll(300, 1).unwrap()).await),
            2000
        );
        assert_eq!(
            milliseconds(pay(&clock, slow.toll(0, 19).unwrap()).await),
            1000
        );
        assert_eq!(
            milliseconds(pay(&clock, free.toll(1 << 40, 10).unwrap()).await),
            1000
        );
    }

    #[tokio::test]
    async fn workers_of_one_topic_share_its_rate_and_others_have_their_own() {
        let (clock, mut throttles) = throttles(Rate::default());
        let [a, b, other] = ["a", "a", "b"].map(|topic| throttles.of(topic, rate(1000, 0)));
        let (first, mut second) = (a.toll(1000, 1).unwrap(), b.toll(1000, 1).unwrap());
        assert_eq!(milliseconds(pay(&clock, first).await), 0);
        assert!(waits(&mut second).await);
        assert_eq!(
            milliseconds(pay(&clock, other.toll(1000, 1).unwrap()).await),
            0
        );
    }

    #[tokio::test]
    async fn a_large_batch_lets_others_in_between_its_parts() {
        let (clock, mut throttles) = throttles(rate(1000, 0));
        let throttle = throttles.of("t", Rate::default());
        let mut large = throttle.toll(100_000, 1).unwrap();
        let mut small = throttle.toll(10, 1).unwrap();
        while !waits(&mut large).await {}
        // The large one waits for its next part, the small one behind it.
        assert!(waits(&mut small).await);
        clock.advance(Duration::from_millis(110));
        assert!(!waits(&mut large).await && waits(&mut large).await);
        let (_, last) = small.pay().await;
        assert!(last, "it does not wait for the other 989 parts");
        // Who goes away leaves the queue.
        drop(large);
        let after = throttle.toll(10, 1).unwrap();
        assert_eq!(milliseconds(pay(&clock, after).await), 10);
    }

    proptest! {
        /// However it is cut into batches: what goes in a time is the rate, plus the second's worth at the start.
        #[test]
        fn the_rate_is_kept_exactly(
            bytes in 1u64..5_000_000_000,
            cuts in proptest::collection::vec(1u64..1_000_000, 1..40),
        ) {
            let seconds = cuts.len() as u64 % 5 + 1;
            let (clock, mut throttles) = throttles(Rate::default());
            let throttle = throttles.of("t", rate(bytes, 0));
            let total = bytes * (seconds + 1);
            let parts: u64 = cuts.iter().sum();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let took = runtime.block_on(async {
                let mut left = total;
                let mut took = Duration::ZERO;
                for cut in &cuts {
                    let cut = (u128::from(total) * u128::from(*cut) / u128::from(parts)) as u64;
                    if let Some(toll) = throttle.toll(cut, 1) {
                        took += pay(&clock, toll).await;
                    }
                    left -= cut;
                }
                if let Some(toll) = throttle.toll(left, 1) {
                    took += pay(&clock, toll).await;
                }
                took
            });
            let wanted = Duration::from_secs(seconds);
            // A step of the clock for each wait, a thousandth for whole nanoseconds.
            let slack = Duration::from_millis(2 + seconds);
            prop_assert!(took + slack >= wanted && took <= wanted + slack, "{took:?} for {wanted:?}");
        }
    }
}
