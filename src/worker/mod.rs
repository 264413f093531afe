//! One source partition: from the source to the sink, in order.
//!
//! A worker is one task ([`task`]). Each *pass* opens a lane to the target and reads the source from the
//! acknowledged prefix; its loop serves, in this order: stop, then answers, then new batches, so that
//! acknowledgements never starve. When a batch is lost, the pass ends, everything not acknowledged is
//! forgotten, and after a pause the next pass reads it again: never out of order. Where batches are written
//! sealed, each pass first learns what the target holds ([`reconcile`]), and nothing is written twice;
//! over librdkafka what was not acknowledged may be. What needs a person stops the worker with a
//! [`StopReason`]; other workers go on.
//!
//! [`prepare`] makes batches as the sink takes them, [`coalesce`] one of several small ones, [`throttle`] lets them go at the flow's rates, [`poison`]
//! finds the records that it refuses, [`unit`] stamps and guards them, [`ledger`] knows what is in flight.

mod coalesce;
mod lag;
mod lease;
mod ledger;
mod poison;
mod prepare;
mod progress;
pub mod reconcile;
mod state;
mod stop;
mod task;
mod throttle;
mod unit;

use std::{sync::Arc, time::Duration};

use host::Host;
use lag::Timeline;
pub use lag::{FRESH_MS, Lag};
pub use lease::{Lease, Unlimited};
pub use progress::{Losses, Progress, wrap};
pub use state::WorkerState;
pub use stop::{Advice, REASONS, Stop, StopReason};
use task::Task;
pub use throttle::{Throttle, Throttles};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
pub use unit::{Exactness, GUARD_MARGIN};
use uuid::Uuid;

use crate::{
    base::{ids::Route, meter::Meter},
    config::OnPoison,
    sink::{Limits, Sink},
    source::Source,
    telemetry::WorkerEvents,
};

/// Everything a worker needs.
#[derive(Debug)]
pub struct Settings {
    /// Where from and where to.
    pub route: Route,
    /// The topic's id on the source; nil on brokers without ids.
    pub source_topic: Uuid,
    /// Where to go on.
    pub start: Progress,
    /// What the target topic takes.
    pub limits: Limits,
    /// When the target refuses a record.
    pub on_poison: OnPoison,
    /// For sinks of sealed batches, which need it.
    pub exactness: Option<Exactness>,
    /// How long a stop waits for answers.
    pub drain_timeout: Duration,
    /// What it may send in a second.
    pub throttle: Throttle,
    /// Batches come from here.
    pub source: Arc<dyn Source>,
    /// And go there.
    pub sink: Arc<dyn Sink>,
    /// Counts the bytes of what was published as acknowledged.
    pub acknowledged: Meter,
    /// Asked right before each batch is handed over.
    pub lease: Arc<dyn Lease>,
    /// Time and randomness.
    pub host: Host,
    /// Logs and metrics.
    pub events: WorkerEvents,
    /// For the words of a stop.
    pub advice: Advice,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// Where from and where to.
    pub route: Route,
    /// The latest acknowledged prefix.
    pub progress: watch::Receiver<Progress>,
    /// What it is doing.
    pub state: watch::Receiver<WorkerState>,
    /// Where the source ended when the worker last heard of it; -1: not yet.
    pub source_end: watch::Receiver<i64>,
    /// How late it is.
    pub lag: Lag,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    pub fn spawn(settings: Settings) -> Self {
        let route = settings.route.clone();
        let (progress, progress_seen) = watch::channel(settings.start.clone());
        let (state, state_seen) = watch::channel(WorkerState::Starting);
        let (source_end, source_end_seen) = watch::channel(-1);
        let lag = Lag::new(settings.host.clock.wall_ms());
        let timeline = Timeline::new(lag.clone());
        let stop = CancellationToken::new();
        let task = Task::new(
            settings,
            progress,
            state,
            source_end,
            timeline,
            stop.clone(),
        );
        let task = tokio::spawn(Box::new(task).run());
        Self {
            route,
            progress: progress_seen,
            state: state_seen,
            source_end: source_end_seen,
            lag,
            stop,
            task,
        }
    }

    /// Asks it to drain and end; does not wait.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends it without waiting for anything.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(partition = %self.route.source, "the worker's task panicked");
        }
    }

    /// Whether its task has ended, for whatever reason.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

#[cfg(test)]
mod tests;
