//! What the lane answers, and what of it is published.

use std::time::Duration;

use super::{End, QUIET, Task};
use crate::{
    sink::{Answer, Appended, Lane},
    telemetry::Retry,
    worker::{
        StopReason,
        lag::Place,
        ledger::{LedgerError, Settled},
        unit::{First, is_there},
    },
};

impl Task {
    pub(super) async fn take_answer(&mut self, answer: Answer) -> Result<(), End> {
        self.outstanding -= 1;
        let appended = match answer.outcome {
            Ok(appended) => appended,
            Err(error) => return Err(self.sink_end(*error)),
        };
        let awaited = self.unit.as_ref().map(|unit| &unit.first);
        if matches!(awaited, Some(First::Sent(_))) {
            Box::pin(self.confirm(appended)).await?;
        }
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
                self.pace.answered(settled.took);
                self.count(&settled, wall_ms);
                self.publish();
                self.settings.acknowledged.add(settled.bytes);
                Ok(())
            }
            Err(error @ LedgerError::WentBack { offset, .. }) => {
                let text = format!("{}: {error}", self.settings.route.target);
                let (at, reason) = (
                    self.ledger.progress().source_offset,
                    StopReason::TargetTopicRecreated,
                );
                Err(End::TargetLost(offset, reason, at, text))
            }
            Err(error @ LedgerError::Order { .. }) => {
                Err(End::Lost(Retry::Produce, error.to_string()))
            }
        }
    }

    /// Reads the first acknowledged batch of a pass back: an acknowledgement proves the range, not the content
    /// (EXACTNESS 5).
    pub(super) async fn confirm(&mut self, appended: Appended) -> Result<(), End> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let First::Sent(sent) = &unit.first else {
            return Ok(());
        };
        // Who asks the target does not keep others from paying.
        if let Some((toll, _)) = &mut self.toll {
            toll.leave_queue();
        }
        let (target, offset) = (&self.settings.route.target, appended.first_offset);
        let found = unit.exactness.reconciler.read_back(target, offset).await;
        let found = found
            .map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target} back: {why}")))?;
        if is_there(sent, found.as_ref(), offset) {
            unit.first = First::Confirmed;
            // What comes late of whoever wrote before is refused from here, as long as the leader remembers this batch.
            if std::mem::take(&mut self.doubt) {
                unit.late_until = self.settings.host.clock.monotonic() + QUIET;
            }
            return Ok(());
        }
        let text =
            format!("{target} acknowledged a batch at offset {offset} and holds another one there");
        Err(End::Lost(Retry::Reconcile, text))
    }

    /// Takes the answers that are outstanding, as long as that may take; what is not acknowledged then is read
    /// again, by the next pass or after the next start.
    /// Whether that was all of it.
    pub(super) async fn drain(&mut self, lane: &mut dyn Lane, patience: Duration) -> bool {
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
    pub(super) fn count(&self, settled: &Settled, now: i64) {
        let first = settled.timestamp;
        let newest = settled.max_timestamp.max(first);
        let latency = self.timeline.acknowledged(first, newest, now);
        self.settings.events.acknowledged(
            (settled.records, settled.bytes),
            settled.took,
            latency.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        );
    }

    pub(super) fn note_lag(&mut self) {
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

    pub(super) fn publish(&mut self) {
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
}
