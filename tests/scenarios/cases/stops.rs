//! What strait will not guess: the worker stops with a reason, its neighbours go on.

use anyhow::{Result, ensure};

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::{self, Pair},
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::eventually,
};

/// Records that were never copied are gone at the source.
pub async fn a_gap_in_the_source_stops_one_worker(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, mut expected) = copied_topic(pair).await?;
    append(pair, &topic, 0, &mut expected)?;
    let gone = expected[&(topic.clone(), 0)].len() as i64 - 50;
    pair.source.delete_records(&topic, 0, gone).await?;
    strait.run()?;
    await_stop(&strait, "offset_out_of_range", &topic).await?;
    // The neighbour goes on.
    append(pair, &topic, 1, &mut expected)?;
    expected.retain(|(_, partition), _| *partition == 1);
    pair.await_equal(&expected, 30).await?;
    Ok(())
}

/// The same name, another topic: nothing of it is copied behind the old records.
pub async fn a_recreated_source_topic_stops_its_workers(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, expected) = copied_topic(pair).await?;
    recreate(&pair.source, &topic).await?;
    Application::new(&pair.source, "none")?.produce(&topic, 0, &model::mixed(77, 0, 0, 500))?;
    strait.run()?;
    await_stop(&strait, "source_topic_recreated", &topic).await?;
    pair.await_equal(&expected, 5).await?;
    Ok(())
}

/// A target topic that an operator deleted is not silently filled again.
pub async fn a_recreated_target_topic_stops_its_workers(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, _) = copied_topic(pair).await?;
    recreate(&pair.target, &topic).await?;
    strait.run()?;
    await_stop(&strait, "target_topic_recreated", &topic).await?;
    let content = pair::content(&pair.target, std::slice::from_ref(&topic))?;
    ensure!(
        content.values().all(Vec::is_empty),
        "records were written to the new topic"
    );
    Ok(())
}

/// No checkpoint and a target that holds records: never taken for a fresh start.
pub async fn a_target_that_is_not_empty_is_not_appended_to(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("occupied");
    pair.source.create_topic(&topic, 1, &[]).await?;
    pair.target.create_topic(&topic, 1, &[]).await?;
    Application::new(&pair.source, "none")?.produce(&topic, 0, &model::mixed(1, 0, 0, 50))?;
    let theirs = model::mixed(2, 0, 0, 20);
    Application::new(&pair.target, "none")?.produce(&topic, 0, &theirs)?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    await_stop(&strait, "checkpoint_missing", &topic).await?;
    pair.await_equal(&Content::from([((topic, 0), digests(&theirs))]), 5)
        .await?;
    Ok(())
}

/// A checkpoint from a later release, and one of another cluster.
pub async fn a_foreign_checkpoint_is_refused(pair: &mut Pair) -> Result<()> {
    let (topic, mut strait, _) = copied_topic(pair).await?;
    let group = format!("strait.{}", pair.prefix);
    let stored = pair.target.committed(&group, &topic, 0)?;
    pair.target
        .commit(&group, &topic, 0, stored.0, "strait/999 something=new")?;
    strait.run()?;
    await_stop(&strait, "checkpoint_unknown_version", &topic).await?;
    strait.terminate()?;
    let kept = pair.target.committed(&group, &topic, 0)?;
    ensure!(
        kept.1 == "strait/999 something=new",
        "an older release wrote over it: {kept:?}"
    );
    // The checkpoints of a flow of the same name from another source: a mistyped alias.
    pair.target.commit(&group, &topic, 0, stored.0, &stored.1)?;
    let other = super::super::side::Side::start(super::super::side::Kind::Lite).await?;
    let flow = format!("name = \"{0}\"\ntopics = [\"{0}-.*\"]", pair.prefix);
    let mut strait = Strait::new(&other, &pair.target, &flow)?;
    strait.run()?;
    let code = eventually(30, "the end of strait", async || strait.exit_code()).await?;
    ensure!(
        code == 2,
        "a foreign cluster id ended with {code}:\n{}",
        strait.log()
    );
    Ok(())
}

/// A topic of two partitions that a flow copied and then stopped.
pub async fn copied_topic(pair: &Pair) -> Result<(String, Strait, Content)> {
    let topic = pair.topic("stop");
    pair.source.create_topic(&topic, 2, &[]).await?;
    let mut expected = Content::new();
    for partition in 0..2 {
        append(pair, &topic, partition, &mut expected)?;
    }
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    ensure!(
        strait.terminate()?.success(),
        "strait failed:\n{}",
        strait.log()
    );
    Ok((topic, strait, expected))
}

/// 100 more records in a partition.
pub fn append(pair: &Pair, topic: &str, partition: i32, expected: &mut Content) -> Result<()> {
    let all = expected.entry((topic.to_owned(), partition)).or_default();
    let records = model::mixed(5, partition, all.len(), 100);
    Application::new(&pair.source, "lz4")?.produce(topic, partition, &records)?;
    all.extend(digests(&records));
    Ok(())
}

/// Waits until `/v1/status` shows the reason, and the log says it with the topic's name.
pub async fn await_stop(strait: &Strait, reason: &str, topic: &str) -> Result<()> {
    eventually(30, reason, async || {
        let (_, status) = strait.get("/v1/status")?;
        ensure!(
            status.contains(reason),
            "{reason} is not in the status:\n{status}"
        );
        let log = strait.log();
        ensure!(
            log.lines()
                .any(|line| line.contains(reason) && line.contains(topic)),
            "no line of the log has {reason} and {topic}:\n{log}"
        );
        // Ready means able to work; a stopped worker does not change that.
        ensure!(strait.get("/ready")?.0 == 200);
        Ok(())
    })
    .await
}

pub async fn recreate(side: &super::super::side::Side, topic: &str) -> Result<()> {
    side.delete_topic(topic).await?;
    eventually(20, "the topic to go", async || {
        ensure!(
            side.partition_count(topic).is_err(),
            "{topic} is still there"
        );
        Ok(())
    })
    .await?;
    make_again(side, topic).await
}

/// A topic of two partitions whose namesake was just deleted.
pub async fn make_again(side: &super::super::side::Side, topic: &str) -> Result<()> {
    eventually(20, "the topic again", async || {
        side.create_topic(topic, 2, &[]).await
    })
    .await
}
