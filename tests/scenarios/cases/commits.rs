//! Offsets that groups commit anywhere: each is exact on the target, or its bound holds and it is counted as not exact.
//!
//! Records carry numbers that grow with their offsets. What a group had not read on the source begins with the first number at
//! or behind its offset; what it gets on the target, read by another client, is to begin with that number too, or with
//! the next one that the target has. `STRAIT_TEST_SCALE=20` makes it 1,000 groups, `STRAIT_TEST_SEED` another run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use wire::{TopicPartition, client::CommittedOffset};

use super::{
    super::{
        clients::{self, Application},
        model::{Record, now_ms},
        pair::Pair,
        side::Side,
        strait::Strait,
    },
    lifecycle::eventually,
    scale, seed,
};

/// One partition each, in this order.
const KINDS: [&str; 3] = ["plain", "compacted", "transactional"];
const PLAIN: usize = 0;
const COMPACTED: usize = 1;
const TRANSACTIONAL: usize = 2;
/// For records that are not to be compacted yet.
const NOT_YET: &str = "1000000000000";
/// Of one flush: a segment of its own, for a topic that is compacted.
const TOGETHER: usize = 50;
/// How far committed offsets go beyond the end.
const BEYOND: i64 = 10;
/// Groups that are asked for at a time.
const CHUNK: usize = 100;

/// What a consumer gets of a partition: offsets and numbers.
type Held = Vec<(i64, u64)>;

/// What is known without asking strait.
struct Oracle {
    topics: [String; 3],
    /// All that could ever be read at the source.
    written: [Held; 3],
    /// Where each group is on the source.
    committed: BTreeMap<String, [i64; 3]>,
    /// Before these offsets the source holds nothing any more.
    starts: [i64; 3],
    /// Whether records are gone from the source that were copied.
    lost: bool,
    random: StdRng,
    next: u64,
}

/// What was found of all commits.
#[derive(Debug, Default)]
struct Found {
    exact: usize,
    inexact: usize,
}

/// Wherever groups stand: in gaps, among markers, before the start and behind the end; before and after everything was
/// killed, and what they had not read was compacted or deleted.
pub async fn any_offset_is_exact_or_counted_as_a_bound(pair: &mut Pair) -> Result<()> {
    let mut oracle = Oracle::begin(pair).await?;
    let mut strait = pair.strait("")?;
    oracle.write(pair)?;
    compact(pair, &oracle.topics[COMPACTED]).await?;
    strait.run()?;
    oracle.commit(&pair.source, 1).await?;
    oracle.settle(pair, &strait, "at first").await?;

    oracle.write(pair)?;
    strait.kill()?;
    pair.source.kill().await?;
    pair.target.kill().await?;
    pair.source.resume().await?;
    pair.target.resume().await?;
    oracle.commit(&pair.source, 2).await?;
    strait.run()?;
    oracle.settle(pair, &strait, "after all was killed").await?;

    compact(pair, &oracle.topics[COMPACTED]).await?;
    oracle.trim(&pair.source).await?;
    strait.kill()?;
    strait.run()?;
    oracle.commit(&pair.source, 1).await?;
    let what = "after copied records are gone";
    oracle.settle(pair, &strait, what).await
}

/// Waits until the source has compacted all but its last records, which it may not do with those that come from now on.
async fn compact(pair: &Pair, topic: &str) -> Result<()> {
    let before = read(&pair.source, topic)?;
    let lag = "min.compaction.lag.ms";
    pair.source.alter_topic(topic, &[(lag, Some("0"))]).await?;
    let mut last = before.clone();
    eventually(60, "the source to compact", async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let found = read(&pair.source, topic)?;
        let is_done = found == last && found.len() < before.len();
        last = found;
        ensure!(is_done, "{} of {} are left", last.len(), before.len());
        Ok(())
    })
    .await?;
    pair.source
        .alter_topic(topic, &[(lag, Some(NOT_YET))])
        .await
}

/// What another client reads.
fn read(side: &Side, topic: &str) -> Result<Held> {
    let values = tokio::task::block_in_place(|| clients::values(side, topic))?;
    let numbers = values.into_iter().map(|(offset, value)| {
        let number = u64::from_be_bytes(value[..].try_into()?);
        Ok((offset, number))
    });
    numbers.collect()
}

/// The number of the first record at or behind `offset`.
fn first(held: &Held, offset: i64) -> Option<u64> {
    let at = held.partition_point(|(one, _)| *one < offset);
    held.get(at).map(|(_, number)| *number)
}

