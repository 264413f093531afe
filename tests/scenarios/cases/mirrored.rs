//! What MirrorMaker 2's own tests assert and no other scenario shows (docs/COMING_FROM_MM2.md has which test shows what).

use anyhow::{Result, ensure};

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
    groups::await_followed,
    lifecycle::{await_lag_zero, await_ready, eventually},
    stops::append,
};

/// One for each of three processes.
const PARTITIONS: i32 = 3;

/// `testReplicateFromLatest` and `testNoCheckpointsIfNoRecordsAreMirrored`: nothing of what was there before arrives, and
/// no group is taken to the target before there is something for it.
pub async fn a_flow_that_starts_at_the_latest_copies_only_what_comes(
    pair: &mut Pair,
) -> Result<()> {
    let topic = pair.topic("t");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let application = Application::new(&pair.source, "lz4")?;
    application.produce(&topic, 0, &model::mixed(1, 0, 0, 50))?;
    let groups = ["behind", "at", "ahead"].map(|name| pair.topic(name));
    for (group, offset) in groups.iter().zip([30, 50]) {
        pair.source.commit(group, &topic, 0, offset, "")?;
    }
    let mut strait =
        pair.strait("start = \"latest\"\nmm2_checkpoints = true\nmm2_replication_factor = 1")?;
    strait.run()?;
    await_ready(&strait).await?;
    eventually(30, "the topic on the target", async || {
        pair.target.partition_count(&topic)
    })
    .await?;
    await_lag_zero(&strait).await?;
    let records = model::mixed(1, 0, 50, 20);
    application.produce(&topic, 0, &records)?;
    let expected = Content::from([((topic.clone(), 0), digests(&records))]);
    pair.source.commit(&groups[2], &topic, 0, 60, "")?;
    let verdict = pair.await_equal(&expected, 30).await?;
    ensure!(verdict.repeated == 0, "{verdict:?}");
    let partition = [(topic.clone(), 0)];
    for (group, offset) in groups[1..].iter().zip([0, 10]) {
        await_followed(pair, group, &partition).await?;
        let found = pair.target.committed(group, &topic, 0)?;
        ensure!(found.0 == offset, "{group}: {found:?}");
    }
    // What it has not read and the target never had is no reason to leave out what is there.
    let found = pair.target.committed(&groups[0], &topic, 0)?;
    ensure!(found.0 <= 0, "{found:?}");
    Ok(())
}

/// `testReplicationWithEmptyPartition`, and `testOffsetTranslationBehindReplicationFlow` with a transactional producer, where
/// MirrorMaker 2 asserts no more than that the checkpoint moves: offsets are those that the model counts.
pub async fn groups_far_behind_on_nothing_and_set_back_follow_exactly(
    pair: &mut Pair,
) -> Result<()> {
    let (topic, group) = (pair.topic("t"), pair.topic("readers"));
    pair.source.create_topic(&topic, 2, &[]).await?;
    let writer = Application::transactional(pair.source.client(), &pair.topic("writer"))?;
    // By offset on the source: how many records before it arrive. Markers and what is aborted do not.
    let (mut before, mut copied) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let (count, commits) = (97 + round % 7, round % 4 != 2);
        let records = model::mixed(7, 0, round * 200, count);
        writer.transaction(&topic, 0, &records, commits)?;
        for record in digests(&records) {
            before.push(copied.len());
            copied.extend(commits.then_some(record));
        }
        before.push(copied.len());
    }
    before.push(copied.len());
    let expected = Content::from([
        ((topic.clone(), 0), copied),
        ((topic.clone(), 1), Vec::new()),
    ]);
    let mut strait = pair.strait("checkpoint_interval = \"200ms\"")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    let partitions = [(topic.clone(), 0), (topic.clone(), 1)];
    let last = before.len() - 1;
    for offset in [last * 9 / 10, last / 10, last] {
        // Nothing was ever in the other partition.
        pair.source.commit(&group, &topic, 0, offset as i64, "")?;
        pair.source.commit(&group, &topic, 1, 0, "")?;
        await_followed(pair, &group, &partitions).await?;
        for (partition, wanted) in [(0, before[offset]), (1, 0)] {
            let found = pair.target.committed(&group, &topic, partition)?;
            ensure!(
                found.0 == wanted as i64,
                "{offset}: {found:?}, not {wanted}"
            );
        }
    }
    Ok(())
}

