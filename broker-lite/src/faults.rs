//! Faults on purpose, for tests that run a broker in their own process.
//!
//! [`Broker::faults`](crate::Broker::faults) gives a [`Faults`]. [`Faults::set`] arms a [`Fault`]: at which API,
//! for which topic and partition, how often, and [`What`] happens. Its [`Hook`] counts how often it fired. The
//! other calls change a partition at once, as a cluster's misfortunes would.
//!
//! ```
//! # use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
//! // The second batch for t-0 is appended, and its producer told that it was not.
//! let lost = What::FailAfter(ResponseError::NotLeaderOrFollower);
//! let fault = Fault::new(ApiKey::Produce, lost).partition("t", 0).skip(1);
//! ```
//!
//! Nothing that comes over the network reaches this module. While no fault is armed a request costs one atomic
//! load.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use host::{BoxFuture, Clock};
pub use kafka_protocol::{error::ResponseError, messages::ApiKey};
use tokio::sync::watch;

use crate::{
    api,
    state::{State, partition::Partition},
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Its work is not done, and the answer has this error.
    Refuse(ResponseError),
    /// Its work is done, and the answer has this error.
    FailAfter(ResponseError),
    /// Its work is not done, and the connection closed.
    Close,
    /// Its work is done, and the connection closed without an answer.
    CloseAfter,
    /// Its work is done later, by the host's clock. The requests behind it on the connection wait, and it is done
    /// also if the client closes the connection meanwhile.
    Delay(Duration),
    /// Its work is done at once, and the answer sent no earlier than this after the request came, by the host's
    /// clock.
    DelayAfter(Duration),
    /// Of Fetch: readers that tell their rack get no records but the id of the replica to read (KIP-392).
    Prefer(i32),
}

/// When, and what.
///
/// Produce and Fetch have an error for each partition, and each partition that it befalls counts as once. With
/// other APIs and other faults a request counts as once if it names the topic or partition, and an error befalls
/// all that it names. A Fetch of a session names all partitions of the session.
#[derive(Clone, Debug)]
pub struct Fault {
    api: ApiKey,
    what: What,
    topic: Option<String>,
    partition: Option<i32>,
    skip: u32,
    times: u32,
}

impl Fault {
    /// Happens to the next request of `api`, once.
    pub fn new(api: ApiKey, what: What) -> Self {
        Self {
            api,
            what,
            topic: None,
            partition: None,
            skip: 0,
            times: 1,
        }
    }

    /// Only if the request names this topic.
    #[must_use]
    pub fn topic(mut self, topic: &str) -> Self {
        self.topic = Some(topic.to_owned());
        self
    }

    /// Only if the request names this partition.
    #[must_use]
    pub fn partition(mut self, topic: &str, partition: i32) -> Self {
        self.partition = Some(partition);
        self.topic(topic)
    }

    /// Lets the first `count` pass that it could befall.
    #[must_use]
    pub fn skip(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Happens `count` times; `u32::MAX` is for ever.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.times = count;
        self
    }

    /// Happens until it is removed.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    fn befalls(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|one| one == topic)
            && self.partition.is_none_or(|one| one == partition)
    }

    fn befalls_any(&self, named: &[(String, i32)]) -> bool {
        let mut named = named.iter();
        self.topic.is_none() || named.any(|(topic, partition)| self.befalls(topic, *partition))
    }

    /// Whether it is looked for partition by partition.
    fn is_partial(&self) -> bool {
        match self.what {
            What::Refuse(_) | What::FailAfter(_) => {
                matches!(self.api, ApiKey::Produce | ApiKey::Fetch)
            }
            What::Prefer(_) => true,
            _ => false,
        }
    }
}

/// Why a fault cannot be set, or a partition not be changed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// [`What::Refuse`] and [`What::FailAfter`] are known for the APIs that have a typical place for an error.
    #[error("no error can be put into answers of {0:?}: use a close or a delay")]
    NoErrors(ApiKey),
    /// The broker has ended.
    #[error("the broker has ended")]
    Ended,
    /// There is no such partition.
    #[error("{0}-{1}: no such partition")]
    Unknown(String, i32),
    /// The partition refuses.
    #[error("{0}-{1}: {2}")]
    Refused(String, i32, ResponseError),
}

/// Sets faults in a running broker. Cheap to clone; does not keep the broker alive.
#[derive(Clone, Debug)]
pub struct Faults {
    hooks: Arc<Hooks>,
    state: Weak<State>,
}