impl Oracle {
    async fn begin(pair: &Pair) -> Result<Self> {
        let topics = KINDS.map(|kind| pair.topic(kind));
        for topic in &topics {
            pair.source.create_topic(topic, 1, &[]).await?;
        }
        let configs = [
            ("cleanup.policy", Some("compact")),
            ("segment.ms", Some("1000")),
            ("min.cleanable.dirty.ratio", Some("0.0")),
            ("min.compaction.lag.ms", Some(NOT_YET)),
        ];
        pair.source
            .alter_topic(&topics[COMPACTED], &configs)
            .await?;
        Ok(Self {
            topics,
            written: Default::default(),
            committed: BTreeMap::new(),
            starts: [0; 3],
            lost: false,
            random: StdRng::seed_from_u64(seed()),
            next: 0,
        })
    }

    /// Writes more to each topic, and learns what can be read of it.
    fn write(&mut self, pair: &Pair) -> Result<()> {
        let count = 250 * scale();
        let plain = Application::new(&pair.source, "lz4")?;
        let transactional =
            Application::transactional(pair.source.client(), &pair.topic("writer"))?;
        for _ in 0..count / TOGETHER {
            for kind in [PLAIN, COMPACTED] {
                let records = self.records(TOGETHER, count / 2);
                plain.produce(&self.topics[kind], 0, &records)?;
            }
        }
        let mut left = count;
        while left > 0 {
            let some = self.random.random_range(1..20).min(left);
            let (records, topic) = (self.records(some, count), &self.topics[TRANSACTIONAL]);
            // Others write between transactions, without one.
            match self.random.random_range(0..5) {
                0 => plain.produce(topic, 0, &records)?,
                turn => transactional.transaction(topic, 0, &records, turn > 2)?,
            }
            left -= some;
        }
        for (topic, written) in self.topics.iter().zip(&mut self.written) {
            let behind = written.last().map_or(-1, |(offset, _)| *offset);
            let more = read(&pair.source, topic)?;
            written.extend(more.into_iter().filter(|(offset, _)| *offset > behind));
        }
        Ok(())
    }

    /// Whose times make each flush a segment, and which have some of so many keys.
    fn records(&mut self, count: usize, keys: usize) -> Vec<Record> {
        let now = now_ms() - 3_600_000;
        let numbers = self.next..self.next + count as u64;
        self.next = numbers.end;
        let records = numbers.map(|number| Record {
            timestamp: now + i64::try_from(number / TOGETHER as u64 * 2_000).unwrap_or(0),
            key: Some(self.random.random_range(0..keys).to_be_bytes().to_vec()),
            value: Some(number.to_be_bytes().to_vec()),
            headers: Vec::new(),
        });
        records.collect()
    }

    /// Has every group, or each second or third, commit anew, anywhere.
    async fn commit(&mut self, source: &Side, step: usize) -> Result<()> {
        let client = source.wire()?;
        let groups = 50 * scale();
        for index in (0..groups).step_by(step) {
            let mut offsets = [0; 3];
            for ((offset, written), start) in offsets.iter_mut().zip(&self.written).zip(self.starts)
            {
                let end = written.last().map_or(0, |(last, _)| last + 1);
                *offset = match self.random.random_range(0..20) {
                    0 => start,
                    1 => end,
                    _ => self.random.random_range(0..=end + BEYOND),
                };
            }
            let group = format!("{}-{index:04}", self.topics[0]);
            let commits = self.topics.iter().zip(offsets).map(|(topic, offset)| {
                let committed = CommittedOffset {
                    offset,
                    leader_epoch: -1,
                    metadata: String::new(),
                };
                (TopicPartition::new(topic, 0), committed)
            });
            let commits: Vec<_> = commits.collect();
            for (partition, outcome) in client.commit_group_offsets(&group, &commits).await? {
                outcome.map_err(|error| anyhow::anyhow!("{group}, {partition}: {error}"))?;
            }
            self.committed.insert(group, offsets);
        }
        Ok(())
    }

    /// Deletes the beginning of two topics, as retention does.
    async fn trim(&mut self, source: &Side) -> Result<()> {
        for kind in [PLAIN, TRANSACTIONAL] {
            let written = &self.written[kind];
            let (start, _) = written[written.len() / 4];
            source.delete_records(&self.topics[kind], 0, start).await?;
            self.starts[kind] = start;
        }
        self.lost = true;
        Ok(())
    }

    /// Waits until all groups have followed and everything is as it is to be. That nobody is ahead holds all the time.
    async fn settle(&self, pair: &Pair, strait: &Strait, when: &str) -> Result<()> {
        let mut ahead = None;
        // Each group is looked at right before it is written.
        let patience = 100 + 20 * scale() as u64;
        let found = eventually(patience, "all groups to follow", async || {
            if ahead.is_some() {
                return Ok(Found::default());
            }
            // Before what it is about, which may be better by then.
            let counted = inexact(strait)?;
            let offsets = self.offsets(&pair.target).await?;
            let held = self.topics.iter().map(|topic| read(&pair.target, topic));
            let held = held.collect::<Result<Vec<_>>>()?;
            if let Err(error) = self.nobody_is_ahead(&pair.prefix, &offsets, &held) {
                ahead = Some(error);
                return Ok(Found::default());
            }
            let found = self.compare(&pair.prefix, &offsets, &held)?;
            ensure!(found.inexact <= counted, "{found:?}, {counted} are told");
            Ok(found)
        })
        .await
        .with_context(|| format!("{when}, seed {}", seed()))?;
        if let Some(error) = ahead {
            return Err(error.context(format!("{when}, seed {}", seed())));
        }
        eprintln!("{}: {when}: {found:?}", pair.prefix);
        Ok(())
    }

