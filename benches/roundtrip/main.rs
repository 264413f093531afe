//! Long round trips: one broker is at the far end of a link of 25 MB/s, source or target; strait, and MirrorMaker 2
//! beside it.
//!
//! `just bench-roundtrip` prints for each round trip, batch size and number of partitions what arrives per second once
//! the first second of it is over, and which part of the link that is. Settings come from the environment: `BROKERS`
//! ("lite" or "kafka"), `FAR` ("target,source"), `DELAYS` in milliseconds ("0,20,80,150"), `WORKLOADS` as batch KB x
//! partitions ("16x1,1000x1,16x100,1000x100,16x1old": 3 days old, so that nothing is guarded), `SECONDS` of each
//! measurement (8), `MIRROR_MAKER` (1 with "kafka").

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod cluster;
mod copier;
mod link;
mod workload;

use std::{
    env, fs,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cluster::Cluster;
use copier::{Copier, used};
use wire::record::Codec;
use workload::{RECORD_BYTES, Workload};

/// Bytes per second of the link.
const RATE: u64 = 25_000_000;
/// What starts within this has started.
const START: Duration = Duration::from_secs(90);

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(run())
}

fn setting(name: &str, usual: &str) -> String {
    env::var(name).unwrap_or_else(|_| usual.to_owned())
}

async fn run() -> Result<()> {
    let kafka = setting("BROKERS", "lite") == "kafka";
    ensure!(
        !kafka || kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let seconds: u64 = setting("SECONDS", "8").parse()?;
    let mut copiers = vec![Copier::Strait];
    if setting("MIRROR_MAKER", if kafka { "1" } else { "0" }) == "1" {
        copiers.push(Copier::MirrorMaker);
    }
    let (far, delays) = (
        setting("FAR", "target,source"),
        setting("DELAYS", "0,20,80,150"),
    );
    let workloads = setting("WORKLOADS", "16x1,1000x1,16x100,1000x100,16x1old");
    let [source, target] = [Cluster::start(kafka).await?, Cluster::start(kafka).await?];
    println!(
        "far    round trip    batch parts     age copier            MB/s  of 25  CPU s/GB  peak MiB"
    );
    let mut runs = 0;
    for text in workloads.split(',') {
        let workload = parse(text, seconds)?;
        source.fill(&workload).await?;
        for far in far.split(',') {
            for delay in delays.split(',') {
                let round_trip = Duration::from_millis(delay.parse()?);
                for copier in &copiers {
                    runs += 1;
                    let link = if far == "source" {
                        &source.link
                    } else {
                        &target.link
                    };
                    link.shape(RATE, round_trip);
                    let clusters = [&source, &target];
                    let measured =
                        measure(*copier, &format!("r{runs}"), &workload, clusters, seconds).await;
                    link.shape(0, Duration::ZERO);
                    target
                        .delete(&format!("r{runs}.{}", workload.topic()))
                        .await?;
                    println!(
                        "{far:<6} {delay:>7} ms {workload} {:<13} {}",
                        copier.name(),
                        measured?
                    );
                }
            }
        }
        source.delete(&workload.topic()).await?;
    }
    Ok(())
}

fn parse(text: &str, seconds: u64) -> Result<Workload> {
    let (size, old) = text
        .strip_suffix("old")
        .map_or((text, false), |size| (size, true));
    let (batch, partitions) = size.split_once('x').context("WORKLOADS: 16x1")?;
    Ok(Workload {
        batch_records: batch.parse()?,
        partitions: partitions.parse()?,
        old,
        codec: match setting("CODEC", "none").as_str() {
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
            _ => Codec::None,
        },
        // More than the link carries meanwhile.
        bytes: usize::try_from(RATE * (seconds + 4))?,
    })
}

/// Copies for some seconds; a line for the table.
async fn measure(
    copier: Copier,
    run: &str,
    workload: &Workload,
    [source, target]: [&Cluster; 2],
    seconds: u64,
) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let bootstraps = [source.bootstrap(), target.bootstrap()];
    let clusters = [bootstraps[0].as_str(), bootstraps[1].as_str()];
    let mut process = copier.start(folder.path(), run, &workload.topic(), clusters)?;
    let measured = follow(&mut process, run, workload, target, seconds).await;
    process.kill()?;
    process.wait()?;
    measured
        .with_context(|| fs::read_to_string(folder.path().join("copier.log")).unwrap_or_default())
}

async fn follow(
    process: &mut Child,
    run: &str,
    workload: &Workload,
    target: &Cluster,
    seconds: u64,
) -> Result<String> {
    let topic = format!("{run}.{}", workload.topic());
    let (begun, mut first) = (Instant::now(), None);
    // The first second is start-up, and the tail is not the steady state.
    let mut since: Option<(Instant, u64, f64)> = None;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        let records = target.records(&topic, workload.partitions).await;
        let now = Instant::now();
        if records == 0 {
            ensure!(begun.elapsed() < START, "nothing arrives");
            continue;
        }
        let first = *first.get_or_insert(now);
        let (cpu, peak) = used(process.id())?;
        let Some((from, before, cpu_before)) = since else {
            if now - first >= Duration::from_secs(1) {
                since = Some((now, records, cpu));
            }
            continue;
        };
        let over = (now - from).as_secs() >= seconds || records * 20 >= workload.records() * 19;
        if over {
            let bytes = (records - before) as f64 * RECORD_BYTES as f64;
            let rate = bytes / (now - from).as_secs_f64();
            let (share, cost) = (
                rate / RATE as f64 * 100.0,
                (cpu - cpu_before) / (bytes / 1e9),
            );
            let (rate, peak) = (rate / 1e6, peak >> 20);
            return Ok(format!("{rate:>8.1} {share:>5.0}% {cost:>9.2} {peak:>9}"));
        }
    }
}
