//! What serving records costs: broker-lite beside one node of Apache Kafka, one after the other, with Kafka's own
//! `kafka-producer-perf-test` (acks=all) and `kafka-consumer-perf-test` as clients. `just bench-broker` prints MB/s, CPU seconds of the
//! broker per GB of record values, how late acknowledgements are at 10,000 records a second, and the most memory: medians
//! of alternating rounds, and ratios.
//!
//! Both are warm: what is measured comes after a fifth of the records were written and read.
//! `CODEC` (a list, none and lz4), `RECORDS` of 1,000 bytes (1,000,000) and `ROUNDS` (3) are in the environment.

#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;

mod broker;
mod load;
mod report;

use std::env;

use anyhow::{Context, Result, ensure};
use broker::{Broker, Kind};
use load::Figures;

fn main() -> Result<()> {
    // `cargo test --benches` and friends only ask whether it builds.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(
        kafka::libs().is_dir(),
        "no Kafka jars: run tests/kafka/fetch.sh first"
    );
    let records = setting("RECORDS", 1_000_000)?;
    let rounds = setting("ROUNDS", 3)?;
    let codecs = env::var("CODEC").unwrap_or_else(|_| "none,lz4".to_owned());
    for codec in codecs.split(',').map(str::trim) {
        let mut rows = [Kind::Kafka, Kind::Lite].map(|kind| (kind, Vec::<Figures>::new()));
        for _ in 0..rounds {
            for (kind, figures) in &mut rows {
                // A fresh one each time: nothing of the last is in the way.
                figures.push(load::measure(&Broker::start(*kind)?, codec, records)?);
            }
        }
        report::print(codec, records, &rows);
    }
    Ok(())
}

fn setting(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}
