//! The brokers, and what the system says of their processes.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::kafka::{Extra, Kafka};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka, one node.
    Kafka,
    /// broker-lite, built as it is shipped.
    Lite,
}

/// One that runs.
pub enum Broker {
    Kafka(Kafka),
    Lite(Lite),
}

/// The process, and where it keeps its data.
pub struct Lite {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Broker {
    /// Starts it and waits until it is ready.
    pub fn start(kind: Kind) -> Result<Self> {
        match kind {
            Kind::Kafka => Ok(Self::Kafka(Kafka::start(1, &Extra::default())?)),
            Kind::Lite => Lite::start().map(Self::Lite),
        }
    }

    /// `HOST:PORT` for clients.
    pub fn bootstrap(&self) -> String {
        match self {
            Self::Kafka(kafka) => kafka.bootstrap(),
            Self::Lite(lite) => lite.address.clone(),
        }
    }

    /// CPU seconds so far, the kernel's for it among them: fields 14 and 15 of `/proc/PID/stat`, counted behind the
    /// name in parentheses; proc(5).
    pub fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process()?))?;
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
    }

    /// The most that was resident, in MiB.
    pub fn peak(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process()?))?;
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.context("VmHWM")?.parse::<f64>()? / 1024.0)
    }

    fn process(&self) -> Result<u32> {
        match self {
            Self::Kafka(kafka) => Ok(kafka.process(0).context("it is down")?.id()),
            Self::Lite(lite) => Ok(lite.process.id()),
        }
    }
}

impl Lite {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_broker-lite"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        BufReader::new(process.stdout.take().context("its output")?).read_line(&mut ready)?;
        let address = ready.split("listen=").nth(1).context("the ready line")?;
        let address = address.split_whitespace().next().unwrap_or_default();
        Ok(Self {
            address: address.to_owned(),
            process,
            _folder: folder,
        })
    }
}

impl Drop for Lite {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
