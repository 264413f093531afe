//! Many partitions and several processes: how long a flow takes to start and to take over, what it costs while
//! nothing happens, and whether its checkpoints really advance.
//!
//! For each number in `PROCESSES` ("1,2,10") `just bench-scale` starts two Apache Kafkas; a flow copies `TOPICS` (125)
//! topics of `PARTITIONS` (8) with one record each, is left alone for `IDLE` (60) seconds, loses a process to `kill -9`,
//! and copies one record more for each partition. Nobody scrapes it while it idles.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod process;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use host::Host;
use kafka::{Extra, Kafka};
use process::Process;
use rdkafka::{
    ClientConfig, ClientContext,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};
use wire::client::{Client, ClientSettings, NewTopic};

/// After this something does not work.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Topics of one request: a controller has to answer it in time.
const TOGETHER: usize = 50;

/// Counts the records that the source took.
#[derive(Clone, Default)]
struct Delivered(Arc<AtomicUsize>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Scale {
    topics: usize,
    partitions: i32,
    idle: Duration,
    source: Client,
    target: Client,
    bootstraps: [String; 2],
}

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    for processes in setting("PROCESSES", "1,2,10").split(',') {
        let settings = "num.network.threads=2\nnum.io.threads=2";
        let extra = Extra {
            settings,
            ..Extra::default()
        };
        // Fresh ones: a node keeps a file open for each partition.
        let (source, target) = (Kafka::start(1, &extra)?, Kafka::start(1, &extra)?);
        let scale = Scale::new([source.bootstrap(), target.bootstrap()])?;
        runtime.block_on(scale.run(processes.trim().parse()?))?;
    }
    Ok(())
}

fn setting(name: &str, usual: &str) -> String {
    env::var(name).unwrap_or_else(|_| usual.to_owned())
}

fn client(bootstrap: &str) -> Result<Client> {
    let (host, port) = bootstrap.rsplit_once(':').context("HOST:PORT")?;
    let settings = ClientSettings::new(vec![(host.to_owned(), port.parse()?)], "bench-scale");
    Ok(Client::new(Host::real(), settings))
}

impl Scale {
    fn new(bootstraps: [String; 2]) -> Result<Self> {
        Ok(Self {
            topics: setting("TOPICS", "125").parse()?,
            partitions: setting("PARTITIONS", "8").parse()?,
            idle: Duration::from_secs(setting("IDLE", "60").parse()?),
            source: client(&bootstraps[0])?,
            target: client(&bootstraps[1])?,
            bootstraps,
        })
    }

    /// One flow over topics of its own.
    async fn run(&self, count: usize) -> Result<()> {
        let all = self.all();
        let prefix = format!("of{count}");
        self.create(&prefix).await?;
        self.produce(&prefix)?;
        let processes = (0..count).map(|index| Process::new(&prefix, index, &self.bootstraps));
        let mut processes = processes.collect::<Result<Vec<_>>>()?;
        println!("{all} partitions, {count} processes");
        let begun = Instant::now();
        processes.iter_mut().try_for_each(Process::start)?;
        await_running(&processes, all).await?;
        println!("  all run after                 {:.1?}", begun.elapsed());
        self.await_checkpoints(&prefix, all, 1).await?;
        println!("  all have checkpoints after    {:.1?}", begun.elapsed());
        self.idle(&processes).await?;

        let mut killed = processes.remove(0);
        killed.kill()?;
        let begun = Instant::now();
        if processes.is_empty() {
            killed.start()?;
            processes.push(killed);
        }
        await_running(&processes, all).await?;
        let how = if count == 1 {
            "restarted in place"
        } else {
            "taken over"
        };
        println!("  killed, {how} after   {:.1?}", begun.elapsed());
        self.produce(&prefix)?;
        let begun = Instant::now();
        self.await_checkpoints(&prefix, all, 2).await?;
        println!("  one record more each after    {:.1?}", begun.elapsed());
        let peaks = processes.iter().map(|process| process.memory("VmHWM"));
        let peak = peaks.collect::<Result<Vec<_>>>()?.into_iter().max();
        println!(
            "  largest peak memory           {} MiB",
            peak.unwrap_or(0) >> 20
        );
        Ok(())
    }

