//! docs/FAILOVER.md, step by step: its lines for `strait` are run as they stand there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    super::{
        clients::{Application, Content, Member},
        model,
        pair::{Pair, content},
        side::Side,
        strait::Strait,
    },
    fidelity::digests,
    groups::{await_marks, join},
    lifecycle::eventually,
};

const DOCUMENT: &str = include_str!("../../../docs/FAILOVER.md");
const PARTITIONS: i32 = 2;

/// What goes to and fro.
struct Move<'a> {
    pair: &'a mut Pair,
    topic: String,
    group: String,
    /// The files of the page.
    forward: Strait,
    back: Strait,
    /// All records in the order in which they were written, and what the group read.
    written: Content,
    read: Content,
    /// Numbers the records.
    round: usize,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    East,
    West,
}
use Place::{East, West};

impl<'a> Move<'a> {
    async fn new(pair: &'a mut Pair, back: &str) -> Result<Self> {
        let (topic, group) = (pair.topic("orders"), pair.topic("app"));
        pair.source.create_topic(&topic, PARTITIONS, &[]).await?;
        let common = format!("topics = [\"{topic}\"]\ngroup_offsets = true");
        let named = |name: &str| format!("name = \"{name}\"\n{common}");
        let forward = Strait::new(&pair.source, &pair.target, &named(&pair.prefix))?;
        let back = format!("{}\n{back}", named(&format!("{}-back", pair.prefix)));
        let back = Strait::new(&pair.target, &pair.source, &back)?;
        Ok(Self {
            topic,
            group,
            forward,
            back,
            written: Content::new(),
            read: Content::new(),
            round: 0,
            pair,
        })
    }

    fn side(&self, place: Place) -> &Side {
        match place {
            East => &self.pair.source,
            West => &self.pair.target,
        }
    }

    /// Runs a line of a section; its code and what it printed.
    fn say(&self, section: &str, line: &str) -> Result<(i32, String)> {
        let title = format!("\n## {section}\n");
        let (_, text) = DOCUMENT.split_once(&title).context("no such section")?;
        let text = text.split("\n## ").next().context("its text")?;
        let is_there = text.lines().any(|found| found.trim() == line);
        ensure!(is_there, "{section} does not say {line:?}");
        let strait = match line.contains("back.toml") {
            true => &self.back,
            false => &self.forward,
        };
        strait.line(
            &line
                .replace("http://127.0.0.1:9465", &strait.url())
                .replace("--topic orders", &format!("--topic {}", self.topic))
                .replace("--group app", &format!("--group {}", self.group)),
        )
    }

    /// The same until it ends with 0: a group that was left is empty a moment later, a copy takes its time.
    async fn succeeds(&self, section: &str, line: &str) -> Result<String> {
        let mut said = String::new();
        eventually(60, line, async || {
            let (code, text) = self.say(section, line)?;
            ensure!(code == 0, "ended with {code}: {text}");
            said = text;
            Ok(())
        })
        .await?;
        Ok(said)
    }

    fn produce(&mut self, place: Place, count: usize) -> Result<()> {
        let application = Application::new(self.side(place), "lz4")?;
        self.round += 1;
        for partition in 0..PARTITIONS {
            let records = model::mixed(self.round as u64, partition, 1000 * self.round, count);
            application.produce(&self.topic, partition, &records)?;
            let all = self.written.entry((self.topic.clone(), partition));
            all.or_default().extend(digests(&records));
        }
        Ok(())
    }

    /// The group reads so many records, or all.
    fn consume(&mut self, place: Place, most: usize) -> Result<()> {
        let topics = [self.topic.clone()];
        let found = tokio::task::block_in_place(|| {
            Member::join(self.side(place), &self.group, &topics)?.read(most)
        })?;
        join(&mut self.read, found);
        Ok(())
    }

    fn has_read_all_once(&self) -> Result<()> {
        for (partition, all) in &self.written {
            let read = self.read.get(partition).map_or(0, Vec::len);
            ensure!(
                self.read.get(partition) == Some(all),
                "{partition:?}: {read} read of {}",
                all.len()
            );
        }
        Ok(())
    }

    /// Both clusters, read by another client, hold everything once.
    fn both_hold_all_once(&self) -> Result<()> {
        for place in [East, West] {
            let found = tokio::task::block_in_place(|| {
                content(self.side(place), std::slice::from_ref(&self.topic))
            })?;
            for (partition, all) in &self.written {
                let held = found.get(partition).map_or(0, Vec::len);
                let same = found.get(partition) == Some(all);
                ensure!(same, "{partition:?} holds {held} of {}", all.len());
            }
        }
        Ok(())
    }

    /// A process runs all partitions and has copied all, by the page's line.
    async fn runs(&self, section: &str, line: &str) -> Result<()> {
        eventually(60, "partitions that run", async || {
            let (code, text) = self.say(section, line)?;
            let runs = format!("runs {PARTITIONS} partitions");
            let said = [runs.as_str(), "0 records to copy, 0 partitions stopped"];
            let is_so = said.iter().all(|part| text.contains(part));
            ensure!(code == 0 && is_so, "{code}: {text}");
            Ok(())
        })
        .await
    }

