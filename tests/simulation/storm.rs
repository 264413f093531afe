//! What happens to the machines, drawn from the seed.

use std::time::Duration;

use anyhow::Result;
use broker_lite::faults::Faults;
use rand::{Rng, seq::IndexedRandom};

use super::{
    logs,
    model::Wish,
    plan::{Kind, PLAIN},
    world::{TRUNCATED, World},
};

/// As far as calendars may differ (docs/GUARANTEES.md), each way.
const SKEW_MS: i64 = 8 * 60_000;
/// Topics that come, and partitions that one may have.
const TOPICS: usize = 3;
const PARTITIONS: i32 = 6;

impl World {
    /// Lets things happen for as long as the plan says.
    pub fn storm(&mut self) -> Result<()> {
        let end = self.sim.elapsed() + self.plan.storm;
        while self.sim.elapsed() < end {
            if let Some(kind) = self.plan.kinds.choose(&mut self.random).copied() {
                self.happen(kind)?;
            }
            let rest = self.between(Duration::ZERO, self.plan.calm);
            self.pass(rest)?;
        }
        Ok(())
    }

    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + (longest - shortest).mul_f64(self.random.random())
    }

    fn outage(&mut self) -> Duration {
        self.between(Duration::ZERO, Duration::from_secs(8))
    }

    fn happen(&mut self, kind: Kind) -> Result<()> {
        let side = self.random.random_range(0..2);
        match kind {
            Kind::KillBroker => self.kill_broker(side, false)?,
            Kind::PowerLoss if self.plan.flush[side] => self.kill_broker(side, true)?,
            Kind::PowerLoss => self.kill_broker(1 - side, true)?,
            Kind::StopBroker => self.stop_broker(side),
            Kind::KillStrait | Kind::StopStrait => self.end_strait(kind == Kind::KillStrait)?,
            Kind::Hold | Kind::Partition => self.break_some_path(kind == Kind::Hold),
            Kind::Cut => self.cut_some_path(),
            Kind::Latency => {
                let path = self.some_path();
                let latency =
                    Duration::from_millis([0, 2, 20, 150][self.random.random_range(0..4)]);
                self.event("latency changed");
                self.sim
                    .set_link_max_message_latency(path.0, path.1, latency);
            }
            Kind::ClockJump => {
                let names = ["source", "target", "strait-a", "strait-b"];
                let name = names[self.random.random_range(0..2 + self.plan.processes)];
                let ms = self.random.random_range(-SKEW_MS..SKEW_MS);
                self.event("clock set");
                self.skew(name, ms);
            }
            Kind::Fault => self.fault(side),
            Kind::Epoch => {
                self.on_some_partition(side, "leader epoch raised", |faults, topic, number| {
                    faults.raise_leader_epoch(topic, number).is_ok()
                })
            }
            Kind::Forget => {
                self.on_some_partition(1, "producers forgotten", |faults, topic, number| {
                    faults.forget_producers(topic, number).is_ok()
                })
            }
            Kind::Truncate => self.truncate()?,
            Kind::Late => self.append_late()?,
            Kind::Refuse => self.refuse_in_a_row(),
            Kind::Topic => self.topic_comes(),
            Kind::Partitions => self.partitions_come(),
            Kind::Delete => self.delete_records(),
        }
        Ok(())
    }

    fn topic_comes(&mut self) {
        let number = self.counts.get("topic wanted").copied().unwrap_or_default();
        if number < TOPICS {
            self.event("topic wanted");
            let partitions = self.random.random_range(1..3);
            let name = format!("{PLAIN}-{number}");
            self.model.wish(Wish::Partitions(name, partitions));
        }
    }

    fn partitions_come(&mut self) {
        let all = self.model.plain();
        let topic = &all[self.random.random_range(0..all.len())].topic;
        let count = all.iter().filter(|one| one.topic == *topic).count();
        let wanted = i32::try_from(count).unwrap_or(i32::MAX) + 1;
        if wanted <= PARTITIONS {
            self.event("partition wanted");
            self.model.wish(Wish::Partitions(topic.clone(), wanted));
        }
    }

    fn delete_records(&mut self) {
        let all = self.model.all();
        let one = &all[self.random.random_range(0..all.len())];
        self.event("deletion wanted");
        let percent = [50, 90, 100][self.random.random_range(0..3)];
        self.model.wish(Wish::Delete(one.clone(), percent));
    }

    /// Cuts off the last few batches of a partition.
    fn truncate(&mut self) -> Result<()> {
        let all = self.model.all();
        let one = &all[self.random.random_range(0..all.len())];
        let batches = logs::read(&self.brokers[1].machine.disk, one)?;
        // Of who wrote before something is left.
        let from = batches.len().saturating_sub(4).max(2);
        if from >= batches.len() {
            return Ok(());
        }
        let offset = batches[self.random.random_range(from..batches.len())]
            .header
            .base_offset;
        let faults = self.brokers[1].faults();
        let cut = faults.map(|faults| faults.truncate(&one.topic, one.partition, offset));
        if let Some(Ok(end)) = cut {
            self.event(TRUNCATED);
            self.trace
                .event(self.sim.elapsed(), format_args!("{one} ends at {end}"));
        }
        Ok(())
    }

    fn kill_broker(&mut self, side: usize, dark: bool) -> Result<()> {
        let name = self.brokers[side].machine.name;
        if self.is_down(name) {
            return Ok(());
        }
        let back = self.outage();
        self.event(match (side, dark) {
            (0, false) => "source killed",
            (_, false) => "target killed",
            (0, true) => "source without power",
            (_, true) => "target without power",
        });
        self.kill(name, Some(back), dark)
    }

    fn stop_broker(&mut self, side: usize) {
        let name = self.brokers[side].machine.name;
        if self.is_down(name) || self.brokers[side].faults().is_none() {
            return;
        }
        let back = self.outage();
        self.event("broker stopped");
        self.brokers[side].stop();
        self.ends(name, back);
    }

    fn end_strait(&mut self, kill: bool) -> Result<()> {
        let index = self.random.random_range(0..self.straits.len());
        let name = self.straits[index].machine.name;
        if self.is_down(name) {
            return Ok(());
        }
        let back = self.outage();
        if kill {
            self.event("strait killed");
            self.kill(name, Some(back), false)?;
        } else {
            self.event("strait stopped");
            self.straits[index].stop();
            self.ends(name, back);
        }
        Ok(())
    }

    /// The name of one that there is.
    pub fn some_strait(&mut self) -> &'static str {
        let index = self.random.random_range(0..self.straits.len());
        self.straits[index].machine.name
    }

    fn some_path(&mut self) -> (&'static str, &'static str) {
        let paths = self.paths();
        paths[self.random.random_range(0..paths.len())]
    }

    fn break_some_path(&mut self, held: bool) {
        let path = self.some_path();
        let longest = if held {
            self.plan.lateness().held
        } else {
            Duration::from_secs(12)
        };
        let length = self.between(Duration::ZERO, longest);
        self.event(if held { "path held" } else { "path lost" });
        self.break_path(path, length, held);
    }

    fn cut_some_path(&mut self) {
        let path = self.some_path();
        self.event("connections cut");
        if self.random.random() {
            self.cut(path.0, path.1);
        } else {
            self.cut(path.1, path.0);
        }
    }

    fn on_some_partition(
        &mut self,
        side: usize,
        name: &'static str,
        change: impl FnOnce(&Faults, &str, i32) -> bool,
    ) {
        let all = self.model.all();
        let one = &all[self.random.random_range(0..all.len())];
        let faults = self.brokers[side].faults();
        if faults.is_some_and(|faults| change(&faults, &one.topic, one.partition)) {
            self.event(name);
        }
    }
}
