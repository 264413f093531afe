//! MirrorMaker 2 stops, strait goes on; strait stops, MirrorMaker 2 goes on.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    super::{
        clients::{Application, Content, Member},
        compare::Verdict,
        mirror::MirrorMaker,
        model,
        pair::Pair,
        side::Side,
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::eventually,
};

const PARTITIONS: i32 = 2;

/// Killed while records go on arriving: strait repeats nothing, and MirrorMaker 2 goes on behind strait when it is
/// its turn again. On broker-lite the test does what MirrorMaker 2 would.
pub async fn mirrormaker_is_taken_over_from_and_given_back_to(pair: &mut Pair) -> Result<()> {
    match pair.target {
        Side::Kafka(_) => with_mirrormaker(pair).await,
        Side::Lite { .. } => with_its_records(pair).await,
    }
}

async fn with_mirrormaker(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("mirrored");
    pair.source.create_topic(&topic, PARTITIONS, &[]).await?;
    // Internal topics of its own: the clusters serve other scenarios too.
    let alias = pair.prefix.replace('-', "");
    let mut mirror = MirrorMaker::new(&alias, &pair.source, &pair.target, &topic)?;
    let mut strait = pair.strait("checkpoint_interval = \"200ms\"")?;
    let takeover = ["takeover", "--source-alias", &alias, "--json"];
    let load = Load::begin(pair, &topic, 0)?;
    mirror.run()?;
    await_beyond_positions(pair, &alias, &topic, &mirror).await?;
    let (code, text) = strait.checkpoint(&takeover)?;
    ensure!(
        code == 4 && text.contains("MirrorMaker 2 runs"),
        "{code}: {text}"
    );
    mirror.kill()?;
    let copied = pair.verdict(&load.so_far(), std::slice::from_ref(&topic))?;
    let taken = taken_over(&strait, &takeover).await?;
    println!(
        "MirrorMaker 2 killed: {} records recognised behind its positions, {} repeated by itself",
        recognised(&taken)?,
        copied.repeated
    );
    strait.run()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut expected = load.end().await?;
    let only_its_own = |verdict: Verdict| {
        ensure!(
            verdict.repeated == copied.repeated,
            "{verdict:?}, {copied:?}"
        );
        Ok(())
    };
    only_its_own(pair.await_equal(&expected, 60).await?)?;
    // Back, and once more over, with clean stops.
    strait.terminate()?;
    let (code, text) = strait.call(&["export-mm2", "--source-alias", &alias])?;
    ensure!(
        code == 0 && text.contains("goes on where strait stopped"),
        "{code}: {text}"
    );
    mirror.run()?;
    write_more(pair, &topic, &mut expected).await?;
    // It takes its time to start, in which the reader, a JVM of its own, would take from it.
    eventually(90, "MirrorMaker 2 to have copied all", async || {
        for ((topic, partition), records) in &expected {
            let (end, wanted) = (pair.target.end(topic, *partition)?, records.len() as i64);
            ensure!(end >= wanted, "{end} of {wanted}\n{}", mirror.log());
        }
        Ok(())
    })
    .await?;
    only_its_own(pair.await_equal(&expected, 60).await?)?;
    tokio::task::block_in_place(|| mirror.terminate())?;
    let force = [&takeover[..], &["--force"]].concat();
    let taken = taken_over(&strait, &force).await?;
    ensure!(recognised(&taken)? == 0, "{taken}");
    strait.run()?;
    write_more(pair, &topic, &mut expected).await?;
    only_its_own(pair.await_equal(&expected, 60).await?)
}

/// Waits until each partition of the target holds a hundred records that no position tells of.
async fn await_beyond_positions(
    pair: &Pair,
    alias: &str,
    topic: &str,
    mirror: &MirrorMaker,
) -> Result<()> {
    eventually(90, "positions, and records behind them", async || {
        for partition in 0..PARTITIONS {
            let position = position(pair, alias, topic, partition)?;
            let end = pair.target.end(topic, partition)?;
            ensure!(
                end > position + 100 && position > 0,
                "{partition}: {position}, {end}\n{}",
                mirror.log()
            );
        }
        Ok(())
    })
    .await
}

