//! Consumers that move from the source to the target.

use anyhow::{Result, ensure};

use super::{
    super::{
        clients::{Application, Content, Member, OpenOffset},
        model,
        pair::Pair,
        side::Side,
    },
    fidelity::digests,
    lifecycle::eventually,
};

/// Waits until the group has on the target what it committed on the source for these partitions, as its marks tell; nothing
/// where it has committed nothing.
pub(super) async fn await_followed(
    pair: &Pair,
    group: &str,
    partitions: &[(String, i32)],
) -> Result<()> {
    await_marks(
        [&pair.source, &pair.target],
        &pair.prefix,
        group,
        partitions,
    )
    .await
}

/// The same of any flow, from and to these sides.
pub(super) async fn await_marks(
    [source, target]: [&Side; 2],
    flow: &str,
    group: &str,
    partitions: &[(String, i32)],
) -> Result<()> {
    eventually(60, "the group's offsets on the target", async || {
        for (topic, partition) in partitions {
            let (committed, _) = source.committed(group, topic, *partition)?;
            let (offset, metadata) = target.committed(group, topic, *partition)?;
            let committed = committed.max(-1);
            if committed < 0 && offset < 0 {
                continue;
            }
            let mark = format!("strait/1 {flow} {committed}");
            ensure!(
                metadata == mark,
                "{topic}-{partition} at {offset}: {metadata:?}, not {mark:?}"
            );
        }
        Ok(())
    })
    .await
}

/// Reads as a member of the group, off the runtime.
pub(super) fn read(side: &Side, group: &str, topics: &[String], most: usize) -> Result<Content> {
    tokio::task::block_in_place(|| Member::join(side, group, topics)?.read(most))
}

/// A part on the source, then strait is killed and started, a part more, and the rest on the target: of plain records, of
/// transactions, some aborted, and of a topic that lost its beginning, so that offsets differ on both sides.
pub async fn consumers_that_move_over_read_every_record_once(pair: &mut Pair) -> Result<()> {
    let names = ["plain", "transactions", "trimmed"];
    let topics: Vec<String> = names.iter().map(|name| pair.topic(name)).collect();
    let mut expected = Content::new();
    for topic in &topics {
        pair.source.create_topic(topic, 2, &[]).await?;
    }
    let plain = Application::new(&pair.source, "lz4")?;
    let transactional = Application::transactional(pair.source.client(), &pair.topic("writer"))?;
    for partition in 0..2 {
        let records = model::mixed(1, partition, 0, 600);
        plain.produce(&topics[0], partition, &records)?;
        expected.insert((topics[0].clone(), partition), digests(&records));
        let mut committed = Vec::new();
        for round in 0..30 {
            let records = model::mixed(2, partition, round * 100, 7 + round % 5);
            transactional.transaction(&topics[1], partition, &records, round % 3 != 1)?;
            if round % 3 != 1 {
                committed.extend(digests(&records));
            }
        }
        expected.insert((topics[1].clone(), partition), committed);
        let records = model::mixed(3, partition, 0, 200);
        plain.produce(&topics[2], partition, &records)?;
        pair.source
            .delete_records(&topics[2], partition, 50)
            .await?;
        expected.insert((topics[2].clone(), partition), digests(&records[50..]));
    }
    let partitions: Vec<_> = expected.keys().cloned().collect();
    let group = pair.topic("readers");
    let mut found = Content::new();
    // By topic, so that each of them is in part read.
    for (topic, most) in topics.iter().zip([250, 90, 80]) {
        let some = std::slice::from_ref(topic);
        join(&mut found, read(&pair.source, &group, some, most)?);
    }
    let mut strait = pair.strait("group_offsets = true\ncheckpoint_interval = \"50ms\"")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    strait.kill()?;
    for round in 0..10 {
        for partition in 0..2 {
            let records = model::mixed(4, partition, round * 100, 9);
            transactional.transaction(&topics[1], partition, &records, round % 4 != 2)?;
            if round % 4 != 2 {
                let all = expected.entry((topics[1].clone(), partition)).or_default();
                all.extend(digests(&records));
            }
        }
    }
    join(&mut found, read(&pair.source, &group, &topics[1..2], 60)?);
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    await_followed(pair, &group, &partitions).await?;
    join(&mut found, read(&pair.target, &group, &topics, usize::MAX)?);
    for (partition, all) in &expected {
        let read = found.get(partition).map_or(0, Vec::len);
        ensure!(
            found.get(partition) == Some(all),
            "{partition:?}: {read} read of {}",
            all.len()
        );
    }
    Ok(())
}

