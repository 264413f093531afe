//! docs/PERMISSIONS.md, section by section: its lines are run as they stand there, for a user who has no other right.

use std::{
    collections::BTreeSet,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    cases::{by_login, produce, records},
    clusters::{Clusters, PASSWORD, finished},
    kafka::{dump, java},
    strait::{Strait, eventually},
};

/// Users that have only the rights that a case gives them.
pub const USERS: [&str; 6] = ["novice", "runner", "reader", "auditor", "ruler", "metered"];

const DOCUMENT: &str = include_str!("../../docs/PERMISSIONS.md");

/// The lines of a section, for a user and a topic.
fn lines(clusters: &Clusters, section: &str, user: &str, topic: &str) -> Result<Vec<String>> {
    let title = format!("\n## {section}\n");
    let (_, text) = DOCUMENT
        .split_once(&title)
        .with_context(|| format!("no section {section}"))?;
    let text = text.split("\n## ").next().context("its text")?;
    let lines = text
        .lines()
        .filter(|line| line.starts_with("kafka-acls.sh "));
    let lines: Vec<_> = lines
        .map(|line| {
            line.replace("EAST", &clusters.source.plain())
                .replace("WEST", &clusters.target.plain())
                .replace("User:strait", &format!("User:{user}"))
                .replace("orders", topic)
        })
        .collect();
    ensure!(!lines.is_empty(), "section {section} has no lines");
    Ok(lines)
}

/// Runs lines for `kafka-acls.sh`.
pub(super) fn run(lines: &[String]) -> Result<()> {
    // At most a few at once: each is a JVM.
    for lines in lines.chunks(3) {
        let started: Vec<_> = lines
            .iter()
            .map(|line| start(line))
            .collect::<Result<_>>()?;
        let ended: Vec<_> = started.into_iter().map(finished).collect();
        ended.into_iter().collect::<Result<()>>()?;
    }
    Ok(())
}

fn start(line: &str) -> Result<Child> {
    let mut words = line.split_whitespace();
    ensure!(words.next() == Some("kafka-acls.sh"), "{line}");
    let mut command = java("org.apache.kafka.tools.AclCommand");
    Ok(command.args(words).stdout(Stdio::null()).spawn()?)
}

pub(super) fn allow(clusters: &Clusters, sections: &[&str], user: &str, topic: &str) -> Result<()> {
    for section in sections {
        run(&lines(clusters, section, user, topic)?)?;
    }
    Ok(())
}

/// A flow of one topic, both sides by the same login.
fn flow(clusters: &Clusters, user: &str, topic: &str) -> Result<Strait> {
    let more = "group_offsets = true\nmm2_heartbeats = true\nmm2_checkpoints = true\nmm2_offset_syncs = true";
    flow_with(clusters, user, topic, more)
}

pub(super) fn flow_with(
    clusters: &Clusters,
    user: &str,
    topic: &str,
    more: &str,
) -> Result<Strait> {
    let source = by_login(clusters, user);
    let target = source.replace(&clusters.source.login(), &clusters.target.login());
    // Each topic is a flow of its own, whoever looks at it.
    let flow = format!("name = \"{topic}\"\ntopics = [\"{topic}\"]\n{more}");
    let strait = Strait::new(&source, &target, &flow)?;
    strait.put("password", PASSWORD)?;
    Ok(strait)
}

pub(super) fn same(clusters: &Clusters, topic: &str, wanted: usize) -> Result<bool> {
    let source = records(&clusters.source.plain(), topic)?;
    Ok(source.len() == wanted && records(&clusters.target.plain(), topic)? == source)
}

/// `check` must end with `code` and say all of `says`.
pub(super) fn check(strait: &Strait, code: i32, says: &[&str]) -> Result<String> {
    let (ended, text) = strait.call("check")?;
    for part in says {
        ensure!(text.contains(part), "should say {part:?}:\n{text}");
    }
    ensure!(ended == code, "check ended with {ended}:\n{text}");
    Ok(text)
}

