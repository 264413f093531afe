//! What is copied.

use std::{fmt, fs, str::FromStr};

use anyhow::{Context, Result, ensure};

use super::kafka::java;

/// The topic that is copied.
pub const TOPIC: &str = "bench";

/// The size and shape of the data.
#[derive(Debug)]
pub struct Workload {
    pub records: u64,
    pub record_bytes: usize,
    pub partitions: i32,
    pub codec: String,
    pub rounds: usize,
}

impl Workload {
    /// One million JSON records of 1 KB, lz4, 8 partitions, three rounds, unless the environment says otherwise.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            records: setting("RECORDS", 1_000_000)?,
            record_bytes: setting("RECORD_BYTES", 1_000)?,
            partitions: setting("PARTITIONS", 8)?,
            codec: setting("CODEC", "lz4".to_owned())?,
            rounds: setting("ROUNDS", 3)?,
        })
    }

    /// Creates the topic and fills it with Kafka's own producer in batches of 128 KB.
    pub fn fill(&self, bootstrap: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let payload = folder.path().join("payload");
        let lines: Vec<String> = (0..5_000)
            .map(|index| json(index, self.record_bytes))
            .collect();
        fs::write(&payload, lines.join("\n"))?;
        let create = java("org.apache.kafka.tools.TopicCommand")
            .args([
                "--bootstrap-server",
                bootstrap,
                "--create",
                "--topic",
                TOPIC,
            ])
            .args(["--partitions", &self.partitions.to_string()])
            .args([
                "--config",
                &format!("compression.type={}", self.topic_codec()),
            ])
            .output()?;
        ensure!(
            create.status.success(),
            "{}",
            String::from_utf8_lossy(&create.stderr)
        );
        let fill = java("org.apache.kafka.tools.ProducerPerformance")
            .args(["--topic", TOPIC, "--throughput", "-1"])
            .args(["--num-records", &self.records.to_string(), "--payload-file"])
            .arg(&payload)
            .args([
                "--producer-props",
                &format!("bootstrap.servers={bootstrap}"),
            ])
            .args([
                "batch.size=131072",
                "linger.ms=50",
                "buffer.memory=134217728",
            ])
            .arg(format!("compression.type={}", self.codec))
            .output()?;
        ensure!(
            fill.status.success(),
            "{}",
            String::from_utf8_lossy(&fill.stderr)
        );
        Ok(())
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
            rounds,
        } = self;
        write!(
            f,
            "{records} JSON records of {record_bytes} bytes, {codec}, {partitions} partitions, \
             batches of 128 KB, {rounds} rounds"
        )
    }
}

fn setting<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    default: T,
) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

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
