//! The connectors of MirrorMaker 2 on Kafka Connect stop, strait goes on; strait stops, they go on. Strimzi's operator is such
//! a Connect with names of its own.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    super::{
        clients::{Application, Content, Member},
        connect::Worker,
        model,
        pair::Pair,
        side::Side,
        strait::Strait,
    },
    connectors::Mirror,
    fidelity::digests,
    handover::{
        Load, PARTITIONS, all_are_taken_over, await_ends, await_repeated, recognised, taken_over,
        write_more,
    },
    lifecycle::eventually,
};

/// What Strimzi's operator has where a resource of v1beta2 names nothing (`KafkaMirrorMaker2Cluster`).
const STRIMZIS: [&str; 2] = ["mirrormaker2-cluster-offsets", "mirrormaker2-cluster"];

/// `strait import-mm2 --takeover`, the one command; its code and what it printed.
fn import(strait: &Strait, file: &Path, more: &str) -> Result<(i32, String)> {
    let file = file.display();
    strait.line(&format!(
        "strait import-mm2 --takeover --json --force --output strait.toml {file} {more}"
    ))
}

/// Beside other processes: the file that was made says nothing of where to answer.
fn answer_at_its_own_port(strait: &Strait) -> Result<()> {
    let listen = strait.url().replace("http://", "");
    strait.edit(|text| format!("{text}\n[http]\nlisten = \"{listen}\"\n"))
}

/// A worker that is killed while records go on arriving, and connectors that are stopped while it lives. On broker-lite the
/// test does what Strimzi's worker would.
pub async fn connectors_are_taken_over_from_and_given_back_to(pair: &mut Pair) -> Result<()> {
    match pair.target {
        Side::Kafka(_) => with_a_worker(pair).await,
        Side::Lite { .. } => with_strimzis_names(pair).await,
    }
}

async fn with_a_worker(pair: &Pair) -> Result<()> {
    let [offsets, group] = ["offsets", "workers"].map(|name| format!("{}-{name}", pair.prefix));
    let mirror = Mirror::new(pair, "mirrored", [&offsets, &group]).await?;
    let (topic, kept) = (&mirror.topic, &mirror.kept);
    let mut worker = Worker::new(&pair.target, &group, &offsets)?;
    let load = Load::begin(pair, topic, 0)?;
    worker.run()?;
    post(&worker, &mirror).await?;
    kept.await_beyond(pair, topic, || worker.log()).await?;
    let mut strait = pair.strait("")?;
    let folder = tempfile::tempdir()?;
    let connectors = folder.path().join("connectors.json");
    let told = worker.ask("GET", "/connectors?expand=info", None)?;
    std::fs::write(&connectors, told.to_string())?;
    let options = format!("--offsets-topic {offsets} --group {group}");
    let (code, text) = import(&strait, &connectors, &options)?;
    let is_refused = code == 4 && text.contains("MirrorMaker 2 runs");
    ensure!(is_refused, "{code}: {text}");
    worker.kill()?;
    let copied = pair.verdict(&load.so_far(), std::slice::from_ref(topic))?;
    eventually(60, "the takeover", async || {
        let (code, text) = import(&strait, &connectors, &options)?;
        ensure!(code == 0, "{code}: {text}");
        let told: Value = serde_json::from_str(&text)?;
        all_are_taken_over(&told["takeover"][0])?;
        println!(
            "Kafka Connect killed: {} records recognised behind its positions, {} repeated by itself",
            recognised(&told["takeover"][0])?,
            copied.repeated
        );
        Ok(())
    })
    .await?;
    answer_at_its_own_port(&strait)?;
    strait.run()?;
    let mut expected = load.end().await?;
    await_repeated(pair, &expected, copied.repeated).await?;
    strait.terminate()?;
    let (code, text) = strait.call(&[&["export-mm2"][..], &mirror.options()].concat())?;
    let is_written = code == 0 && text.contains("goes on where strait stopped");
    ensure!(is_written, "{code}: {text}");
    worker.run()?;
    write_more(pair, topic, &mut expected).await?;
    await_ends(pair, &expected, || worker.log()).await?;
    await_repeated(pair, &expected, copied.repeated).await?;
    // Once more over, while the worker lives, by the line that the import of Strimzi's resource prints.
    stop(&worker, &mirror).await?;
    let line = strimzis_line(&strait, &mirror, folder.path())?;
    answer_at_its_own_port(&strait)?;
    let (code, text) = strait.line(&line)?;
    ensure!(code == 4 && text.contains("--stopped"), "{code}: {text}");
    let words: Vec<_> = line.split_whitespace().skip(4).collect();
    let words = [
        &["takeover"],
        &words[..],
        &["--force", "--stopped", "--json"],
    ]
    .concat();
    let taken = taken_over(&strait, &words).await?;
    ensure!(recognised(&taken)? == 0, "{taken}");
    strait.run()?;
    write_more(pair, topic, &mut expected).await?;
    await_repeated(pair, &expected, copied.repeated).await
}

