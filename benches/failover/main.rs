//! Groups move to the target: how many records they never get, and how many twice.
//!
//! `just bench-failover` starts an Apache Kafka with topics of three kinds (plain, compacted, transactional) and 50 groups
//! that have read all but 0 to 1,000,000 records. strait, MirrorMaker 2 with its defaults, and with the best that it can be
//! set to copy them, each to a fresh target, until the groups' offsets there are right or change no more. Then the copier ends, every group
//! joins at the target and reads to the end. What it gets is compared with what it had read, by a number in each record.
//! `RECORDS` (1,100,000 of each topic), `GROUPS` (50), `COPIERS` ("strait,mirrormaker,mirrormaker-best").

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod copier;
mod groups;
mod workload;

use std::{
    collections::BTreeMap,
    env, fs,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use copier::Copier;
use groups::{Group, LAGS, Moved};
use host::Host;
use kafka::{Extra, Kafka};
use rdkafka::consumer::{BaseConsumer, Consumer};
use wire::client::{Client, ClientSettings, NewTopic};
use workload::{Held, Kind, PARTITIONS};

/// It compacts as soon as it can, all keys at once.
const SOURCE: &str = "log.cleaner.backoff.ms=500\nlog.cleaner.dedupe.buffer.size=67108864";
/// It never does, so that what is missing there was not copied.
const TARGET: &str = "log.cleaner.backoff.ms=86400000";
/// For a copy.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Everything that copiers find.
struct World {
    source: Kafka,
    held: BTreeMap<Kind, Held>,
    groups: Vec<Group>,
}

/// What became of all groups, in their order.
struct Outcome {
    copier: Copier,
    moved: Vec<Moved>,
}

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let copiers = setting("COPIERS", "strait,mirrormaker,mirrormaker-best");
    let copiers = copiers.split(',').map(Copier::named);
    let copiers = copiers.collect::<Result<Vec<_>>>()?;
    let world = World::build(
        setting("RECORDS", "1100000").parse()?,
        setting("GROUPS", "50").parse()?,
    )?;
    let mut outcomes = Vec::new();
    for copier in copiers {
        outcomes.push(world.move_by(copier)?);
    }
    world.print(&outcomes);
    for Outcome { copier, moved } in outcomes {
        let is_exact = moved
            .iter()
            .all(|moved| (moved.lost, moved.twice) == (0, 0));
        ensure!(copier != Copier::Strait || is_exact, "strait is not exact");
    }
    Ok(())
}

fn setting(name: &str, usual: &str) -> String {
    env::var(name).unwrap_or_else(|_| usual.to_owned())
}

fn start(settings: &str) -> Result<Kafka> {
    let extra = Extra {
        settings,
        ..Extra::default()
    };
    Kafka::start(1, &extra)
}

impl World {
    fn build(records: u64, count: usize) -> Result<Self> {
        let source = start(SOURCE)?;
        create_topics(&source.bootstrap())?;
        let mut held = BTreeMap::new();
        for kind in Kind::ALL {
            let all = kind.fill(&source.bootstrap(), records)?;
            let counts: Vec<_> = all.iter().map(Vec::len).collect();
            let ends: Vec<_> = all
                .iter()
                .filter_map(|part| Some(part.last()?.0 + 1))
                .collect();
            println!(
                "{:<13}  records {counts:?}, last offsets {ends:?}",
                kind.topic()
            );
            held.insert(kind, all);
        }
        let groups = Group::all(count, records, &held);
        for group in &groups {
            group.stand(&source.bootstrap(), &held[&group.kind])?;
        }
        Ok(Self {
            source,
            held,
            groups,
        })
    }

