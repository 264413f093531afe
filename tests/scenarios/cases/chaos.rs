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
        clients::{Application, Content},
        model,
        pair::Pair,
        strait::Strait,
    },
    actors::{Actor, Blow},
    fidelity::digests,
    lifecycle::await_lag_zero,
    scale,
};

/// Longest time that a partition may be nobody's while both clusters are there.
const ORPHANED: Duration = Duration::from_secs(15);
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
        actors.push(Actor::start(pair.strait(&more)?)?);
    }
    let mut chaos = Chaos {
        random: StdRng::seed_from_u64(7),
        actors,
        owners: Owners::default(),
        counts: BTreeMap::new(),
    };
    let end = Instant::now() + Duration::from_secs(extent.seconds);
    while Instant::now() < end {
        chaos.happen(pair, &load).await?;
        chaos.look(&load).await?;
    }
    chaos.all_up()?;
    let expected = load.finish().await?;
    let verdict = pair.await_equal(&expected, 300).await?;
    let records = expected.values().map(Vec::len).sum::<usize>();
    let peaks = chaos.peaks()?;
    println!(
        "{:?}: {records} records in {} partitions, {} repeated, nobody's for at most {:?}, peak memory {:?} MiB",
        chaos.counts,
        expected.len(),
        verdict.repeated,
        chaos.owners.longest,
        peaks.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>(),
    );
    for actor in &chaos.actors {
        await_lag_zero(&actor.strait).await?;
    }
    ensure!(
        chaos.owners.longest <= ORPHANED,
        "{} was nobody's for {:?}",
        chaos.owners.which,
        chaos.owners.longest
    );
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
    async fn finish(self) -> Result<Content> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await??;
        let mut topics = self.topics.lock().expect("no writer panicked");
        Ok(std::mem::take(&mut topics.expected))
    }
}

fn write(application: &Application, topics: &Mutex<Topics>, stop: &AtomicBool) -> Result<()> {
    let mut random = StdRng::seed_from_u64(8);
    while !stop.load(Ordering::Relaxed) {
        let (key, from) = {
            let topics = topics.lock().expect("no other writer");
            let at = random.random_range(0..topics.expected.len());
            let (key, records) = topics.expected.iter().nth(at).context("a partition")?;
            (key.clone(), records.len())
        };
        let records = model::mixed(9, key.1, from, 40);
        application.produce(&key.0, key.1, &records)?;
        let mut topics = topics.lock().expect("no other writer");
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
}

impl Chaos {
    /// One thing more.
    async fn happen(&mut self, pair: &mut Pair, load: &Load) -> Result<()> {
        let roll = self.random.random_range(0..20);
        let what = match roll {
            0 => restart(&mut self.random, &mut pair.source, "source restarts").await?,
            1 => restart(&mut self.random, &mut pair.target, "target restarts").await?,
            2..=4 => load.extend(pair, &mut self.random).await?,
            _ => match self.disturb()? {
                Some(what) => what,
                None => return Ok(()),
            },
        };
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
        up[index].suffer(blow, pause).map(Some)
    }

    /// Looks for a second or two at who runs what, and lets go on who may.
    async fn look(&mut self, load: &Load) -> Result<()> {
        for _ in 0..self.random.random_range(1..6) {
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
    longest: Duration,
    which: String,
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
            let orphaned = now - since.max(*made);
            if orphaned > self.longest {
                self.longest = orphaned;
                self.which = format!("{}-{}", partition.0, partition.1);
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