/// What check prints leads from nothing to a flow that runs; the last line that it asks for is told as well.
pub fn check_names_what_is_missing(clusters: &Clusters) -> Result<()> {
    let (user, topic) = ("novice", "novices");
    produce(clusters, topic, 100)?;
    let mut strait = flow(clusters, user, topic)?;
    let first = check(
        &strait,
        4,
        &[
            "missing: Read, DescribeConfigs on topic novices on east",
            "missing: Read, Write, Create on topic strait.novices.control on west",
            "missing: Read, Write, Create on topic strait.probe on west: the target is not probed",
            "guarantee: at-least-once (not probed: ",
            "missing: Read on group strait.novices on west",
        ],
    )?;
    grant(clusters, &first, user)?;
    // Now it sees the topic, and so what the target needs for it.
    let second = check(
        &strait,
        4,
        &["missing: Write, Read, Create on topic novices on west"],
    )?;
    grant(clusters, &second, user)?;
    check(&strait, 0, &["ready"])?;
    strait.run()?;
    eventually("all is copied", || same(clusters, topic, 100)).with_context(|| strait.log())?;
    strait.terminate()
}

/// Runs the lines that `check` printed, as who may do everything.
fn grant(clusters: &Clusters, text: &str, user: &str) -> Result<()> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("kafka-acls.sh "));
    let lines: Vec<_> = lines
        .map(|line| line.replace("User:NAME", &format!("User:{user}")))
        .map(|line| line.replace(&clusters.source.login(), &clusters.source.plain()))
        .map(|line| line.replace(&clusters.target.login(), &clusters.target.plain()))
        .collect();
    ensure!(!lines.is_empty(), "no lines:\n{text}");
    // One line grants what several of its topics need.
    let lines: BTreeSet<_> = lines.into_iter().collect();
    run(&Vec::from_iter(lines))
}

/// What the target does not tell, the operator may: what is said of it then.
fn expiration_may_be_said(strait: &Strait) -> Result<&'static str> {
    let text = std::fs::read_to_string(strait.file())?;
    let said = "[clusters.west.strait]\nproducer_id_expiration = \"2h\"\n[http]";
    strait.put("strait.toml", &text.replace("[http]", said))?;
    let said = "leaders remember producers for 2h";
    let text = check(strait, 0, &[&format!("guarantee: exactly-once ({said}")])?;
    ensure!(!text.contains("expiration"), "{text}");
    Ok(said)
}

pub fn run_needs_its_section_only(clusters: &Clusters) -> Result<()> {
    let (user, topic) = ("runner", "runners");
    produce(clusters, topic, 100)?;
    allow(clusters, &["run"], user, topic)?;
    let mut strait = flow(clusters, user, topic)?;
    check(
        &strait,
        0,
        &[
            "missing: Describe on groups strait.* on east",
            "missing: Write, Create on topic heartbeats on west: it is not kept for MirrorMaker 2's clients",
            "missing: Write, Create on topic east.heartbeats on west",
            "missing: Write, Create on topic east.checkpoints.internal on west",
            "missing: Write, Create on topic mm2-offset-syncs.east.internal on west",
            "does not tell its producer.id.expiration.ms",
            "guarantee: exactly-once (the target does not tell its producer.id.expiration.ms: nothing is guarded",
            "does not tell how large its topics are",
        ],
    )?;
    let said = expiration_may_be_said(&strait)?;
    strait.run()?;
    eventually("all is copied", || same(clusters, topic, 100)).with_context(|| strait.log())?;
    ensure!(strait.log().contains(said), "{}", strait.log());
    // The end of partition 0 is where a group is that has read it, on either side.
    let (group, first) = ("runners-app", (topic, 0));
    let end = committed_end(&clusters.source.plain(), group, first)?;
    let sections = ["group offsets", "MirrorMaker 2's topics"];
    allow(clusters, &sections, user, topic)?;
    eventually("the group's offset follows", || {
        Ok(committed(&clusters.target.plain(), group, first)? == Some(end))
    })
    .with_context(|| strait.log())?;
    returns(clusters, &strait, user, group, first)?;
    let kept = [
        "heartbeats",
        "east.heartbeats",
        "east.checkpoints.internal",
        "mm2-offset-syncs.east.internal",
    ]
    .map(str::to_owned);
    eventually("MirrorMaker 2's topics are kept", || {
        let found = dump(&clusters.target.plain(), &kept)?;
        let has = |topic: &String| found.lines().any(|line| line.starts_with(topic));
        Ok(kept.iter().all(has))
    })
    .with_context(|| strait.log())?;
    // Two processes share it by the same rights.
    let mut second = flow(clusters, user, topic)?;
    second.run()?;
    produce(clusters, topic, 100)?;
    eventually("the rest is copied", || same(clusters, topic, 200))
        .with_context(|| strait.log())?;
    second.terminate()?;

    // Partitions are added on the source only: without Alter the flow says so, with it they follow.
    clusters.source.grow(topic, 5)?;
    eventually("it says that it may not", || {
        Ok(strait.log().contains("TOPIC_AUTHORIZATION_FAILED"))
    })
    .with_context(|| strait.log())?;
    check(&strait, 4, &["missing: Alter on topic runners on west"])?;
    allow(clusters, &["grow"], user, topic)?;
    produce(clusters, topic, 500)?;
    eventually("new partitions are copied", || same(clusters, topic, 700))
        .with_context(|| strait.log())?;
    strait.terminate()?;

    let more = ["configs", "faster", "notice cycles", "sizes"];
    allow(clusters, &more, user, topic)?;
    let text = check(
        &strait,
        0,
        &["exactly-once (leaders remember producers for", "\nready\n"],
    )?;
    ensure!(!text.contains("warning"), "{text}");
    Ok(())
}