    async fn create(&self, prefix: &str) -> Result<()> {
        let topics = (0..self.topics).map(|index| NewTopic {
            name: topic(prefix, index),
            partitions: self.partitions,
            replication_factor: 1,
            configs: Vec::new(),
        });
        let topics: Vec<_> = topics.collect();
        for some in topics.chunks(TOGETHER) {
            for (name, outcome) in self.source.create_topics(some, false).await? {
                outcome.map_err(|error| anyhow::anyhow!("create {name}: {error}"))?;
            }
        }
        Ok(())
    }

    /// One record for each partition.
    fn produce(&self, prefix: &str) -> Result<()> {
        let delivered = Delivered::default();
        let producer: ThreadedProducer<Delivered> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstraps[0])
            .set("queue.buffering.max.messages", "200000")
            // A node that just created so many partitions takes long until it knows them all.
            .set("topic.metadata.propagation.max.ms", "300000")
            .create_with_context(delivered.clone())?;
        for index in 0..self.topics {
            for partition in 0..self.partitions {
                let topic = topic(prefix, index);
                let record = BaseRecord::<[u8], [u8]>::to(&topic)
                    .partition(partition)
                    .payload(b"x");
                producer.send(record).map_err(|(error, _)| error)?;
            }
        }
        producer.flush(TIMEOUT)?;
        let (delivered, all) = (delivered.0.load(Ordering::Relaxed), self.all());
        ensure!(
            delivered == all,
            "{delivered} of {all} records are delivered"
        );
        Ok(())
    }

    fn all(&self) -> usize {
        self.topics * self.partitions as usize
    }

    /// Waits until the group holds `offset` for each of `all` partitions.
    async fn await_checkpoints(&self, prefix: &str, all: usize, offset: i64) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let committed = self
                .target
                .group_offsets(&format!("strait.{prefix}"))
                .await?;
            let there = committed.iter().filter(|(partition, committed)| {
                partition.topic.starts_with(prefix) && committed.offset >= offset
            });
            let there = there.count();
            if there == all {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{there} of {all} checkpoints are at {offset}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Left alone, what do the processes cost?
    async fn idle(&self, processes: &[Process]) -> Result<()> {
        // What the start left to do.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let cpu = || {
            processes
                .iter()
                .map(Process::cpu)
                .collect::<Result<Vec<_>>>()
        };
        let memory = || {
            let all = processes.iter().map(|process| process.memory("VmRSS"));
            all.collect::<Result<Vec<_>>>()
        };
        let (cpu_before, memory_before) = (cpu()?, memory()?);
        tokio::time::sleep(self.idle).await;
        for (index, (((cpu, cpu_before), memory), memory_before)) in cpu()?
            .iter()
            .zip(cpu_before)
            .zip(memory()?)
            .zip(memory_before)
            .enumerate()
        {
            let busy = (cpu - cpu_before) / self.idle.as_secs_f64() * 100.0;
            println!(
                "  idle {}: {busy:.1} % of a core, {} MiB before, {} MiB after {} s",
                index,
                memory_before >> 20,
                memory >> 20,
                self.idle.as_secs()
            );
        }
        Ok(())
    }
}

fn topic(prefix: &str, index: usize) -> String {
    format!("{prefix}-{index:05}")
}

/// Waits until the processes together run `all` partitions.
async fn await_running(processes: &[Process], all: usize) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let running = processes.iter().map(Process::running).sum::<usize>();
        if running == all {
            return Ok(());
        }
        if Instant::now() > deadline {
            let logs: Vec<_> = processes.iter().map(Process::log).collect();
            anyhow::bail!("{running} of {all} partitions run:\n{}", logs.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