/// Has the connectors run, once the worker answers.
async fn post(worker: &Worker, mirror: &Mirror<'_>) -> Result<()> {
    for (name, config) in mirror.connectors() {
        let body = json!({"name": name, "config": config});
        eventually(90, "Kafka Connect", async || {
            worker.ask("POST", "/connectors", Some(&body))
        })
        .await?;
    }
    Ok(())
}

/// Has them rest, and waits until they do.
async fn stop(worker: &Worker, mirror: &Mirror<'_>) -> Result<()> {
    for (name, _) in mirror.connectors() {
        let name = name.replace('>', "%3E");
        worker.ask("PUT", &format!("/connectors/{name}/stop"), None)?;
        eventually(30, "a connector that is stopped", async || {
            worker.is(&name, "STOPPED")
        })
        .await?;
    }
    Ok(())
}

/// Imports the resource over the file; the line that is told to be the next one.
fn strimzis_line(strait: &Strait, mirror: &Mirror<'_>, folder: &Path) -> Result<String> {
    let resource = folder.join("mirror.yaml");
    std::fs::write(&resource, mirror.v1())?;
    let (code, text) = strait.line(&format!(
        "strait import-mm2 --force --output strait.toml {}",
        resource.display()
    ))?;
    ensure!(code == 0, "{code}: {text}");
    let mut lines = text.lines().map(str::trim);
    let told = lines.find(|line| line.starts_with("strait checkpoint takeover"));
    // What a shell takes away.
    Ok(told.with_context(|| text.clone())?.replace('\'', ""))
}

/// The target holds more than the positions tell; both versions of the resource, one of them without names.
async fn with_strimzis_names(pair: &Pair) -> Result<()> {
    let own = ["strimzi-offsets", "strimzi-workers"];
    for (version, names) in [("v1", own), ("v1beta2", STRIMZIS)] {
        let mirror = Mirror::new(pair, version, names).await?;
        let (topic, kept) = (&mirror.topic, &mirror.kept);
        pair.target.create_topic(topic, PARTITIONS, &[]).await?;
        kept.create(pair).await?;
        let (source, target) = (
            Application::new(&pair.source, "lz4")?,
            Application::new(&pair.target, "zstd")?,
        );
        let mut expected = Content::new();
        for partition in 0..PARTITIONS {
            let records = model::mixed(9, partition, 0, 600);
            source.produce(topic, partition, &records)?;
            target.produce(topic, partition, &records[..400])?;
            kept.put(pair, topic, partition, 249)?;
            expected.insert((topic.clone(), partition), digests(&records));
        }
        let mut strait = pair.strait("")?;
        let folder = tempfile::tempdir()?;
        let resource = folder.path().join("mirror.yaml");
        let text = match version {
            "v1" => mirror.v1(),
            _ => mirror.v1beta2(),
        };
        std::fs::write(&resource, text)?;
        let member = tokio::task::block_in_place(|| {
            let mut member =
                Member::join(&pair.target, &mirror.group, std::slice::from_ref(topic))?;
            member.read(1)?;
            anyhow::Ok(member)
        })?;
        let (code, text) = import(&strait, &resource, "")?;
        let is_refused = code == 4 && text.contains("MirrorMaker 2 runs");
        ensure!(is_refused, "{code}: {text}");
        drop(member);
        eventually(60, "the takeover", async || {
            let (code, text) = import(&strait, &resource, "")?;
            ensure!(code == 0, "{code}: {text}");
            let told: Value = serde_json::from_str(&text)?;
            all_are_taken_over(&told["takeover"][0])?;
            ensure!(recognised(&told["takeover"][0])? == 300, "{text}");
            Ok(())
        })
        .await?;
        answer_at_its_own_port(&strait)?;
        strait.run()?;
        await_repeated(pair, &expected, 0).await?;
        strait.terminate()?;
        let (code, text) = strait.call(&[&["export-mm2"][..], &mirror.options()].concat())?;
        ensure!(code == 0 && text.contains("249 -> 599"), "{code}: {text}");
        for partition in 0..PARTITIONS {
            ensure!(kept.position(pair, topic, partition)? == 599);
        }
    }
    Ok(())
}