/// `DedicatedMirrorIntegrationTest` with several nodes: records of three processes arrive once under an alias with more than
/// letters in it, topics that come while they run too, and a new configuration takes hold process by process. Offset
/// syncs, which nobody asked for, are nowhere (`testReplicationWithoutOffsetSyncWillNotCreateOffsetSyncsTopic`).
pub async fn three_processes_take_new_topics_and_a_new_configuration_one_by_one(
    pair: &mut Pair,
) -> Result<()> {
    const ALIAS: &str = "e-a.s_t";
    let [first, later, other] = ["first", "later", "other"].map(|name| pair.topic(name));
    let narrow = format!("topics = [\"{first}\", \"{later}\"]");
    let wide = format!("topics = [\"{}-.*\"]", pair.prefix);
    let instances = ["a", "b", "c"].iter();
    let processes = instances.map(|instance| process(pair, instance, ALIAS, [&wide, &narrow]));
    let mut processes = processes.collect::<Result<Vec<_>>>()?;
    for topic in [&first, &other] {
        pair.source.create_topic(topic, PARTITIONS, &[]).await?;
    }
    let (mut expected, mut excluded) = (Content::new(), Content::new());
    write(pair, &first, &mut expected)?;
    write(pair, &other, &mut excluded)?;
    processes.iter_mut().try_for_each(Strait::run)?;
    for process in &processes {
        await_ready(process).await?;
    }
    arrives_once(pair, ALIAS, &expected).await?;
    pair.source.create_topic(&later, PARTITIONS, &[]).await?;
    write(pair, &later, &mut expected)?;
    arrives_once(pair, ALIAS, &expected).await?;
    for process in &mut processes {
        ensure!(process.terminate()?.success(), "{}", process.log());
        process.edit(|text| text.replace(&narrow, &wide))?;
        write(pair, &first, &mut expected)?;
        process.run()?;
        await_ready(process).await?;
    }
    expected.extend(excluded);
    write(pair, &other, &mut expected)?;
    arrives_once(pair, ALIAS, &expected).await?;
    // Other aliases are those of neighbours, whose MirrorMaker 2 may write such a topic.
    let syncs = format!("mm2-offset-syncs.{ALIAS}.internal");
    for side in [&pair.source, &pair.target] {
        ensure!(side.partition_count(&syncs).is_err(), "{syncs} is there");
    }
    Ok(())
}

/// One of those who share the flow.
fn process(pair: &Pair, instance: &str, alias: &str, [wide, narrow]: [&str; 2]) -> Result<Strait> {
    let strait = pair.strait(&format!(
        "instance = \"{instance}\"\nnaming = \"prefix\"\ncheckpoint_interval = \"200ms\""
    ))?;
    strait.edit(|text| {
        text.replace("[clusters.east]", &format!("[clusters.\"{alias}\"]"))
            .replace("source = \"east\"", &format!("source = \"{alias}\""))
            .replace(wide, narrow)
    })?;
    Ok(strait)
}

/// More in every partition.
fn write(pair: &Pair, topic: &str, expected: &mut Content) -> Result<()> {
    (0..PARTITIONS).try_for_each(|partition| append(pair, topic, partition, expected))
}

/// Under the names that topics have on the target.
async fn arrives_once(pair: &Pair, alias: &str, expected: &Content) -> Result<()> {
    let renamed = expected.iter().map(|((topic, partition), records)| {
        ((format!("{alias}.{topic}"), *partition), records.clone())
    });
    let verdict = pair.await_equal(&renamed.collect(), 60).await?;
    let at_least_once = std::env::var_os("STRAIT_TEST_TRANSPORT").is_some();
    ensure!(at_least_once || verdict.repeated == 0, "{verdict:?}");
    Ok(())
}
