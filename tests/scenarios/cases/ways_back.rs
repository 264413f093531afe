//! Consumers that moved to the target and come back to the source.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::{
    super::{
        clients::{Application, Content, Member, consume, offsets},
        model::{self, Record},
        pair::{Pair, content},
        strait::Strait,
    },
    fidelity::digests,
    groups::{await_followed, join, read},
    lifecycle::eventually,
};

/// A part on the source, strait is killed and started, a part on the target, and the rest on the source again: of plain
/// records, of transactions, some aborted, and of a topic that was compacted. And of many places on the target
/// each is exact.
pub async fn consumers_that_come_back_read_every_record_once(pair: &mut Pair) -> Result<()> {
    let topics = ["plain", "transactions", "compacted"].map(|name| pair.topic(name));
    let mut expected = written(pair, &topics).await?;
    let group = pair.topic("readers");
    let mut found = Content::new();
    for (topic, most) in topics.iter().zip([150, 60, 20]) {
        let some = std::slice::from_ref(topic);
        join(&mut found, read(&pair.source, &group, some, most)?);
    }
    let mut strait = pair.strait("checkpoint_interval = \"50ms\"")?;
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    strait.kill()?;
    for partition in 0..2 {
        let records = model::mixed(4, partition, 5000, 90);
        Application::new(&pair.source, "zstd")?.produce(&topics[0], partition, &records)?;
        let all = expected.entry((topics[0].clone(), partition)).or_default();
        all.extend(digests(&records));
    }
    strait.run()?;
    pair.await_equal(&expected, 60).await?;
    let partitions: Vec<_> = expected.keys().cloned().collect();
    await_followed(pair, &group, &partitions).await?;

    for (topic, most) in topics.iter().zip([250, 90, 30]) {
        let some = std::slice::from_ref(topic);
        join(&mut found, read(&pair.target, &group, some, most)?);
    }
    let back = ["return", "--group", &group];
    let member = tokio::task::block_in_place(|| {
        let mut member = Member::join(&pair.target, &group, &topics[..1])?;
        join(&mut found, member.read(10)?);
        anyhow::Ok(member)
    })?;
    let (code, text) = strait.groups(&back)?;
    ensure!(
        code == 4 && text.contains("members on west"),
        "{code}: {text}"
    );
    drop(member);
    // While it runs, and once it is stopped.
    eventually(30, "no members", async || {
        let (code, text) = strait.groups(&[&back[..], &["--dry-run"]].concat())?;
        ensure!(code == 0, "{code}: {text}");
        Ok(())
    })
    .await?;
    every_place_is_exact(pair, &strait, &topics).await?;
    strait.terminate()?;
    let (code, text) = strait.groups(&back)?;
    ensure!(code == 0, "{code}: {text}");

    let member = tokio::task::block_in_place(|| {
        let mut member = Member::join(&pair.source, &group, &topics)?;
        join(&mut found, member.read(usize::MAX)?);
        anyhow::Ok(member)
    })?;
    for (partition, all) in &expected {
        let read = found.get(partition).map_or(0, Vec::len);
        ensure!(
            found.get(partition) == Some(all),
            "{partition:?}: {read} read of {}",
            all.len()
        );
    }
    let (code, text) = strait.groups(&[&back[..], &["--rewind"]].concat())?;
    ensure!(
        code == 4 && text.contains("members on east"),
        "{code}: {text}"
    );
    drop(member);
    Ok(())
}

/// Fills the topics, each of two partitions; what consumers of them are to read.
async fn written(pair: &Pair, topics: &[String; 3]) -> Result<Content> {
    let [plain, transactions, compacted] = topics;
    let mut expected = Content::new();
    for topic in [plain, transactions] {
        pair.source.create_topic(topic, 2, &[]).await?;
    }
    let application = Application::new(&pair.source, "lz4")?;
    let transactional = Application::transactional(pair.source.client(), &pair.topic("writer"))?;
    for partition in 0..2 {
        let records = model::mixed(1, partition, 0, 300);
        application.produce(plain, partition, &records)?;
        expected.insert((plain.clone(), partition), digests(&records));
        let mut committed = Vec::new();
        for round in 0..30 {
            let records = model::mixed(2, partition, round * 100, 5 + round % 5);
            transactional.transaction(transactions, partition, &records, round % 3 != 1)?;
            if round % 3 != 1 {
                committed.extend(digests(&records));
            }
        }
        expected.insert((transactions.clone(), partition), committed);
    }
    compact(pair, compacted).await?;
    let held = content(&pair.source, std::slice::from_ref(compacted))?;
    ensure!(
        held.values().all(|all| (30..150).contains(&all.len())),
        "{held:?}"
    );
    expected.extend(held);
    Ok(expected)
}

