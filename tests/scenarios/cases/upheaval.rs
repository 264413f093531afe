//! Everything dies: processes and brokers of both sides are killed and suspended, leaders move, connections are
//! cut in the middle of a frame, while records and transactions arrive. What the target holds in the end is the
//! source, record by record.
//!
//! `STRAIT_TEST_SEED` makes it another one; between Kafkas it is run with `STRAIT_TEST_BROKERS=3`, and takes half a
//! minute times `STRAIT_TEST_SCALE`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    super::{
        compare::Verdict,
        detour::Way,
        model::Age,
        pair::Pair,
        side::{self, Side},
        strait::Strait,
    },
    actors::{Actor, Blow},
    lifecycle::await_lag_zero,
    load::Load,
    scale, seed,
};

/// What may happen, and to what.
#[derive(Clone, Copy)]
struct Plan {
    /// Of the records.
    age: Age,
    /// How two processes share the flow.
    assignment: &'static str,
    /// Whether brokers and connections suffer too, not only processes.
    brokers: bool,
}

/// Two members of a flow, and all that can happen.
pub async fn fresh_records_arrive_once_whatever_dies(pair: &mut Pair) -> Result<()> {
    let plan = Plan {
        age: Age::Fresh,
        assignment: "shared",
        brokers: true,
    };
    once(plan.run(pair).await?)
}

/// Two processes that know nothing of each other, and write the same partitions.
pub async fn two_that_each_think_they_are_alone_repeat_nothing(pair: &mut Pair) -> Result<()> {
    let plan = Plan {
        age: Age::Fresh,
        assignment: "solo",
        brokers: true,
    };
    once(plan.run(pair).await?)
}

/// Nothing guards old records at the target.
pub async fn old_records_arrive_once_while_only_processes_die(pair: &mut Pair) -> Result<()> {
    let plan = Plan {
        age: Age::Old,
        assignment: "shared",
        brokers: false,
    };
    once(plan.run(pair).await?)
}

/// A broker that was suspended goes on with requests that were sent again meanwhile.
pub async fn old_records_are_neither_lost_nor_reordered_whatever_dies(
    pair: &mut Pair,
) -> Result<()> {
    let plan = Plan {
        age: Age::Old,
        assignment: "shared",
        brokers: true,
    };
    plan.run(pair).await.map(drop)
}

fn once(verdict: Verdict) -> Result<()> {
    ensure!(verdict.repeated == 0, "{verdict:?}");
    Ok(())
}

impl Plan {
    async fn run(self, pair: &mut Pair) -> Result<Verdict> {
        let mut upheaval = Upheaval::begin(pair, self).await?;
        let outcome = upheaval.run(pair).await;
        // What was repeated is explained, even where it may happen.
        if outcome
            .as_ref()
            .map_or(true, |verdict| verdict.repeated > 0)
        {
            upheaval.keep(pair);
        }
        outcome
    }
}

struct Upheaval {
    plan: Plan,
    random: StdRng,
    load: Load,
    actors: Vec<Actor>,
    /// Of the source and of the target, as all pairs here.
    ways: [Way; 2],
    /// At most one broker of a side is out at a time.
    outages: [Option<Outage>; 2],
    counts: BTreeMap<&'static str, usize>,
    stalls: Stalls,
}

/// A broker that is out.
struct Outage {
    broker: usize,
    back: Instant,
    suspended: bool,
}

impl Upheaval {
    /// The flow runs and every partition has been written to once: what comes first is never guarded.
    async fn begin(pair: &Pair, plan: Plan) -> Result<Self> {
        let ways = [
            Way::open(&pair.source.detours()).await?,
            Way::open(&pair.target.detours()).await?,
        ];
        let load = Load::start(pair, plan.age).await?;
        let mut actors = Vec::new();
        for name in ["a", "b"] {
            let more = format!(
                "instance = \"{name}\"\nassignment = \"{}\"\ncheckpoint_interval = \"200ms\"",
                plan.assignment
            );
            let strait = pair.strait(&more)?;
            for side in [&pair.source, &pair.target] {
                strait.edit(|text| text.replace(&side.bootstrap(), &side.entrance()))?;
            }
            actors.push(Actor::start(name, strait)?);
            if actors.len() == 1 {
                pair.await_equal(&load.so_far(), 120).await?;
            }
        }
        Ok(Self {
            plan,
            random: StdRng::seed_from_u64(seed()),
            load,
            actors,
            ways,
            outages: [None, None],
            counts: BTreeMap::new(),
            stalls: Stalls::default(),
        })
    }

    async fn run(&mut self, pair: &mut Pair) -> Result<Verdict> {
        let seconds = if scale() == 1 { 6 } else { 30 * scale() as u64 };
        let end = Instant::now() + Duration::from_secs(seconds);
        self.load.go_on(pair);
        while Instant::now() < end {
            let what = self.happen(pair).await?;
            *self.counts.entry(what).or_default() += 1;
            for _ in 0..self.random.random_range(1..8) {
                tokio::time::sleep(Duration::from_millis(400)).await;
                self.mend(pair, Instant::now()).await?;
                self.look()?;
            }
        }
        println!("{:?}, the longest stall {:?}", self.counts, self.stalls);
        self.mend(pair, end + Duration::from_secs(3600)).await?;
        for side in [&mut pair.source, &mut pair.target] {
            if let Side::Kafka(kafka) = side {
                tokio::task::block_in_place(|| kafka.resume())?;
            }
        }
        let expected = self.load.finish(pair).await?;
        if self.plan.assignment == "solo" {
            // What one gave up because of the other is taken up again.
            self.actors.truncate(1);
            self.actors[0].strait.kill()?;
            self.actors[0].strait.run()?;
        }
        let verdict = pair.await_equal(&expected, 240).await?;
        let records: usize = expected.values().map(Vec::len).sum();
        println!("{records} records, {} repeated", verdict.repeated);
        for actor in &mut self.actors {
            await_lag_zero(&actor.strait).await?;
            let status = actor.strait.terminate()?;
            ensure!(status.success(), "{status}:\n{}", actor.strait.log());
        }
        Ok(verdict)
    }

