//! What must hold at any time, and in the end.

use anyhow::{Result, bail};

use super::{
    check, panics,
    programs::BrokerMachine,
    world::{REST, TRUNCATED, World},
};

impl World {
    /// What must hold at any time.
    pub fn look(&mut self) -> Result<()> {
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

    pub fn extents(&self) -> Result<Vec<check::Extent>> {
        let [source, target] = &self.brokers;
        let all = self.model.all();
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

    pub fn is_equal(&self) -> Result<bool> {
        Ok(self
            .extents()?
            .iter()
            .all(|extent| extent.source == extent.target))
    }
}
