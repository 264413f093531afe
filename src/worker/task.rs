//! The worker's task: passes, and within a pass the loop that copies.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Progress, Settings, Stop, StopReason, WorkerState,
    lag::{Place, Timeline},
    ledger::{Ledger, LedgerError, Settled},
    poison::Poison,
    prepare::{Body, Part, PrepareError, opening, prepare},
    reconcile::{Passed, Verdict, verdict},
    throttle::Toll,
    unit::{First, Unit, is_there},
};
use crate::{
    base::{backoff::Backoff, budget::Permit},
    checkpoint::LastRecord,
    config::OnPoison,
    sink::{Answer, Appended, Form, Lane, Outgoing, Sealed, SinkError},
    source::{Batch, Content, PartitionReader, SourceError},
    telemetry::Retry,
};

/// Batches in flight; bytes are bounded by the budget.
const WINDOW: usize = 256;
/// Pauses between passes.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a target whose replicas are behind their leader, and how many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS: usize = 100;
/// After the loss of an unguarded batch: what the broker may still do with it is done then (EXACTNESS 7).
const QUIET: Duration = Duration::from_secs(6);

/// How a pass ended.
enum End {
    /// It was asked to stop.
    Asked,
    /// Something that another pass may mend.
    Lost(Retry, String),
    /// Something that it will not.
    Stop(StopReason, i64, String),
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
    /// Parts of one batch that were not sent yet; the batch's permit goes with the last.
    ready: VecDeque<(Part, Permit)>,
    /// What is to be paid before they are.
    toll: Option<Toll>,
    /// Batches handed to the lane and not answered.
    outstanding: usize,
    /// Whether nothing of the unit is on its way to the target: by whoever wrote it last, or by this process.
    settled: bool,
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
            outstanding: 0,
            settled: settings.start.settled,
            timeline,
            held: false,
            progress,
            state,
            source_end,
            stop,
            settings,
        }
    }

    pub(super) async fn run(mut self) {
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
                    if self.settled {
                        self.progress
                            .send_modify(|progress| progress.settled = true);
                    }
                    self.enter(WorkerState::Ended);
                    break;
                }
                End::Stop(reason, source_offset, text) => {
                    let stop = Stop {
                        reason,
                        source_offset,
                        text,
                    };
                    let stop = stop.advised(&self.settings.advice, at);
                    self.settings.events.stopped(&stop);
                    self.enter(WorkerState::Stopped(stop));
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
        self.outstanding = 0;
        self.poison.begin();
        self.enter(WorkerState::Running);
        let end = self.copy(&mut reader, &mut *lane).await;
        // What is not sent is not kept while answers are waited for: it is read again.
        drop(reader);
        self.ready.clear();
        self.toll = None;
        if matches!(end, End::Asked) {
            self.enter(WorkerState::Draining);
            self.settled = self.drain(&mut *lane, self.settings.drain_timeout).await;
        } else if self.unit.is_some() {
            // Nothing of the unit may be on its way when the target is read again; the sink answers for all.
            self.drain(&mut *lane, Duration::MAX).await;
            // What was refused is not on its way.
            self.settled |= matches!(end, End::Cut);
        } else if matches!(end, End::Cut) {
            self.drain(&mut *lane, self.settings.drain_timeout).await;
        }
        end
    }

    async fn open(&mut self) -> Result<(PartitionReader, Box<dyn Lane>), End> {
        self.reconcile().await?;
        let Settings {
            route,
            limits,
            source,
            sink,
            ..
        } = &self.settings;
        let progress = self.ledger.progress();
        let (offset, epoch) = (progress.source_offset, progress.epoch);
        // About a second's worth, where that is known.
        let most = self.settings.throttle.topic_bytes();
        let most = most
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usize::MAX);
        let reader = source.open(&route.source, offset, epoch, most).await;
        let lane = sink.open(&route.target, limits).await;
        match (reader, lane) {
            (Ok(reader), Ok(lane)) => {
                self.timeline.follow(reader.looks());
                Ok((reader, lane))
            }
            (Err(error), _) => Err(source_end(error)),
            (_, Err(error)) => Err(self.sink_end(error)),
        }
    }

    /// Learns what the target holds (EXACTNESS 6). Nothing of the unit is on its way from here.
    async fn reconcile(&mut self) -> Result<(), End> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let (clock, target) = (&self.settings.host.clock, &self.settings.route.target);
        let quiet = unit.quiet_until.saturating_sub(clock.monotonic());
        if !quiet.is_zero() {
            clock.sleep(quiet).await;
        }
        let progress = self.ledger.progress();
        for _ in 0..LOOKS {
            let (from, id) = (progress.target_offset, unit.producer.id);
            let evidence = unit.exactness.reconciler.look(target, from, id).await;
            let evidence = evidence
                .map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target}: {why}")))?;
            match verdict(progress, &unit.producer, &evidence) {
                Verdict::Wait => clock.sleep(LOOK_AGAIN).await,
                Verdict::Stop(reason, text) => {
                    let text = format!("{target}: {text}");
                    let at = match reason {
                        StopReason::TargetTruncated => progress.again_from(evidence.end),
                        _ => progress.source_offset,
                    };
                    return Err(End::Stop(reason, at, text));
                }
                Verdict::Go { skip, remembered } => {
                    let skip = skip.filter(|skip| skip.certain || !unit.leftovers_differ);
                    if unit.is_another_owner(progress, skip.as_ref()) {
                        let text = format!("{target}: another process writes what this one would");
                        let at = progress.source_offset;
                        return Err(End::Stop(StopReason::TakenOver, at, text));
                    }
                    if let Some(skip) = &skip {
                        self.settings
                            .events
                            .reconciled(progress.source_offset, skip.left);
                    }
                    unit.begin(skip, remembered);
                    if !self.settled && !unit.is_guarded(i64::MAX, clock.wall_ms()) {
                        // What whoever wrote last has on its way could still be appended (EXACTNESS 7).
                        self.settled = true;
                        clock.sleep(QUIET).await;
                        continue;
                    }
                    // From here this process has.
                    self.settled = false;
                    return Ok(());
                }
            }
        }
        Err(End::Lost(
            Retry::Reconcile,
            format!("{target}: its replicas are behind their leader"),
        ))
    }

    async fn copy(&mut self, reader: &mut PartitionReader, lane: &mut dyn Lane) -> End {
        let stop = self.stop.clone();
        loop {
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // What was half handed over is never answered as a whole.
                    let (unresolved, _) = self.ledger.unresolved();
                    if unresolved > self.outstanding {
                        self.ledger.abandon_newest();
                    }
                    return End::Asked;
                }
                sent = self.send_ready(lane) => sent,
            };
            if let Err(end) = sent {
                return end;
            }
            let in_flight = self.ledger.in_flight();
            let lease = &self.settings.lease;
            let forbidden = !self.ready.is_empty() && !lease.may_write();
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Asked,
                answer = lane.answer(), if self.outstanding > 0 => {
                    if let Err(end) = self.take_answer(answer).await {
                        return end;
                    }
                }
                () = lease.granted(), if forbidden => {}
                paid = pay(&mut self.toll), if self.toll.is_some() => {
                    let (waited, last) = paid;
                    self.settings.events.limited(waited);
                    if last {
                        self.toll = None;
                    }
                }
                event = reader.next(), if self.ready.is_empty() && in_flight < WINDOW => match event {
                    Some(Ok(batch)) => {
                        if let Err(end) = self.take_batch(batch).await {
                            return end;
                        }
                    }
                    Some(Err(error)) => return source_end(error),
                    None => {
                        return End::Lost(Retry::Fetch, "the source has stopped".to_owned());
                    }
                },
            }
        }
    }

    /// Makes parts of a batch, and passes over what the target holds already.
    async fn take_batch(&mut self, mut batch: Batch) -> Result<(), End> {
        let (end, next) = (batch.source_end, batch.next_offset);
        if end >= 0 {
            self.source_end
                .send_if_modified(|seen| std::mem::replace(seen, end.max(next)) != end);
        }
        self.held = batch.held;
        if self.unit.as_ref().is_some_and(|unit| unit.skip.is_some()) {
            let rest = self.pass_over(&batch).await?;
            let Some(rest) = rest else { return Ok(()) };
            batch.first_offset = self.ledger.progress().source_offset;
            batch.content = rest;
        }
        let offsets = (batch.first_offset, batch.next_offset);
        let form = self.settings.sink.form();
        if let (Form::Sealed, Content::Sealed(view)) = (form, &batch.content)
            && let Some(reason) = opening(view, offsets.0, &self.settings.limits)
        {
            self.settings.events.opened(reason);
        }
        let limits = &self.settings.limits;
        let parts = prepare(batch.content, offsets, form, limits, &self.poison);
        let mut parts = parts.map_err(|error| self.unprepared(&error))?;
        if let Some(last) = parts.last_mut() {
            last.epoch = batch.epoch;
        }
        let records = parts.iter().map(|part| part.records).sum();
        let bytes = parts.iter().map(Part::size).sum();
        self.toll = self.settings.throttle.toll(bytes, records);
        let last = parts.len() - 1;
        let mut permit = Some(batch.permit);
        self.ready = parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| {
                let permit = permit.take_if(|_| index == last);
                (part, permit.unwrap_or_default())
            })
            .collect();
        self.note_lag();
        Ok(())
    }

    /// What is left of a batch when all that the target holds is passed over; none if that is more than the
    /// batch.
    async fn pass_over(&mut self, batch: &Batch) -> Result<Option<Content>, End> {
        let Some((skip, records)) = self.unit.as_mut().and_then(|unit| unit.skip.as_mut()) else {
            return Ok(None);
        };
        let (records, certain, next) = (*records, skip.certain, skip.newest.next_offset);
        let passed = skip.pass(&batch.content, batch.first_offset);
        let passed = passed.map_err(|error| self.unprepared(&error))?;
        match passed {
            // Somebody else wrote more than the source has: nothing there can be ours.
            Passed::Whole if !certain && batch.next_offset >= batch.source_end => {
                Err(self.differs(batch.next_offset, certain))
            }
            Passed::Whole => Ok(None),
            Passed::End { last, rest } => {
                let last = LastRecord {
                    source_offset: last.offset,
                    crc: last.crc(),
                    leader_epoch: -1,
                    payload_crc: None,
                };
                self.ledger.passed_over(records, last, next);
                self.publish();
                if let Some(unit) = &mut self.unit {
                    unit.skip = None;
                }
                if !certain {
                    self.barrier().await?;
                }
                let rest = if rest.is_empty() {
                    Content::Nothing
                } else {
                    Content::Open(rest)
                };
                Ok(Some(rest))
            }
            Passed::Differs(record) => Err(self.differs(record.offset, certain)),
        }
    }

    fn differs(&mut self, offset: i64, certain: bool) -> End {
        let route = &self.settings.route;
        if certain {
            let text = format!(
                "{}: the newest record of this flow there is not the one at offset {offset} of {}: the source was \
                 compacted or changed since, or another flow of this name writes; compare both sides",
                route.target, route.source
            );
            return End::Stop(StopReason::TargetDiffers, offset, text);
        }
        if let Some(unit) = &mut self.unit {
            unit.leftovers_differ = true;
        }
        let text = format!(
            "what {} holds behind the last checkpoint is not what {} has next: records written over librdkafka \
             since then are written again",
            route.target, route.source
        );
        End::Lost(Retry::Reconcile, text)
    }

    /// Waits until the checkpoint of what is acknowledged is committed.
    async fn barrier(&mut self) -> Result<(), End> {
        let at = self.ledger.progress().source_offset;
        let stop = self.stop.clone();
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let committed = unit.exactness.committed.wait_for(|offset| *offset >= at);
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Asked),
            committed = committed => match committed {
                Ok(_) => Ok(()),
                Err(_) => {
                    let text = "checkpoints are not committed any more";
                    Err(End::Lost(Retry::Commit, text.to_owned()))
                }
            },
        }
    }

    /// Sends what is ready and paid for, as far as the window allows.
    async fn send_ready(&mut self, lane: &mut dyn Lane) -> Result<(), End> {
        while self.toll.is_none()
            && self.has_room()
            && self.settings.lease.may_write()
            && let Some((part, permit)) = self.ready.pop_front()
        {
            if let (Body::Refused(offsets), OnPoison::Stop) = (&part.body, self.poison.policy) {
                let (at, target) = (offsets[0], &self.settings.route.target);
                let reason = self.poison.reason(at);
                let text = format!(
                    "{target} refuses the record at source offset {at}: {reason} (on_poison = \"stop\")"
                );
                return Err(End::Stop(StopReason::RecordRefused, at, text));
            }
            let (clock, sequence) = (&self.settings.host.clock, self.ledger.next_sequence());
            let ticket = self.ledger.push(&part, permit, clock.monotonic());
            let batch = match part.body {
                Body::Nothing => {
                    self.publish();
                    continue;
                }
                Body::Refused(offsets) => {
                    self.leave_out(&offsets).await?;
                    continue;
                }
                Body::Open(records) => Outgoing::Open(records),
                Body::Sealed(view) => {
                    let (_, oldest) = self.ledger.unresolved();
                    let wall_ms = clock.wall_ms();
                    let unit = self.unit.as_mut().expect("sealed batches have a unit");
                    Outgoing::Sealed(Sealed {
                        source_offset: part.source_offset,
                        header: unit.stamp(&view, sequence),
                        payload: view.payload(),
                        records: view.header.record_count,
                        guarded: unit.is_guarded(oldest, wall_ms),
                    })
                }
            };
            let sent = lane.send(ticket, batch).await;
            sent.map_err(|error| self.sink_end(error))?;
            self.outstanding += 1;
        }
        Ok(())
    }

    /// Goes on behind records that the target refuses, once a checkpoint behind them is committed.
    async fn leave_out(&mut self, offsets: &[i64]) -> Result<(), End> {
        let Settings { events, host, .. } = &self.settings;
        events.skipped(offsets.len() as u64);
        for offset in offsets {
            if self.poison.may_log(host.clock.monotonic()) {
                events.skipped_one(*offset, self.poison.reason(*offset));
            }
        }
        self.publish();
        self.settings.acknowledged.fill();
        self.barrier().await
    }

    fn has_room(&self) -> bool {
        let Some((part, _)) = self.ready.front() else {
            return false;
        };
        match (&self.unit, &part.body) {
            // Nothing before them may be unresolved.
            (_, Body::Refused(_)) => self.ledger.in_flight() == 0,
            _ if self.poison.isolates() => self.ledger.in_flight() == 0,
            (Some(unit), Body::Sealed(view)) => {
                let wall_ms = self.settings.host.clock.wall_ms();
                unit.has_room(self.ledger.unresolved(), view.header.max_timestamp, wall_ms)
            }
            _ => self.ledger.in_flight() < WINDOW,
        }
    }

    async fn take_answer(&mut self, answer: Answer) -> Result<(), End> {
        self.outstanding -= 1;
        let appended = match answer.outcome {
            Ok(appended) => appended,
            Err(error) => return Err(self.sink_end(error)),
        };
        self.confirm(appended).await?;
        let clock = &self.settings.host.clock;
        match self
            .ledger
            .acknowledge(answer.ticket, appended, clock.monotonic())
        {
            Ok(settled) => {
                let wall_ms = clock.wall_ms();
                if let Some(unit) = &mut self.unit {
                    unit.acknowledged(settled.max_timestamp, wall_ms);
                }
                self.count(&settled, wall_ms);
                self.publish();
                self.settings.acknowledged.add(settled.bytes);
                Ok(())
            }
            Err(error @ LedgerError::WentBack { .. }) => {
                let text = format!("{}: {error}", self.settings.route.target);
                let at = self.ledger.progress().source_offset;
                Err(End::Stop(StopReason::TargetTopicRecreated, at, text))
            }
            Err(error @ LedgerError::Order { .. }) => {
                Err(End::Lost(Retry::Produce, error.to_string()))
            }
        }
    }

    /// Reads the first acknowledged batch of a pass back: an acknowledgement proves the range, not the content
    /// (EXACTNESS 5).
    async fn confirm(&mut self, appended: Appended) -> Result<(), End> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let First::Sent(sent) = &unit.first else {
            return Ok(());
        };
        let (target, offset) = (&self.settings.route.target, appended.first_offset);
        let found = unit.exactness.reconciler.read_back(target, offset).await;
        let found = found
            .map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target} back: {why}")))?;
        if is_there(sent, found.as_ref(), offset) {
            unit.first = First::Confirmed;
            return Ok(());
        }
        let text =
            format!("{target} acknowledged a batch at offset {offset} and holds another one there");
        Err(End::Lost(Retry::Reconcile, text))
    }

    /// Takes the answers that are outstanding, as long as that may take; what is not acknowledged then is read
    /// again, by the next pass or after the next start.
    /// Whether that was all of it.
    async fn drain(&mut self, lane: &mut dyn Lane, patience: Duration) -> bool {
        let clock = &self.settings.host.clock;
        let deadline = clock.sleep(patience.min(Duration::from_secs(24 * 3600)));
        tokio::pin!(deadline);
        let mut whole = true;
        while self.outstanding > 0 {
            let answer = tokio::select! {
                biased;
                () = &mut deadline => {
                    let (late, partition) = (self.outstanding, &self.settings.route.target);
                    tracing::warn!(%partition, late, "batches were not acknowledged before the stop");
                    return false;
                }
                answer = lane.answer() => answer,
            };
            if whole {
                whole = self.take_answer(answer).await.is_ok();
            } else {
                // Behind a lost batch nothing counts.
                self.outstanding -= 1;
            }
        }
        whole
    }

    /// Tells metrics of a batch that was acknowledged.
    fn count(&self, settled: &Settled, now: i64) {
        let first = settled.timestamp;
        let newest = settled.max_timestamp.max(first);
        let latency = self.timeline.acknowledged(first, newest, now);
        self.settings.events.acknowledged(
            (settled.records, settled.bytes),
            settled.took,
            latency.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        );
    }

    fn note_lag(&mut self) {
        let ready = self.ready.iter().find(|(part, _)| part.records > 0);
        let waiting = self.ledger.oldest();
        let place = Place {
            position: self.ledger.progress().source_offset,
            end: *self.source_end.borrow(),
            held: self.held,
            waiting: waiting.or_else(|| ready.map(|(part, _)| part.timestamp)),
        };
        self.timeline.at(place, self.settings.host.clock.wall_ms());
    }

    fn publish(&mut self) {
        self.note_lag();
        let progress = self.ledger.progress();
        self.poison.passed(progress.source_offset);
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

    fn unprepared(&self, error: &PrepareError) -> End {
        let text = format!("{}: {error}", self.settings.route.source);
        match error {
            PrepareError::Damaged { offset, .. } => {
                End::Stop(StopReason::SourceCorrupt, *offset, text)
            }
        }
    }

    fn sink_end(&mut self, error: SinkError) -> End {
        let at = self.ledger.progress().source_offset;
        let text = error.to_string();
        match error {
            SinkError::Refused {
                source_offset,
                reason,
                ..
            } => self.refused(source_offset, &reason, text),
            SinkError::Unsupported { source_offset, .. } => {
                End::Stop(StopReason::RecordRefused, source_offset, text)
            }
            SinkError::Missing { .. } => End::Stop(StopReason::TargetTopicMissing, at, text),
            SinkError::Denied { .. } => End::Stop(StopReason::TargetDenied, at, text),
            SinkError::Fenced { .. } => End::Stop(StopReason::TakenOver, at, text),
            SinkError::Corrupt { source_offset, .. } => self.corrupt(source_offset, text),
            SinkError::Lost { unanswered, .. } => {
                if let (true, Some(unit)) = (unanswered, &mut self.unit) {
                    let clock = &self.settings.host.clock;
                    let (_, oldest) = self.ledger.unresolved();
                    if !unit.is_guarded(oldest, clock.wall_ms()) {
                        unit.quiet_until = clock.monotonic() + QUIET;
                    }
                }
                End::Lost(Retry::Produce, text)
            }
        }
    }
}

