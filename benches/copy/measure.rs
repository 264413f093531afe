//! What a copy costs: the process's own accounting between 10 % and 95 % of the records.

use std::{
    fmt, fs,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::{copier::Copier, workload::Workload};

/// The part of the copy that counts, in percent: without start-up and the tail.
const FROM_TO: (u64, u64) = (10, 95);
/// After this a copier that has not ended has failed.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The cost of one copy.
#[derive(Debug)]
pub struct Figures {
    seconds: f64,
    user: f64,
    system: f64,
    bytes: f64,
    peak_bytes: u64,
}

impl Figures {
    /// CPU seconds per 10^9 bytes of record values.
    pub fn cpu_per_gb(&self) -> f64 {
        (self.user + self.system) / (self.bytes / 1e9)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.1} {:>10.2} {:>10.2} {:>10}",
            self.bytes / 1e6 / self.seconds,
            self.cpu_per_gb(),
            self.user / (self.bytes / 1e9),
            self.peak_bytes >> 20
        )
    }
}

/// One reading of the process and of the target.
struct Sample {
    at: Instant,
    records: u64,
    user: f64,
    system: f64,
}

/// Copies the whole workload and stops the copier.
pub fn copy(copier: Copier, source: &str, target: &str, workload: &Workload) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let mut process = copier.start(folder.path(), source, target, workload)?;
    let result = follow(copier, target, workload, &mut process);
    process.kill()?;
    process.wait()?;
    result.with_context(|| fs::read_to_string(folder.path().join("copier.log")).unwrap_or_default())
}

fn follow(
    copier: Copier,
    target: &str,
    workload: &Workload,
    process: &mut Child,
) -> Result<Figures> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", target)
        .create()?;
    let topic = copier.target_topic();
    let (from, to) = (
        workload.records * FROM_TO.0 / 100,
        workload.records * FROM_TO.1 / 100,
    );
    let deadline = Instant::now() + TIMEOUT;
    let mut first = None;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("{} ended with {status}", copier.name());
        }
        if Instant::now() > deadline {
            bail!("{} did not end within {TIMEOUT:?}", copier.name());
        }
        let sample = sample(&consumer, &topic, workload, process.id())?;
        if sample.records >= from && first.is_none() {
            first = Some(sample);
        } else if sample.records >= to {
            let first = first.context("the copy was too fast to measure: more RECORDS")?;
            return Ok(Figures {
                seconds: (sample.at - first.at).as_secs_f64(),
                user: sample.user - first.user,
                system: sample.system - first.system,
                bytes: ((sample.records - first.records) * workload.record_bytes as u64) as f64,
                peak_bytes: peak_memory(process.id())?,
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sample(
    consumer: &BaseConsumer,
    topic: &str,
    workload: &Workload,
    process: u32,
) -> Result<Sample> {
    let ends = (0..workload.partitions).map(|partition| {
        // Not there yet: nothing copied yet.
        let found = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5));
        found.map_or(0, |(_, end)| end.unsigned_abs())
    });
    let records = ends.sum();
    // Fields 14 and 15 of /proc/PID/stat, counted behind the name in parentheses; proc(5).
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut seconds = || anyhow::Ok(ticks.next().context("stat")?? / 100.0);
    Ok(Sample {
        at: Instant::now(),
        records,
        user: seconds()?,
        system: seconds()?,
    })
}

fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .context("VmHWM")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .context("VmHWM")?
        .parse::<u64>()?
        * 1024)
}
