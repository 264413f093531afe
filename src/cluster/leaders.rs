//! Which broker leads a partition now, for the data path.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::Clock;
use uuid::Uuid;
use wire::{
    TopicPartition,
    client::{Client, TopicDescription},
};

/// How long an answer is good for: long enough that the partitions of a topic, which open together, ask once.
const FRESH: Duration = Duration::from_millis(300);
/// Topics that are remembered.
const REMEMBERED: usize = 4096;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// Asks a cluster for leaders.
#[derive(Debug)]
pub struct Leaders {
    client: Client,
    clock: Arc<dyn Clock>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// A topic, and when it was so.
type Seen = (Duration, Arc<TopicDescription>);

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker's id.
    pub broker: i32,
    /// The leader's epoch; -1 if not told.
    pub epoch: i32,
    /// The topic's id; nil on brokers without ids.
    pub topic_id: Uuid,
}

/// Why nobody is known to lead it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLeader {
    /// There is no such topic or partition.
    Missing,
    /// Not allowed to see the topic.
    Denied,
    /// Not now.
    Later(String),
}

impl Leaders {
    /// Asks through `client`.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            clock,
            seen: Mutex::default(),
        }
    }

    /// The client it asks through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Who leads `partition`, by an answer that is a moment old at most; that there is no such partition is always
    /// asked anew, as it may have been added since.
    ///
    /// # Errors
    /// If nobody does, or it is not known.
    pub async fn of(&self, partition: &TopicPartition) -> Result<Leader, NoLeader> {
        if let Some(topic) = self.remembered(&partition.topic) {
            let found = leader(&topic, partition.partition);
            if found != Err(NoLeader::Missing) {
                return found;
            }
        }
        let topic = self.client.topic(&partition.topic).await;
        let topic = topic.map_err(|error| NoLeader::Later(error.to_string()))?;
        let found = leader(&topic, partition.partition);
        let mut seen = self.seen();
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(partition.topic.clone(), (self.clock.monotonic(), topic));
        found
    }

    fn remembered(&self, topic: &str) -> Option<Arc<TopicDescription>> {
        let now = self.clock.monotonic();
        let seen = self.seen();
        let (at, topic) = seen.get(topic)?;
        (now.saturating_sub(*at) < FRESH).then(|| Arc::clone(topic))
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leader(topic: &TopicDescription, partition: i32) -> Result<Leader, NoLeader> {
    if let Some(error) = &topic.error {
        return Err(match error.code {
            UNKNOWN_TOPIC_OR_PARTITION => NoLeader::Missing,
            TOPIC_AUTHORIZATION_FAILED => NoLeader::Denied,
            _ => NoLeader::Later(error.to_string()),
        });
    }
    let found = topic.partition(partition).ok_or(NoLeader::Missing)?;
    let broker = found.leader.ok_or_else(|| {
        let error = found.error.as_ref().map(ToString::to_string);
        NoLeader::Later(error.unwrap_or_else(|| "it has no leader now".to_owned()))
    })?;
    Ok(Leader {
        broker,
        epoch: found.leader_epoch,
        topic_id: topic.id,
    })
}
