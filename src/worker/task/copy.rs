//! The loop of a pass: batches from the source, made ready, paid for, handed to the lane.

use std::time::Duration;

use super::{End, QUIET, Task};
use crate::{
    config::OnPoison,
    sink::{Form, Lane, Outgoing, Sealed},
    source::{Batch, Content, PartitionReader},
    telemetry::Retry,
    worker::{
        Settings, StopReason,
        prepare::{Body, Part, opening, prepare},
        throttle::Toll,
        unit::First,
    },
};

/// Batches in flight; bytes are bounded by the budget.
const WINDOW: usize = 256;

impl Task {
    pub(super) async fn copy(&mut self, reader: &mut PartitionReader, lane: &mut dyn Lane) -> End {
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
                sent = self.send_ready(reader, lane) => sent,
            };
            if let Err(end) = sent {
                return end;
            }
            let in_flight = self.ledger.in_flight();
            let lease = &self.settings.lease;
            // Ready, paid for, with room, and yet not sent: only the lease was missing.
            let forbidden = self.paid() > 0 && self.has_room();
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
                    Some(Err(error)) => return self.source_end(error),
                    None => {
                        return End::Lost(Retry::Fetch, "the source has stopped".to_owned());
                    }
                },
            }
        }
    }

    /// Makes parts of a batch, and passes over what the target holds already.
    pub(super) async fn take_batch(&mut self, mut batch: Batch) -> Result<(), End> {
        let (end, next) = (batch.source_end, batch.next_offset);
        if end >= 0 {
            self.source_end
                .send_if_modified(|seen| std::mem::replace(seen, end.max(next)) != end);
        }
        self.held = batch.held;
        if self.unit.as_ref().is_some_and(|unit| unit.skip.is_some()) {
            let rest = Box::pin(self.pass_over(&batch)).await?;
            let Some(rest) = rest else { return Ok(()) };
            batch.first_offset = self.ledger.progress().source_offset;
            batch.content = rest;
        }
        let offsets = (batch.first_offset, batch.next_offset);
        let form = self.settings.sink.form();
        if let (Form::Sealed, Content::Sealed(view)) = (form, &batch.content)
            && let Some(reason) = opening(view, offsets.0, &self.settings.limits)
        {
            self.settings.events.opened(reason, 1);
        }
        let limits = &self.settings.limits;
        let parts = prepare(batch.content, offsets, form, limits, &self.poison);
        let mut parts = parts.map_err(|error| self.unprepared(&error))?;
        if let Some(last) = parts.last_mut() {
            last.epoch = batch.epoch;
        }
        let records = parts.iter().map(|part| part.records).sum();
        let bytes = parts.iter().map(Part::size).sum();
        let toll = self.settings.throttle.toll(bytes, records);
        self.toll = toll.map(|toll| (toll, parts.len()));
        let last = parts.len() - 1;
        let mut permit = Some(batch.permit);
        let parts = parts.into_iter().enumerate().map(|(index, part)| {
            let permit = permit.take_if(|_| index == last);
            (part, permit.unwrap_or_default())
        });
        self.ready.extend(parts);
        self.note_lag();
        Ok(())
    }

    /// Sends what is ready and paid for, as far as the window allows; of batches that are too small for it, as many as
    /// are there at a time.
    pub(super) async fn send_ready(
        &mut self,
        reader: &mut PartitionReader,
        lane: &mut dyn Lane,
    ) -> Result<(), End> {
        loop {
            self.pace.round_trip = lane.round_trip();
            self.gather(reader).await;
            if self.ready.is_empty()
                && let Some(end) = self.behind.take()
            {
                return Err(end);
            }
            if self.paid() == 0 || !self.has_room() || !self.settings.lease.may_write() {
                return Ok(());
            }
            self.join();
            self.send_one(lane).await?;
        }
    }

    /// Sends the first part, for which there is room.
    async fn send_one(&mut self, lane: &mut dyn Lane) -> Result<(), End> {
        let Some((part, permit)) = self.ready.pop_front() else {
            return Ok(());
        };
        if let (Body::Refused(offsets), OnPoison::Stop) = (&part.body, self.poison.policy) {
            let (at, target) = (offsets[0], &self.settings.route.target);
            let reason = self.poison.reason(at);
            let text = format!(
                "{target} refuses the record at source offset {at}: {reason} (on_poison = \"stop\")"
            );
            return Err(End::Stop(StopReason::RecordRefused, at, text));
        }
        if self.lets_in_late_appends(&part) {
            return Err(self.wait_for_late_appends());
        }
        let (clock, sequence) = (&self.settings.host.clock, self.ledger.next_sequence());
        let ticket = self.ledger.push(&part, permit, clock.monotonic());
        let batch = match part.body {
            Body::Nothing => {
                self.publish();
                return Ok(());
            }
            Body::Refused(offsets) => {
                return Box::pin(self.leave_out(&offsets)).await;
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
        Ok(())
    }

    /// Whether something may still be on its way, and this batch is so old that a leader that accepts it may forget the
    /// producer at once: then a late append of what was sent before would be accepted too (EXACTNESS 2, 7).
    fn lets_in_late_appends(&self, part: &Part) -> bool {
        let (Some(unit), Body::Sealed(view)) = (&self.unit, &part.body) else {
            return false;
        };
        let clock = &self.settings.host.clock;
        let from_before = self.doubt && matches!(unit.first, First::Awaited);
        (from_before || clock.monotonic() < unit.late_until)
            && !unit.is_guarded(view.header.max_timestamp, clock.wall_ms())
    }

    /// The next pass begins once what is on its way from before has been appended, or never will be.
    fn wait_for_late_appends(&mut self) -> End {
        let from_before = std::mem::take(&mut self.doubt);
        if let Some(unit) = &mut self.unit {
            if from_before {
                unit.late_until = self.settings.host.clock.monotonic() + QUIET;
            }
            unit.quiet_until = unit.late_until;
        }
        let target = &self.settings.route.target;
        let text = format!("{target}: a batch from before may be on its way; looking again");
        End::Lost(Retry::Reconcile, text)
    }

    /// Goes on behind records that the target refuses, once a checkpoint behind them is committed.
    pub(super) async fn leave_out(&mut self, offsets: &[i64]) -> Result<(), End> {
        let Settings { events, host, .. } = &self.settings;
        events.skipped(offsets.len() as u64);
        self.ledger.left_out(offsets.len() as u64);
        for offset in offsets {
            if self.poison.may_log(host.clock.monotonic()) {
                events.skipped_one(*offset, self.poison.reason(*offset));
            }
        }
        self.publish();
        self.settings.acknowledged.fill();
        self.barrier().await
    }

    pub(super) fn has_room(&self) -> bool {
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
}

/// Pays the next part of what is due; whoever has nothing to pay waits for ever. Cancel-safe.
async fn pay(toll: &mut Option<(Toll, usize)>) -> (Duration, bool) {
    match toll {
        Some((toll, _)) => toll.pay().await,
        None => std::future::pending().await,
    }
}
