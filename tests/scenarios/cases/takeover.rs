//! MirrorMaker 2 stops, strait goes on; strait stops, MirrorMaker 2 goes on.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content, Member},
        mirror::MirrorMaker,
        model,
        pair::Pair,
        side::Side,
    },
    fidelity::digests,
    handover::{
        Kept, Load, PARTITIONS, await_ends, await_repeated, recognised, taken_over, write_more,
    },
};

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
    let kept = Kept::dedicated(&alias);
    kept.await_beyond(pair, &topic, || mirror.log()).await?;
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
    await_repeated(pair, &expected, copied.repeated).await?;
    // Back, and once more over, with clean stops.
    strait.terminate()?;
    let (code, text) = strait.call(&["export-mm2", "--source-alias", &alias])?;
    ensure!(
        code == 0 && text.contains("goes on where strait stopped"),
        "{code}: {text}"
    );
    mirror.run()?;
    write_more(pair, &topic, &mut expected).await?;
    await_ends(pair, &expected, || mirror.log()).await?;
    await_repeated(pair, &expected, copied.repeated).await?;
    tokio::task::block_in_place(|| mirror.terminate())?;
    let force = [&takeover[..], &["--force"]].concat();
    let taken = taken_over(&strait, &force).await?;
    ensure!(recognised(&taken)? == 0, "{taken}");
    strait.run()?;
    write_more(pair, &topic, &mut expected).await?;
    await_repeated(pair, &expected, copied.repeated).await
}

/// The target holds more than the positions tell, and somebody is in the group for a while.
async fn with_its_records(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("mirrored");
    let alias = "A";
    let mut expected = Content::new();
    for side in [&pair.source, &pair.target] {
        side.create_topic(&topic, PARTITIONS, &[]).await?;
    }
    let kept = Kept::dedicated(alias);
    kept.create(pair).await?;
    let (source, target) = (
        Application::new(&pair.source, "lz4")?,
        Application::new(&pair.target, "zstd")?,
    );
    for partition in 0..PARTITIONS {
        let records = model::mixed(9, partition, 0, 900);
        source.produce(&topic, partition, &records)?;
        target.produce(&topic, partition, &records[..700])?;
        kept.put(pair, &topic, partition, 299)?;
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
        ensure!(kept.position(pair, &topic, partition)? == 899);
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