    /// To a target of its own.
    fn move_by(&self, copier: Copier) -> Result<Outcome> {
        let target = start(TARGET)?;
        let (from, to) = (self.source.bootstrap(), target.bootstrap());
        let folder = tempfile::tempdir()?;
        let topics = Kind::ALL.map(Kind::topic);
        let mut process = copier.start(folder.path(), [&from, &to], &topics)?;
        let followed = self.follow(copier, &mut process, &to);
        process.kill()?;
        process.wait()?;
        followed.with_context(|| {
            fs::read_to_string(folder.path().join("copier.log")).unwrap_or_default()
        })?;
        let moved = self.groups.iter();
        let moved = moved.map(|group| group.moves(&to, &self.held[&group.kind]));
        Ok(Outcome {
            copier,
            moved: moved.collect::<Result<_>>()?,
        })
    }

    /// Until all is copied, and offsets are right or change no more.
    fn follow(&self, copier: Copier, process: &mut Child, target: &str) -> Result<()> {
        let begun = Instant::now();
        while !self.is_copied(target)? {
            if let Some(status) = process.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(begun.elapsed() < TIMEOUT, "not copied within {TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        let copied = begun.elapsed();
        let watches = self.groups.iter().map(|group| group.watch(target));
        let watches = watches.collect::<Result<Vec<_>>>()?;
        let (mut before, mut changed) = (Vec::new(), copied);
        loop {
            let offsets = self.groups.iter().zip(&watches);
            let offsets = offsets.map(|(group, watch)| group.offsets(watch));
            let offsets = offsets.collect::<Result<Vec<_>>>()?;
            let each = self.groups.iter().zip(&offsets);
            let right = each.filter(|(group, found)| group.is_right(found)).count();
            if offsets != before {
                changed = begun.elapsed();
                before = offsets;
            }
            let is_over = begun.elapsed() - changed > copier.settles_within();
            if right == self.groups.len() || is_over {
                println!(
                    "{:<20} copied {:.0} s after its start, {right} of {} groups right {:.0} s after that",
                    copier.name(),
                    copied.as_secs_f64(),
                    self.groups.len(),
                    (changed - copied).as_secs_f64()
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Whether the target ends where a copy without holes does.
    fn is_copied(&self, target: &str) -> Result<bool> {
        let consumer: BaseConsumer = workload::reader(target, "reader").create()?;
        for (kind, held) in &self.held {
            for (partition, held) in (0..).zip(held) {
                // Not there yet: nothing copied yet.
                let patience = Duration::from_secs(5);
                let ends = consumer.fetch_watermarks(kind.topic(), partition, patience);
                if ends.map_or(0, |(_, end)| end) < i64::try_from(held.len())? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn print(&self, outcomes: &[Outcome]) {
        print!("\n{:>9} {:>7}", "lag", "groups");
        for outcome in outcomes {
            print!(" | {:^34}", outcome.copier.name());
        }
        print!("\n{:>17}", "");
        for _ in outcomes {
            print!(" | {:>8} {:>12} {:>12}", "lost", "twice, avg", "most");
        }
        println!();
        for lag in LAGS {
            let at: Vec<_> = (0..self.groups.len())
                .filter(|index| self.groups[*index].lag == lag)
                .collect();
            if at.is_empty() {
                continue;
            }
            print!("{lag:>9} {:>7}", at.len());
            for Outcome { moved, .. } in outcomes {
                let lost: u64 = at.iter().map(|index| moved[*index].lost).sum();
                let twice = at.iter().map(|index| moved[*index].twice);
                let most = twice.clone().max().unwrap_or(0);
                let average = twice.sum::<u64>() as f64 / at.len() as f64;
                print!(" | {lost:>8} {average:>12.0} {most:>12}");
            }
            println!();
        }
    }
}

fn create_topics(bootstrap: &str) -> Result<()> {
    let (host, port) = bootstrap.rsplit_once(':').context("HOST:PORT")?;
    let settings = ClientSettings::new(vec![(host.to_owned(), port.parse()?)], "bench-failover");
    let topics = Kind::ALL.map(|kind| NewTopic {
        name: kind.topic().to_owned(),
        partitions: PARTITIONS,
        replication_factor: 1,
        configs: kind.configs(),
    });
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = Client::new(Host::real(), settings);
        for (name, outcome) in client.create_topics(&topics, false).await? {
            outcome.map_err(|error| anyhow!("create {name}: {error}"))?;
        }
        Ok(())
    })
}