/// The group moves over, and goes back once that is allowed.
fn returns(
    clusters: &Clusters,
    strait: &Strait,
    user: &str,
    group: &str,
    first: (&str, i32),
) -> Result<()> {
    commit(&clusters.target.plain(), group, first, 3)?;
    let back = ["groups", "return", "--rewind"];
    let (code, text) = strait.call_with(&back)?;
    let is_denied = code == 4 && text.contains("GROUP_AUTHORIZATION_FAILED");
    ensure!(is_denied, "{code}: {text}");
    allow(clusters, &["groups return"], user, first.0)?;
    let (code, text) = strait.call_with(&back)?;
    ensure!(code == 0, "{code}: {text}");
    let there = committed(&clusters.source.plain(), group, first)?;
    ensure!(there == Some(3), "{there:?}: {text}");
    Ok(())
}

/// Commits the end of a partition for a group, as who may do everything; that end.
fn committed_end(bootstrap: &str, group: &str, (topic, partition): (&str, i32)) -> Result<i64> {
    let consumer = consumer(bootstrap, group)?;
    let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
    commit(bootstrap, group, (topic, partition), end)?;
    Ok(end)
}

fn commit(
    bootstrap: &str,
    group: &str,
    (topic, partition): (&str, i32),
    offset: i64,
) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    Ok(consumer(bootstrap, group)?.commit(&offsets, CommitMode::Sync)?)
}

fn committed(bootstrap: &str, group: &str, (topic, partition): (&str, i32)) -> Result<Option<i64>> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(topic, partition);
    let consumer = consumer(bootstrap, group)?;
    let found = consumer.committed_offsets(wanted, Duration::from_secs(10))?;
    let found = found
        .find_partition(topic, partition)
        .context("no answer")?;
    Ok(found.offset().to_raw().filter(|offset| *offset >= 0))
}

fn consumer(bootstrap: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group);
    Ok(config.create()?)
}

/// After the case above: the flow has run.
pub fn status_and_verify_need_theirs_only(clusters: &Clusters) -> Result<()> {
    let topic = "runners";
    for (user, command, says) in [
        ("reader", "status", "runners"),
        ("auditor", "verify", "0 missing"),
    ] {
        let strait = flow(clusters, user, topic)?;
        let (code, text) = strait.call(command)?;
        ensure!(code != 0, "{user} may do too much:\n{text}");
        allow(clusters, &[command], user, topic)?;
        let (code, text) = strait.call(command)?;
        ensure!(code == 0, "{command} ended with {code}:\n{text}");
        ensure!(text.contains(says), "{text}");
    }
    Ok(())
}
