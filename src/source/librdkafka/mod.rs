//! The librdkafka consumer as a source: open batches of all partitions of one flow.
//!
//! One consumer with one queue, so that librdkafka's own buffer is bounded for the whole flow and not
//! per partition, and one thread ([`poller`]) that drains it: it copies records into one buffer per
//! batch and hands batches to the workers. The thread waits for the byte budget; librdkafka stops
//! fetching when its queue is full; so memory is bounded however far behind the flow is.
//!
//! What librdkafka does not say, the wire client is asked: its error events do not name their
//! partition ([`diagnose`]), and it does not say what lies between the last record and the end ([`tail`]).

mod building;
mod command;
mod context;
mod diagnose;
mod partition;
mod poller;
mod tail;
#[cfg(test)]
mod tests;

use std::{sync::Arc, thread};

use host::{BoxFuture, Clock};
use rdkafka::{ClientConfig, consumer::BaseConsumer};
use tokio::{runtime::Handle, sync::mpsc};
use wire::{Isolation, TopicPartition, client::Client};

use command::{Command, Positions};
use context::Context;
use poller::Poller;
use uuid::Uuid;

use super::{Looks, PartitionReader, Source, SourceError};
use crate::{base::budget::Budget, telemetry::Outage};

/// Batches between the thread and one worker. They are bounded by bytes first.
const BATCHES: usize = 1024;
/// Partitions that wait to be opened.
const COMMANDS: usize = 256;

/// A consumer and its thread; the thread ends when this is dropped.
#[derive(Debug)]
pub struct LibrdkafkaSource {
    commands: mpsc::Sender<Command>,
    looks: Looks,
}

/// What a source needs.
#[derive(Debug)]
pub struct Settings {
    /// The operator's properties of the cluster.
    pub properties: ClientConfig,
    /// Asked where librdkafka is silent.
    pub client: Client,
    /// The flow, for logs.
    pub flow: String,
    /// The cluster's alias, for logs.
    pub cluster: String,
    /// Told when no broker can be reached.
    pub outage: Outage,
    /// What of transactions is seen.
    pub isolation: Isolation,
    /// Charged for every batch.
    pub budget: Budget,
    /// For when the source was looked at.
    pub clock: Arc<dyn Clock>,
}

impl LibrdkafkaSource {
    /// Starts the consumer's thread; connects by itself, for as long as it takes.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let positions = Positions::default();
        let context = Context(settings.outage.clone());
        let consumer: BaseConsumer<Context> = configure(&settings).create_with_context(context)?;
        let runtime = Handle::current();
        let (client, isolation) = (settings.client.clone(), settings.isolation);
        let noted = Arc::clone(&positions);
        let looks = Looks::default();
        let tail = tail::Tail {
            client,
            isolation,
            positions: noted,
            looks: looks.clone(),
            clock: Arc::clone(&settings.clock),
        };
        runtime.spawn(tail.watch(commands.downgrade()));
        let poller = Poller::new(consumer, settings, queue, runtime, positions);
        thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || poller.run())?;
        Ok(Self { commands, looks })
    }
}

impl Source for LibrdkafkaSource {
    fn open<'a>(
        &'a self,
        partition: &'a TopicPartition,
        _topic: Uuid,
        offset: i64,
        _epoch: i32,
        most: usize,
    ) -> BoxFuture<'a, Result<PartitionReader, SourceError>> {
        Box::pin(async move {
            let (sender, events) = mpsc::channel(BATCHES);
            let open = Command::Open {
                partition: partition.clone(),
                offset,
                most,
                sender,
            };
            let sent = self.commands.send(open).await;
            sent.map_err(|_| SourceError::Lost {
                partition: partition.clone(),
                reason: "the source has stopped".to_owned(),
            })?;
            Ok(PartitionReader::new(events, self.looks.clone()))
        })
    }
}

/// The operator's properties, and what EXACTNESS 15 asks for. All sizes derive from the budget: a
/// quarter of it lies in librdkafka's queue at most, an eighth in one answer of a broker.
fn configure(settings: &Settings) -> ClientConfig {
    let budget = settings.budget.total();
    let queue_kilobytes = (budget / 4 / 1024).clamp(64, 1 << 20);
    let fetch = (budget / 8).clamp(1 << 20, 50 << 20);
    let isolation = match settings.isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    let mut config = settings.properties.clone();
    config
        // Never joined and never committed to; librdkafka wants a name.
        .set("group.id", format!("strait.{}", settings.flow))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", isolation)
        .set("fetch.max.bytes", fetch.to_string())
        .set("message.max.bytes", fetch.min(1_000_000).to_string())
        .set("fetch.message.max.bytes", fetch.min(1 << 20).to_string())
        .set("receive.message.max.bytes", (1 << 30).to_string())
        .set("queued.max.messages.kbytes", queue_kilobytes.to_string())
        .set("queued.min.messages", "1000000")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.wait.max.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000");
    config
}
