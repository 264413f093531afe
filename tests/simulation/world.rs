//! One run: the machines, the time, and what is checked while it passes.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use anyhow::{Result, anyhow, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    app, check,
    check::Shape,
    logs::Reader,
    machine::Machine,
    model::Model,
    panics,
    plan::Plan,
    programs::{BrokerMachine, StraitMachine},
    trace::Trace,
};

/// How long it may take until everything is copied, once nothing happens any more.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How it is told that the target lost records.
pub const TRUNCATED: &str = "target truncated";
/// Before a process that ended is started again.
const REST: Duration = Duration::from_secs(1);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub shape: Shape,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, usize>,
    /// How long it was for the machines.
    pub elapsed: Duration,
}

impl Outcome {
    pub const NONE: Self = Self {
        shape: Shape {
            records: 0,
            batches: 0,
            opened: 0,
        },
        counts: BTreeMap::new(),
        elapsed: Duration::ZERO,
    };

    pub fn add(&mut self, other: &Self) {
        self.shape.add(other.shape);
        self.elapsed += other.elapsed;
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            records,
            batches,
            opened,
        } = self.shape;
        let seconds = self.elapsed.as_secs();
        write!(
            f,
            "{records} records in {batches} batches ({opened} made anew), {seconds} simulated seconds: "
        )?;
        write!(f, "{:?}", self.counts)
    }
}

/// All machines, and the network between them.
pub struct World {
    pub plan: Plan,
    pub random: StdRng,
    pub trace: Trace,
    pub sim: turmoil::Sim<'static>,
    /// Source and target.
    pub brokers: [BrokerMachine; 2],
    pub straits: Vec<StraitMachine>,
    pub app: Machine,
    pub counts: BTreeMap<&'static str, usize>,
    /// Machines whose program does not run.
    down: BTreeMap<&'static str, Down>,
    /// Paths that are broken.
    broken: BTreeMap<Path, Broken>,
    model: Model,
    reader: Reader,
    next_look: Duration,
    looks: u32,
}

/// Two machines.
pub type Path = (&'static str, &'static str);

struct Down {
    /// Never, if there is none.
    back: Option<Duration>,
    /// The machine too.
    is_dark: bool,
}

struct Broken {
    until: Duration,
    /// What was sent meanwhile comes later.
    is_held: bool,
}

