//! Machines and paths that break, and are mended.

use std::time::Duration;

use anyhow::Result;
use host::sim::SeededRandom;
use rand::Rng;

use super::{
    machine::Machine,
    programs::BrokerMachine,
    world::{LOOK, REST, TRUNCATED, World},
};

/// Two machines.
pub type Path = (&'static str, &'static str);

/// A machine whose program does not run.
#[derive(Debug)]
pub struct Down {
    /// Never, if there is none.
    pub back: Option<Duration>,
    /// The machine too.
    pub is_dark: bool,
}

/// A path that is broken.
#[derive(Debug)]
pub struct Broken {
    until: Duration,
    /// What was sent meanwhile comes later.
    is_held: bool,
}

impl World {
    pub fn machine(&self, name: &str) -> &Machine {
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
            self.lose_power(&machine);
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

    /// What was not synced is gone, or any part of it is.
    fn lose_power(&mut self, machine: &Machine) {
        if self.plan.torn {
            machine
                .disk
                .crash_keeping(&SeededRandom::new(self.random.random()));
            self.reader.forget();
        } else {
            machine.disk.crash();
        }
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

    pub fn is_broken(&self, path: Path) -> bool {
        self.broken.contains_key(&path)
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
    pub fn mend(&mut self, by: Duration) {
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
    pub fn calm_down(&mut self) -> Result<()> {
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
