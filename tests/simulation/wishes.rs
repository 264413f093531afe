//! What the application does for the storm: it makes topics and partitions, and deletes records that were copied.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use host::Host;
use strait::checkpoint::{Stored, codec};
use wire::{
    TopicPartition,
    client::{Client, NewTopic, OffsetSpec},
    error::ApiError,
};

use super::{
    app::REST,
    model::{Model, Wish},
    programs::GROUP,
};

const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
/// Before a wish is given up.
const TRIES: u32 = 100;
/// A commit of a process that is gone may come as late as this; what is deleted was committed before.
const SURELY: Duration = Duration::from_secs(15);

/// Grants wishes.
#[derive(Clone)]
pub struct Wishes {
    pub host: Host,
    pub source: Client,
    pub target: Client,
    pub model: Model,
}

impl Wishes {
    /// One after the other, save those that take long, until it is over.
    pub async fn grant(self) {
        while !self.model.is_over() {
            match self.model.next_wish() {
                Some(wish @ Wish::Delete(..)) => {
                    let granting = self.clone();
                    tokio::spawn(async move { granting.persist(&wish).await });
                }
                Some(wish) => self.persist(&wish).await,
                None => self.host.clock.sleep(REST).await,
            }
        }
    }

    async fn persist(&self, wish: &Wish) {
        for _ in 0..TRIES {
            let granted = match wish {
                Wish::Partitions(topic, count) => self.partitions(topic, *count).await,
                Wish::Delete(partition, percent) => self.delete(partition, *percent).await,
            };
            match granted {
                Ok(()) => return,
                Err(error) => tracing::debug!("{wish:?}: {error:#}"),
            }
            self.host.clock.sleep(REST).await;
        }
    }

    async fn partitions(&self, topic: &str, count: i32) -> Result<()> {
        self.model.asked(topic, count);
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: count,
            replication_factor: -1,
            configs: Vec::new(),
        };
        match outcome(self.source.create_topics(&[new], false).await?)? {
            Ok(()) => self.model.granted("topic came"),
            Err(error) if error.code == TOPIC_ALREADY_EXISTS => {
                let grown = [(topic.to_owned(), count)];
                match outcome(self.source.create_partitions(&grown).await?)? {
                    Ok(()) => self.model.granted("partition came"),
                    // It has as many already.
                    Err(error) if error.code == INVALID_PARTITIONS => {}
                    Err(error) => bail!("{error}"),
                }
            }
            Err(error) => bail!("{error}"),
        }
        self.model.takes_plain(topic, count);
        Ok(())
    }

    /// Up to what a checkpoint told of some time ago.
    async fn delete(&self, partition: &TopicPartition, percent: i64) -> Result<()> {
        let offsets = self.target.group_offsets(GROUP).await?.into_iter();
        let mut offsets = offsets.filter(|(of, _)| of == partition);
        let (_, committed) = offsets.next().context("no checkpoint")?;
        let checkpoint = codec::decode(&Stored {
            offset: committed.offset,
            metadata: committed.metadata,
        })?;
        self.host.clock.sleep(SURELY).await;
        let wanted = [(partition.clone(), OffsetSpec::Earliest)];
        let isolation = wire::Isolation::ReadUncommitted;
        let listed = self.source.list_offsets(&wanted, isolation).await?.pop();
        let (_, start) = listed.context("no answer about the start")?;
        let start = start.map_err(|error| anyhow!("{error}"))?.offset;
        let to = start + (checkpoint.source_offset - start) * percent / 100;
        if self.source.delete_records(partition, to).await? > start {
            self.model.granted("records deleted");
        }
        Ok(())
    }
}

fn outcome(mut outcomes: wire::client::Outcomes) -> Result<Result<(), ApiError>> {
    let (_, outcome) = outcomes.pop().context("no answer")?;
    Ok(outcome)
}
