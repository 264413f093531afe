//! Start, stop, and what an operator sees in between.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
};

/// SIGTERM drains and checkpoints: the next start goes on with the next record.
pub async fn clean_stop_and_start_repeats_nothing(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("stopped");
    pair.source.create_topic(&topic, 2, &[]).await?;
    let application = Application::new(&pair.source, "gzip")?;
    let mut expected = Content::new();
    let mut strait = pair.strait("checkpoint_interval = \"1h\"")?;
    for round in 0..3 {
        for partition in 0..2 {
            let records = model::mixed(1, partition, round * 200, 200);
            application.produce(&topic, partition, &records)?;
            expected
                .entry((topic.clone(), partition))
                .or_default()
                .extend(digests(&records));
        }
        strait.run()?;
        let verdict = pair.await_equal(&expected, 60).await?;
        ensure!(verdict.repeated == 0, "start {round}: {verdict:?}");
        let status = strait.terminate()?;
        ensure!(
            status.code() == Some(0),
            "a clean stop ended with {status}:\n{}",
            strait.log()
        );
    }
    Ok(())
}

/// strait starts before its clusters: it waits, says so, and begins when they are there.
pub async fn either_side_may_be_down_at_start(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("late");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let records = model::mixed(2, 0, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    pair.source.kill().await?;
    pair.target.kill().await?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    eventually(20, "a word about the unreachable cluster", async || {
        ensure!(strait.log().contains("east") && strait.log().contains(&pair.source.bootstrap()));
        let (code, _) = strait.get("/live")?;
        ensure!(code == 200, "/live answers {code}");
        let (code, text) = strait.get("/ready")?;
        ensure!(code == 503, "/ready answers {code}: {text}");
        Ok(())
    })
    .await?;
    pair.source.resume().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    pair.target.resume().await?;
    pair.await_equal(&Content::from([((topic, 0), digests(&records))]), 60)
        .await?;
    Ok(())
}

/// Topics that match and partitions that are added while the flow runs.
pub async fn new_topics_and_partitions_are_followed(pair: &mut Pair) -> Result<()> {
    let mut strait = pair.strait(&format!("exclude = [\"{}-excluded\"]", pair.prefix))?;
    strait.run()?;
    await_ready(&strait).await?;
    let (topic, excluded) = (pair.topic("new"), pair.topic("excluded"));
    pair.source.create_topic(&topic, 1, &[]).await?;
    pair.source.create_topic(&excluded, 1, &[]).await?;
    let mut expected = Content::new();
    let mut produce = |partition| {
        let records = model::mixed(4, partition, 0, 50);
        expected.insert((topic.clone(), partition), digests(&records));
        // A new producer each time, so that it sees partitions that were just added.
        Application::new(&pair.source, "snappy")?.produce(&topic, partition, &records)
    };
    produce(0)?;
    pair.source.grow_topic(&topic, 3).await?;
    eventually(20, "three partitions at the source", async || {
        ensure!(pair.source.partition_count(&topic)? == 3);
        Ok(())
    })
    .await?;
    produce(1)?;
    produce(2)?;
    pair.await_equal(&expected, 60).await?;
    ensure!(
        pair.target.partition_count(&excluded).is_err(),
        "the excluded topic was created"
    );
    Ok(())
}

/// `/live`, `/ready`, `/metrics`, `/v1/status` and `strait status`, on a flow that has caught up.
pub async fn http_tells_live_ready_and_lag(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("watched");
    pair.source.create_topic(&topic, 2, &[]).await?;
    let records = model::mixed(6, 1, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 1, &records)?;
    let mut strait = pair.strait("checkpoint_interval = \"200ms\"")?;
    strait.run()?;
    let expected = Content::from([((topic.clone(), 1), digests(&records))]);
    pair.await_equal(&expected, 30).await?;
    await_lag_zero(&strait).await?;
    ensure!(strait.get("/live")?.0 == 200);
    let (_, metrics) = strait.get("/metrics")?;
    let copied = metric(&metrics, "strait_records_total").context("strait_records_total")?;
    ensure!(
        (copied - 100.0).abs() < 0.5,
        "{copied} records counted, 100 copied:\n{metrics}"
    );
    ensure!(
        metrics.contains("strait_workers{"),
        "no strait_workers in\n{metrics}"
    );
    let by_url: Value = serde_json::from_str(&strait.status_by_url()?)?;
    // The same from both clusters alone, after the process is gone.
    ensure!(strait.terminate()?.success());
    let (code, text) = strait.call(&["status", "--json"])?;
    ensure!(code == 0, "status ended with {code}:\n{text}");
    let from_outside = serde_json::from_str(&text)?;
    compare_views(&by_url, &from_outside, &topic)?;
    let (code, text) = strait.call(&["check", "--json"])?;
    ensure!(code == 0, "check ended with {code}:\n{text}");
    ensure!(
        text.contains(&topic),
        "check does not name the topic:\n{text}"
    );
    let checked: Value = serde_json::from_str(&text)?;
    if std::env::var_os("STRAIT_TEST_TRANSPORT").is_none() {
        // Probed by the process and by check, each for itself.
        for (told, view) in [
            ("process", &by_url),
            ("clusters", &from_outside),
            ("check", &checked),
        ] {
            let flow = &view["flows"][0];
            ensure!(
                flow["guarantee"] == "exactly-once" && flow["transport"] == "wire",
                "{told}: {flow}"
            );
        }
        ensure!(
            metric(&metrics, "strait_exactly_once") == Some(1.0),
            "no strait_exactly_once in\n{metrics}"
        );
    }
    Ok(())
}

/// Both views have one shape, and agree on what both know.
fn compare_views(by_url: &Value, from_outside: &Value, topic: &str) -> Result<()> {
    let flows = [by_url, from_outside].map(|view| &view["flows"][0]);
    let partitions = flows.map(|flow| &flow["partitions"][1]);
    let keys = |value: &Value| -> Vec<String> {
        let keys = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys());
        keys.filter(|key| *key != "phase").cloned().collect()
    };
    for pair in [flows, partitions] {
        let [one, other] = pair.map(keys);
        ensure!(one == other && !one.is_empty(), "{one:?} and {other:?}");
    }
    ensure!(flows[0]["phase"] == "running" && flows[1].get("phase").is_none());
    ensure!(flows[0]["records"] == 100 && flows[1]["records"].is_null());
    for key in [
        "topic",
        "partition",
        "target_topic",
        "source_offset",
        "target_offset",
        "lag",
    ] {
        let [one, other] = partitions.map(|partition| &partition[key]);
        ensure!(one == other && !one.is_null(), "{key}: {one} and {other}");
    }
    ensure!(partitions[0]["topic"] == topic && partitions[0]["source_offset"] == 100);
    Ok(())
}

/// Waits until `/ready` says yes.
pub async fn await_ready(strait: &Strait) -> Result<()> {
    eventually(30, "ready", async || {
        let (code, text) = strait.get("/ready")?;
        ensure!(code == 200, "/ready answers {code}: {text}");
        Ok(())
    })
    .await
}

/// Waits until every worker has copied all there is, as the lag metric says.
pub async fn await_lag_zero(strait: &Strait) -> Result<()> {
    await_ready(strait).await?;
    eventually(30, "lag 0", async || {
        let (_, metrics) = strait.get("/metrics")?;
        let lag = metric(&metrics, "strait_lag_records").context("no strait_lag_records")?;
        ensure!(lag < 0.5, "lag {lag}");
        Ok(())
    })
    .await
}

/// The sum of a metric over its labels.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with('{') || rest.starts_with(' ')).then_some(())?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    let values: Vec<f64> = samples.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Tries until it succeeds; the last error says what was missing.
pub async fn eventually<T>(
    seconds: u64,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("not within {seconds} s: {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
