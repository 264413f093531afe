//! The worker's task: passes, and within a pass the loop that copies.

mod answers;
mod coalesce;
mod copy;
mod ends;
mod open;
mod rewind;

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Progress, Settings, Stop, StopReason, WorkerState, coalesce::Pace, lag::Timeline,
    ledger::Ledger, poison::Poison, prepare::Part, throttle::Toll, unit::Unit,
};
use crate::{
    base::{backoff::Backoff, budget::Permit},
    telemetry::Retry,
};

/// Pauses between passes.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// After the loss of a batch: what the broker may still do with it is done then (EXACTNESS 7).
const QUIET: Duration = Duration::from_secs(6);

/// How a pass ended.
enum End {
    /// It was asked to stop.
    Asked,
    /// Something that another pass may mend.
    Lost(Retry, String),
    /// Something that it will not.
    Stop(StopReason, i64, String),
    /// The same, because the target lost what it had acknowledged behind this offset.
    TargetLost(i64, StopReason, i64, String),
    /// The target refuses a batch: the next pass cuts it.
    Cut,
    /// Where to go on has to be judged anew.
    Judge(String),
}

pub(super) struct Task {
    settings: Settings,
    ledger: Ledger,
    /// Where batches are written sealed.
    unit: Option<Unit>,
    poison: Poison,
    /// What was not sent yet: parts of one batch, or of several that go together. A batch's permit goes with its last.
    ready: VecDeque<(Part, Permit)>,
    /// What is to be paid before the newest of them are sent, and how many that are.
    toll: Option<(Toll, usize)>,
    /// What ends the pass once all that is ready is sent.
    behind: Option<End>,
    /// How long the target takes to answer.
    pace: Pace,
    /// Batches handed to the lane and not answered.
    outstanding: usize,
    /// Whether who wrote the unit before may still have a batch on its way to the target.
    doubt: bool,
    /// Whether a stop gave up before all answers were in.
    unanswered: bool,
    timeline: Timeline,
    /// Whether an open transaction was last seen at the source's end.
    held: bool,
    progress: watch::Sender<Progress>,
    state: watch::Sender<WorkerState>,
    source_end: watch::Sender<i64>,
    stop: CancellationToken,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        progress: watch::Sender<Progress>,
        state: watch::Sender<WorkerState>,
        source_end: watch::Sender<i64>,
        timeline: Timeline,
        stop: CancellationToken,
    ) -> Self {
        let unit = settings.exactness.clone().zip(settings.start.producer);
        let log_append_time = settings.limits.log_append_time;
        Self {
            ledger: Ledger::new(settings.start.clone()),
            unit: unit.map(|(exactness, producer)| Unit::new(exactness, producer, log_append_time)),
            poison: Poison::new(settings.on_poison),
            ready: VecDeque::new(),
            toll: None,
            behind: None,
            pace: Pace::default(),
            outstanding: 0,
            doubt: !settings.start.settled,
            unanswered: false,
            timeline,
            held: false,
            progress,
            state,
            source_end,
            stop,
            settings,
        }
    }

    /// What is rarely waited for within it is boxed: what a future may ever hold is in memory all the time, for each
    /// partition.
    pub(super) async fn run(mut self: Box<Self>) {
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
                    let settled = self.is_settled();
                    self.progress
                        .send_modify(|progress| progress.settled = settled);
                    self.enter(WorkerState::Ended);
                    break;
                }
                End::Stop(reason, source_offset, text) => {
                    self.stopped(reason, source_offset, text, at);
                    break;
                }
                End::TargetLost(held, reason, source_offset, text) => {
                    // Before the state: whoever sees that sees this too.
                    self.progress.send_modify(|progress| progress.lose(held));
                    self.stopped(reason, source_offset, text, at);
                    break;
                }
                End::Cut => {}
                End::Judge(why) => {
                    self.settings.events.retrying(Retry::Fetch, at, &why);
                    self.enter(WorkerState::Retrying { why });
                    break;
                }
                End::Lost(kind, why) => {
                    if at > before {
                        backoff.reset();
                    }
                    self.settings.events.retrying(kind, at, &why);
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
    }

    fn stopped(&self, reason: StopReason, source_offset: i64, text: String, at: i64) {
        let stop = Stop {
            reason,
            source_offset,
            text,
        };
        let stop = stop.advised(&self.settings.advice, at);
        self.settings.events.stopped(&stop);
        self.enter(WorkerState::Stopped(stop));
    }

    /// Copies until something ends it.
    async fn pass(&mut self) -> End {
        let stop = self.stop.clone();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Asked,
            opened = Box::pin(self.open()) => opened,
        };
        let (mut reader, mut lane) = match opened {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        self.outstanding = 0;
        self.poison.begin();
        self.enter(WorkerState::Running);
        let end = self.copy(&mut reader, &mut *lane).await;
        // What is not sent is not kept while answers are waited for: it is read again.
        drop(reader);
        self.ready.clear();
        self.toll = None;
        self.behind = None;
        if matches!(end, End::Asked) {
            self.enter(WorkerState::Draining);
            self.unanswered = !self.drain(&mut *lane, self.settings.drain_timeout).await;
        } else if self.unit.is_some() {
            // Nothing of the unit may be on its way when the target is read again; the sink answers for all.
            self.drain(&mut *lane, Duration::MAX).await;
        } else if matches!(end, End::Cut) {
            self.drain(&mut *lane, self.settings.drain_timeout).await;
        }
        end
    }

    /// Whether nothing of the unit is on its way to the target. librdkafka does not tell.
    fn is_settled(&self) -> bool {
        let now = self.settings.host.clock.monotonic();
        let unit = self.unit.as_ref();
        unit.is_some_and(|unit| unit.late_until <= now) && !self.doubt && !self.unanswered
    }

    fn enter(&self, state: WorkerState) {
        self.state.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}
