//! Processes die; records do not.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::{await_lag_zero, eventually},
    scale,
};

/// Records arrive at the source while strait is killed at random moments.
pub async fn kill_nine_ten_times_under_load_loses_nothing(pair: &mut Pair) -> Result<()> {
    // At scale 20: 8 topics of 8 partitions, two million records.
    let (topics, partitions) = if scale() < 20 { (4, 4) } else { (8, 8) };
    let count = 1_600 * scale();
    let rounds = 10;
    let mut writers = Vec::new();
    let mut expected = Content::new();
    for index in 0..topics {
        let topic = pair.topic(&format!("load{index}"));
        let source_codec = ["producer", "gzip", "zstd", "lz4"][index % 4];
        pair.source
            .create_topic(&topic, partitions, &[("compression.type", source_codec)])
            .await?;
        let application =
            Application::new(&pair.source, ["lz4", "none", "snappy", "zstd"][index % 4])?;
        for partition in 0..partitions {
            let records = model::mixed(index as u64, partition, 0, count);
            expected.insert((topic.clone(), partition), digests(&records));
            let (application, topic) = (application.clone(), topic.clone());
            // Spread over the time of the kills.
            writers.push(tokio::task::spawn_blocking(move || {
                for chunk in records.chunks(count.div_ceil(rounds)) {
                    application.produce(&topic, partition, chunk)?;
                    std::thread::sleep(Duration::from_millis(500));
                }
                anyhow::Ok(())
            }));
        }
    }
    let mut strait = pair.strait("checkpoint_interval = \"200ms\"")?;
    let mut random = StdRng::seed_from_u64(42);
    for _ in 0..rounds {
        strait.run()?;
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_800))).await;
        strait.kill()?;
    }
    for writer in writers {
        writer.await??;
    }
    strait.run()?;
    let verdict = pair.await_equal(&expected, 300).await?;
    let all = expected.values().map(Vec::len).sum::<usize>();
    println!("ten kills: {all} records, {} repeated", verdict.repeated);
    await_lag_zero(&strait).await?;
    // What was checkpointed is not repeated: without checkpoints each kill repeats everything.
    ensure!(
        verdict.repeated < all,
        "{} of {all} repeated",
        verdict.repeated
    );
    Ok(())
}

/// The source is killed and comes back; the flow goes on by itself.
pub async fn source_restart_is_survived(pair: &mut Pair) -> Result<()> {
    let (topic, mut expected) = start_topic(pair).await?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    pair.source.kill().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    pair.source.resume().await?;
    append(pair, &topic, &mut expected)?;
    let verdict = pair.await_equal(&expected, 60).await?;
    ensure!(
        verdict.repeated == 0,
        "a source restart repeats nothing, but {verdict:?}"
    );
    await_one_outage(&strait, "east").await?;
    ensure!(strait.is_running()?, "strait ended:\n{}", strait.log());
    Ok(())
}

/// The target is killed and comes back.
pub async fn target_restart_is_survived(pair: &mut Pair) -> Result<()> {
    let (topic, mut expected) = start_topic(pair).await?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    pair.target.kill().await?;
    append(pair, &topic, &mut expected)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    pair.target.resume().await?;
    let verdict = pair.await_equal(&expected, 90).await?;
    ensure!(
        verdict.repeated == 0,
        "the idempotent producer repeats nothing, but {verdict:?}"
    );
    await_one_outage(&strait, "west").await?;
    ensure!(strait.is_running()?, "strait ended:\n{}", strait.log());
    Ok(())
}

/// Far more data than the byte budget waits at the source while the target does not answer.
pub async fn a_target_that_is_away_bounds_memory(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("backlog");
    pair.source.create_topic(&topic, 4, &[]).await?;
    let mut strait = pair.strait("")?;
    strait.limit_memory("16MiB")?;
    strait.run()?;
    eventually(30, "the topic on the target", async || {
        pair.target.topic_configs(&topic).await
    })
    .await?;
    pair.target.kill().await?;
    let application = Application::new(&pair.source, "none")?;
    let mut expected = Content::new();
    for partition in 0..4 {
        let records = wide_records(partition, 60 * scale());
        application.produce(&topic, partition, &records)?;
        expected.insert((topic.clone(), partition), digests(&records));
    }
    // Long enough to read everything, if nothing held it back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let peak = strait.peak_memory()?;
    pair.target.resume().await?;
    pair.await_equal(&expected, 120).await?;
    let limit = 120 << 20;
    ensure!(
        peak < limit,
        "peak memory {} MiB at a budget of 16 MiB",
        peak >> 20
    );
    println!(
        "backlog of 120 MB, budget of 16 MiB: peak memory {} MiB",
        peak >> 20
    );
    Ok(())
}

/// Records of half a megabyte that do not compress.
fn wide_records(partition: i32, count: usize) -> Vec<model::Record> {
    let mut random = StdRng::seed_from_u64(partition.unsigned_abs().into());
    (0..count)
        .map(|index| {
            let mut value = vec![0; 500_000];
            random.fill(&mut value[..]);
            let key = Some(format!("{partition}/{index}").into_bytes());
            model::Record {
                timestamp: model::now_ms(),
                key,
                value: Some(value),
                headers: vec![],
            }
        })
        .collect()
}

/// The metric and the log tell one outage of `cluster`, and no other, once it is over.
async fn await_one_outage(strait: &Strait, cluster: &str) -> Result<()> {
    eventually(30, "one outage", async || {
        let log = strait.log();
        let lines = ["cluster is unreachable", "cluster is reachable again"]
            .map(|what| log.lines().filter(|line| line.contains(what)).count());
        ensure!(lines == [1, 1], "{lines:?} lines of the outage in:\n{log}");
        Ok(())
    })
    .await?;
    let (_, metrics) = strait.get("/metrics")?;
    let mut counts = metrics
        .lines()
        .filter(|line| line.starts_with("strait_outages_total{"));
    let (count, others) = (counts.next().unwrap_or_default(), counts.count());
    ensure!(
        count.contains(&format!("cluster=\"{cluster}\"")) && count.ends_with("} 1") && others == 0,
        "not one outage of {cluster}:\n{metrics}"
    );
    Ok(())
}

async fn start_topic(pair: &Pair) -> Result<(String, Content)> {
    let topic = pair.topic("restart");
    pair.source.create_topic(&topic, 2, &[]).await?;
    let mut expected = Content::new();
    append(pair, &topic, &mut expected)?;
    Ok((topic, expected))
}

/// 400 more records in each of two partitions.
fn append(pair: &Pair, topic: &str, expected: &mut Content) -> Result<()> {
    let application = Application::new(&pair.source, "lz4")?;
    for partition in 0..2 {
        let all = expected.entry((topic.to_owned(), partition)).or_default();
        let records = model::mixed(5, partition, all.len(), 400);
        application.produce(topic, partition, &records)?;
        all.extend(digests(&records));
    }
    Ok(())
}
