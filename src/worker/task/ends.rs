//! How failures end a pass: with another one, or with a stop that waits for a person.

use super::{End, QUIET, Task};
use crate::{
    sink::SinkError,
    source::SourceError,
    telemetry::Retry,
    worker::{StopReason, prepare::PrepareError},
};

impl Task {
    pub(super) fn unprepared(&self, error: &PrepareError) -> End {
        let text = format!("{}: {error}", self.settings.route.source);
        match error {
            PrepareError::Damaged { offset, .. } => {
                End::Stop(StopReason::SourceCorrupt, *offset, text)
            }
        }
    }

    pub(super) fn sink_end(&mut self, error: SinkError) -> End {
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
                    unit.late_until = clock.monotonic() + QUIET;
                    if !unit.is_guarded(oldest, clock.wall_ms()) {
                        unit.quiet_until = unit.late_until;
                    }
                }
                End::Lost(Retry::Produce, text)
            }
        }
    }

    /// The target refuses a record of the batch that holds `at`; behind the first of a batch, it is that one.
    pub(super) fn refused(&mut self, at: i64, reason: &str, text: String) -> End {
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
    pub(super) fn corrupt(&self, source_offset: i64, text: String) -> End {
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

pub(super) fn source_end(error: SourceError) -> End {
    let text = error.to_string();
    match error {
        SourceError::OutOfRange { .. } => End::Judge(text),
        SourceError::Missing { .. } => End::Stop(StopReason::SourceTopicMissing, -1, text),
        SourceError::Recreated { .. } => End::Stop(StopReason::SourceTopicRecreated, -1, text),
        SourceError::Denied { .. } => End::Stop(StopReason::SourceDenied, -1, text),
        SourceError::Corrupt { offset, .. } => End::Stop(StopReason::SourceCorrupt, offset, text),
        SourceError::Truncated { end, .. } => {
            End::Stop(StopReason::SourceRecordMismatch, end, text)
        }
        SourceError::Lost { .. } => End::Lost(Retry::Fetch, text),
    }
}
