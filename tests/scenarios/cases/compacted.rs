//! A compacted topic between clusters that compact it while it is copied.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content, Member, consume},
        model::{Record, now_ms},
        pair::Pair,
        side::Side,
    },
    groups::await_followed,
    lifecycle::eventually,
};

const PARTITIONS: i32 = 2;
const KEYS: usize = 40;
/// Records of one round, which rolls a segment: the active one is never compacted.
const ROUND: usize = 50;
const ROUNDS: usize = 20;
/// Segments are as long by the records' own times, so that nothing waits for them.
const CONFIGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "100"),
];

/// All that was written to one partition: its index is a record's offset on the source.
struct Written {
    topic: String,
    began_ms: i64,
    /// By digest.
    indexes: Vec<HashMap<String, usize>>,
    /// By key: the last record, and whether it has a value.
    last: Vec<BTreeMap<usize, (usize, bool)>>,
}

impl Written {
    fn new(topic: String) -> Self {
        let partitions = PARTITIONS as usize;
        Self {
            topic,
            // All of it is past, or a broker would refuse it.
            began_ms: now_ms() - 3000 * ROUNDS as i64,
            indexes: vec![HashMap::new(); partitions],
            last: vec![BTreeMap::new(); partitions],
        }
    }

    /// One round of records in every partition: values, and tombstones among them.
    fn write(&mut self, application: &Application, round: usize) -> Result<()> {
        for partition in 0..PARTITIONS as usize {
            let records = (round * ROUND..(round + 1) * ROUND).map(|index| {
                // Neither partition nor round has the keys in the order of another.
                let key = (index * 7 + index / KEYS + partition * 11) % KEYS;
                let has_value = !index.is_multiple_of(9);
                let record = Record {
                    timestamp: self.began_ms + 3000 * round as i64 + (index % ROUND) as i64,
                    key: Some(format!("key-{key}").into_bytes()),
                    value: has_value.then(|| format!("value-{index}").into_bytes()),
                    headers: vec![("id".to_owned(), Some(index.to_string().into_bytes()))],
                };
                self.indexes[partition].insert(record.digest(), index);
                self.last[partition].insert(key, (index, has_value));
                record
            });
            let records: Vec<_> = records.collect();
            application.produce(&self.topic, partition as i32, &records)?;
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.indexes.iter().map(HashMap::len).sum()
    }

    /// The indexes of what was read from a partition.
    fn read(&self, content: &Content, partition: i32) -> Result<Vec<usize>> {
        let read = content.get(&(self.topic.clone(), partition));
        let indexes = read.into_iter().flatten().map(|digest| {
            let index = self.indexes[partition as usize].get(digest);
            index.copied().context("a record that nobody wrote")
        });
        indexes.collect()
    }

    /// Those with the last value of their key, which no compaction takes.
    fn lasting(&self, partition: i32) -> impl Iterator<Item = usize> {
        let last = self.last[partition as usize].values();
        last.filter(|(_, has_value)| *has_value)
            .map(|(index, _)| *index)
    }

    /// In order, nothing twice, and nothing that lasts is missing.
    fn is_held(&self, side: &Side) -> Result<usize> {
        let topics = [self.topic.clone()];
        let content = tokio::task::block_in_place(|| consume(side, &topics))?;
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let read = self.read(&content, partition)?;
            ensure!(read.is_sorted_by(|a, b| a < b), "{partition}: {read:?}");
            let missing = self.lasting(partition).find(|index| !read.contains(index));
            ensure!(missing.is_none(), "{partition}: {missing:?} of {read:?}");
            count += read.len();
        }
        Ok(count)
    }

    /// Waits until compaction has taken records.
    async fn is_compacted(&self, side: &Side) -> Result<()> {
        eventually(60, "compaction", async || {
            let count = self.is_held(side)?;
            ensure!(count < self.count() * 2 / 3, "{count} of {}", self.count());
            Ok(())
        })
        .await
    }
}

/// Values and tombstones; compacted on the source before and while it is copied, by a process that is killed meanwhile, and on
/// the target. Groups that move over miss nothing that is there, and read twice no more than what is told as inexact.
pub async fn a_compacted_topic_arrives_while_both_sides_compact(pair: &mut Pair) -> Result<()> {
    let mut written = Written::new(pair.topic("compacted"));
    let topic = written.topic.clone();
    pair.source
        .create_topic(&topic, PARTITIONS, &CONFIGS)
        .await?;
    let application = Application::new(&pair.source, "lz4")?;
    for round in 0..ROUNDS / 2 {
        written.write(&application, round)?;
    }
    let before = [0, 77, 203, 499];
    commit(pair, &topic, &before)?;
    written.is_compacted(&pair.source).await?;
    let mut strait = pair.strait("checkpoint_interval = \"100ms\"")?;
    strait.run()?;
    // Over librdkafka a crash repeats some.
    let is_killed = std::env::var_os("STRAIT_TEST_TRANSPORT").is_none();
    for round in ROUNDS / 2..ROUNDS {
        written.write(&application, round)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        if is_killed && round == ROUNDS * 3 / 4 {
            strait.kill()?;
            strait.run()?;
        }
    }
    let after = [510, 666, 999, 1000];
    commit(pair, &topic, &after)?;
    eventually(60, "the copy", async || written.is_held(&pair.target)).await?;
    written.is_compacted(&pair.target).await?;
    written.is_compacted(&pair.source).await?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|one| (topic.clone(), one)).collect();
    let offsets: Vec<_> = before.into_iter().chain(after).collect();
    for offset in &offsets {
        await_followed(pair, &group(pair, *offset), &partitions).await?;
    }
    let status: Value = serde_json::from_str(&strait.status_by_url()?)?;
    let groups = &status["flows"][0]["groups"];
    let inexact = groups["inexact"]
        .as_u64()
        .with_context(|| status.to_string())?;
    let mut repeating = 0;
    for offset in offsets {
        repeating += moves_over(pair, &written, offset)?;
    }
    println!("{topic}: {repeating} offsets before the exact ones, {inexact} told as such");
    ensure!(
        repeating <= inexact,
        "{repeating} repeat, {inexact} are told"
    );
    Ok(())
}

fn group(pair: &Pair, offset: usize) -> String {
    pair.topic(&format!("at-{offset}"))
}

/// A group at each of these offsets of every partition.
fn commit(pair: &Pair, topic: &str, offsets: &[usize]) -> Result<()> {
    for offset in offsets {
        for partition in 0..PARTITIONS {
            let at = i64::try_from(*offset)?;
            pair.source
                .commit(&group(pair, *offset), topic, partition, at, "")?;
        }
    }
    Ok(())
}

/// The group of this offset reads on the target; in how many partitions it reads what it had read.
fn moves_over(pair: &Pair, written: &Written, offset: usize) -> Result<u64> {
    let topics = [written.topic.clone()];
    let content = tokio::task::block_in_place(|| {
        Member::join(&pair.target, &group(pair, offset), &topics)?.read(usize::MAX)
    })?;
    let mut repeating = 0;
    for partition in 0..PARTITIONS {
        let read = written.read(&content, partition)?;
        let mut lasting = written.lasting(partition).filter(|index| *index >= offset);
        let lost = lasting.find(|index| !read.contains(index));
        ensure!(
            lost.is_none(),
            "at {offset}, {partition}: {lost:?} of {read:?}"
        );
        repeating += u64::from(read.iter().any(|index| *index < offset));
    }
    Ok(repeating)
}
