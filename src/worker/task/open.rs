//! How a pass begins: what the target holds already is learnt, and passed over as the source shows it again.

use std::time::Duration;

use super::{End, QUIET, Task, ends::source_end};
use crate::{
    checkpoint::LastRecord,
    sink::Lane,
    source::{Batch, Content, PartitionReader},
    telemetry::Retry,
    worker::{
        Settings, StopReason,
        reconcile::{Passed, Verdict, verdict},
    },
};

/// Between two looks at a target whose replicas are behind their leader, and how many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS: usize = 100;
/// Looks before a target that ends too early is believed: a leader that was suspended, and has a successor by now, answers
/// from its past until it hears of it.
const LOOKS_AT_LESS: usize = 30;

impl Task {
    pub(super) async fn open(&mut self) -> Result<(PartitionReader, Box<dyn Lane>), End> {
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
    pub(super) async fn reconcile(&mut self) -> Result<(), End> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let (clock, target) = (&self.settings.host.clock, &self.settings.route.target);
        let quiet = unit.quiet_until.saturating_sub(clock.monotonic());
        if !quiet.is_zero() {
            clock.sleep(quiet).await;
        }
        let progress = self.ledger.progress();
        for look in 0..LOOKS {
            let (from, id) = (progress.target_offset, unit.producer.id);
            let evidence = unit.exactness.reconciler.look(target, from, id).await;
            let evidence = evidence
                .map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target}: {why}")))?;
            match verdict(progress, &unit.producer, &evidence) {
                Verdict::Wait => clock.sleep(LOOK_AGAIN).await,
                Verdict::Stop(StopReason::TargetTruncated, _) if look < LOOKS_AT_LESS => {
                    clock.sleep(LOOK_AGAIN).await;
                }
                Verdict::Stop(reason, text) => {
                    let text = format!("{target}: {text}");
                    let at = match reason {
                        StopReason::TargetTruncated => progress.again_from(evidence.end),
                        _ => progress.source_offset,
                    };
                    return Err(End::Stop(reason, at, text));
                }
                Verdict::Go { skip, remembered } => {
                    if self.doubt && !unit.is_guarded_by(remembered, clock.wall_ms()) {
                        // What is on its way could still be appended (EXACTNESS 7): look again.
                        clock.sleep(QUIET).await;
                        self.doubt = false;
                        continue;
                    }
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
                    return Ok(());
                }
            }
        }
        Err(End::Lost(
            Retry::Reconcile,
            format!("{target}: its replicas are behind their leader"),
        ))
    }

    /// What is left of a batch when all that the target holds is passed over; none if that is more than the
    /// batch.
    pub(super) async fn pass_over(&mut self, batch: &Batch) -> Result<Option<Content>, End> {
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
                self.ledger.passed_over(records, certain, last, next);
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

    pub(super) fn differs(&mut self, offset: i64, certain: bool) -> End {
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
    pub(super) async fn barrier(&mut self) -> Result<(), End> {
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
}