    /// One thing more.
    async fn happen(&mut self, pair: &mut Pair) -> Result<&'static str> {
        let (roll, at) = (
            self.random.random_range(0..10),
            self.random.random_range(0..2),
        );
        let side = if at == 0 {
            &mut pair.source
        } else {
            &mut pair.target
        };
        match roll {
            0..=4 if self.plan.brokers && self.outages[at].is_none() => {
                let (outage, what) = take_out(side, &mut self.random).await?;
                self.outages[at] = Some(outage);
                Ok(what)
            }
            5 if self.plan.brokers => {
                self.ways[at].cut();
                Ok("connections cut")
            }
            6..=7 if self.plan.brokers && side.brokers() > 1 => {
                Ok(match side::move_leaders(side, &mut self.random).await {
                    Ok(()) => "leaders moved",
                    Err(error) => {
                        println!("leaders are not moved: {error:#}");
                        "leaders not moved"
                    }
                })
            }
            _ => self.disturb(),
        }
    }

    fn disturb(&mut self) -> Result<&'static str> {
        let index = self.random.random_range(0..self.actors.len());
        let actor = &mut self.actors[index];
        if !actor.is_up() {
            return Ok("nothing");
        }
        let pause = Duration::from_millis(self.random.random_range(0..9_000));
        actor.suffer(Blow::any(&mut self.random), pause)
    }

    /// Lets go on who may by then.
    async fn mend(&mut self, pair: &mut Pair, by: Instant) -> Result<()> {
        for (side, outage) in [&mut pair.source, &mut pair.target]
            .into_iter()
            .zip(&mut self.outages)
        {
            match outage.take_if(|outage| outage.back <= by) {
                Some(one) if one.suspended => side.signal_broker(one.broker, Signal::CONT)?,
                Some(one) => side.start_broker(one.broker).await?,
                None => {}
            }
        }
        self.actors.iter_mut().try_for_each(|actor| actor.go_on(by))
    }

    /// Nothing waits for a person, save for who finds another one at work where it thinks to be alone.
    fn look(&mut self) -> Result<()> {
        for actor in self.actors.iter_mut().filter(|actor| actor.is_up()) {
            let partitions = partitions(&actor.strait);
            self.stalls.look(&partitions);
            let stopped: Vec<_> = partitions
                .iter()
                .filter(|partition| partition["state"] == "stopped")
                .collect();
            let Some(first) = stopped.first() else {
                continue;
            };
            let alone = self.plan.assignment == "solo";
            if !alone || stopped.iter().any(|one| one["reason"] != "taken_over") {
                bail!("a partition stopped: {first}");
            }
            actor.strait.kill()?;
            actor.strait.run()?;
            *self.counts.entry("taken over").or_default() += 1;
        }
        Ok(())
    }

    /// For whoever looks into a failure.
    fn keep(&mut self, pair: &mut Pair) {
        for side in [&mut pair.source, &mut pair.target] {
            if let Side::Kafka(kafka) = side {
                println!("kept: {}", kafka.keep().display());
            }
        }
        for actor in &mut self.actors {
            println!("kept: {}", actor.strait.keep().display());
        }
    }
}

async fn take_out(side: &mut Side, random: &mut StdRng) -> Result<(Outage, &'static str)> {
    let broker = random.random_range(0..side.brokers());
    let suspended = matches!(side, Side::Kafka(_)) && random.random_bool(0.5);
    let longest = if side.brokers() > 1 { 15_000 } else { 6_000 };
    let back = Instant::now() + Duration::from_millis(random.random_range(0..longest));
    let what = if suspended {
        side.signal_broker(broker, Signal::STOP)?;
        "brokers suspended"
    } else {
        side.kill_broker(broker).await?;
        "brokers killed"
    };
    let outage = Outage {
        broker,
        back,
        suspended,
    };
    Ok((outage, what))
}

/// What a process tells of its partitions; nothing if it does not answer.
fn partitions(strait: &Strait) -> Vec<Value> {
    let status = || {
        let (_, text) = strait.get("/v1/status").ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        Some(status["flows"][0]["partitions"].as_array()?.clone())
    };
    status().unwrap_or_default()
}

/// How long partitions had something to copy, and copied nothing.
#[derive(Default)]
struct Stalls {
    since: BTreeMap<String, (i64, Instant)>,
    longest: Duration,
    which: String,
}

impl Stalls {
    fn look(&mut self, partitions: &[Value]) {
        for partition in partitions {
            let name = format!("{}-{}", partition["topic"], partition["partition"]);
            let offset = partition["source_offset"].as_i64().unwrap_or(-1);
            let now = Instant::now();
            let (last, since) = self.since.entry(name.clone()).or_insert((offset, now));
            if offset > *last || partition["lag"] == 0 {
                (*last, *since) = (offset.max(*last), now);
            } else if now - *since > self.longest {
                (self.longest, self.which) = (now - *since, name);
            }
        }
    }
}

impl std::fmt::Debug for Stalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}", self.longest, self.which)
    }
}