    /// What all groups have there.
    async fn offsets(
        &self,
        target: &Side,
    ) -> Result<BTreeMap<String, [Option<CommittedOffset>; 3]>> {
        let client = target.wire()?;
        let groups: Vec<_> = self.committed.keys().collect();
        let mut offsets = BTreeMap::new();
        for some in groups.chunks(CHUNK) {
            let asked = some
                .iter()
                .map(|group| ((*group).clone(), None::<BTreeSet<_>>));
            for (group, found) in client.offsets_of_groups(&asked.collect()).await? {
                let mut found = found.map_err(|error| anyhow::anyhow!("{group}: {error}"))?;
                let each =
                    [0, 1, 2].map(|kind| found.remove(&TopicPartition::new(&self.topics[kind], 0)));
                offsets.insert(group, each);
            }
        }
        Ok(offsets)
    }

    /// The number that a group which committed `offset` on the source is to get first, of those that the target has.
    fn wanted(&self, kind: usize, offset: i64, held: &Held) -> Option<u64> {
        let unread = first(&self.written[kind], offset)?;
        let at = held.partition_point(|(_, number)| *number < unread);
        held.get(at).map(|(_, number)| *number)
    }

    /// What was written for an offset, be it the last one or not, passes over no record.
    fn nobody_is_ahead(
        &self,
        flow: &str,
        offsets: &BTreeMap<String, [Option<CommittedOffset>; 3]>,
        held: &[Held],
    ) -> Result<()> {
        for (group, offsets) in offsets {
            for (kind, found) in offsets.iter().enumerate() {
                let Some(found) = found else { continue };
                let mark = found.metadata.strip_prefix(&format!("strait/1 {flow} "));
                let marked = mark.context("not strait's mark")?.parse()?;
                let Some(wanted) = self.wanted(kind, marked, &held[kind]) else {
                    continue;
                };
                let gets = first(&held[kind], found.offset);
                ensure!(
                    gets.is_some_and(|gets| gets <= wanted),
                    "{group} is at {} of {} for {marked} on the source and gets {gets:?}, not {wanted}",
                    found.offset,
                    self.topics[kind]
                );
            }
        }
        Ok(())
    }

    /// All have followed; inexact are those only that had committed where records are gone since.
    fn compare(
        &self,
        flow: &str,
        offsets: &BTreeMap<String, [Option<CommittedOffset>; 3]>,
        held: &[Held],
    ) -> Result<Found> {
        for (held, written) in held.iter().zip(&self.written) {
            ensure!(
                held.last().map(|it| it.1) == written.last().map(|it| it.1),
                "not copied"
            );
        }
        let mut all = Found::default();
        for (group, committed) in &self.committed {
            for (kind, committed) in committed.iter().enumerate() {
                let topic = &self.topics[kind];
                let found = offsets[group][kind].as_ref();
                let found = found.with_context(|| format!("{group} has nothing of {topic}"))?;
                let mark = format!("strait/1 {flow} {committed}");
                ensure!(
                    found.metadata == mark,
                    "{group}, {topic}: {found:?}, not {mark:?}"
                );
                let wanted = self.wanted(kind, *committed, &held[kind]);
                let gets = first(&held[kind], found.offset);
                if gets == wanted {
                    all.exact += 1;
                    continue;
                }
                // What is whole up to the end tells where it is, whatever is gone before that.
                let is_gone = match kind {
                    COMPACTED => self.lost,
                    TRANSACTIONAL => *committed < self.starts[kind],
                    _ => false,
                };
                ensure!(
                    is_gone,
                    "{group} is at {} of {topic} for {committed} and gets {gets:?}, not {wanted:?}",
                    found.offset
                );
                all.inexact += 1;
            }
        }
        Ok(all)
    }
}

/// How many offsets strait calls inexact.
fn inexact(strait: &Strait) -> Result<usize> {
    let status: serde_json::Value = serde_json::from_str(&strait.status_by_url()?)?;
    let groups = &status["flows"][0]["groups"];
    ensure!(groups["waiting"] == 0 && groups["unknown"] == 0, "{groups}");
    let inexact = groups["inexact"].as_u64().context("a number")?;
    Ok(usize::try_from(inexact)?)
}
