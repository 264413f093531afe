//! What the source holds: many topics, each with one record, and groups that have read them.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, anyhow, ensure};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use wire::{
    Isolation, TopicPartition,
    client::{Client, CommittedOffset, NewTopic, OffsetSpec},
};

use super::{client, setting};

/// Topics of one request: a controller has to answer it in time.
const TOGETHER: usize = 50;
/// Topics that one group has read.
const READ: usize = 30;
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two records of a trickle.
const PAUSE: Duration = Duration::from_millis(100);

/// The source.
pub struct Source {
    bootstrap: String,
    client: Client,
    topics: usize,
    groups: usize,
}

/// Of one topic.
pub fn name(index: usize) -> String {
    format!("t-{index:05}")
}

impl Source {
    pub fn new(bootstrap: &str) -> Result<Self> {
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            client: client(bootstrap)?,
            topics: setting("TOPICS", "10000").parse()?,
            groups: setting("GROUPS", "300").parse()?,
        })
    }

    /// How many topics there are.
    pub fn count(&self) -> usize {
        self.topics
    }

    pub async fn fill(&self) -> Result<()> {
        let topics: Vec<_> = (0..self.topics)
            .map(|index| topic(name(index), index))
            .collect();
        self.create(&topics).await?;
        let producer = self.producer()?;
        for index in 0..self.topics {
            send(&producer, index)?;
        }
        producer.flush(PATIENCE)?;
        let filled = self.filled(&self.client, str::to_owned).await?;
        ensure!(filled == self.topics, "{filled} topics have a record");
        for group in 0..self.groups {
            self.read(group).await?;
        }
        Ok(())
    }

    /// Ten records a second for so long, each to another topic.
    pub async fn trickle(&self, time: Duration) -> Result<()> {
        let producer = self.producer()?;
        let records = time.as_millis() / PAUSE.as_millis();
        for index in 0..usize::try_from(records)? {
            send(&producer, index % self.topics)?;
            tokio::time::sleep(PAUSE).await;
        }
        producer.flush(PATIENCE)?;
        Ok(())
    }

    /// One more topic, with this name behind the others.
    pub async fn one_more(&self, name: &str) -> Result<()> {
        self.create(&[topic(format!("t-{name}"), 2)]).await
    }

    /// How many topics have records on a cluster, under the names that they have there.
    pub async fn filled(&self, client: &Client, named: impl Fn(&str) -> String) -> Result<usize> {
        let known: BTreeSet<_> = client
            .topics(None)
            .await?
            .into_iter()
            .map(|topic| topic.name)
            .collect();
        let names = (0..self.topics).map(|index| named(&name(index)));
        let there = names.filter(|name| known.contains(name));
        let wanted = there.map(|name| (TopicPartition::new(name, 0), OffsetSpec::Latest));
        let wanted: Vec<_> = wanted.collect();
        let ends = client
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await?;
        let filled = ends
            .iter()
            .filter(|(_, end)| end.as_ref().is_ok_and(|end| end.offset > 0));
        Ok(filled.count())
    }

    async fn create(&self, topics: &[NewTopic]) -> Result<()> {
        for some in topics.chunks(TOGETHER) {
            for (name, outcome) in self.client.create_topics(some, false).await? {
                outcome.map_err(|error| anyhow!("create {name}: {error}"))?;
            }
        }
        Ok(())
    }

    fn producer(&self) -> Result<ThreadedProducer<DefaultProducerContext>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("queue.buffering.max.messages", "200000")
            // A node that just created so many partitions takes long until it knows them all.
            .set("topic.metadata.propagation.max.ms", "300000")
            .set("message.timeout.ms", "600000");
        Ok(config.create()?)
    }

    /// A group that has read the record of some topics.
    async fn read(&self, group: usize) -> Result<()> {
        let topics = (0..READ).map(|at| (group * 33 + at * 101) % self.topics);
        let topics: BTreeSet<_> = topics.collect();
        let offsets = topics.into_iter().map(|index| {
            let committed = CommittedOffset {
                offset: 1,
                leader_epoch: -1,
                metadata: String::new(),
            };
            (TopicPartition::new(name(index), 0), committed)
        });
        let offsets: Vec<_> = offsets.collect();
        let group = format!("group-{group:04}");
        for (partition, outcome) in self.client.commit_group_offsets(&group, &offsets).await? {
            outcome.map_err(|error| anyhow!("{group}: {partition}: {error}"))?;
        }
        Ok(())
    }
}

/// Some have configs of their own.
fn topic(name: String, index: usize) -> NewTopic {
    let config = match index % 10 {
        0 => Some(("retention.ms", "86400000")),
        1 => Some(("cleanup.policy", "compact")),
        _ => None,
    };
    NewTopic {
        name,
        partitions: 1,
        replication_factor: 1,
        configs: config
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, index: usize) -> Result<()> {
    let topic = name(index);
    let record = BaseRecord::to(&topic).key("key").payload("value");
    producer.send(record).map_err(|(error, _)| error.into())
}
