//! Brokers that fail on purpose.

use std::time::Duration;

use anyhow::Result;
use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use rand::{Rng, seq::IndexedRandom};

use super::world::World;

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
    /// A fault at some request of a broker.
    pub fn fault(&mut self, side: usize) {
        let Some(faults) = self.brokers[side].faults() else {
            return;
        };
        let apis = [OF_THE_SOURCE, OF_THE_TARGET][side];
        let api = apis[self.random.random_range(0..apis.len())];
        let longest = self.plan.lateness().delay;
        let what = match self.random.random_range(0..6) {
            0 => What::Close,
            1 => What::CloseAfter,
            2 => What::Delay(self.between(Duration::ZERO, longest)),
            3 => What::DelayAfter(self.between(Duration::ZERO, longest)),
            4 => What::Refuse(*refusals(api).choose(&mut self.random).expect("some")),
            _ => What::FailAfter(*failures(api).choose(&mut self.random).expect("some")),
        };
        let most = if longest < Duration::from_secs(1) {
            2
        } else {
            5
        };
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

    /// A batch is appended after its connection, or the process that sent it, is gone.
    pub fn append_late(&mut self) -> Result<()> {
        let name = self.some_strait();
        let Some(faults) = self.brokers[1].faults() else {
            return Ok(());
        };
        if self.is_down(name) || self.is_broken((name, "target")) {
            return Ok(());
        }
        let longest = self.plan.lateness().append;
        let delay = self.between(longest / 2, longest);
        let skip = self.random.random_range(0..2);
        let fault = Fault::new(ApiKey::Produce, What::Delay(delay)).skip(skip);
        let Ok(hook) = faults.set(fault) else {
            return Ok(());
        };
        for _ in 0..100 {
            if hook.fired() > 0 {
                break;
            }
            self.pass(Duration::from_millis(10))?;
        }
        hook.remove();
        if hook.fired() == 0 || self.is_down(name) {
            return Ok(());
        }
        if self.random.random() {
            self.event("append late, connection cut");
            self.cut(name, "target");
            return Ok(());
        }
        self.event("append late, strait killed");
        let back = self.between(Duration::ZERO, Duration::from_millis(300));
        self.kill(name, Some(back), false)
    }

    /// A batch of a partition is refused while others of it follow: what piles up goes out in a row.
    pub fn refuse_in_a_row(&mut self) {
        let name = self.some_strait();
        let Some(faults) = self.brokers[1].faults() else {
            return;
        };
        let all = self.model.all();
        let one = &all[self.random.random_range(0..all.len())];
        let api = ApiKey::Produce;
        let error = refusals(api).choose(&mut self.random).expect("some");
        let skip = self.random.random_range(0..5);
        let fault = Fault::new(api, What::Refuse(*error)).skip(skip);
        if faults
            .set(fault.partition(&one.topic, one.partition))
            .is_ok()
        {
            self.event("refused in a row");
            let length = self.between(Duration::ZERO, Duration::from_millis(1_500));
            self.break_path((name, "source"), length, true);
        }
    }
}
