//! What a copy costs: the process's own accounting between 10 % and 95 % of the records.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use host::Host;
use tokio::runtime::{Builder, Runtime};
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, OffsetSpec},
};

use super::{copier::Copier, workload::Workload};

/// The part of the copy that counts, in percent: without start-up and the tail.
const FROM_TO: (u64, u64) = (10, 95);
/// After this a copier that has not ended has failed.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// The cost of one copy.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    seconds: f64,
    /// CPU seconds in the process, and those in the kernel for it.
    cpu: [f64; 2],
    records: f64,
    bytes: f64,
    peak_bytes: u64,
}

impl Figures {
    /// CPU seconds per 10^9 bytes of record values.
    pub fn cpu_per_gb(&self) -> f64 {
        self.user_per_gb() + self.system_per_gb()
    }

    /// Those of the process itself.
    pub fn user_per_gb(&self) -> f64 {
        self.cpu[0] / (self.bytes / 1e9)
    }

    /// Those of the kernel.
    pub fn system_per_gb(&self) -> f64 {
        self.cpu[1] / (self.bytes / 1e9)
    }

    /// 10^6 bytes of record values in a second.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes / 1e6 / self.seconds
    }

    /// Records for each second of CPU time.
    pub fn records_per_cpu_second(&self) -> f64 {
        self.records / (self.cpu[0] + self.cpu[1])
    }

    /// The most that was resident, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.peak_bytes as f64 / f64::from(1 << 20)
    }
}

/// One reading of the process and of what it copied.
struct Sample {
    at: Instant,
    records: u64,
    cpu: [f64; 2],
}

/// Copies the whole workload and stops the copier. `target` is where it can be read without TLS; the copier reaches
/// both sides at `doors`.
pub fn copy(
    copier: Copier,
    doors: [&str; 2],
    target: &str,
    workload: &Workload,
) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let ends = Ends::new(target, &copier.target_topic(), workload.partitions)?;
    let process = copier.start(folder.path(), doors[0], doors[1], workload)?;
    follow(process, workload, || ends.records())
        .with_context(|| fs::read_to_string(folder.path().join("copier.log")).unwrap_or_default())
        .with_context(|| copier.name())
}

/// Follows `process` until `copied` says that it has all records, and ends it.
pub fn follow(
    mut process: Child,
    workload: &Workload,
    copied: impl FnMut() -> Result<u64>,
) -> Result<Figures> {
    let figures = between(&mut process, workload, copied);
    process.kill()?;
    process.wait()?;
    figures
}

fn between(
    process: &mut Child,
    workload: &Workload,
    mut copied: impl FnMut() -> Result<u64>,
) -> Result<Figures> {
    let all = workload.records;
    let (from, to) = (all * FROM_TO.0 / 100, all * FROM_TO.1 / 100);
    let deadline = Instant::now() + TIMEOUT;
    let mut first: Option<Sample> = None;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            bail!("it did not end within {TIMEOUT:?}");
        }
        let sample = Sample {
            records: copied()?,
            at: Instant::now(),
            cpu: cpu(process.id())?,
        };
        if sample.records >= from && first.is_none() {
            first = Some(sample);
        } else if sample.records >= to {
            let first = first.context("the copy was too fast to measure: more RECORDS")?;
            let records = (sample.records - first.records) as f64;
            return Ok(Figures {
                seconds: (sample.at - first.at).as_secs_f64(),
                cpu: [0, 1].map(|part| sample.cpu[part] - first.cpu[part]),
                records,
                bytes: records * workload.record_bytes as f64,
                peak_bytes: peak_memory(process.id())?,
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many records a topic has.
struct Ends {
    client: Client,
    runtime: Runtime,
    wanted: Vec<(TopicPartition, OffsetSpec)>,
}

impl Ends {
    fn new(bootstrap: &str, topic: &str, partitions: i32) -> Result<Self> {
        let (host, port) = bootstrap.rsplit_once(':').context("HOST:PORT")?;
        let settings = ClientSettings {
            // A topic that is not there yet is asked for again here.
            retry_for: Duration::ZERO,
            ..ClientSettings::new(vec![(host.to_owned(), port.parse()?)], "bench-copy")
        };
        let latest = |partition| (TopicPartition::new(topic, partition), OffsetSpec::Latest);
        Ok(Self {
            client: Client::new(Host::real(), settings),
            runtime: Builder::new_current_thread().enable_all().build()?,
            wanted: (0..partitions).map(latest).collect(),
        })
    }

    fn records(&self) -> Result<u64> {
        let ask = self
            .client
            .list_offsets(&self.wanted, Isolation::ReadUncommitted);
        let ends = self.runtime.block_on(ask)?;
        // Not there yet: nothing copied yet.
        let ends = ends.into_iter().filter_map(|(_, end)| end.ok());
        Ok(ends.map(|end| end.offset.unsigned_abs()).sum())
    }
}

/// User and system seconds: fields 14 and 15 of /proc/PID/stat, counted behind the name in parentheses; proc(5).
fn cpu(process: u32) -> Result<[f64; 2]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut seconds = || anyhow::Ok(ticks.next().context("stat")?? / 100.0);
    Ok([seconds()?, seconds()?])
}

fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("VmHWM")?.parse::<u64>()? * 1024)
}
