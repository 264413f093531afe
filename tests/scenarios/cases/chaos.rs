//! Everything at once, at random: processes are killed, suspended, stopped and started, brokers restart,
//! topics and partitions are added, while records arrive.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{
    super::{
        clients::{Application, Content, consume},
        model,
        pair::Pair,
        side::Side,
        strait::Strait,
    },
    actors::{Actor, Blow},
    fidelity::digests,
    lifecycle::await_lag_zero,
    scale,
};

/// Longest time that a partition may be nobody's while both clusters are there, and since the last process went away:
/// each that does so in the midst of a rebalance holds it up until its session ends.
const ORPHANED: Duration = Duration::from_secs(15);
/// After so many things nothing happens for so long.
const CALM: (usize, Duration) = (25, Duration::from_secs(18));
/// Largest resident memory of a process.
const MEMORY: u64 = 300 << 20;

/// How much of it.
struct Extent {
    seconds: u64,
    topics: usize,
    partitions: i32,
}

impl Extent {
    /// At scale 20: ten minutes with 1,600 partitions.
    fn of_this_run() -> Self {
        let (seconds, topics, partitions) = if scale() < 20 {
            (25, 6, 4)
        } else {
            (600, 200, 8)
        };
        Self {
            seconds,
            topics,
            partitions,
        }
    }
}

/// Three processes share a flow; nothing is lost, altered or out of order, and no partition is nobody's for
/// long.
pub async fn processes_brokers_and_topics_come_and_go(pair: &mut Pair) -> Result<()> {
    let extent = Extent::of_this_run();
    let load = Load::start(pair, &extent).await?;
    let mut actors = Vec::new();
    for name in ["a", "b", "c"] {
        let more = format!("instance = \"{name}\"\ncheckpoint_interval = \"200ms\"");
        actors.push(Actor::start(name, pair.strait(&more)?)?);
    }
    let mut chaos = Chaos {
        random: StdRng::seed_from_u64(7),
        actors,
        owners: Owners::default(),
        counts: BTreeMap::new(),
        history: Vec::new(),
    };
    let end = Instant::now() + Duration::from_secs(extent.seconds);
    while Instant::now() < end {
        chaos.happen(pair, &load).await?;
        let calm = chaos.history.len() % CALM.0 == CALM.0 - 1;
        let until = Instant::now() + if calm { CALM.1 } else { chaos.pause() };
        chaos.look(&load, until).await?;
    }
    chaos.all_up()?;
    let expected = load.finish(&pair.source).await?;
    let verdict = pair.await_equal(&expected, 300).await?;
    let records = expected.values().map(Vec::len).sum::<usize>();
    let peaks = chaos.peaks()?;
    println!(
        "{:?}: {records} records in {} partitions, {} repeated, nobody's for at most {:.1?} after something happened \
         ({:.1?} while one thing followed another), peak memory {:?} MiB",
        chaos.counts,
        expected.len(),
        verdict.repeated,
        chaos.owners.longest,
        chaos.owners.all_in_all,
        peaks.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>(),
    );
    for actor in &chaos.actors {
        await_lag_zero(&actor.strait).await?;
    }
    ensure!(chaos.owners.longest <= ORPHANED, chaos.tell());
    ensure!(peaks.iter().all(|peak| *peak < MEMORY), "{peaks:?} bytes");
    Ok(())
}

/// Records that arrive at the source in the background.
struct Load {
    topics: Arc<Mutex<Topics>>,
    stop: Arc<AtomicBool>,
    writer: tokio::task::JoinHandle<Result<()>>,
}

/// By name: how many partitions, and since when.
#[derive(Default)]
struct Topics {
    partitions: BTreeMap<(String, i32), Instant>,
    expected: Content,
    /// Written to no more: a source that has just started may know fewer partitions than there are for a moment, and
    /// how much of the last write it took is not known.
    refused: BTreeSet<(String, i32)>,
}

impl Topics {
    fn add(&mut self, topic: &str, partitions: std::ops::Range<i32>) {
        for partition in partitions {
            let key = (topic.to_owned(), partition);
            self.partitions.insert(key.clone(), Instant::now());
            self.expected.insert(key, Vec::new());
        }
    }
}