    /// What was handed over to the direction that runs is committed at east.
    async fn returned(&self) -> Result<()> {
        eventually(30, "the group at east", async || {
            for (topic, partition) in self.written.keys() {
                let (at_west, _) = self.pair.target.committed(&self.group, topic, *partition)?;
                let at_east = self.pair.source.committed(&self.group, topic, *partition)?;
                let mark = format!("strait/1 {}-back {at_west}", self.pair.prefix);
                let is_it = at_east.1.is_empty() || at_east.1 == mark;
                ensure!(
                    at_east.0 >= 0 && is_it,
                    "{topic}-{partition}: {at_east:?} {mark}"
                );
            }
            Ok(())
        })
        .await
    }

    /// Offsets at the target of the direction that runs are those of its source, by strait's marks.
    async fn followed(&self, to: Place) -> Result<()> {
        let partitions: Vec<_> = self.written.keys().cloned().collect();
        let (from, target, flow) = match to {
            West => (
                &self.pair.source,
                &self.pair.target,
                self.pair.prefix.clone(),
            ),
            East => {
                let flow = format!("{}-back", self.pair.prefix);
                (&self.pair.target, &self.pair.source, flow)
            }
        };
        await_marks([from, target], &flow, &self.group, &partitions).await
    }
}

/// There and back, without ever waiting for the group to read up: each record is read once.
pub async fn a_planned_move_and_its_return_lose_and_repeat_nothing(pair: &mut Pair) -> Result<()> {
    let append = "start = \"latest\"\non_existing = \"append\"";
    let mut it = Move::new(pair, append).await?;
    it.produce(East, 200)?;
    it.consume(East, 150)?;
    it.forward.run()?;

    let section = "Planned move to west";
    it.succeeds(section, "strait verify strait.toml").await?;
    it.followed(West).await?;
    let line = "strait status --json --url http://127.0.0.1:9465";
    eventually(30, "nothing that waits", async || {
        let (code, text) = it.say(section, line)?;
        let status: serde_json::Value = serde_json::from_str(&text)?;
        let groups = &status["flows"][0]["groups"];
        // Those of other scenarios share its clusters.
        let own = |left: &serde_json::Value| left["group"] == it.group;
        let left = groups["left"].as_array();
        let is_clear = groups["waiting"] == 0 && left.is_some_and(|left| !left.iter().any(own));
        ensure!(code == 0 && is_clear, "{code}: {groups}");
        Ok(())
    })
    .await?;
    it.forward.terminate()?;
    it.back.run()?;
    it.runs(section, "strait status back.toml").await?;
    it.consume(West, 60)?;
    it.produce(West, 120)?;
    // It has not read all of either, or one of them.
    it.consume(West, 200)?;

    let section = "Planned return to east";
    it.succeeds(section, "strait verify strait.toml").await?;
    let line = "strait groups return strait.toml --group app";
    it.succeeds(section, line).await?;
    it.returned().await?;
    it.back.terminate()?;
    let set = "strait checkpoint set strait.toml --topic orders --to latest";
    it.succeeds(section, set).await?;
    it.forward.run()?;
    it.runs(section, "strait status strait.toml").await?;
    it.produce(East, 90)?;
    it.consume(East, usize::MAX)?;
    it.has_read_all_once()?;
    let resume = "strait groups resume strait.toml --group app";
    it.succeeds(section, resume).await?;
    it.followed(West).await?;
    it.both_hold_all_once()?;
    // What is at west is where the group would go on.
    it.forward.terminate()?;
    it.produce(West, 5)?;
    it.consume(West, usize::MAX)?;
    it.has_read_all_once()
}

/// East goes with records that were not copied, and comes back.
pub async fn an_unplanned_move_loses_nothing_that_was_copied_and_the_rest_comes_later(
    pair: &mut Pair,
) -> Result<()> {
    let mut it = Move::new(pair, "").await?;
    it.produce(East, 200)?;
    it.consume(East, 150)?;
    it.forward.run()?;
    let expected = it.written.clone();
    it.pair.await_equal(&expected, 60).await?;
    it.followed(West).await?;
    // All of east dies at once: strait first, so that something is left there.
    it.forward.kill()?;
    let copied = std::mem::take(&mut it.written);
    it.produce(East, 30)?;
    let rest = std::mem::replace(&mut it.written, copied);
    it.pair.source.kill().await?;

    it.consume(West, 60)?;
    it.produce(West, 80)?;
    it.consume(West, usize::MAX)?;
    it.has_read_all_once()?;

    it.pair.source.resume().await?;
    let section = "East is back after an unplanned move";
    it.forward.run()?;
    join(&mut it.written, rest);
    let expected = it.written.clone();
    it.pair.await_equal(&expected, 60).await?;
    it.runs(section, "strait status strait.toml").await?;
    it.forward.terminate()?;
    it.pair.source.delete_topic(&it.topic).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    it.back.run()?;
    it.consume(West, 20)?;
    it.succeeds(section, "strait verify back.toml").await?;
    it.followed(East).await?;
    it.back.terminate()?;
    it.both_hold_all_once()?;
    it.produce(East, 70)?;
    it.consume(East, usize::MAX)?;
    it.has_read_all_once()?;

    it.pair.target.delete_topic(&it.topic).await?;
    let reset = "strait checkpoint reset strait.toml --topic orders";
    it.succeeds(section, reset).await?;
    it.forward.run()?;
    let expected = it.written.clone();
    it.pair.await_equal(&expected, 60).await?;
    it.both_hold_all_once()
}