/// For a second.
async fn write_more(pair: &Pair, topic: &str, expected: &mut Content) -> Result<()> {
    let load = Load::begin(pair, topic, expected[&(topic.to_owned(), 0)].len())?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (partition, records) in load.end().await? {
        expected.entry(partition).or_default().extend(records);
    }
    Ok(())
}

/// The target holds more than the positions tell, and somebody is in the group for a while.
async fn with_its_records(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("mirrored");
    let alias = "A";
    let mut expected = Content::new();
    for side in [&pair.source, &pair.target] {
        side.create_topic(&topic, PARTITIONS, &[]).await?;
    }
    let offsets = format!("mm2-offsets.{alias}.internal");
    pair.target
        .create_topic(&offsets, 25, &[("cleanup.policy", "compact")])
        .await?;
    let (source, target) = (
        Application::new(&pair.source, "lz4")?,
        Application::new(&pair.target, "zstd")?,
    );
    for partition in 0..PARTITIONS {
        let records = model::mixed(9, partition, 0, 900);
        source.produce(&topic, partition, &records)?;
        target.produce(&topic, partition, &records[..700])?;
        put_position(pair, alias, &topic, partition, 299)?;
        expected.insert((topic.clone(), partition), digests(&records));
    }
    let member = tokio::task::block_in_place(|| {
        let topics = [topic.clone()];
        let mut member = Member::join(&pair.target, &format!("{alias}-mm2"), &topics)?;
        member.read(1)?;
        anyhow::Ok(member)
    })?;
    let mut strait = pair.strait("checkpoint_interval = \"200ms\"")?;
    let takeover = ["takeover", "--source-alias", alias, "--json"];
    let (code, text) = strait.checkpoint(&takeover)?;
    ensure!(
        code == 4 && text.contains("MirrorMaker 2 runs"),
        "{code}: {text}"
    );
    drop(member);
    let taken = taken_over(&strait, &takeover).await?;
    ensure!(recognised(&taken)? == 800, "{taken}");
    strait.run()?;
    let verdict = pair.await_equal(&expected, 60).await?;
    ensure!(verdict.repeated == 0, "{verdict:?}");
    strait.terminate()?;
    let (code, text) = strait.call(&["export-mm2", "--source-alias", alias])?;
    ensure!(code == 0 && text.contains("299 -> 899"), "{code}: {text}");
    for partition in 0..PARTITIONS {
        ensure!(position(pair, alias, &topic, partition)? == 899);
    }
    import_takes_over(pair, alias, &topic)
}

/// The one command, as another flow that has no checkpoints yet.
fn import_takes_over(pair: &Pair, alias: &str, topic: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mirror, file) = (
        folder.path().join("mm2.properties"),
        folder.path().join("strait.toml"),
    );
    let text = format!(
        "clusters = {alias}, west\n{alias}.bootstrap.servers = {}\nwest.bootstrap.servers = {}\n{alias}->west.enabled = true\n\
         {alias}->west.topics = {topic}\n\
         replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n\
         replication.factor = 1\n",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    );
    std::fs::write(&mirror, text)?;
    let import = Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(["import-mm2", "--takeover", "--json", "--output"])
        .args([&file, &mirror])
        .output()?;
    ensure!(import.status.code() == Some(0), "{import:?}");
    let told: Value = serde_json::from_slice(&import.stdout)?;
    ensure!(recognised(&told["takeover"][0])? == 0, "{told}");
    let group = format!("strait.{alias}-to-west");
    for partition in 0..PARTITIONS {
        let (_, metadata) = pair.target.committed(&group, topic, partition)?;
        ensure!(metadata.contains(" next=900 last=899:"), "{metadata}");
    }
    Ok(())
}

/// As soon as the group is empty: JSON of what was done, which is all of it.
async fn taken_over(strait: &Strait, arguments: &[&str]) -> Result<Value> {
    let mut taken = Value::Null;
    eventually(60, "the takeover", async || {
        let (code, text) = strait.checkpoint(arguments)?;
        ensure!(code == 0, "{code}: {text}");
        taken = serde_json::from_str(&text)?;
        Ok(())
    })
    .await?;
    let partitions = taken["partitions"].as_array().context("partitions")?;
    ensure!(partitions.len() == PARTITIONS as usize, "{taken}");
    ensure!(
        partitions.iter().all(|one| one["outcome"] == "taken_over"),
        "{taken}"
    );
    Ok(taken)
}

