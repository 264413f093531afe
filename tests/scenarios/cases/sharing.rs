//! Several processes run one flow.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use host::Host;
use rustix::process::Signal;
use serde_json::Value;
use wire::{
    TopicPartition,
    client::{Client, ClientSettings},
    record::{BatchBuilder, Codec},
};

use super::{
    super::{
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    fidelity::digests,
    lifecycle::{await_ready, eventually},
};

const PARTITIONS: i32 = 8;

/// A topic that grows, and what must arrive of it.
struct Stream {
    topic: String,
    expected: Content,
}

impl Stream {
    async fn start(pair: &Pair, name: &str) -> Result<Self> {
        let topic = pair.topic(name);
        pair.source.create_topic(&topic, PARTITIONS, &[]).await?;
        let expected = Content::new();
        let mut stream = Self { topic, expected };
        stream.grow(pair)?;
        Ok(stream)
    }

    /// 100 more records in each partition.
    fn grow(&mut self, pair: &Pair) -> Result<()> {
        let application = Application::new(&pair.source, "lz4")?;
        for partition in 0..PARTITIONS {
            let key = (self.topic.clone(), partition);
            let all = self.expected.entry(key).or_default();
            let records = model::mixed(7, partition, all.len(), 100);
            application.produce(&self.topic, partition, &records)?;
            all.extend(digests(&records));
        }
        Ok(())
    }
}

/// A second process joins: partitions move to it, and back when it stops, and nothing is repeated.
pub async fn a_second_process_shares_the_flow(pair: &mut Pair) -> Result<()> {
    let mut stream = Stream::start(pair, "shared").await?;
    let mut first = pair.strait("instance = \"a\"")?;
    let mut second = pair.strait("instance = \"b\"")?;
    first.run()?;
    pair.await_equal(&stream.expected, 60).await?;
    await_share(&first, PARTITIONS.try_into()?).await?;
    second.run()?;
    await_ready(&second).await?;
    let begun = Instant::now();
    await_split(&first, &second).await?;
    println!("shared {:?} after ready", begun.elapsed());
    ensure!(
        leads(&first)? != leads(&second)?,
        "exactly one of them leads"
    );
    stream.grow(pair)?;
    let verdict = pair.await_equal(&stream.expected, 60).await?;
    ensure!(verdict.repeated == 0, "a hand-over repeats: {verdict:?}");
    ensure!(second.terminate()?.success(), "{}", second.log());
    let stopped = Instant::now();
    await_share(&first, PARTITIONS.try_into()?).await?;
    ensure!(
        stopped.elapsed() < Duration::from_secs(5),
        "a clean stop leaves at once, not after {:?}",
        stopped.elapsed()
    );
    stream.grow(pair)?;
    let verdict = pair.await_equal(&stream.expected, 60).await?;
    ensure!(verdict.repeated == 0, "a clean stop repeats: {verdict:?}");
    Ok(())
}

/// `kill -9`: another process takes over; started again in place, it goes on at once.
pub async fn a_killed_process_is_succeeded_or_goes_on_in_place(pair: &mut Pair) -> Result<()> {
    let mut stream = Stream::start(pair, "killed").await?;
    let more = |name| format!("instance = \"{name}\"\ncheckpoint_interval = \"200ms\"");
    let mut first = pair.strait(&more("a"))?;
    let mut second = pair.strait(&more("b"))?;
    first.run()?;
    second.run()?;
    let before = await_split(&first, &second).await?;
    pair.await_equal(&stream.expected, 60).await?;

    first.kill()?;
    stream.grow(pair)?;
    first.run()?;
    let restarted = Instant::now();
    await_share(&first, before).await?;
    println!("in place after {:?}", restarted.elapsed());
    ensure!(
        restarted.elapsed() < Duration::from_secs(4),
        "goes on at once, not after {:?}",
        restarted.elapsed()
    );
    pair.await_equal(&stream.expected, 60).await?;

    first.kill()?;
    let killed = Instant::now();
    stream.grow(pair)?;
    await_share(&second, PARTITIONS.try_into()?).await?;
    println!("taken over after {:?}", killed.elapsed());
    ensure!(
        killed.elapsed() < Duration::from_secs(10),
        "taken over only after {:?}",
        killed.elapsed()
    );
    pair.await_equal(&stream.expected, 60).await?;
    ensure!(leads(&second)?, "who is left leads");
    Ok(())
}

/// A process that sleeps longer than its session is succeeded; when it wakes it writes nothing that is not
/// its own any more, and takes part again.
pub async fn a_suspended_process_wakes_as_a_member_like_others(pair: &mut Pair) -> Result<()> {
    let mut stream = Stream::start(pair, "suspended").await?;
    let more = |name| format!("instance = \"{name}\"\ncheckpoint_interval = \"200ms\"");
    let (mut first, mut second) = (pair.strait(&more("a"))?, pair.strait(&more("b"))?);
    first.run()?;
    second.run()?;
    await_split(&first, &second).await?;
    pair.await_equal(&stream.expected, 60).await?;
    first.signal(Signal::STOP)?;
    stream.grow(pair)?;
    await_share(&second, PARTITIONS.try_into()?).await?;
    pair.await_equal(&stream.expected, 60).await?;
    stream.grow(pair)?;
    first.signal(Signal::CONT)?;
    await_split(&first, &second).await?;
    stream.grow(pair)?;
    let verdict = pair.await_equal(&stream.expected, 60).await?;
    ensure!(
        verdict.repeated == 0,
        "a sleeper repeats nothing: {verdict:?}"
    );
    for process in [&mut first, &mut second] {
        ensure!(process.is_running()?, "it ended:\n{}", process.log());
    }
    Ok(())
}

/// What decides that a take-over begins no producer epoch (docs/decisions/0011): the old owner's late batch is refused
/// or acknowledged as a repeat by its number, and a new epoch's first batch is taken wherever the one before ended.
pub async fn a_leader_checks_numbers_within_an_epoch_and_not_between_two(
    pair: &mut Pair,
) -> Result<()> {
    let topic = pair.topic("epochs");
    pair.target.create_topic(&topic, 1, &[]).await?;
    let address: SocketAddr = pair.target.bootstrap().parse()?;
    let bootstrap = vec![(address.ip().to_string(), address.port())];
    let client = Client::new(Host::real(), ClientSettings::new(bootstrap, "test"));
    let partition = TopicPartition::new(&topic, 0);
    let now = Host::real().clock.wall_ms();
    // Three records, by a producer that no broker gave out.
    let append = async |epoch: i16, sequence: i32| {
        let mut batch = BatchBuilder::new(Codec::None).producer(1 << 62 | 77, epoch, sequence);
        for record in 0..3 {
            batch.push(
                now,
                None,
                Some(format!("{sequence}+{record}").as_bytes()),
                &[],
            );
        }
        let appended = client.produce(&partition, batch.build(0)?).await;
        anyhow::Ok(match appended {
            Ok(appended) => Ok(appended.base_offset),
            Err(error) => Err(error.api_error().map(|error| error.code)),
        })
    };
    const OUT_OF_ORDER: Result<i64, Option<i16>> = Err(Some(45));
    const FENCED: Result<i64, Option<i16>> = Err(Some(47));
    for (epoch, sequence, expected, what) in [
        (0, 0, Ok(0), "the new owner's first batch"),
        (0, 0, Ok(0), "the old owner's, repeated"),
        (0, 2, OUT_OF_ORDER, "the old owner's, cut otherwise"),
        (0, 6, OUT_OF_ORDER, "one too far ahead"),
        (0, 3, Ok(3), "the old owner's next, late"),
        (
            0,
            3,
            Ok(3),
            "the new owner's next, in the same epoch: a repeat",
        ),
        (1, 0, Ok(6), "the same in a new epoch: it is there twice"),
        (0, 6, FENCED, "the old owner from then on"),
        (0, 3, FENCED, "and its repeats"),
        (2, 3, OUT_OF_ORDER, "an epoch that does not begin at 0"),
    ] {
        let answer = append(epoch, sequence).await?;
        ensure!(answer == expected, "{what}: {answer:?}, not {expected:?}");
    }
    Ok(())
}

/// The target is away for longer than a session: nobody is a member then, and all are again afterwards.
pub async fn a_target_that_is_away_for_longer_than_a_session(pair: &mut Pair) -> Result<()> {
    let mut stream = Stream::start(pair, "outage").await?;
    let mut first = pair.strait("instance = \"a\"")?;
    let mut second = pair.strait("instance = \"b\"")?;
    first.run()?;
    second.run()?;
    await_split(&first, &second).await?;
    pair.await_equal(&stream.expected, 60).await?;
    pair.target.kill().await?;
    stream.grow(pair)?;
    tokio::time::sleep(Duration::from_secs(9)).await;
    pair.target.resume().await?;
    pair.await_equal(&stream.expected, 90).await?;
    await_split(&first, &second).await?;
    for process in [&mut first, &mut second] {
        ensure!(process.is_running()?, "it ended:\n{}", process.log());
    }
    Ok(())
}

/// Two processes with one name: the younger one has it, the older one ends and says why.
pub async fn a_fenced_namesake_ends_with_3(pair: &mut Pair) -> Result<()> {
    let mut stream = Stream::start(pair, "namesakes").await?;
    let mut older = pair.strait("instance = \"a\"")?;
    let mut younger = pair.strait("instance = \"a\"")?;
    older.run()?;
    pair.await_equal(&stream.expected, 60).await?;
    younger.run()?;
    eventually(20, "the older one's end", async || {
        ensure!(!older.is_running()?);
        Ok(())
    })
    .await?;
    let code = older.exit_code()?;
    let log = older.log();
    ensure!(code == 3, "it ended with {code}:\n{log}");
    ensure!(log.contains("`instance`"), "it does not say why:\n{log}");
    stream.grow(pair)?;
    pair.await_equal(&stream.expected, 60).await?;
    await_share(&younger, PARTITIONS.try_into()?).await?;
    Ok(())
}

/// More processes than partitions: those without one are ready, and take over when they have to.
pub async fn a_standby_is_ready_and_takes_over(pair: &mut Pair) -> Result<()> {
    let topic = pair.topic("single");
    pair.source.create_topic(&topic, 1, &[]).await?;
    let mut records = model::mixed(8, 0, 0, 100);
    let application = Application::new(&pair.source, "lz4")?;
    application.produce(&topic, 0, &records)?;
    let key = (topic.clone(), 0);
    let mut processes = Vec::new();
    for name in ["a", "b", "c"] {
        let mut process = pair.strait(&format!("instance = \"{name}\""))?;
        process.run()?;
        await_ready(&process).await?;
        processes.push(process);
    }
    pair.await_equal(&Content::from([(key.clone(), digests(&records))]), 60)
        .await?;
    // The topic and the control topic have one partition each: somebody has neither.
    let standby = async || {
        for (index, process) in processes.iter().enumerate() {
            if share(process)?.is_empty() && !leads(process)? {
                return Ok(index);
            }
        }
        bail!("nobody stands by")
    };
    let standby = eventually(20, "a standby", standby).await?;
    await_ready(&processes[standby]).await?;
    for (index, process) in processes.iter_mut().enumerate() {
        if index != standby {
            process.kill()?;
        }
    }
    let more = model::mixed(8, 0, 100, 100);
    application.produce(&topic, 0, &more)?;
    records.extend(more);
    pair.await_equal(&Content::from([(key, digests(&records))]), 30)
        .await?;
    ensure!(leads(&processes[standby])?, "who is left leads");
    Ok(())
}

/// Killed, its file edited, started in place: the group does not notice that it wants more, and hands
/// nothing out. It joins again by itself.
pub async fn a_file_edited_while_it_was_killed_is_followed(pair: &mut Pair) -> Result<()> {
    let stream = Stream::start(pair, "first").await?;
    let mut strait = pair.strait(&format!(
        "instance = \"a\"\nexclude = [\"{}-second\"]",
        pair.prefix
    ))?;
    strait.run()?;
    pair.await_equal(&stream.expected, 60).await?;
    // There already, so that nothing but the subscription changes.
    let second = Stream::start(pair, "second").await?;
    pair.target
        .create_topic(&second.topic, PARTITIONS, &[])
        .await?;
    strait.kill()?;
    strait.edit(|text| text.replace("exclude", "# exclude"))?;
    strait.run()?;
    pair.await_equal(&second.expected, 60).await?;
    Ok(())
}

/// The source partitions that a process runs, once there are `count`.
async fn await_share(strait: &Strait, count: usize) -> Result<BTreeSet<(String, i64)>> {
    eventually(30, &format!("{count} partitions"), async || {
        let share = share(strait)?;
        ensure!(share.len() == count, "{share:?} in\n{}", strait.log());
        Ok(share)
    })
    .await
}

/// Waits until two processes run about half of the partitions each, and none twice; how many the first
/// one has.
async fn await_split(first: &Strait, second: &Strait) -> Result<usize> {
    eventually(30, "a split in halves", async || {
        let (first, second) = (share(first)?, share(second)?);
        let all: BTreeSet<_> = first.union(&second).collect();
        ensure!(
            first.len() + second.len() == all.len() && all.len() == usize::try_from(PARTITIONS)?,
            "{first:?} and {second:?}"
        );
        // The control topic counts as well.
        ensure!(
            first.len().min(second.len()) >= 3,
            "{first:?} and {second:?}"
        );
        Ok(first.len())
    })
    .await
}

fn share(strait: &Strait) -> Result<BTreeSet<(String, i64)>> {
    let flow = flow(strait)?;
    let partitions = flow["partitions"].as_array().context("partitions")?;
    let running = partitions.iter().filter(|p| p["state"] == "running");
    running
        .map(|p| {
            let topic = p["topic"].as_str().context("topic")?;
            let partition = p["partition"].as_i64().context("partition")?;
            Ok((topic.to_owned(), partition))
        })
        .collect()
}

fn leads(strait: &Strait) -> Result<bool> {
    flow(strait)?["leader"].as_bool().context("leader")
}

fn flow(strait: &Strait) -> Result<Value> {
    let (code, text) = strait.get("/v1/status")?;
    ensure!(code == 200, "/v1/status answers {code}");
    let mut status: Value = serde_json::from_str(&text)?;
    Ok(status["flows"][0].take())
}