impl World {
    /// Brokers and the application run.
    pub fn begin(plan: Plan, trace: &Trace) -> Self {
        let epoch = SystemTime::UNIX_EPOCH;
        let mut sim = turmoil::Builder::new()
            .epoch(epoch)
            .rng_seed(plan.seed)
            .simulation_duration(Duration::from_secs(24 * 3600))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(plan.latency)
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let mut seeds = StdRng::seed_from_u64(plan.seed.wrapping_add(1));
        let mut machine = |name| Machine::new(name, seeds.random(), plan.sync, trace);
        let brokers = [
            BrokerMachine::new(machine("source"), &plan, plan.flush[0]),
            BrokerMachine::new(machine("target"), &plan, plan.flush[1]),
        ];
        let names = ["strait-a", "strait-b"].into_iter().take(plan.processes);
        let straits: Vec<_> = names
            .map(|name| StraitMachine::new(machine(name), &plan))
            .collect();
        let app = machine("app");
        for broker in &brokers {
            let broker = broker.clone();
            sim.host(broker.machine.name, move || broker.clone().run());
        }
        let mut down = BTreeMap::new();
        for strait in &straits {
            let strait: StraitMachine = strait.clone();
            let name = strait.machine.name;
            strait.machine.wants(false);
            sim.host(name, move || strait.clone().run());
            down.insert(
                name,
                Down {
                    back: None,
                    is_dark: false,
                },
            );
        }
        let model = Model::default();
        let (writer, host, written) = (plan.clone(), app.host(), model.clone());
        sim.client("app", async move {
            // The brokers listen by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(app::run(writer, host, written).await?)
        });
        Self {
            random: StdRng::seed_from_u64(plan.seed.wrapping_add(2)),
            plan,
            trace: trace.clone(),
            sim,
            brokers,
            straits,
            app,
            counts: BTreeMap::new(),
            down,
            broken: BTreeMap::new(),
            model,
            reader: Reader::default(),
            next_look: Duration::ZERO,
            looks: 0,
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// If anything is not as it must be.
    pub fn run(mut self) -> Result<Outcome> {
        self.trace
            .event(Duration::ZERO, format_args!("{:?}", self.plan));
        self.until("the application begins", |world| Ok(world.model.is_ready()))?;
        self.start_strait(0);
        // What comes first on a partition is never guarded (docs/GUARANTEES.md).
        self.until("a first batch everywhere", |world| {
            let extents = world.extents()?;
            Ok(extents
                .iter()
                .all(|extent| extent.target > 0 || extent.source == 0))
        })?;
        for index in 1..self.straits.len() {
            self.start_strait(index);
        }
        self.storm()?;
        self.calm_down()?;
        self.until("everything is copied", |world| {
            Ok(world.model.is_done() && world.is_equal()?)
        })?;
        self.end()
    }

    /// A last process finds nothing to do, and all ends in good order.
    fn end(&mut self) -> Result<Outcome> {
        self.event("last restart");
        self.kill(self.straits[0].machine.name, Some(Duration::ZERO), false)?;
        self.pass(Duration::from_secs(8))?;
        ensure!(self.is_equal()?, "not equal any more");
        let name = self.straits[0].machine.name;
        let for_good = Down {
            back: None,
            is_dark: false,
        };
        self.down.insert(name, for_good);
        self.straits[0].stop();
        self.pass(Duration::from_secs(4))?;
        let target = self.brokers[1].machine.disk.clone();
        let source = self.brokers[0].machine.disk.clone();
        self.brokers.iter().for_each(BrokerMachine::stop);
        self.pass(Duration::from_secs(1))?;
        ensure!(self.is_equal()?, "not equal any more");
        ensure!(!self.sim.is_host_running(name), "strait does not end");
        self.model.check(&self.reader, &source)?;
        let mut shape = Shape::default();
        for partition in self.plan.all() {
            shape.add(check::shape(&source, &target, &partition)?);
        }
        Ok(Outcome {
            shape,
            counts: std::mem::take(&mut self.counts),
            elapsed: self.sim.elapsed(),
        })
    }

    fn start_strait(&mut self, index: usize) {
        let machine = &self.straits[index].machine;
        self.down.remove(machine.name);
        machine.wants(true);
    }

    /// Notes and counts what is done.
    pub fn event(&mut self, what: &'static str) {
        self.trace.event(self.sim.elapsed(), format_args!("{what}"));
        *self.counts.entry(what).or_default() += 1;
    }

    /// Lets time pass until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        self.trace
            .event(self.sim.elapsed(), format_args!("until {what}"));
        let end = self.sim.elapsed() + PATIENCE;
        while !holds(self)? {
            if self.sim.elapsed() > end {
                let extents: Vec<_> = self.plan.all().into_iter().zip(self.extents()?).collect();
                let partitions = self.straits[0].partitions();
                bail!("not in {PATIENCE:?}: {what}; {extents:?}; {partitions:?}");
            }
            self.pass(LOOK)?;
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn pass(&mut self, duration: Duration) -> Result<()> {
        let end = self.sim.elapsed() + duration;
        while self.sim.elapsed() < end {
            self.mend(self.sim.elapsed());
            self.step()?;
            if self.sim.elapsed() >= self.next_look {
                self.next_look = self.sim.elapsed() + LOOK;
                self.look()?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.sim.step().map_err(|error| anyhow!("{error}"))?;
        Ok(())
    }

    /// What must hold at any time.
    fn look(&mut self) -> Result<()> {
        if let Some(panic) = panics::taken() {
            bail!("{panic}");
        }
        if let Some(failure) = self.brokers.iter().find_map(BrokerMachine::failure) {
            bail!("{failure}");
        }
        self.extents()?;
        // Those of who gave up for another process, or whose target lost records, are due.
        let may_complain = self.plan.processes > 1 || self.counts.contains_key(TRUNCATED);
        if let Some(error) = self.trace.error().filter(|_| !may_complain) {
            bail!("logged: {error}");
        }
        self.looks += 1;
        if self.looks.is_multiple_of(8) {
            self.model
                .check(&self.reader, &self.brokers[0].machine.disk)?;
        }
        let alone = self.plan.processes == 1;
        for index in 0..self.straits.len() {
            let strait = &self.straits[index];
            let name = strait.machine.name;
            if let Some(code) = strait
                .ends()
                .iter()
                .find(|code| !matches!((code, alone), (0, _) | (3, false)))
            {
                bail!("{name} ended with {code}");
            }
            let stopped: Vec<_> = strait
                .partitions()
                .into_iter()
                .filter(|one| one.reason.is_some())
                .collect();
            let other = stopped
                .iter()
                .find(|one| alone || one.reason.as_deref() != Some("taken_over"));
            if let Some(other) = other {
                bail!(
                    "{name} stopped {}-{}: {:?}: {other:?}",
                    other.topic,
                    other.partition,
                    other.reason
                );
            }
            if self.down.contains_key(name) {
                continue;
            }
            if !self.sim.is_host_running(name) {
                // As systemd would.
                self.ends(name, REST);
            } else if !stopped.is_empty() {
                self.event("taken over");
                self.kill(name, Some(REST), false)?;
            }
        }
        Ok(())
    }

    fn extents(&self) -> Result<Vec<check::Extent>> {
        let [source, target] = &self.brokers;
        let all = self.plan.all();
        let extents = all.iter().map(|partition| {
            check::prefix(
                &self.reader,
                &source.machine.disk,
                &target.machine.disk,
                partition,
            )
        });
        extents.collect()
    }

    fn is_equal(&self) -> Result<bool> {
        Ok(self
            .extents()?
            .iter()
            .all(|extent| extent.source == extent.target))
    }

    fn machine(&self, name: &str) -> &Machine {
        let brokers = self.brokers.iter().map(|broker| &broker.machine);
        let straits = self.straits.iter().map(|strait| &strait.machine);
        let mut all = brokers.chain(straits).chain([&self.app]);
        all.find(|machine| machine.name == name)
            .expect("a machine of this run")
    }

    pub fn is_down(&self, name: &str) -> bool {
        self.down.contains_key(name)
    }

    /// Ends a machine's program at once, until `back` has passed; with the machine (its network is silent, and what
    /// was not synced is lost) or without (connections to it are refused).
    ///
    /// # Errors
    /// As of [`World::pass`].
    pub fn kill(&mut self, name: &'static str, back: Option<Duration>, dark: bool) -> Result<()> {
        let machine = self.machine(name).clone();
        let until = self.sim.elapsed() + back.unwrap_or(Duration::MAX / 2);
        // Not yet, lest it is found to have ended by itself.
        self.down.insert(
            name,
            Down {
                back: None,
                is_dark: dark,
            },
        );
        if dark {
            for path in self.paths() {
                if path.0 == name || path.1 == name {
                    self.break_path(path, until - self.sim.elapsed(), false);
                }
            }
        }
        if self.sim.is_host_running(name) {
            machine.die();
            self.step()?;
        }
        machine.freeze(true, self.sim.elapsed());
        self.sim.crash(name);
        machine.freeze(false, self.sim.elapsed());
        machine.wants(dark);
        if dark {
            machine.disk.crash();
        } else {
            self.sim.bounce(name);
        }
        let back = back.map(|_| until);
        self.down.insert(
            name,
            Down {
                back,
                is_dark: dark,
            },
        );
        Ok(())
    }

    /// Notes that a program was asked to end, and when it is to run again.
    pub fn ends(&mut self, name: &'static str, back: Duration) {
        let back = Some(self.sim.elapsed() + back);
        self.down.insert(
            name,
            Down {
                back,
                is_dark: true,
            },
        );
    }

    /// Every path that something is sent on.
    pub fn paths(&self) -> Vec<Path> {
        let straits = self.straits.iter().map(|strait| strait.machine.name);
        let mut paths: Vec<_> = straits
            .flat_map(|name| [(name, "source"), (name, "target")])
            .collect();
        paths.push(("app", "source"));
        paths
    }

    /// Breaks a path for a time.
    pub fn break_path(&mut self, path: Path, length: Duration, held: bool) {
        if self.broken.contains_key(&path) {
            return;
        }
        if held {
            self.sim.hold(path.0, path.1);
        } else {
            self.sim.partition(path.0, path.1);
        }
        let until = self.sim.elapsed() + length;
        self.broken.insert(
            path,
            Broken {
                until,
                is_held: held,
            },
        );
    }

    /// Resets connections at one end.
    pub fn cut(&self, here: &str, there: &str) {
        let there = self.sim.lookup(there);
        self.machine(here).lines.cut(there);
    }

    /// Sets a machine's calendar beside the truth.
    pub fn skew(&mut self, name: &str, ms: i64) {
        self.machine(name).skew(ms);
    }

    /// Brings back what may be back by then.
    fn mend(&mut self, by: Duration) {
        let paths: Vec<_> = self
            .broken
            .iter()
            .filter(|(_, one)| one.until <= by)
            .map(|(path, _)| *path)
            .collect();
        for path in paths {
            let broken = self.broken.remove(&path).expect("it was found");
            self.trace
                .event(self.sim.elapsed(), format_args!("{path:?} mended"));
            if broken.is_held {
                self.sim.release(path.0, path.1);
            } else {
                self.sim.repair(path.0, path.1);
                // What was lost is not sent again: TCP would have given up.
                self.cut(path.0, path.1);
                self.cut(path.1, path.0);
            }
        }
        let back = |one: &Down| one.back.is_some_and(|back| back <= by);
        let names: Vec<_> = self
            .down
            .iter()
            .filter(|(_, one)| back(one))
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            let down = self.down.remove(name).expect("it was found");
            self.trace
                .event(self.sim.elapsed(), format_args!("{name} is back"));
            if down.is_dark && !self.sim.is_host_running(name) {
                self.sim.bounce(name);
            } else if down.is_dark {
                // It has not ended yet, as it was asked to.
                let back = Some(self.sim.elapsed() + LOOK);
                self.down.insert(
                    name,
                    Down {
                        back,
                        is_dark: true,
                    },
                );
            }
            self.machine(name).wants(true);
        }
    }

    /// Nothing happens any more; no more is written.
    fn calm_down(&mut self) -> Result<()> {
        self.event("calm");
        self.mend(Duration::MAX);
        for path in self.paths() {
            self.sim
                .set_link_max_message_latency(path.0, path.1, self.plan.latency);
        }
        for faults in self.brokers.iter().filter_map(BrokerMachine::faults) {
            faults.clear();
        }
        self.model.end();
        if self.counts.contains_key(TRUNCATED) {
            // It shows at the next batch, or at the next start.
            self.kill("strait-a", Some(REST), false)?;
        }
        if self.straits.len() > 1 {
            // What one gave up because of the other is taken up again.
            self.kill("strait-b", None, false)?;
            self.kill("strait-a", Some(REST), false)?;
        }
        Ok(())
    }
}
