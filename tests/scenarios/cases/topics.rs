//! Topics and partitions come and go while two processes share the flow; who runs already is not touched.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::{Pair, content},
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

/// What is set on a topic of the source at first.
const CONFIGS: [(&str, &str); 4] = [
    ("retention.ms", "3600000"),
    ("delete.retention.ms", "1000"),
    ("flush.messages", "9"),
    ("message.timestamp.type", "LogAppendTime"),
];

/// What is set on the source's topic and differs on the target follows, what is excluded or kept does not, and what
/// somebody changes on the target is set back (mm2.md 7: 2, 14, 15, and `use.defaults.from = target`).
pub async fn configs_follow_the_source(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("configs");
    pair.source.create_topic(&topic, 2, &CONFIGS).await?;
    let mut strait = pair.strait(
        "[flows.configs]\ninterval = \"1s\"\nkeep = [\"flush\\\\..*\"]\nset = { \"segment.bytes\" = \"2097152\" }",
    )?;
    strait.run()?;
    has(
        pair,
        &topic,
        &[
            ("retention.ms", "3600000"),
            ("delete.retention.ms", "1000"),
            ("flush.messages", "9"),
            ("message.timestamp.type", "CreateTime"),
            ("segment.bytes", "2097152"),
        ],
    )
    .await?;
    pair.source
        .alter_topic(
            &topic,
            &[
                ("retention.ms", Some("7200000")),
                ("cleanup.policy", Some("compact,delete")),
                ("delete.retention.ms", None),
                ("flush.messages", Some("5")),
            ],
        )
        .await?;
    has(
        pair,
        &topic,
        &[
            ("retention.ms", "7200000"),
            ("cleanup.policy", "compact,delete"),
            ("delete.retention.ms", "86400000"),
            ("flush.messages", "9"),
        ],
    )
    .await?;
    pair.target
        .alter_topic(
            &topic,
            &[
                ("retention.ms", Some("1")),
                ("segment.bytes", None),
                ("flush.messages", Some("7")),
                ("message.timestamp.type", Some("LogAppendTime")),
            ],
        )
        .await?;
    has(
        pair,
        &topic,
        &[
            ("retention.ms", "7200000"),
            ("segment.bytes", "2097152"),
            ("flush.messages", "7"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
    )
    .await?;
    ensure!(strait.log().contains("set back"), "{}", strait.log());
    let (code, text) = strait.call(&["check"])?;
    ensure!(code == 0 && !text.contains("plan for"), "{code}:\n{text}");
    Ok(())
}

/// `check` shows as a diff what `run` would change, and `--apply` changes it; `defaults_from = "source"` (mm2.md 7: 6, 15).
pub async fn check_shows_the_plan_and_applies_it(pair: &mut Pair) -> Result<()> {
    let (new, old) = (pair.topic("new"), pair.topic("old"));
    let configs = [("retention.ms", "3600000")];
    pair.source.create_topic(&new, 3, &configs).await?;
    pair.source.create_topic(&old, 2, &configs).await?;
    pair.target
        .create_topic(&old, 1, &[("cleanup.policy", "compact")])
        .await?;
    let mut strait = pair.strait("configs.defaults_from = \"source\"")?;
    let (code, text) = strait.call(&["check"])?;
    let lines = [
        format!("+ topic {new} with 3 partitions"),
        format!("+ retention.ms of {new}: 3600000"),
        format!("~ partitions of {old}: 1 -> 2"),
        format!("~ retention.ms of {old}: "),
        format!("~ cleanup.policy of {old}: compact -> delete"),
    ];
    let missing: Vec<_> = lines.iter().filter(|line| !text.contains(*line)).collect();
    ensure!(
        code == 0 && missing.is_empty(),
        "{code}, without {missing:?}:\n{text}"
    );
    ensure!(
        pair.target.partition_count(&new).is_err(),
        "check creates nothing"
    );
    let (code, text) = strait.call(&["check", "--apply"])?;
    ensure!(code == 0 && !text.contains("plan for"), "{code}:\n{text}");
    ensure!(pair.target.partition_count(&new)? == 3 && pair.target.partition_count(&old)? == 2);
    let wanted = [("retention.ms", "3600000"), ("cleanup.policy", "delete")];
    has(pair, &old, &wanted).await?;
    // The flow begins as it would have without.
    let mut expected = Content::new();
    for (topic, partition) in [(&new, 2), (&old, 1)] {
        append(pair, topic, partition, &mut expected)?;
    }
    strait.run()?;
    pair.await_equal(&expected, 30).await?;
    Ok(())
}

/// As many as some clusters take in a few seconds only (KIP-599): they are waited for, by a flow that runs and by `check --apply`.
pub async fn a_target_that_takes_few_topics_at_a_time_gets_them_all(pair: &mut Pair) -> Result<()> {
    let mut expected = Content::new();
    for number in 0..40 {
        let topic = pair.topic(&format!("many-{number:02}"));
        pair.source.create_topic(&topic, 2, &[]).await?;
        if number % 10 == 0 {
            append(pair, &topic, 0, &mut expected)?;
        }
    }
    // At once some 11 times as many as in a second (`controller.quota.window.num`).
    let is_slow = pair.target.change_topics_at_most(Some(4.0)).await?;
    let mut strait = pair.strait("")?;
    strait.run()?;
    let done = pair.await_equal(&expected, 60).await;
    let told = strait.log().contains("creation_waits");
    strait.terminate()?;
    for number in 40..60 {
        let topic = pair.topic(&format!("many-{number:02}"));
        pair.source.create_topic(&topic, 2, &[]).await?;
    }
    let applied = strait.call(&["check", "--apply"])?;
    pair.target.change_topics_at_most(None).await?;
    done?;
    let (code, text) = applied;
    ensure!(code == 0 && !text.contains("plan for"), "{code}:\n{text}");
    ensure!(told == is_slow, "told: {told}\n{}", strait.log());
    ensure!(pair.target.partition_count(&pair.topic("many-59"))? == 2);
    Ok(())
}

/// By policy a deleted source topic takes its target along, and one that was made anew is copied behind the one before, or
/// has its target made anew too, by a running flow or by `check --apply`.
pub async fn deletions_and_recreations_follow_by_policy(pair: &mut Pair) -> Result<()> {
    let names = ["gone", "again", "stays", "anew"].map(|name| pair.topic(name));
    let mut expected = Content::new();
    for topic in &names {
        pair.source.create_topic(topic, 1, &[]).await?;
        append(pair, topic, 0, &mut expected)?;
    }
    let [gone, again, stays, anew] = names;
    let mut strait = pair.strait(&format!(
        "on_delete = \"delete\"\ndelete_grace = \"1s\"\non_recreate = \"append\"\n\
         [[flows.rules]]\nmatch = \"{anew}\"\non_recreate = \"recreate\""
    ))?;
    strait.run()?;
    pair.await_equal(&expected, 30).await?;
    for topic in [&again, &anew] {
        pair.source.delete_topic(topic).await?;
        make_again(&pair.source, topic).await?;
    }
    expected.remove(&(anew.clone(), 0));
    for topic in [&again, &anew] {
        append(pair, topic, 0, &mut expected)?;
    }
    anew_as(pair, &anew, &expected).await?;
    pair.source.delete_topic(&gone).await?;
    eventually(30, "the target is deleted", async || {
        let count = pair.target.partition_count(&gone);
        ensure!(count.is_err(), "{gone} has {count:?} partitions");
        Ok(())
    })
    .await?;
    expected.remove(&(gone.clone(), 0));
    append(pair, &stays, 0, &mut expected)?;
    pair.await_equal(&expected, 30).await?;
    // A new topic of the name is a new one.
    pair.source.create_topic(&gone, 1, &[]).await?;
    append(pair, &gone, 0, &mut expected)?;
    let verdict = pair.await_equal(&expected, 30).await?;
    ensure!(verdict.repeated == 0, "{verdict:?}");

    // At rest, by command.
    strait.terminate()?;
    pair.source.delete_topic(&anew).await?;
    make_again(&pair.source, &anew).await?;
    expected.remove(&(anew.clone(), 0));
    append(pair, &anew, 1, &mut expected)?;
    let line = format!("- topic {anew}: its source was made anew");
    let (code, text) = strait.call(&["check"])?;
    ensure!(code == 0 && text.contains(&line), "{code}:\n{text}");
    let (code, text) = strait.call(&["check", "--apply"])?;
    ensure!(code == 0 && !text.contains("plan for"), "{code}:\n{text}");
    strait.run()?;
    anew_as(pair, &anew, &expected).await
}

/// Waits until the target holds what is expected, and nothing else in the topic that was made anew.
async fn anew_as(pair: &Pair, topic: &str, expected: &Content) -> Result<()> {
    eventually(60, "the topic is made anew", async || {
        let verdict = pair.verdict(expected, &topics_of(expected))?;
        ensure!(
            verdict.is_complete() && verdict.repeated == 0,
            "{verdict:?}"
        );
        let held = content(&pair.target, &[topic.to_owned()])?;
        let wanted = expected.iter().filter(|((name, _), _)| name == topic);
        let wanted: usize = wanted.map(|(_, records)| records.len()).sum();
        let found: usize = held.values().map(Vec::len).sum();
        ensure!(found == wanted, "{found} records of {wanted}");
        Ok(())
    })
    .await
}

fn topics_of(content: &Content) -> Vec<String> {
    let names = content.keys().map(|(topic, _)| topic.clone());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Waits until the target's topic has these configs.
async fn has(pair: &Pair, topic: &str, wanted: &[(&str, &str)]) -> Result<()> {
    eventually(30, "the configs", async || {
        let found = pair.target.topic_configs(topic).await?;
        for (name, value) in wanted {
            let there = found.get(*name);
            ensure!(
                there.is_some_and(|there| there == value),
                "{name} is {there:?}"
            );
        }
        Ok(())
    })
    .await
}
