//! One source partition: from the source to the sink, in order.
//!
//! A worker is one task. Each *pass* opens a lane to the target and reads the source from the
//! acknowledged prefix; its loop serves, in this order: stop, then answers, then new batches, so that
//! acknowledgements never starve. When a batch is lost, the pass ends, everything not acknowledged is
//! forgotten, and after a pause the next pass reads and sends it again: at least once, never out of
//! order. What needs a person stops the worker with a [`StopReason`]; other workers go on.

mod lease;
mod ledger;
mod progress;
mod state;

use std::{sync::Arc, time::Duration};

use host::Host;
pub use lease::{Lease, Unlimited};
use ledger::{Ledger, LedgerError};
pub use progress::{Progress, wrap};
pub use state::{Stop, StopReason, WorkerState};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wire::record::Codec;

use crate::{
    base::{backoff::Backoff, ids::Route},
    sink::{Answer, Lane, Sink, SinkError},
    source::{Batch, PartitionReader, Source, SourceError},
    telemetry::WorkerEvents,
};

/// Batches in flight; bytes are bounded by the budget.
const WINDOW: usize = 256;
/// Pauses between passes.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Everything a worker needs.
#[derive(Debug)]
pub struct Settings {
    /// Where from and where to.
    pub route: Route,
    /// Where to go on.
    pub start: Progress,
    /// How records are compressed on the target.
    pub codec: Codec,
    /// Largest batch that the target topic takes, in bytes.
    pub max_batch_bytes: usize,
    /// How long a stop waits for answers.
    pub drain_timeout: Duration,
    /// Batches come from here.
    pub source: Arc<dyn Source>,
    /// And go there.
    pub sink: Arc<dyn Sink>,
    /// Asked right before each batch is handed over.
    pub lease: Arc<dyn Lease>,
    /// Time and randomness.
    pub host: Host,
    /// Logs and metrics.
    pub events: WorkerEvents,
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
        let stop = CancellationToken::new();
        let task = Task {
            ledger: Ledger::new(settings.start.clone()),
            lag: 0,
            progress,
            state,
            source_end,
            stop: stop.clone(),
            settings,
        };
        let task = tokio::spawn(task.run());
        Self {
            route,
            progress: progress_seen,
            state: state_seen,
            source_end: source_end_seen,
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

/// How a pass ended.
enum End {
    /// It was asked to stop.
    Asked,
    /// Something that another pass may mend.
    Lost(String),
    /// Something that it will not.
    Stop(StopReason, i64, String),
}

struct Task {
    settings: Settings,
    ledger: Ledger,
    lag: i64,
    progress: watch::Sender<Progress>,
    state: watch::Sender<WorkerState>,
    source_end: watch::Sender<i64>,
    stop: CancellationToken,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        self.settings
            .events
            .started(self.ledger.progress().source_offset);
        loop {
            let before = self.ledger.progress().source_offset;
            let end = self.pass().await;
            self.ledger.rewind();
            let at = self.ledger.progress().source_offset;
            match end {
                End::Asked => {
                    self.enter(WorkerState::Ended);
                    break;
                }
                End::Stop(reason, source_offset, text) => {
                    self.settings
                        .events
                        .stopped(reason.code(), source_offset, &text);
                    self.enter(WorkerState::Stopped(Stop {
                        reason,
                        source_offset,
                        text,
                    }));
                    break;
                }
                End::Lost(why) => {
                    if at > before {
                        backoff.reset();
                    }
                    self.settings.events.retrying(at, &why);
                    self.enter(WorkerState::Retrying { why });
                    let pause = backoff.delay(&*self.settings.host.random);
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => {}
                        () = self.settings.host.clock.sleep(pause) => {}
                    }
                }
            }
        }
        self.settings.events.lag_changed(self.lag, 0);
    }

    /// Copies until something ends it.
    async fn pass(&mut self) -> End {
        let stop = self.stop.clone();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Asked,
            opened = self.open() => opened,
        };
        let (mut reader, mut lane) = match opened {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        self.enter(WorkerState::Running);
        let end = self.copy(&mut reader, &mut *lane).await;
        drop(reader);
        if matches!(end, End::Asked) {
            self.enter(WorkerState::Draining);
            return self.drain(&mut *lane).await;
        }
        end
    }

    async fn open(&self) -> Result<(PartitionReader, Box<dyn Lane>), End> {
        let Settings {
            route,
            codec,
            max_batch_bytes,
            source,
            sink,
            ..
        } = &self.settings;
        let lane = sink.open(&route.target, *codec, *max_batch_bytes).await;
        let lane = lane.map_err(|error| self.sink_end(error))?;
        let offset = self.ledger.progress().source_offset;
        let reader = source.open(&route.source, offset).await;
        Ok((reader.map_err(source_end)?, lane))
    }