impl Load {
    async fn start(pair: &Pair, extent: &Extent) -> Result<Self> {
        let mut topics = Topics::default();
        for index in 0..extent.topics {
            let topic = pair.topic(&format!("t{index:03}"));
            pair.source
                .create_topic(&topic, extent.partitions, &[])
                .await?;
            topics.add(&topic, 0..extent.partitions);
        }
        let topics = Arc::new(Mutex::new(topics));
        let stop = Arc::new(AtomicBool::new(false));
        let application = Application::new(&pair.source, "lz4")?;
        let writer = {
            let (topics, stop) = (Arc::clone(&topics), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || write(&application, &topics, &stop))
        };
        Ok(Self {
            topics,
            stop,
            writer,
        })
    }

    /// A topic more, or one with more partitions.
    async fn extend(&self, pair: &Pair, random: &mut StdRng) -> Result<&'static str> {
        if random.random_bool(0.5) {
            let topic = pair.topic(&format!("new{:08x}", random.random::<u32>()));
            pair.source.create_topic(&topic, 2, &[]).await?;
            self.topics().add(&topic, 0..2);
            return Ok("topics added");
        }
        let (topic, count) = {
            let topics = self.topics();
            let (topic, _) = topics.partitions.keys().next().context("a topic")?;
            let count = topics.partitions.keys().filter(|(t, _)| t == topic).count();
            (topic.clone(), count)
        };
        pair.source.grow_topic(&topic, count + 1).await?;
        let count = i32::try_from(count)?;
        self.topics().add(&topic, count..count + 1);
        Ok("partitions added")
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, Topics> {
        self.topics.lock().expect("no writer panicked")
    }

    /// What must arrive.
    async fn finish(self, source: &Side) -> Result<Content> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await??;
        let mut topics = self.topics.lock().expect("no writer panicked");
        let mut expected = std::mem::take(&mut topics.expected);
        for key in &topics.refused {
            let mut content =
                tokio::task::block_in_place(|| consume(source, std::slice::from_ref(&key.0)))?;
            let there = content.remove(key).unwrap_or_default();
            let known = expected.insert(key.clone(), there.clone());
            ensure!(
                there.starts_with(&known.unwrap_or_default()),
                "the source lost {key:?}"
            );
        }
        Ok(expected)
    }
}

fn write(application: &Application, topics: &Mutex<Topics>, stop: &AtomicBool) -> Result<()> {
    let mut random = StdRng::seed_from_u64(8);
    while !stop.load(Ordering::Relaxed) {
        let (key, from) = {
            let topics = topics.lock().expect("no other writer");
            let at = random.random_range(0..topics.expected.len());
            let (key, records) = topics.expected.iter().nth(at).context("a partition")?;
            if topics.refused.contains(key) {
                continue;
            }
            (key.clone(), records.len())
        };
        let records = model::mixed(9, key.1, from, 40);
        let produced = application.produce(&key.0, key.1, &records);
        let mut topics = topics.lock().expect("no other writer");
        if let Err(error) = produced {
            eprintln!("{error:#}");
            topics.refused.insert(key);
            continue;
        }
        let all = topics.expected.entry(key).or_default();
        all.extend(digests(&records));
        drop(topics);
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

struct Chaos {
    random: StdRng,
    actors: Vec<Actor>,
    owners: Owners,
    counts: BTreeMap<&'static str, usize>,
    /// What happened, and when.
    history: Vec<(Instant, String)>,
}

impl Chaos {
    /// One thing more.
    async fn happen(&mut self, pair: &mut Pair, load: &Load) -> Result<()> {
        let roll = self.random.random_range(0..20);
        let began = Instant::now();
        let what = match roll {
            0 => restart(&mut self.random, &mut pair.source, "source restarts").await?,
            1 => restart(&mut self.random, &mut pair.target, "target restarts").await?,
            2..=4 => load.extend(pair, &mut self.random).await?,
            _ => match self.disturb()? {
                Some(what) => what,
                None => return Ok(()),
            },
        };
        if roll < 5 {
            let took = began.elapsed();
            self.history.push((began, format!("{what}, {took:.1?}")));
        }
        if roll < 2 {
            self.owners.forget();
        }
        *self.counts.entry(what).or_default() += 1;
        Ok(())
    }

    /// Takes a process out for a while, if another one goes on.
    fn disturb(&mut self) -> Result<Option<&'static str>> {
        let up = self.actors.iter_mut().filter(|actor| actor.is_up());
        let mut up: Vec<_> = up.collect();
        if up.len() < 2 {
            return Ok(None);
        }
        let index = self.random.random_range(0..up.len());
        let pause = Duration::from_millis(self.random.random_range(0..9_000));
        let blow = Blow::any(&mut self.random);
        let what = up[index].suffer(blow, pause)?;
        self.owners.disturbed = Some(Instant::now());
        let told = format!("{what}: {}, back after {pause:.1?}", up[index].name);
        self.history.push((Instant::now(), told));
        Ok(Some(what))
    }

    /// Until the next thing happens.
    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(400..2_400))
    }

    /// Looks at who runs what, and lets go on who may.
    async fn look(&mut self, load: &Load, until: Instant) -> Result<()> {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(400)).await;
            for actor in &mut self.actors {
                actor.go_on(Instant::now())?;
            }
            let up = self.actors.iter().filter(|actor| actor.is_up());
            let owned: BTreeSet<_> = up.flat_map(|actor| share(&actor.strait)).collect();
            self.owners.look(&load.topics().partitions, &owned);
        }
        Ok(())
    }

    /// Which partition was nobody's for the longest time, what happened meanwhile, and what the processes say of it.
    fn tell(&self) -> String {
        let Owners {
            longest,
            which,
            until,
            ..
        } = &self.owners;
        let mut text = format!("{which:?} was nobody's for {longest:?}");
        let Some(until) = until else { return text };
        let begin = *until - *longest - ORPHANED;
        for (at, what) in &self.history {
            if (begin..*until).contains(at) {
                text += &format!("\n{:.1?} before its end: {what}", *until - *at);
            }
        }
        for actor in &self.actors {
            let log = actor.strait.log();
            let lines = log.lines().filter(|line| {
                line.contains(&which.0)
                    || line.contains("supervisor")
                    || line.contains("shared")
                    || line.contains("outage")
            });
            text += "\n\n";
            text += &lines.collect::<Vec<_>>().join("\n");
        }
        text
    }

    fn all_up(&mut self) -> Result<()> {
        let far = Instant::now() + Duration::from_secs(3600);
        self.actors
            .iter_mut()
            .try_for_each(|actor| actor.go_on(far))
    }

    fn peaks(&self) -> Result<Vec<u64>> {
        let actors = self.actors.iter();
        actors.map(|actor| actor.strait.peak_memory()).collect()
    }
}

