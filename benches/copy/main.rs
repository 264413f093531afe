//! strait beside MirrorMaker 2: the same records, the same pair of Apache Kafkas, one after the other.
//!
//! `just bench-copy` prints, for each copier, MB/s and CPU seconds per GB of record bytes between 10 %
//! and 95 % of the copy, the peak resident memory, and the ratios. MirrorMaker 2 is tuned as an
//! experienced operator would (larger batches, fetches and heap, the source's codec). Settings come
//! from the environment: `RECORDS`, `RECORD_BYTES`, `PARTITIONS`, `CODEC`, `ROUNDS`.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod copier;
mod measure;
mod workload;

use anyhow::{Result, ensure};
use copier::Copier;
use kafka::{Extra, Kafka};
use workload::Workload;

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let workload = Workload::from_environment()?;
    println!("{workload}");
    let source = Kafka::start(1, &Extra::default())?;
    workload.fill(&source.bootstrap())?;
    println!(
        "{:<14} {:>8} {:>10} {:>10} {:>10}",
        "", "MB/s", "CPU s/GB", "(user)", "peak MiB"
    );
    let mut cpu = [Vec::new(), Vec::new()];
    for _ in 0..workload.rounds {
        for (copier, cpu) in [Copier::Strait, Copier::MirrorMaker]
            .into_iter()
            .zip(&mut cpu)
        {
            // A fresh target each time: nothing cached, nothing to skip.
            let target = Kafka::start(1, &Extra::default())?;
            let figures =
                measure::copy(copier, &source.bootstrap(), &target.bootstrap(), &workload)?;
            println!("{:<14} {figures}", copier.name());
            cpu.push(figures.cpu_per_gb());
        }
    }
    let [strait, mirror_maker] = cpu.map(median);
    println!(
        "CPU per GB, MirrorMaker 2 / strait (medians): {:.1}x",
        mirror_maker / strait
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
