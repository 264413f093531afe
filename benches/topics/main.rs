//! Ten thousand topics: what it costs to plan for them, to create them, and to look after them while nothing happens;
//! MirrorMaker 2 beside.
//!
//! `just bench-topics` fills one Apache Kafka with `TOPICS` (10,000) topics of one partition and one record, some with configs
//! of their own, and `GROUPS` (300) groups. Each copier (`COPIERS`, "strait,mirrormaker") with its defaults copies them to an
//! empty Kafka, is left alone for `IDLE` (60) seconds, for as long again while ten records a second are produced, and then
//! told of one more topic. A copier that has not created all topics after `LIMIT` (1800) seconds is measured as far as it is.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod copier;
mod fill;

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use copier::{Copier, Measured};
use fill::Source;
use host::Host;
use kafka::{Extra, Kafka};
use wire::client::{Client, ClientSettings};

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let source = start()?;
    let topics = Source::new(&source.bootstrap())?;
    runtime.block_on(topics.fill())?;
    for name in setting("COPIERS", "strait,mirrormaker").split(',') {
        let target = start()?;
        let bench = Bench {
            nodes: [&source, &target],
            target: client(&target.bootstrap())?,
            topics: &topics,
            idle: Duration::from_secs(setting("IDLE", "60").parse()?),
            limit: Duration::from_secs(setting("LIMIT", "1800").parse()?),
        };
        let copier = Copier::new(name.trim(), [&source, &target].map(Kafka::bootstrap))?;
        runtime.block_on(bench.run(copier))?;
    }
    Ok(())
}

fn start() -> Result<Kafka> {
    let settings = "num.network.threads=2\nnum.io.threads=2";
    let extra = Extra {
        settings,
        ..Extra::default()
    };
    Kafka::start(1, &extra)
}

fn setting(name: &str, usual: &str) -> String {
    env::var(name).unwrap_or_else(|_| usual.to_owned())
}

fn client(bootstrap: &str) -> Result<Client> {
    let (host, port) = bootstrap.rsplit_once(':').context("HOST:PORT")?;
    let settings = ClientSettings::new(vec![(host.to_owned(), port.parse()?)], "bench-topics");
    Ok(Client::new(Host::real(), settings))
}

/// One copier between two clusters.
struct Bench<'a> {
    nodes: [&'a Kafka; 2],
    target: Client,
    topics: &'a Source,
    idle: Duration,
    limit: Duration,
}

impl Bench<'_> {
    async fn run(&self, mut copier: Copier) -> Result<()> {
        println!("{}: {} topics", copier.name(), self.topics.count());
        self.cost("  the clusters alone", None).await?;
        if let Some(plan) = copier.plan()? {
            println!("  plan                 {plan}");
        }
        let begun = Instant::now();
        copier.start()?;
        let all = self.topics.count();
        let there = self.created(&copier, all, begun).await?;
        let (took, spent) = (begun.elapsed(), copier.measure()?);
        println!("  {there} topics exist after {took:.1?}, {spent}");
        let copied = self.copied(&copier, there, begun).await?;
        let (took, spent) = (begun.elapsed(), copier.measure()?);
        println!("  {copied} have their record after {took:.1?}, {spent}");
        // What the start left to do.
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.cost("  idle", Some(&copier)).await?;
        let producing = self.topics.trickle(self.idle);
        let (produced, cost) =
            tokio::join!(producing, self.cost("  10 records a second", Some(&copier)));
        produced?;
        cost?;
        self.topics.one_more(copier.name()).await?;
        let begun = Instant::now();
        let target = copier.target(copier.name());
        while begun.elapsed() < self.limit && !self.has(&target).await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("  one more topic exists after {:.1?}", begun.elapsed());
        Ok(())
    }

    /// Waits until `all` topics are on the target; how many are, if that takes too long.
    async fn created(&self, copier: &Copier, all: usize, begun: Instant) -> Result<usize> {
        loop {
            let topics = self.target.topics(None).await?;
            let there = topics.iter().filter(|topic| copier.is_copy(&topic.name));
            let there = there.count();
            if there >= all || begun.elapsed() > self.limit {
                return Ok(there);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Waits until so many topics have their record on the target; how many have, if that takes too long.
    async fn copied(&self, copier: &Copier, there: usize, begun: Instant) -> Result<usize> {
        loop {
            let copied = self.topics.filled(&self.target, |name| copier.target(name));
            let copied = copied.await?;
            if copied >= there || begun.elapsed() > self.limit {
                return Ok(copied);
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    async fn has(&self, name: &str) -> Result<bool> {
        let topics = self.target.topics(Some(&[name.to_owned()])).await?;
        Ok(topics.first().is_some_and(|topic| topic.error.is_none()))
    }

    /// What the copier and both clusters cost while so much happens.
    async fn cost(&self, what: &str, copier: Option<&Copier>) -> Result<()> {
        let measure = || -> Result<_> {
            let nodes = self.nodes.map(|node| node.process(0).map(|node| node.id()));
            let nodes = nodes.map(|id| Measured::of(id.context("a node is down")?));
            let [source, target] = nodes;
            Ok((copier.map(Copier::measure).transpose()?, source?, target?))
        };
        let before = measure()?;
        tokio::time::sleep(self.idle).await;
        let after = measure()?;
        let seconds = self.idle.as_secs_f64();
        let share =
            |after: &Measured, before: &Measured| (after.cpu - before.cpu) / seconds * 100.0;
        if let (Some(after), Some(before)) = (&after.0, &before.0) {
            print!(
                "{what}: {:.1} % of a core, {} MiB; ",
                share(after, before),
                after.memory >> 20
            );
        } else {
            print!("{what}: ");
        }
        let (source, target) = (share(&after.1, &before.1), share(&after.2, &before.2));
        println!("source {source:.1} %, target {target:.1} %");
        Ok(())
    }
}