impl Faults {
    pub(crate) fn of(state: &Arc<State>) -> Self {
        Self {
            hooks: Arc::clone(&state.hooks),
            state: Arc::downgrade(state),
        }
    }

    /// Arms a fault. Of several errors that could befall a partition the one that was set first does.
    ///
    /// # Errors
    /// [`FaultError::NoErrors`].
    pub fn set(&self, fault: Fault) -> Result<Hook, FaultError> {
        let is_error = matches!(fault.what, What::Refuse(_) | What::FailAfter(_));
        if is_error && !api::takes_errors(fault.api) {
            return Err(FaultError::NoErrors(fault.api));
        }
        Ok(self.hooks.arm(fault))
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.hooks.retain(|_| false);
    }

    /// Metadata names a broker with this id too, at this one's address.
    pub fn advertise(&self, id: i32) {
        self.hooks.others().push(id);
    }

    /// CreateTopics for more than `most` topics is refused as a whole (POLICY_VIOLATION), as managed services refuse it.
    pub fn create_at_most(&self, most: usize) {
        self.hooks.most_topics.store(most, Ordering::Release);
    }

    /// Forgets a producer on a partition, as after `producer.id.expiration.ms`. False if it was not known, or is
    /// in a transaction. Blocks while the disk is written.
    ///
    /// # Errors
    /// Without such a partition; if the disk fails.
    pub fn forget_producer(
        &self,
        topic: &str,
        partition: i32,
        id: i64,
    ) -> Result<bool, FaultError> {
        let forget = |partition: &Partition| partition.forget_producers(Some(id));
        Ok(self.change(topic, partition, forget)? > 0)
    }

    /// Forgets all producers of a partition; returns how many. Blocks while the disk is written.
    ///
    /// # Errors
    /// Without such a partition; if the disk fails.
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<usize, FaultError> {
        self.change(topic, partition, |partition| {
            partition.forget_producers(None)
        })
    }

    /// Drops the records of a partition from `offset` on, as an unclean election does, and the whole batch that
    /// holds it; producers are remembered by what is left. Returns the new end. Blocks while the disk is written.
    ///
    /// # Errors
    /// Without such a partition; if it does not reach from before `offset` to behind it; if the disk fails.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<i64, FaultError> {
        self.change(topic, partition, |partition| partition.truncate(offset))
    }

    /// Begins the next epoch of a partition's leader; returns it. Blocks while the disk is written.
    ///
    /// # Errors
    /// Without such a partition; if the disk fails.
    pub fn raise_leader_epoch(&self, topic: &str, partition: i32) -> Result<i32, FaultError> {
        self.change(topic, partition, Partition::raise_leader_epoch)
    }

    fn change<T>(
        &self,
        topic: &str,
        number: i32,
        change: impl FnOnce(&Partition) -> Result<T, ResponseError>,
    ) -> Result<T, FaultError> {
        let state = self.state.upgrade().ok_or(FaultError::Ended)?;
        let found = state.topics.get(topic);
        let partition = found.and_then(|topic| topic.partition(number));
        let partition = partition.ok_or_else(|| FaultError::Unknown(topic.to_owned(), number))?;
        change(&partition).map_err(|why| FaultError::Refused(topic.to_owned(), number, why))
    }
}

/// A fault that was set. It stays armed if this is dropped.
#[derive(Clone, Debug)]
pub struct Hook {
    hooks: Arc<Hooks>,
    fired: watch::Sender<u32>,
}

impl Hook {
    /// How often it fired: counted before the work is done.
    pub fn fired(&self) -> u32 {
        *self.fired.borrow()
    }

    /// Waits until it fired `count` times.
    pub async fn wait(&self, count: u32) {
        let mut fired = self.fired.subscribe();
        // The sender is held here, so that it cannot be gone.
        if fired.wait_for(|fired| *fired >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Disarms it.
    pub fn remove(&self) {
        self.hooks
            .retain(|armed| !armed.fired.same_channel(&self.fired));
    }
}

/// A fault that may fire.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    fired: watch::Sender<u32>,
}

impl Armed {
    /// Whether it fires; if so it is to be counted.
    fn fires(&mut self) -> bool {
        if self.fault.skip > 0 {
            self.fault.skip -= 1;
            return false;
        }
        if self.fault.times != u32::MAX {
            self.fault.times -= 1;
        }
        true
    }
}

/// What befalls a whole request, in this order.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) delay: Option<BoxFuture<'static, ()>>,
    pub(crate) close: bool,
    pub(crate) refuse: Option<ResponseError>,
    pub(crate) delay_after: Option<BoxFuture<'static, ()>>,
    pub(crate) close_after: bool,
    pub(crate) fail_after: Option<ResponseError>,
}

