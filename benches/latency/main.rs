//! How much later a record is there for readers of the target than for those of the source.
//!
//! `just bench-latency` produces records of `RECORD_BYTES` (1,000) at each of `RATES` ("1000,10000") a second to a
//! topic of `PARTITIONS` (1) for `DURATION` (20) seconds, and reads them on the source and, through strait, on the target, in the
//! same run with the same client (librdkafka, linger 1 ms). Printed are milliseconds from the call of the producer to the
//! reader: of one cluster alone, through strait, and the difference, which is what strait and a second cluster add.
//! Rounds alternate between the rates; medians of `ROUNDS` (3) come last.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../copy/copier.rs"]
#[expect(dead_code, reason = "the copies use more of it")]
mod copier;
#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;
#[path = "../copy/workload.rs"]
#[expect(dead_code, reason = "the copies use more of it")]
mod workload;

mod figures;
mod load;

use std::{
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use copier::Copier;
use figures::Figures;
use kafka::{Extra, Kafka};
use load::Load;
use workload::{Workload, setting, settings};

/// Records before those that count.
const WARM_UP: Duration = Duration::from_secs(3);
/// A Java machine compiles what it is to run for as long, in which records wait for half a second.
const COMPILES: Duration = Duration::from_secs(30);
/// How long the first records may take to the target.
const START: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let workload = Workload {
        partitions: setting("PARTITIONS", 1)?,
        ..Workload::from_environment()?
    };
    let seconds = Duration::from_secs(setting("DURATION", 20)?);
    let (source, target) = (
        Kafka::start(1, &Extra::default())?,
        Kafka::start(1, &Extra::default())?,
    );
    let bootstraps = [source.bootstrap(), target.bootstrap()];
    workload.create(&bootstraps[0])?;
    let folder = tempfile::tempdir()?;
    let [from, to] = &bootstraps;
    let strait = Copier::Strait.start(folder.path(), from, to, &workload)?;
    let _strait = Killed(strait);
    let load = Load::new(&bootstraps, workload.record_bytes)?;
    load.await_copied(Instant::now() + START)?;
    println!("{}", Figures::HEAD);
    let rates = settings("RATES", &[1_000, 10_000])?;
    load.run(10_000, COMPILES, Duration::ZERO)?;
    let mut all: Vec<_> = rates.iter().map(|rate| (*rate, Vec::new())).collect();
    for _ in 0..workload.rounds {
        for (rate, rounds) in &mut all {
            let figures = Figures::of(&load.run(*rate, WARM_UP, seconds)?);
            println!("{rate:>6}/s    {figures}");
            rounds.push(figures);
        }
    }
    for (rate, rounds) in all {
        println!("{rate:>6}/s med {}", Figures::median(&rounds));
    }
    Ok(())
}

/// Ended by drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}
