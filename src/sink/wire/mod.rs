//! Our own producer: whole batches, stamped by their unit, to the leaders of their partitions.
//!
//! One task and one connection per target broker ([`broker`]) puts the waiting batches of all its partitions
//! into one Produce request. A lane belongs to the leader that was known when it opened; when that broker
//! says that it leads no more, the lane breaks like after any other failure, and the next one asks again.
//! Nothing is sent a second time here: what is in doubt is the worker's to reconcile (EXACTNESS 4, 6).

mod answer;
mod broker;
mod lane;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use host::{BoxFuture, Host};
use tokio::sync::mpsc;
use wire::{TopicPartition, client::Client};

use self::{
    broker::{Broker, Item},
    lane::WireLane,
};
use super::{Form, Lane, Limits, Sink, SinkError};
use crate::{
    cluster::leaders::{Leaders, NoLeader},
    telemetry::Outage,
    worker::Lease,
};

/// Batches that wait for one broker's task, of all partitions; more wait in their workers.
const QUEUE: usize = 1024;

/// Connections to the leaders of one flow's target.
#[derive(Debug)]
pub struct WireSink {
    leaders: Leaders,
    host: Host,
    outage: Outage,
    lease: Arc<dyn Lease>,
    brokers: Mutex<HashMap<i32, mpsc::Sender<Item>>>,
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

    /// The queue of a broker's task, which is started if it does not run.
    fn broker(&self, id: i32) -> mpsc::Sender<Item> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = brokers.get(&id).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (queue, items) = mpsc::channel(QUEUE);
        let client = self.leaders.client().clone();
        let (host, outage, lease) = (&self.host, &self.outage, &self.lease);
        let (host, outage, lease) = (host.clone(), outage.clone(), Arc::clone(lease));
        let broker = Broker::new(id, client, host, outage, lease);
        tokio::spawn(broker.run(items));
        brokers.insert(id, queue.clone());
        queue
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
