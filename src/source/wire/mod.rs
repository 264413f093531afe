//! Our own consumer: whole batches as they lie in the source's log.
//!
//! One task and one connection per source broker ([`fetcher`]) fetches all partitions that the broker leads,
//! in one fetch session (KIP-227), as a follower does. An answer is one buffer; batches are slices of it. Bytes
//! are charged before they are fetched, by buffer; a partition that is slow is not fetched while it has its part
//! of the budget, and while much of the budget is taken it gets bytes of its own, so that it holds back neither
//! those of others nor their buffer. A partition whose leader moves is given back to its worker, which opens
//! it again where it leads now. Where the leader names a replica in the reader's rack, the replica's task goes on
//! with the partition ([`replica`]).

mod ahead;
mod answer;
mod cut;
mod fetcher;
mod replica;
mod request;
mod session;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use host::{BoxFuture, Host};
use tokio::sync::mpsc;
use wire::{Isolation, TopicPartition, client::Client};

use self::fetcher::{Fetcher, Open};
use super::{Looks, PartitionReader, Source, SourceError};
use crate::{
    base::budget::Budget,
    cluster::leaders::{Leaders, NoLeader},
    telemetry::Outage,
};
use uuid::Uuid;

/// Answers that wait in one partition's queue; they are bounded by bytes first.
const EVENTS: usize = 16;
/// Partitions that wait to be opened at one broker.
const COMMANDS: usize = 256;

/// Fetches from the leaders of one flow's source.
#[derive(Debug)]
pub struct WireSource {
    leaders: Leaders,
    fetchers: Arc<Fetchers>,
}

/// The tasks of the brokers, started when the first partition is opened at one.
#[derive(Debug)]
struct Fetchers {
    settings: Settings,
    brokers: Mutex<BTreeMap<i32, mpsc::Sender<Open>>>,
    /// For the tasks, which end when the source is gone.
    own: Weak<Self>,
}

/// What a source needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Finds the leaders.
    pub client: Client,
    /// The machine.
    pub host: Host,
    /// What of transactions is seen.
    pub isolation: Isolation,
    /// Charged for every answer.
    pub budget: Budget,
    /// Told when a broker is away.
    pub outage: Outage,
    /// `client.rack`: where this process is, for brokers that know a nearer replica (KIP-392).
    pub rack: Option<String>,
}

impl WireSource {
    /// Connects when partitions open.
    pub fn new(settings: Settings) -> Self {
        let clock = Arc::clone(&settings.host.clock);
        Self {
            leaders: Leaders::new(settings.client.clone(), clock),
            fetchers: Fetchers::new(settings),
        }
    }
}

impl Fetchers {
    fn new(settings: Settings) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            settings,
            brokers: Mutex::default(),
            own: Weak::clone(own),
        })
    }

    /// The queue of a broker's task, which is started if it does not run.
    fn broker(&self, id: i32) -> mpsc::Sender<Open> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = brokers.get(&id).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (queue, commands) = mpsc::channel(COMMANDS);
        let fetcher = Fetcher::new(id, self.settings.clone(), Weak::clone(&self.own));
        tokio::spawn(fetcher.run(commands));
        brokers.insert(id, queue.clone());
        queue
    }
}

impl Source for WireSource {
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        topic: Uuid,
        offset: i64,
        epoch: i32,
        most: usize,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>> {
        Box::pin(async move {
            let leader = self.leaders.of(partition).await.map_err(|why| {
                let partition = partition.clone();
                match why {
                    NoLeader::Missing => SourceError::Missing { partition },
                    NoLeader::Denied => SourceError::Denied { partition },
                    NoLeader::Later(reason) => SourceError::Lost { partition, reason },
                }
            })?;
            let known = !topic.is_nil() && !leader.topic_id.is_nil();
            if known && leader.topic_id != topic {
                let partition = partition.clone();
                return Err(SourceError::Recreated { partition });
            }
            let (sender, events) = mpsc::channel(EVENTS);
            let looks = Looks::default();
            let open = Open {
                partition: partition.clone(),
                leader,
                until: None,
                offset,
                epoch,
                most,
                sender,
                looks: looks.clone(),
            };
            let sent = self.fetchers.broker(leader.broker).send(open).await;
            sent.map_err(|_| SourceError::Lost {
                partition: partition.clone(),
                reason: "the source has stopped".to_owned(),
            })?;
            Ok(PartitionReader::new(events, looks))
        })
    }
}
