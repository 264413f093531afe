//! Topics and partitions come and go while two processes share the flow; who runs already is not touched.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::{await_ready, eventually},
    stops::{append, make_again},
};

/// From the creation of a topic or partition to the arrival of its records: 5 s are promised and what it took is
/// printed; a machine that is busy with other tests is given more.
const FOLLOWED: Duration = Duration::from_secs(15);

/// Two processes over a topic that neither may stop copying.
struct Steady {
    topic: String,
    expected: Content,
    processes: [Strait; 2],
}

impl Steady {
    async fn start(pair: &Pair, more: &str) -> Result<Self> {
        let topic = pair.topic("steady");
        pair.source.create_topic(&topic, 4, &[]).await?;
        let mut processes = [
            pair.strait(&format!("instance = \"a\"\n{more}"))?,
            pair.strait(&format!("instance = \"b\"\n{more}"))?,
        ];
        for process in &mut processes {
            process.run()?;
            await_ready(process).await?;
        }
        let mut steady = Self {
            topic,
            expected: Content::new(),
            processes,
        };
        steady.grows(pair).await?;
        Ok(steady)
    }

    /// Goes on, and nothing of it is repeated.
    async fn grows(&mut self, pair: &Pair) -> Result<()> {
        for partition in 0..4 {
            append(pair, &self.topic, partition, &mut self.expected)?;
        }
        let verdict = pair.await_equal(&self.expected, 30).await?;
        ensure!(verdict.repeated == 0, "{verdict:?}");
        Ok(())
    }

    /// Waits until one of the two says `reason` about partitions of `topic`.
    async fn tells(&self, topic: &str, reason: &str) -> Result<()> {
        eventually(30, reason, async || {
            let mut told = Vec::new();
            for process in &self.processes {
                let status: Value = serde_json::from_str(&process.get("/v1/status")?.1)?;
                let partitions = status["flows"][0]["partitions"].as_array().into_iter();
                let about = partitions.flatten().filter(|p| p["topic"] == topic);
                told.extend(about.map(|p| p["reason"].clone()));
            }
            ensure!(
                !told.is_empty() && told.iter().all(|told| told == reason),
                "{topic}: {told:?}"
            );
            Ok(())
        })
        .await
    }
}

/// A new topic, then more partitions of it: records arrive within seconds, whoever runs them.
pub async fn new_topics_and_partitions_arrive_within_seconds(pair: &mut Pair) -> Result<()> {
    let mut steady = Steady::start(pair, "").await?;
    let topic = pair.topic("new");
    let mut expected = Content::new();
    for (from, to) in [(0, 3), (3, 5)] {
        let begun = Instant::now();
        if from == 0 {
            pair.source.create_topic(&topic, to, &[]).await?;
        } else {
            pair.source.grow_topic(&topic, to.try_into()?).await?;
        }
        for partition in from..to {
            let records = model::mixed(5, partition, 0, 50);
            eventually(10, "the partition at the source", async || {
                Application::new(&pair.source, "lz4")?.produce(&topic, partition, &records)
            })
            .await?;
            expected.insert((topic.clone(), partition), digests(&records));
        }
        let produced = Instant::now();
        eventually(30, "the partitions on the target", async || {
            for ((_, partition), all) in &expected {
                ensure!(pair.target.end(&topic, *partition)? >= all.len().try_into()?);
            }
            Ok(())
        })
        .await?;
        println!(
            "{topic} {from}..{to}: {:?} after the last record",
            produced.elapsed()
        );
        ensure!(
            produced.elapsed() <= FOLLOWED,
            "followed only {:?} after it was made",
            begun.elapsed()
        );
        let verdict = pair.await_equal(&expected, 10).await?;
        ensure!(verdict.repeated == 0, "{verdict:?}");
    }
    steady.grows(pair).await
}

/// A topic is deleted at the source, and comes back as another one; a target topic is deleted. Each is told, none
/// is silently filled again, and the neighbours go on.
pub async fn deleted_topics_are_told_and_their_neighbours_go_on(pair: &mut Pair) -> Result<()> {
    let mut steady = Steady::start(pair, "").await?;
    let (at_source, at_target) = (pair.topic("a-source"), pair.topic("b-target"));
    let mut expected = Content::new();
    for topic in [&at_source, &at_target] {
        pair.source.create_topic(topic, 2, &[]).await?;
        for partition in 0..2 {
            append(pair, topic, partition, &mut expected)?;
        }
    }
    pair.await_equal(&expected, 30).await?;
    pair.source.delete_topic(&at_source).await?;
    steady.tells(&at_source, "source_topic_missing").await?;
    steady.grows(pair).await?;
    make_again(&pair.source, &at_source).await?;
    Application::new(&pair.source, "lz4")?.produce(&at_source, 0, &model::mixed(6, 0, 0, 50))?;
    steady.tells(&at_source, "source_topic_recreated").await?;
    steady.grows(pair).await?;
    pair.target.delete_topic(&at_target).await?;
    steady.tells(&at_target, "target_topic_missing").await?;
    steady.grows(pair).await?;
    // What was copied before is still all there is.
    expected.retain(|(topic, _), _| *topic == at_source);
    let verdict = pair.await_equal(&expected, 10).await?;
    ensure!(verdict.repeated == 0, "{verdict:?}");
    Ok(())
}

/// Left out by one edit and taken in again by the next, process by process: it goes on where it was.
pub async fn a_topic_excluded_and_included_again_goes_on_where_it_was(
    pair: &mut Pair,
) -> Result<()> {
    let topic = pair.topic("some");
    let exclude = format!("exclude = [\"{topic}\"]");
    let mut steady = Steady::start(pair, &format!("# {exclude}")).await?;
    pair.source.create_topic(&topic, 2, &[]).await?;
    let mut expected = Content::new();
    append(pair, &topic, 0, &mut expected)?;
    append(pair, &topic, 1, &mut expected)?;
    pair.await_equal(&expected, 30).await?;
    let before = expected.clone();
    for (from, to) in [
        (format!("# {exclude}"), exclude.clone()),
        (exclude.clone(), String::new()),
    ] {
        for process in &mut steady.processes {
            ensure!(process.terminate()?.success(), "{}", process.log());
            process.edit(|text| text.replace(&from, &to))?;
            process.run()?;
            await_ready(process).await?;
        }
        if !to.is_empty() {
            append(pair, &topic, 0, &mut expected)?;
            steady.grows(pair).await?;
            let verdict = pair.await_equal(&before, 5).await?;
            ensure!(verdict.altered == 0, "it was copied while it was excluded");
        }
        steady.grows(pair).await?;
    }
    let verdict = pair.await_equal(&expected, 30).await?;
    ensure!(verdict.repeated == 0, "{verdict:?}");
    Ok(())
}
