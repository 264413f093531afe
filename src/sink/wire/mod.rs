//! Our own producer: whole batches, stamped by their unit, to the leaders of their partitions.
//!
//! A task per connection to a target broker ([`broker`]) puts the waiting batches of all its partitions into one
//! Produce request. There are two: partitions that hold others back, or whose requests end the connection, go by
//! the second one for a while ([`slow`]; [`width`] finds the latter). A lane belongs to the leader that was known
//! when it opened; when that broker says that it leads no more, the lane breaks like after any other failure, and
//! the next one asks again. Nothing is sent a second time here: what is in doubt is the worker's to reconcile
//! (EXACTNESS 4, 6).

mod answer;
mod broker;
mod item;
mod lane;
mod slow;
mod width;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use host::{BoxFuture, Clock, Host};
use tokio::sync::mpsc;
use wire::{TopicPartition, client::Client, connection::Connection};

use self::{
    broker::{Broker, Way},
    item::Item,
    lane::WireLane,
    slow::SlowLane,
};
use super::{Form, Lane, Limits, Sink, SinkError};
use crate::{
    cluster::leaders::{Leaders, NoLeader},
    telemetry::Outage,
    worker::Lease,
};

/// Batches that wait for one connection's task, of all partitions; more wait in their workers.
const QUEUE: usize = 1024;

/// Both connections to one broker, by the queues of their tasks.
#[derive(Debug)]
struct Ways {
    usual: mpsc::Sender<Item>,
    second: mpsc::Sender<Item>,
    slow: Arc<SlowLane>,
    distance: Arc<Distance>,
    clock: Arc<dyn Clock>,
}

/// How far away a broker is: the round trip of the connection that was used last, in microseconds; 0 if there was
/// none yet.
#[derive(Debug, Default)]
struct Distance(AtomicU64);

impl Distance {
    fn set(&self, connection: &Connection) {
        let micros = u64::try_from(connection.round_trip().as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros.max(1), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

impl Ways {
    /// Whether `partition` goes by the second connection.
    fn is_slow(&self, partition: &TopicPartition) -> bool {
        self.slow.holds(partition, self.clock.monotonic())
    }

    fn queue(&self, slow: bool) -> &mpsc::Sender<Item> {
        if slow { &self.second } else { &self.usual }
    }
}

/// Connections to the leaders of one flow's target.
#[derive(Debug)]
pub struct WireSink {
    leaders: Leaders,
    host: Host,
    outage: Outage,
    lease: Arc<dyn Lease>,
    brokers: Mutex<BTreeMap<i32, Arc<Ways>>>,
}

impl WireSink {
    /// Connects when lanes open; `client` finds the leaders. Writes only under `lease`.
    pub fn new(client: Client, host: Host, outage: Outage, lease: Arc<dyn Lease>) -> Self {
        Self {
            leaders: Leaders::new(client, Arc::clone(&host.clock)),
            host,
            outage,
            lease,
            brokers: Mutex::default(),
        }
    }

    /// The ways to a broker, whose tasks are started if they do not run.
    fn broker(&self, id: i32) -> Arc<Ways> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |ways: &&Arc<Ways>| !ways.usual.is_closed() && !ways.second.is_closed();
        if let Some(ways) = brokers.get(&id).filter(is_open) {
            return Arc::clone(ways);
        }
        let slow = Arc::new(SlowLane::default());
        let distance = Arc::new(Distance::default());
        let start = |way| {
            let (queue, items) = mpsc::channel(QUEUE);
            let client = self.leaders.client().clone();
            let (host, outage) = (self.host.clone(), self.outage.clone());
            let (lease, slow) = (Arc::clone(&self.lease), Arc::clone(&slow));
            let distance = Arc::clone(&distance);
            let broker = Broker::new((id, way), client, host, outage, lease, slow, distance);
            tokio::spawn(broker.run(items));
            queue
        };
        let ways = Arc::new(Ways {
            usual: start(Way::Usual),
            second: start(Way::Second),
            slow: Arc::clone(&slow),
            distance: Arc::clone(&distance),
            clock: Arc::clone(&self.host.clock),
        });
        brokers.insert(id, Arc::clone(&ways));
        ways
    }
}

impl Sink for WireSink {
    fn form(&self) -> Form {
        Form::Sealed
    }

    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        _limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Lane>, SinkError>> {
        Box::pin(async move {
            let leader = self.leaders.of(partition).await.map_err(|why| {
                let partition = partition.clone();
                match why {
                    NoLeader::Missing => SinkError::Missing { partition },
                    NoLeader::Denied => SinkError::Denied { partition },
                    NoLeader::Later(reason) => SinkError::Lost {
                        partition,
                        reason,
                        unanswered: false,
                    },
                }
            })?;
            let lane = WireLane::new(partition, leader.topic_id, self.broker(leader.broker));
            Ok(Box::new(lane) as Box<dyn Lane>)
        })
    }
}

#[cfg(test)]
mod tests;
