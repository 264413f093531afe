//! Two clusters, and where scenarios get them from.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tokio::sync::Mutex;

use super::{
    cases::Case,
    clients::{self, Content},
    compare::{Verdict, compare},
    kafka,
    side::{Kind, Side},
    strait::Strait,
};

/// A source and a target for one scenario, with a name of its own for its topics.
#[derive(Debug)]
pub struct Pair {
    pub source: Side,
    pub target: Side,
    /// Prefix of everything this scenario creates: a shared Kafka still holds what others made.
    pub prefix: String,
}

impl Pair {
    /// The name of a topic of this scenario.
    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A flow over all topics of this scenario; `more` is added to its table.
    pub fn strait(&self, more: &str) -> Result<Strait> {
        let flow = format!("name = \"{0}\"\ntopics = [\"{0}-.*\"]\n{more}", self.prefix);
        Strait::new(&self.source, &self.target, &flow)
    }

    /// Waits until the target ends where `expected` does, compares, and wants nothing lost,
    /// altered or out of order. Returns the verdict, for its repeats.
    pub async fn await_equal(&self, expected: &Content, seconds: u64) -> Result<Verdict> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut topics: Vec<String> = expected.keys().map(|(topic, _)| topic.clone()).collect();
        topics.dedup();
        let mut verdict = self.verdict(expected, &topics);
        while verdict.as_ref().map_or(true, |v| v.missing > 0) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(300)).await;
            verdict = self.verdict(expected, &topics);
        }
        let verdict = verdict?;
        ensure!(
            verdict.is_complete(),
            "after {seconds} s the target differs: {verdict:?}"
        );
        Ok(verdict)
    }

    /// Compares once.
    pub fn verdict(&self, expected: &Content, topics: &[String]) -> Result<Verdict> {
        let found = tokio::task::block_in_place(|| content(&self.target, topics))?;
        let empty = Vec::new();
        Ok(expected
            .iter()
            .fold(Verdict::default(), |sum, (key, source)| {
                sum.plus(compare(source, found.get(key).unwrap_or(&empty)))
            }))
    }
}

/// What topics hold now, read by an independent client: the Java consumer on Kafka, librdkafka on broker-lite.
pub fn content(side: &Side, topics: &[String]) -> Result<Content> {
    let Side::Kafka(kafka) = side else {
        return clients::consume(side, topics);
    };
    let mut content = Content::new();
    for line in kafka::dump(&kafka.bootstrap(), topics)?.lines() {
        let mut fields = line.splitn(4, '\t');
        let (Some(topic), Some(partition), Some(_offset), Some(digest)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            bail!("Dump.java printed {line:?}");
        };
        let key = (topic.to_owned(), partition.parse()?);
        content.entry(key).or_default().push(digest.to_owned());
    }
    Ok(content)
}

/// Kafkas are slow to start, so those that a scenario is done with serve the next one.
#[derive(Debug, Default)]
pub struct Pool {
    kafkas: Mutex<Kafkas>,
    count: AtomicUsize,
}

/// Those that wait for a scenario.
#[derive(Debug, Default)]
struct Kafkas {
    sources: Vec<Side>,
    targets: Vec<Side>,
}

impl Pool {
    /// Runs one scenario between clusters of these kinds.
    pub async fn run(&self, kinds: (Kind, Kind), case: &'static Case) -> Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let mut pair = self.take(kinds).await?;
        pair.prefix = format!("s{number}-{}", case.name.replace('_', "-"));
        let outcome = (case.body)(&mut pair).await;
        self.give_back(pair).await;
        outcome
    }

    async fn take(&self, kinds: (Kind, Kind)) -> Result<Pair> {
        let (source, target) = {
            let mut kafkas = self.kafkas.lock().await;
            let waits = |kind, sides: &mut Vec<Side>| match kind {
                Kind::Kafka => sides.pop(),
                Kind::Lite => None,
            };
            let source = waits(kinds.0, &mut kafkas.sources);
            (source, waits(kinds.1, &mut kafkas.targets))
        };
        let (source, target) =
            tokio::try_join!(or_start(source, kinds.0), or_start(target, kinds.1))?;
        Ok(Pair {
            source,
            target,
            prefix: String::new(),
        })
    }

    /// A cluster that a failed scenario left down is not used again.
    async fn give_back(&self, pair: Pair) {
        let usable =
            |side: &Side| matches!(side, Side::Kafka(_)) && kafka::answers(&side.bootstrap());
        let mut kafkas = self.kafkas.lock().await;
        kafkas.sources.extend(Some(pair.source).filter(usable));
        kafkas.targets.extend(Some(pair.target).filter(usable));
    }

    /// Stops the Kafkas.
    pub async fn stop(&self) {
        *self.kafkas.lock().await = Kafkas::default();
    }
}

async fn or_start(side: Option<Side>, kind: Kind) -> Result<Side> {
    match side {
        Some(side) => Ok(side),
        None => Side::start(kind).await,
    }
}

/// How the pair is called in a test's name.
pub fn name(kinds: (Kind, Kind)) -> String {
    let name = |kind| match kind {
        Kind::Lite => "lite",
        Kind::Kafka => "kafka",
    };
    format!("{}_to_{}", name(kinds.0), name(kinds.1))
}