impl Plan {
    fn add(&mut self, what: What, clock: &dyn Clock) {
        match what {
            What::Delay(time) => self.delay = Some(clock.sleep(time)),
            What::Close => self.close = true,
            What::Refuse(error) => self.refuse = Some(error),
            What::DelayAfter(time) => self.delay_after = Some(clock.sleep(time)),
            What::CloseAfter => self.close_after = true,
            What::FailAfter(error) => self.fail_after = Some(error),
            // Looked for partition by partition.
            What::Prefer(_) => {}
        }
    }
}

/// What befalls one partition of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The work is not done.
    Before(ResponseError),
    /// The work is done.
    After(ResponseError),
    /// Another replica is to be read.
    Elsewhere(i32),
}

/// The faults that are armed.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// How many there are, to be read without the lock.
    count: AtomicUsize,
    armed: Mutex<Vec<Armed>>,
    /// Ids of brokers that are named at this one's address.
    others: Mutex<Vec<i32>>,
    /// How many topics one request may create.
    most_topics: AtomicUsize,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            armed: Mutex::default(),
            others: Mutex::default(),
            most_topics: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Hooks {
    /// Whether one request may create so many topics.
    pub(crate) fn takes_topics(&self, count: usize) -> bool {
        count <= self.most_topics.load(Ordering::Acquire)
    }

    fn arm(self: &Arc<Self>, fault: Fault) -> Hook {
        let fired = watch::Sender::new(0);
        let mut armed = self.lock();
        armed.push(Armed {
            fault,
            fired: fired.clone(),
        });
        self.count.store(armed.len(), Ordering::Release);
        Hook {
            hooks: Arc::clone(self),
            fired,
        }
    }

    /// What befalls a request that names `partitions`; none if nothing does.
    pub(crate) fn plan(
        &self,
        api: i16,
        clock: &dyn Clock,
        partitions: impl FnOnce() -> Vec<(String, i32)>,
    ) -> Option<Plan> {
        if self.is_empty() {
            return None;
        }
        let (named, mut plan) = (partitions(), None);
        let mut armed = self.lock();
        for one in armed.iter_mut() {
            let fault = &one.fault;
            let is_meant = fault.api as i16 == api && !fault.is_partial() && fault.times > 0;
            if is_meant && fault.befalls_any(&named) && one.fires() {
                let plan = plan.get_or_insert_with(Plan::default);
                plan.add(one.fault.what, clock);
                // A test that hears of it may move the clock: the delay has begun by then.
                one.fired.send_modify(|fired| *fired += 1);
            }
        }
        self.tidy(armed);
        plan
    }

    /// The error that befalls a partition.
    pub(crate) fn failure(&self, api: ApiKey, topic: &str, partition: i32) -> Option<Failure> {
        if self.is_empty() {
            return None;
        }
        let mut armed = self.lock();
        let meant = armed.iter_mut().filter(|one| {
            let fault = &one.fault;
            fault.api == api && fault.is_partial() && fault.befalls(topic, partition)
        });
        let mut meant = meant.filter(|one| one.fault.times > 0);
        let fired = meant.find_map(|one| {
            one.fires().then(|| {
                one.fired.send_modify(|fired| *fired += 1);
                one.fault.what
            })
        });
        self.tidy(armed);
        match fired? {
            What::Refuse(error) => Some(Failure::Before(error)),
            What::FailAfter(error) => Some(Failure::After(error)),
            What::Prefer(replica) => Some(Failure::Elsewhere(replica)),
            _ => None,
        }
    }

    pub(crate) fn others(&self) -> MutexGuard<'_, Vec<i32>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn retain(&self, keep: impl Fn(&Armed) -> bool) {
        let mut armed = self.lock();
        armed.retain(keep);
        self.tidy(armed);
    }

    /// Drops those that fired often enough.
    fn tidy(&self, mut armed: MutexGuard<'_, Vec<Armed>>) {
        armed.retain(|one| one.fault.times > 0);
        self.count.store(armed.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
