//! What is copied.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context, Result, ensure};

use super::kafka::java;

/// The topic that is copied.
pub const TOPIC: &str = "bench";

/// The size and shape of the data.
#[derive(Clone, Debug)]
pub struct Workload {
    pub records: u64,
    pub record_bytes: usize,
    pub partitions: i32,
    pub codec: String,
    /// `batch.size` of the producer that fills the source.
    pub batch_bytes: usize,
    /// Copiers speak TLS, and trust whom this CA signed.
    pub ca: Option<PathBuf>,
    pub rounds: usize,
}

impl Workload {
    /// 1 GB of JSON records of 1 KB, lz4, 8 partitions, batches of 128 KB, three rounds, no TLS, unless the
    /// environment says otherwise.
    pub fn from_environment() -> Result<Self> {
        let record_bytes = setting("RECORD_BYTES", 1_000)?;
        Ok(Self {
            records: records(record_bytes)?,
            record_bytes,
            partitions: setting("PARTITIONS", 8)?,
            codec: setting("CODEC", "lz4".to_owned())?,
            batch_bytes: setting("BATCH", 131_072)?,
            ca: None,
            rounds: setting("ROUNDS", 3)?,
        })
    }

    /// Creates the topic and fills it with Kafka's own producer.
    pub fn fill(&self, bootstrap: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let payload = folder.path().join("payload");
        let lines: Vec<String> = (0..5_000)
            .map(|index| json(index, self.record_bytes))
            .collect();
        fs::write(&payload, lines.join("\n"))?;
        self.create(bootstrap)?;
        self.produce(bootstrap, &payload)
    }

    /// Creates the topic.
    pub fn create(&self, bootstrap: &str) -> Result<()> {
        let mut create = java("org.apache.kafka.tools.TopicCommand");
        create
            .args(["--bootstrap-server", bootstrap])
            .args(["--create", "--topic", TOPIC])
            .args(["--partitions", &self.partitions.to_string()])
            .args([
                "--config",
                &format!("compression.type={}", self.topic_codec()),
            ]);
        finished(create)
    }

    fn produce(&self, bootstrap: &str, payload: &Path) -> Result<()> {
        let mut fill = java("org.apache.kafka.tools.ProducerPerformance");
        fill.args(["--topic", TOPIC, "--throughput", "-1"])
            .args(["--num-records", &self.records.to_string(), "--payload-file"])
            .arg(payload)
            .args([
                "--producer-props",
                &format!("bootstrap.servers={bootstrap}"),
            ])
            .args(["linger.ms=50", "buffer.memory=134217728"])
            .arg(format!("batch.size={}", self.batch_bytes))
            .arg(format!("compression.type={}", self.codec));
        finished(fill)
    }

    /// A topic says `uncompressed` where a producer says `none`.
    fn topic_codec(&self) -> &str {
        if self.codec == "none" {
            "uncompressed"
        } else {
            &self.codec
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            record_bytes,
            partitions,
            codec,
            batch_bytes,
            ca,
            rounds,
        } = self;
        let batch = batch_bytes >> 10;
        let tls = if ca.is_some() { ", TLS" } else { "" };
        write!(
            f,
            "{records} JSON records of {record_bytes} bytes, {codec}, {partitions} partitions, \
             batches of {batch} KB{tls}, {rounds} rounds"
        )
    }
}

fn finished(mut command: Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

/// How many records there are: 1 GB of them, unless the environment says otherwise.
pub fn records(record_bytes: usize) -> Result<u64> {
    setting("RECORDS", 1_000_000_000 / record_bytes as u64)
}

/// The value that the environment has for `name`, or the first of them.
pub fn setting<T: Setting>(name: &str, default: T) -> Result<T> {
    let first = settings(name, &[default])?.into_iter().next();
    first.with_context(|| format!("{name} is empty"))
}

/// The values that the environment has for `name`, separated by commas.
pub fn settings<T: Setting>(name: &str, default: &[T]) -> Result<Vec<T>> {
    let Ok(text) = std::env::var(name) else {
        return Ok(default.to_vec());
    };
    let values = text.split(',').map(|value| value.trim().parse());
    let values: Result<_, _> = values.collect();
    values.with_context(|| format!("{name}={text}"))
}

/// What stands in an environment variable.
pub trait Setting: Clone + FromStr<Err: std::error::Error + Send + Sync + 'static> {}
impl<T: Clone + FromStr<Err: std::error::Error + Send + Sync + 'static>> Setting for T {}

/// A record as services write them: fields that vary, text that repeats.
fn json(index: u64, bytes: usize) -> String {
    let mut text = format!("{{\"id\":{index},\"items\":[");
    let mut number = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() + 80 < bytes {
        // xorshift64
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        text.push_str(&format!(
            "{{\"sku\":\"{number:016x}\",\"amount\":{}}},",
            number % 10_000
        ));
    }
    text.push_str("],\"note\":\"");
    while text.len() + 2 < bytes {
        text.push('x');
    }
    text.push_str("\"}");
    text
}