/// While members are there, after they have committed and gone, and when an operator says that the group is to follow
/// again; at no time is it moved but by that.
pub async fn who_moved_over_is_left_alone_until_told_otherwise(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("t");
    let topics = [topic.clone()];
    pair.source.create_topic(&topic, 1, &[]).await?;
    let records = model::mixed(1, 0, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    let expected = Content::from([((topic.clone(), 0), digests(&records))]);
    let group = pair.topic("readers");
    pair.source.commit(&group, &topic, 0, 10, "")?;
    let mut strait = pair.strait("group_offsets = true")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    await_followed(pair, &group, &[(topic.clone(), 0)]).await?;
    // It moves over and stays; meanwhile somebody commits for it on the source.
    let member = tokio::task::block_in_place(|| {
        let mut member = Member::join(&pair.target, &group, &topics)?;
        let read = member.read(20)?;
        ensure!(read[&(topic.clone(), 0)] == expected[&(topic.clone(), 0)][10..30]);
        Ok(member)
    })?;
    pair.source.commit(&group, &topic, 0, 70, "")?;
    await_left(&strait, &group, "active").await?;
    drop(member);
    await_left(&strait, &group, "not_ours").await?;
    ensure!(pair.target.committed(&group, &topic, 0)?.0 == 30);
    let resume = ["resume", "--group", &group];
    let (code, text) = strait.groups(&[&resume[..], &["--dry-run"]].concat())?;
    ensure!(
        code == 0 && text.contains("30") && text.contains("nothing was changed"),
        "{text}"
    );
    ensure!(pair.target.committed(&group, &topic, 0)?.0 == 30);
    let (code, text) = strait.groups(&resume)?;
    ensure!(
        code == 0 && text.contains("follows the source again"),
        "{text}"
    );
    await_followed(pair, &group, &[(topic.clone(), 0)]).await?;
    ensure!(pair.target.committed(&group, &topic, 0)?.0 == 70);
    let (code, text) = strait.groups(&resume)?;
    ensure!(code == 2 && text.contains("no offsets"), "{code} {text}");
    Ok(())
}

/// Consumers by KIP-848 on both sides, a share group, and a group that is deleted; only Apache Kafka has the first two.
pub async fn groups_of_new_kinds_follow_or_are_told(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("t");
    let topics = [topic.clone()];
    pair.source.create_topic(&topic, 1, &[]).await?;
    let records = model::mixed(1, 0, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    let expected = Content::from([((topic.clone(), 0), digests(&records))]);
    let partition = [(topic.clone(), 0)];
    let (readers, deleted) = (pair.topic("readers"), pair.topic("deleted"));
    pair.source.commit(&deleted, &topic, 0, 10, "")?;
    let kinds = [&pair.source, &pair.target];
    let [from, to] = kinds.map(|side| match side {
        Side::Kafka(_) => "consumer",
        Side::Lite { .. } => "classic",
    });
    let (member, mut found) = tokio::task::block_in_place(|| {
        let mut member = Member::join_by(from, &pair.source, &readers, &topics)?;
        let read = member.read(30)?;
        anyhow::Ok((member, read))
    })?;
    let shared = pair.topic("shared");
    if matches!(pair.source, Side::Kafka(_)) {
        pair.source.share(&shared, &topic).await?;
    }
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    // While the member is there.
    await_followed(pair, &readers, &partition).await?;
    await_followed(pair, &deleted, &partition).await?;
    if matches!(pair.source, Side::Kafka(_)) {
        await_left(&strait, &shared, "share_group").await?;
    }
    drop(member);
    pair.source.delete_group(&deleted).await?;
    await_left(&strait, &deleted, "gone").await?;
    ensure!(pair.target.committed(&deleted, &topic, 0)?.0 == 10);
    let rest = tokio::task::block_in_place(|| {
        let mut member = Member::join_by(to, &pair.target, &readers, &topics)?;
        member.read(usize::MAX)
    })?;
    join(&mut found, rest);
    ensure!(
        found == expected,
        "what is read in all is not each record once"
    );
    await_left(&strait, &readers, "not_ours").await?;
    let (code, text) = strait.groups(&["resume", "--group", &readers])?;
    ensure!(code == 0, "{text}");
    // Its members are gone; the group is of the new kind still.
    await_followed(pair, &readers, &partition).await
}

/// Of groups that committed on the target before, and of those that did not: brokers tell of both, but not in one way.
pub async fn offsets_in_a_transaction_that_is_open_are_waited_for(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("t");
    let partition = [(topic.clone(), 0)];
    pair.source.create_topic(&topic, 1, &[]).await?;
    let records = model::mixed(1, 0, 0, 100);
    Application::new(&pair.source, "lz4")?.produce(&topic, 0, &records)?;
    let expected = Content::from([((topic.clone(), 0), digests(&records))]);
    let mut strait = pair.strait("")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    let groups = ["before", "new", "aborts"].map(|name| pair.topic(name));
    pair.source.commit(&groups[0], &topic, 0, 5, "")?;
    await_followed(pair, &groups[0], &partition).await?;
    let open = tokio::task::block_in_place(|| {
        let open = groups.iter();
        let open = open.map(|group| OpenOffset::send(&pair.target, group, &topic, 7));
        open.collect::<Result<Vec<_>>>()
    })?;
    for group in &groups {
        pair.source.commit(group, &topic, 0, 9, "")?;
    }
    eventually(60, "the groups to wait", async || {
        let status: serde_json::Value = serde_json::from_str(&strait.status_by_url()?)?;
        let groups = &status["flows"][0]["groups"];
        ensure!(
            groups["waiting"] == 3 && groups["left_alone"] == 0,
            "{groups}"
        );
        Ok(())
    })
    .await?;
    tokio::task::block_in_place(|| {
        let mut ends = open.into_iter().zip([true, true, false]);
        ends.try_for_each(|(open, commits)| open.end(commits))
    })?;
    await_followed(pair, &groups[2], &partition).await?;
    for group in &groups[..2] {
        await_left(&strait, group, "not_ours").await?;
        ensure!(pair.target.committed(group, &topic, 0)?.0 == 7);
    }
    Ok(())
}

async fn await_left(
    strait: &super::super::strait::Strait,
    group: &str,
    reason: &str,
) -> Result<()> {
    eventually(60, "the group to be left alone", async || {
        let status: serde_json::Value = serde_json::from_str(&strait.status_by_url()?)?;
        let groups = &status["flows"][0]["groups"];
        let left = groups["left"].as_array().cloned().unwrap_or_default();
        let is_it = |left: &serde_json::Value| left["group"] == group && left["reason"] == reason;
        ensure!(left.iter().any(is_it), "{groups}");
        Ok(())
    })
    .await
}

pub(super) fn join(all: &mut Content, more: Content) {
    for (partition, records) in more {
        all.entry(partition).or_default().extend(records);
    }
}