/// How many records behind MirrorMaker 2's positions were found on the target.
fn recognised(taken: &Value) -> Result<u64> {
    let partitions = taken["partitions"].as_array().context("partitions")?.iter();
    let each: Option<Vec<u64>> = partitions.map(|one| one["recognised"].as_u64()).collect();
    Ok(each
        .with_context(|| format!("not all recognised: {taken}"))?
        .iter()
        .sum())
}

/// The last record that MirrorMaker 2 says it copied, read by another client from its topic; -1: none.
fn position(pair: &Pair, alias: &str, topic: &str, partition: i32) -> Result<i64> {
    let offsets = format!("mm2-offsets.{alias}.internal");
    let wanted = key(alias, topic, partition);
    let Ok(count) = pair.target.partition_count(&offsets) else {
        return Ok(-1);
    };
    let consumer: BaseConsumer = pair
        .target
        .client()
        .set("group.id", "positions")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut all = TopicPartitionList::new();
    for index in 0..i32::try_from(count)? {
        all.add_partition_offset(&offsets, index, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut open, mut found) = (count, -1);
    while open > 0 {
        let polled = consumer.poll(Duration::from_secs(30));
        match polled.context("neither records nor ends come")? {
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => return Err(error.into()),
            Ok(message) if message.key() == Some(wanted.as_bytes()) => {
                let value: Value = serde_json::from_slice(message.payload().context("a value")?)?;
                found = value["offset"].as_i64().context("an offset")?;
            }
            Ok(_) => {}
        }
    }
    Ok(found)
}

fn put_position(pair: &Pair, alias: &str, topic: &str, partition: i32, offset: i64) -> Result<()> {
    // The partitioner of Kafka's own clients.
    let producer: BaseProducer = pair
        .target
        .client()
        .set("partitioner", "murmur2_random")
        .create()?;
    let offsets = format!("mm2-offsets.{alias}.internal");
    let (key, value) = (
        key(alias, topic, partition),
        format!("{{\"offset\":{offset}}}"),
    );
    let record = BaseRecord::to(&offsets).key(&key).payload(&value);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(Duration::from_secs(30))?)
}

fn key(alias: &str, topic: &str, partition: i32) -> String {
    format!(
        "[\"MirrorSourceConnector\",{{\"cluster\":\"{alias}\",\"partition\":{partition},\"topic\":\"{topic}\"}}]"
    )
}

/// An application that goes on writing until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<std::sync::Mutex<Content>>,
    task: JoinHandle<Result<()>>,
}

impl Load {
    /// Records of every partition from the `first` on.
    fn begin(pair: &Pair, topic: &str, first: usize) -> Result<Self> {
        let application = Application::new(&pair.source, "lz4")?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let load = (Arc::clone(&stop), Arc::clone(&written));
        let topic = topic.to_owned();
        let task = tokio::task::spawn_blocking(move || {
            let (stop, written): (Arc<AtomicBool>, Arc<std::sync::Mutex<Content>>) = load;
            let mut next = first;
            while !stop.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let records = model::mixed(9, partition, next, 40);
                    application.produce(&topic, partition, &records)?;
                    let mut written = written
                        .lock()
                        .map_err(|_| anyhow::anyhow!("a writer failed"))?;
                    let all = written.entry((topic.clone(), partition)).or_default();
                    all.extend(digests(&records));
                }
                next += 40;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        });
        Ok(Self {
            stop,
            written,
            task,
        })
    }

    fn so_far(&self) -> Content {
        self.written
            .lock()
            .map(|written| written.clone())
            .unwrap_or_default()
    }

    async fn end(self) -> Result<Content> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        let written = self
            .written
            .lock()
            .map_err(|_| anyhow::anyhow!("a writer failed"))?;
        Ok(written.clone())
    }
}
