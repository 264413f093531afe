//! What is written and read, and what that costs.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{broker::Broker, kafka::java};

const TOPIC: &str = "bench";
const PARTITIONS: &str = "8";
/// Bytes of a record's value.
const RECORD_BYTES: u64 = 1_000;
/// Records in a second, and how many, where it is asked how late acknowledgements are.
const PACE: (u64, u64) = (10_000, 100_000);

/// The cost of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// 10^6 bytes of record values in a second.
    pub megabytes_per_second: f64,
    /// CPU seconds of the broker per 10^9 bytes of record values.
    pub cpu_per_gb: f64,
}

/// One broker in one round.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub produce: Cost,
    pub fetch: Cost,
    /// How late one acknowledgement of a hundred is, in ms, at 10,000 records a second.
    pub late: f64,
    /// The most memory, in MiB.
    pub peak: f64,
}

/// Writes and reads, after a fifth of it to get warm.
pub fn measure(broker: &Broker, codec: &str, records: u64) -> Result<Figures> {
    let mut create = java("org.apache.kafka.tools.TopicCommand");
    create
        .args(["--bootstrap-server", &broker.bootstrap()])
        .args(["--create", "--topic", TOPIC, "--partitions", PARTITIONS]);
    output(create)?;
    let warm = records / 5;
    produce(broker, codec, warm, None)?;
    consume(broker, warm)?;
    let produced = costs(broker, records, || {
        let said = produce(broker, codec, records, None)?;
        // "1000000 records sent, 94553.7 records/sec (90.17 MB/sec), ..."
        number_before(&said, " records/sec")
    })?;
    let fetched = costs(broker, warm + records, || consume(broker, warm + records))?;
    let (pace, count) = PACE;
    let said = produce(broker, codec, count, Some(pace))?;
    Ok(Figures {
        produce: produced,
        fetch: fetched,
        late: number_before(&said, " ms 99th")?,
        peak: broker.peak()?,
    })
}

/// The broker's time for `work` on so many records, which says how many of them it did in a second.
fn costs(broker: &Broker, records: u64, work: impl FnOnce() -> Result<f64>) -> Result<Cost> {
    let before = broker.cpu()?;
    let per_second = work()?;
    let spent = broker.cpu()? - before;
    let bytes = (records * RECORD_BYTES) as f64;
    Ok(Cost {
        megabytes_per_second: per_second * RECORD_BYTES as f64 / 1e6,
        cpu_per_gb: spent / (bytes / 1e9),
    })
}

/// The last line of `kafka-producer-perf-test`.
fn produce(broker: &Broker, codec: &str, records: u64, pace: Option<u64>) -> Result<String> {
    let pace = pace.map_or("-1".to_owned(), |pace| pace.to_string());
    let mut producer = java("org.apache.kafka.tools.ProducerPerformance");
    producer
        .args(["--topic", TOPIC, "--throughput", &pace])
        .args(["--num-records", &records.to_string()])
        .args(["--record-size", &RECORD_BYTES.to_string()])
        .args([
            "--producer-props",
            "acks=all",
            "batch.size=65536",
            "linger.ms=5",
        ])
        .arg(format!("compression.type={codec}"))
        .arg(format!("bootstrap.servers={}", broker.bootstrap()));
    let said = output(producer)?;
    let last = said.lines().rfind(|line| line.contains("99th"));
    Ok(last.context("kafka-producer-perf-test")?.to_owned())
}

/// Records in a second by `kafka-consumer-perf-test`, without the time that the group takes.
fn consume(broker: &Broker, records: u64) -> Result<f64> {
    let mut consumer = java("org.apache.kafka.tools.ConsumerPerformance");
    consumer
        .args(["--bootstrap-server", &broker.bootstrap()])
        .args(["--topic", TOPIC, "--messages", &records.to_string()])
        .args(["--timeout", "60000", "--hide-header"]);
    let said = output(consumer)?;
    // start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms,
    // fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
    let line = said.lines().rfind(|line| line.split(',').count() == 10);
    let fields: Vec<_> = line
        .context("kafka-consumer-perf-test")?
        .split(',')
        .collect();
    let read: u64 = fields[4].trim().parse()?;
    ensure!(read >= records, "{read} of {records} records were read");
    Ok(fields[9].trim().parse()?)
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number that stands right before `unit` in a line.
fn number_before(line: &str, unit: &str) -> Result<f64> {
    let (before, _) = line.split_once(unit).with_context(|| line.to_owned())?;
    let number = before.rsplit(' ').next().unwrap_or_default();
    number.parse().with_context(|| line.to_owned())
}
