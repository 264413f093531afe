//! What copying costs: strait beside a plain TCP relay, itself over librdkafka, and MirrorMaker 2, on the same records
//! between the same Apache Kafkas, one after the other.
//!
//! `just bench-copy` prints, for each of them, CPU seconds per GB of record values between 10 % and 95 % of the copy,
//! MB/s, batches per CPU second and the peak resident memory: medians of alternating rounds, and ratios. The relay only
//! reads and writes what a copier fetches, so it is what moving the bytes costs on this machine (without TLS in any
//! case). MirrorMaker 2 is tuned as an experienced operator would (larger batches, fetches and heap, the source's
//! codec).
//!
//! Lists in the environment choose what is copied, and by whom: `RECORD_BYTES`, `CODEC`, `BATCH` (of the source's
//! producer, in bytes), `PARTITIONS`, `TLS` (yes or no), `COPIERS` (relay, strait, librdkafka, mirrormaker); `RECORDS`
//! (1 GB of them) and `ROUNDS` (3) are numbers. `MATRIX=full` takes hours.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod copier;
mod fetch;
mod matrix;
mod measure;
mod relay;
mod report;
mod tls;
mod workload;

use std::{path::Path, sync::atomic::AtomicU64};

use anyhow::{Result, ensure};
use kafka::{Extra, Kafka, free_port};
use matrix::Subject;
use workload::Workload;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, _, argument, upstream] = arguments.as_slice()
        && argument == relay::ARGUMENT
    {
        return relay::serve(upstream);
    }
    // `cargo test --benches` and friends only ask whether it builds.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let certificates = tempfile::tempdir()?;
    tls::write(certificates.path())?;
    let subjects = matrix::subjects()?;
    for workload in matrix::workloads(&certificates.path().join("ca.pem"))? {
        compare(&workload, &subjects, certificates.path())?;
    }
    Ok(())
}

fn compare(workload: &Workload, subjects: &[Subject], certificates: &Path) -> Result<()> {
    let source = Cluster::start(certificates)?;
    let plain = source.kafka.bootstrap();
    workload.fill(&plain)?;
    let contents = fetch::whole(&plain, workload.partitions, &AtomicU64::new(0))?;
    let mut rows: Vec<_> = subjects.iter().map(|s| (*s, Vec::new())).collect();
    for _ in 0..workload.rounds {
        for (subject, figures) in &mut rows {
            figures.push(match subject {
                Subject::Relay => relay::measure(&plain, workload)?,
                Subject::Copier(copier) => {
                    // A fresh target each time: nothing cached, nothing to skip.
                    let target = Cluster::start(certificates)?;
                    let doors = [source.door(workload), target.door(workload)];
                    let doors = [doors[0].as_str(), doors[1].as_str()];
                    measure::copy(*copier, doors, &target.kafka.bootstrap(), workload)?
                }
            });
        }
    }
    report::print(workload, &contents, &rows);
    Ok(())
}

/// A node with a second door for TLS.
struct Cluster {
    kafka: Kafka,
    secured: u16,
}

impl Cluster {
    fn start(certificates: &Path) -> Result<Self> {
        let secured = free_port()?;
        let file = certificates.join("broker.pem");
        let settings = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}",
            file.display()
        );
        let extra = Extra {
            listeners: &[("CERTIFICATE", secured)],
            settings: &settings,
            users: &[],
        };
        let kafka = Kafka::start(&extra)?;
        Ok(Self { kafka, secured })
    }

    /// Where a copier gets in.
    fn door(&self, workload: &Workload) -> String {
        match workload.ca {
            Some(_) => format!("127.0.0.1:{}", self.secured),
            None => self.kafka.bootstrap(),
        }
    }
}
