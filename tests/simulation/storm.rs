//! What happens to the machines, drawn from the seed.

use std::time::Duration;

use anyhow::Result;
use broker_lite::faults::{ApiKey, Fault, Faults, ResponseError, What};
use rand::{Rng, seq::IndexedRandom};

use super::{
    logs,
    plan::{Age, Kind},
    world::{TRUNCATED, World},
};

/// As far as calendars may differ (docs/GUARANTEES.md), each way.
const SKEW_MS: i64 = 8 * 60_000;

const OF_THE_SOURCE: &[ApiKey] = &[
    ApiKey::Fetch,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::ApiVersions,
];
const OF_THE_TARGET: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Produce,
    ApiKey::Produce,
    ApiKey::Produce,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::DescribeProducers,
    ApiKey::FindCoordinator,
    ApiKey::ApiVersions,
];

/// Errors of a request that did nothing.
fn refusals(api: ApiKey) -> &'static [ResponseError] {
    match api {
        ApiKey::Produce => &[
            ResponseError::NotLeaderOrFollower,
            ResponseError::NotEnoughReplicas,
            ResponseError::KafkaStorageError,
            ResponseError::OutOfOrderSequenceNumber,
            ResponseError::RequestTimedOut,
        ],
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => &[
            ResponseError::CoordinatorLoadInProgress,
            ResponseError::CoordinatorNotAvailable,
            ResponseError::NotCoordinator,
        ],
        ApiKey::Fetch | ApiKey::ListOffsets => &[
            ResponseError::NotLeaderOrFollower,
            ResponseError::KafkaStorageError,
            ResponseError::UnknownServerError,
            ResponseError::OffsetNotAvailable,
        ],
        _ => &[ResponseError::RequestTimedOut],
    }
}

/// Errors of a request whose work was done.
fn failures(api: ApiKey) -> &'static [ResponseError] {
    match api {
        ApiKey::Produce => &[
            ResponseError::NotLeaderOrFollower,
            ResponseError::NotEnoughReplicasAfterAppend,
            ResponseError::RequestTimedOut,
            ResponseError::KafkaStorageError,
            ResponseError::UnknownServerError,
        ],
        ApiKey::OffsetCommit => &[
            ResponseError::RequestTimedOut,
            ResponseError::NotCoordinator,
        ],
        other => refusals(other),
    }
}

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

    fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
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
        }
        Ok(())
    }

    /// Cuts off the last few batches of a partition.
    fn truncate(&mut self) -> Result<()> {
        let all = self.plan.all();
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

    fn some_path(&mut self) -> (&'static str, &'static str) {
        let paths = self.paths();
        paths[self.random.random_range(0..paths.len())]
    }

    fn break_some_path(&mut self, held: bool) {
        let path = self.some_path();
        let longest = if held {
            self.plan.latest()
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

    fn fault(&mut self, side: usize) {
        let Some(faults) = self.brokers[side].faults() else {
            return;
        };
        let apis = [OF_THE_SOURCE, OF_THE_TARGET][side];
        let api = apis[self.random.random_range(0..apis.len())];
        let longest = self.plan.latest() / 3;
        let what = match self.random.random_range(0..6) {
            0 => What::Close,
            1 => What::CloseAfter,
            2 => What::Delay(self.between(Duration::ZERO, longest)),
            3 => What::DelayAfter(self.between(Duration::ZERO, longest)),
            4 => What::Refuse(*refusals(api).choose(&mut self.random).expect("some")),
            _ => What::FailAfter(*failures(api).choose(&mut self.random).expect("some")),
        };
        let most = if self.plan.age == Age::Old { 2 } else { 5 };
        let times = self.random.random_range(1..most);
        let skip = self.random.random_range(0..3);
        let fault = Fault::new(api, what).skip(skip).times(times);
        // Not every API has a place for an error.
        if faults.set(fault.clone()).is_ok() {
            self.event("fault set");
            self.trace
                .event(self.sim.elapsed(), format_args!("{fault:?}"));
        }
    }

    fn on_some_partition(
        &mut self,
        side: usize,
        name: &'static str,
        change: impl FnOnce(&Faults, &str, i32) -> bool,
    ) {
        let all = self.plan.all();
        let one = &all[self.random.random_range(0..all.len())];
        let faults = self.brokers[side].faults();
        if faults.is_some_and(|faults| change(&faults, &one.topic, one.partition)) {
            self.event(name);
        }
    }
}