impl Task {
    /// The target refuses a record of the batch that holds `at`; behind the first of a batch, it is that one.
    fn refused(&mut self, at: i64, reason: &str, text: String) -> End {
        match self.ledger.holds(at) {
            Some((first, ..)) if at > first => {
                self.poison.found(at, reason);
                End::Cut
            }
            Some((first, records, next)) => {
                self.poison.refuse(first, next, records, reason);
                End::Cut
            }
            // Whatever it was, it shows again.
            None => End::Lost(Retry::Produce, text),
        }
    }

    /// Whose fault damaged bytes are: what was read from the source is still in the ledger (EXACTNESS 4).
    fn corrupt(&self, source_offset: i64, text: String) -> End {
        match self.ledger.damaged(source_offset) {
            Some(error) => {
                let source = &self.settings.route.source;
                let text =
                    format!("{source} at offset {source_offset} is damaged on the source: {error}");
                End::Stop(StopReason::SourceCorrupt, source_offset, text)
            }
            // Damaged on the way to the target: the next pass sends it again.
            None => End::Lost(Retry::Produce, text),
        }
    }
}

/// Pays the next part of what is due; whoever has nothing to pay waits for ever. Cancel-safe.
async fn pay(toll: &mut Option<Toll>) -> (Duration, bool) {
    match toll {
        Some(toll) => toll.pay().await,
        None => std::future::pending().await,
    }
}

fn source_end(error: SourceError) -> End {
    let text = error.to_string();
    match error {
        SourceError::OutOfRange { .. } => End::Judge(text),
        SourceError::Missing { .. } => End::Stop(StopReason::SourceTopicMissing, -1, text),
        SourceError::Denied { .. } => End::Stop(StopReason::SourceDenied, -1, text),
        SourceError::Corrupt { offset, .. } => End::Stop(StopReason::SourceCorrupt, offset, text),
        SourceError::Truncated { end, .. } => {
            End::Stop(StopReason::SourceRecordMismatch, end, text)
        }
        SourceError::Lost { .. } => End::Lost(Retry::Fetch, text),
    }
}