/// A topic of which compaction left about every fourth record, and which stays so.
async fn compact(pair: &Pair, topic: &str) -> Result<()> {
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("segment.ms", "1"),
    ];
    pair.source.create_topic(topic, 2, &configs).await?;
    let application = Application::new(&pair.source, "lz4")?;
    for batch in 0..50usize {
        for partition in 0..2 {
            let records = (0..4).map(|index| {
                let number = 4 * batch + index;
                Record {
                    timestamp: model::now_ms(),
                    key: Some(format!("k{}", number * number % 113).into_bytes()),
                    value: Some(format!("{partition}/{number}").into_bytes()),
                    headers: Vec::new(),
                }
            });
            application.produce(topic, partition, &records.collect::<Vec<_>>())?;
        }
    }
    let mut before = 0;
    eventually(90, "compaction", async || {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let held = tokio::task::block_in_place(|| consume(&pair.source, &[topic.to_owned()]))?;
        let left = held.values().map(Vec::len).sum();
        let same = left == std::mem::replace(&mut before, left);
        ensure!(same && left < 300, "{left} are left");
        Ok(())
    })
    .await?;
    let lag = [("min.compaction.lag.ms", Some("100000000000"))];
    pair.source.alter_topic(topic, &lag).await
}

/// Groups at many places on the target, and what strait says of them, against lists of what lies where.
async fn every_place_is_exact(pair: &Pair, strait: &Strait, topics: &[String]) -> Result<()> {
    let [source, target] = [&pair.source, &pair.target]
        .map(|side| tokio::task::block_in_place(|| offsets(side, topics)));
    let (source, target) = (source?, target?);
    for number in 0..130 {
        let group = pair.topic(&format!("at-{number}"));
        let places = target.iter().filter_map(|((topic, partition), all)| {
            let at = number * all.len().div_ceil(128);
            let end = all.last().map_or(0, |last| last + 1);
            (at <= all.len()).then_some((topic.as_str(), *partition, *all.get(at).unwrap_or(&end)))
        });
        let places: Vec<_> = places.collect();
        pair.target.commit_all(&group, &places).await?;
    }
    let (code, text) = strait.groups(&["return", "--dry-run", "--json"])?;
    ensure!(code == 0, "{code}: {text}");
    let returned: serde_json::Value = serde_json::from_str(&text)?;
    let groups = returned["groups"].as_array().context("groups")?;
    let mut places: BTreeMap<(String, i32), usize> = BTreeMap::new();
    let rows = groups
        .iter()
        .flat_map(|group| group["partitions"].as_array());
    // Where the readers read nothing on the target.
    let is_told = |row: &&serde_json::Value| !row["source_offset"].is_null();
    for row in rows.flatten().filter(is_told) {
        let number = |key: &str| row[key].as_i64().with_context(|| format!("{key} of {row}"));
        let topic = row["topic"].as_str().context("a topic")?.to_owned();
        let key = (topic, i32::try_from(number("partition")?)?);
        let (at, to) = (number("target_offset")?, number("source_offset")?);
        let before = |all: &[i64], at: i64| all.iter().filter(|offset| **offset < at).count();
        let exact = number("again")? == 0;
        let same = before(&source[&key], to) == before(&target[&key], at);
        ensure!(exact && same, "{row}");
        *places.entry(key).or_default() += 1;
    }
    let enough = places.values().all(|count| *count >= 50);
    ensure!(places.len() == target.len() && enough, "{places:?}");
    Ok(())
}