    async fn copy(&mut self, reader: &mut PartitionReader, lane: &mut dyn Lane) -> End {
        let stop = self.stop.clone();
        loop {
            let in_flight = self.ledger.in_flight();
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Asked,
                answer = lane.answer(), if in_flight > 0 => {
                    if let Err(end) = self.take_answer(answer) {
                        return end;
                    }
                }
                event = reader.events.recv(), if in_flight < WINDOW => match event {
                    Some(Ok(batch)) => {
                        let sent = tokio::select! {
                            biased;
                            () = stop.cancelled() => None,
                            sent = self.take_batch(batch, lane) => Some(sent),
                        };
                        let Some(sent) = sent else {
                            // Half handed over: it is never answered as a whole.
                            self.ledger.abandon_newest();
                            return End::Asked;
                        };
                        if let Err(error) = sent {
                            return self.sink_end(error);
                        }
                    }
                    Some(Err(error)) => return source_end(error),
                    None => return End::Lost("the source has stopped".to_owned()),
                },
            }
        }
    }

    async fn take_batch(&mut self, batch: Batch, lane: &mut dyn Lane) -> Result<(), SinkError> {
        let (end, next) = (batch.source_end, batch.next_offset);
        let now = self.settings.host.clock.monotonic();
        let sending = self.ledger.push(batch, now);
        if end >= 0 {
            self.source_end
                .send_if_modified(|seen| std::mem::replace(seen, end.max(next)) != end);
        }
        self.publish();
        match sending {
            Some((ticket, records)) => {
                self.settings.lease.granted().await;
                lane.send(ticket, records).await
            }
            None => Ok(()),
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), End> {
        let appended = answer.outcome.map_err(|error| self.sink_end(error))?;
        let now = self.settings.host.clock.monotonic();
        match self.ledger.acknowledge(answer.ticket, appended, now) {
            Ok(settled) => {
                self.settings
                    .events
                    .acknowledged(settled.records, settled.bytes, settled.took);
                self.publish();
                Ok(())
            }
            Err(error @ LedgerError::WentBack { .. }) => {
                let text = format!("{}: {error}", self.settings.route.target);
                let at = self.ledger.progress().source_offset;
                Err(End::Stop(StopReason::TargetTopicRecreated, at, text))
            }
            Err(error @ LedgerError::Order { .. }) => Err(End::Lost(error.to_string())),
        }
    }

    /// Waits for the answers that are outstanding, as long as a stop may take.
    async fn drain(&mut self, lane: &mut dyn Lane) -> End {
        let deadline = self.settings.host.clock.sleep(self.settings.drain_timeout);
        tokio::pin!(deadline);
        while self.ledger.in_flight() > 0 {
            let answer = tokio::select! {
                biased;
                () = &mut deadline => {
                    let (late, partition) = (self.ledger.in_flight(), &self.settings.route.target);
                    tracing::warn!(%partition, late, "batches were not acknowledged before the stop");
                    break;
                }
                answer = lane.answer() => answer,
            };
            // What is not acknowledged now is read and sent again after the next start.
            if self.take_answer(answer).is_err() {
                break;
            }
        }
        End::Asked
    }

    fn publish(&mut self) {
        let progress = self.ledger.progress();
        let lag = (*self.source_end.borrow() - progress.source_offset).max(0);
        self.settings.events.lag_changed(self.lag, lag);
        self.lag = lag;
        self.progress.send_if_modified(|seen| {
            let changed = seen.source_offset != progress.source_offset;
            if changed {
                seen.clone_from(progress);
            }
            changed
        });
    }

    fn enter(&self, state: WorkerState) {
        self.state.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }

    fn sink_end(&self, error: SinkError) -> End {
        let at = self.ledger.progress().source_offset;
        let text = error.to_string();
        match error {
            SinkError::Refused { source_offset, .. } => {
                End::Stop(StopReason::RecordRefused, source_offset, text)
            }
            SinkError::Missing { .. } => End::Stop(StopReason::TargetTopicMissing, at, text),
            SinkError::Denied { .. } => End::Stop(StopReason::TargetDenied, at, text),
            SinkError::Lost { .. } => End::Lost(text),
        }
    }
}

fn source_end(error: SourceError) -> End {
    let text = error.to_string();
    match error {
        SourceError::OutOfRange { wanted, .. } => {
            End::Stop(StopReason::OffsetOutOfRange, wanted, text)
        }
        SourceError::Missing { .. } => End::Stop(StopReason::SourceTopicMissing, -1, text),
        SourceError::Denied { .. } => End::Stop(StopReason::SourceDenied, -1, text),
        SourceError::Corrupt { offset, .. } => End::Stop(StopReason::SourceCorrupt, offset, text),
        SourceError::Lost { .. } => End::Lost(text),
    }
}

#[cfg(test)]
mod tests;
