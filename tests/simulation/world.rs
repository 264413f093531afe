//! One run: the machines, the time, and what is checked while it passes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use anyhow::{Result, anyhow, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    app,
    breaks::{Broken, Down, Path},
    check::{self, Shape},
    logs::Reader,
    machine::Machine,
    model::Model,
    outcome::Outcome,
    plan::Plan,
    programs::{BrokerMachine, StraitMachine},
    trace::Trace,
};

/// How long it may take until everything is copied, once nothing happens any more.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(500);
/// How it is told that the target lost records.
pub const TRUNCATED: &str = "target truncated";
/// Before a process that ended is started again.
pub const REST: Duration = Duration::from_secs(1);

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
    pub down: BTreeMap<&'static str, Down>,
    /// Paths that are broken.
    pub broken: BTreeMap<Path, Broken>,
    pub model: Model,
    pub reader: Reader,
    next_look: Duration,
    pub looks: u32,
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
        for partition in self.model.all() {
            shape.add(check::shape(&source, &target, &partition)?);
        }
        let mut counts = std::mem::take(&mut self.counts);
        counts.extend(self.model.all_granted());
        Ok(Outcome {
            shape,
            counts,
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
                let extents: Vec<_> = self.model.all().into_iter().zip(self.extents()?).collect();
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

    pub fn step(&mut self) -> Result<()> {
        self.sim.step().map_err(|error| anyhow!("{error}"))?;
        Ok(())
    }
}