async fn restart(
    random: &mut StdRng,
    side: &mut super::super::side::Side,
    what: &'static str,
) -> Result<&'static str> {
    side.kill().await?;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..8_000))).await;
    side.resume().await?;
    Ok(what)
}

/// Since when partitions have been nobody's.
#[derive(Default)]
struct Owners {
    since: BTreeMap<(String, i32), Instant>,
    /// When a process last went away.
    disturbed: Option<Instant>,
    /// Whatever happened meanwhile.
    all_in_all: Duration,
    longest: Duration,
    which: (String, i32),
    until: Option<Instant>,
}

impl Owners {
    fn look(&mut self, wanted: &BTreeMap<(String, i32), Instant>, owned: &BTreeSet<(String, i32)>) {
        let now = Instant::now();
        self.since.retain(|partition, _| !owned.contains(partition));
        for (partition, made) in wanted {
            if owned.contains(partition) {
                continue;
            }
            let since = *self.since.entry(partition.clone()).or_insert(now);
            let since = since.max(*made);
            self.all_in_all = self.all_in_all.max(now - since);
            let orphaned = now - self.disturbed.map_or(since, |at| since.max(at));
            if orphaned > self.longest {
                self.longest = orphaned;
                self.which = partition.clone();
                self.until = Some(now);
            }
        }
    }

    /// A cluster was away: nobody can own anything then.
    fn forget(&mut self) {
        self.since.clear();
    }
}

/// The source partitions that a process runs or begins to; none if it does not answer.
fn share(strait: &Strait) -> BTreeSet<(String, i32)> {
    let answer = strait.get("/v1/status").ok();
    let text = answer
        .filter(|(code, _)| *code == 200)
        .map(|(_, text)| text);
    let status = text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(status) = status else {
        return BTreeSet::new();
    };
    let partitions = status["flows"][0]["partitions"].as_array().into_iter();
    partitions
        .flatten()
        .filter(|p| p["state"] != "stopped" && p["state"] != "ended")
        .filter_map(|p| {
            let topic = p["topic"].as_str()?.to_owned();
            Some((topic, i32::try_from(p["partition"].as_i64()?).ok()?))
        })
        .collect()
}
