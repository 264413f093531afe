//! How a pass begins: what the target holds already is learnt, and passed over as the source shows it again.

use std::{sync::Arc, time::Duration};

use super::{End, QUIET, Task, rewind::held};
use crate::{
    checkpoint::LastRecord,
    sink::Lane,
    source::{Batch, Content, PartitionReader},
    telemetry::Retry,
    worker::{
        Progress, Settings, StopReason,
        reconcile::{Passed, Skip, Verdict, verdict},
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
        let rewound = self.unit.as_ref().and_then(|unit| unit.rewound());
        let progress = rewound.unwrap_or(self.ledger.progress());
        let (offset, epoch) = (progress.source_offset, progress.epoch);
        // About a second's worth, where that is known.
        let most = self.settings.throttle.topic_bytes();
        let most = most
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usize::MAX);
        let topic = self.settings.source_topic;
        let reader = source.open(&route.source, topic, offset, epoch, most).await;
        let lane = sink.open(&route.target, limits).await;
        match (reader, lane) {
            (Ok(reader), Ok(lane)) => {
                self.timeline.follow(reader.looks());
                Ok((reader, lane))
            }
            (Err(error), _) => Err(self.source_end(error)),
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
        let acknowledged = self.ledger.progress();
        let (mut rewound, mut waited): (Option<Progress>, _) = (None, false);
        for look in 0..LOOKS {
            let progress = rewound.as_ref().unwrap_or(acknowledged);
            let (from, id) = (progress.target_offset, unit.producer.id);
            let reconciler = Arc::clone(&unit.exactness.reconciler);
            let evidence = reconciler.look(target, from, id).await;
            let evidence = evidence
                .map_err(|why| End::Lost(Retry::Reconcile, format!("reading {target}: {why}")))?;
            match verdict(progress, &unit.producer, &evidence) {
                Verdict::Wait => clock.sleep(LOOK_AGAIN).await,
                Verdict::Behind if rewound.is_some() => rewound = None,
                Verdict::Behind if look < LOOKS_AT_LESS => clock.sleep(LOOK_AGAIN).await,
                Verdict::Behind => {
                    let producer = &unit.producer;
                    let end = evidence.end;
                    rewound = held(&*reconciler, target, acknowledged, producer, end).await?;
                    if rewound.is_none() {
                        return Err(self.holds_none(end));
                    }
                    // Who lost records may not be the leader any more, and what was sent to it may be on its way.
                    self.doubt |= !waited;
                }
                // Whoever was there before this worker wrote is nobody who took over from it.
                Verdict::Stop(StopReason::TakenOver, text) if !unit.has_sent() => {
                    let text = format!("{target}: {text}, or the checkpoint is an old one");
                    let at = progress.source_offset;
                    return Err(End::Stop(StopReason::TargetDiffers, at, text));
                }
                Verdict::Stop(reason, text) => {
                    let text = format!("{target}: {text}");
                    return Err(End::Stop(reason, progress.source_offset, text));
                }
                Verdict::Go { remembered, .. }
                    if self.doubt && !unit.is_guarded_by(remembered, clock.wall_ms()) =>
                {
                    // What is on its way could still be appended (EXACTNESS 7): look again.
                    clock.sleep(QUIET).await;
                    self.doubt = false;
                    (rewound, waited) = (None, true);
                }
                Verdict::Go { skip, remembered } => return self.begin(skip, remembered, rewound),
            }
        }
        Err(End::Lost(
            Retry::Reconcile,
            format!("{target}: its replicas are behind their leader"),
        ))
    }

    /// The pass begins with what was found: `skip` is on the target already, counted from `rewound` if records are lost.
    fn begin(
        &mut self,
        skip: Option<Skip>,
        remembered: Option<i64>,
        rewound: Option<Progress>,
    ) -> Result<(), End> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let target = &self.settings.route.target;
        let skip = skip.filter(|skip| skip.certain || !unit.leftovers_differ);
        let progress = rewound.as_ref().unwrap_or(self.ledger.progress());
        if unit.is_another_owner(progress, skip.as_ref()) {
            let text = format!("{target}: another process writes what this one would");
            return Err(End::Stop(
                StopReason::TakenOver,
                progress.source_offset,
                text,
            ));
        }
        match &skip {
            Some(skip) if skip.certain || rewound.is_none() => {
                let events = &self.settings.events;
                events.reconciled(progress.source_offset, skip.left);
            }
            None if rewound.is_none() => {}
            // Not even the batch that was just looked at is there.
            _ => {
                let text = format!("{target} goes on losing records");
                return Err(End::Lost(Retry::Reconcile, text));
            }
        }
        let rewound = rewound.map(Box::new);
        let skip = skip.map(|skip| Skip { rewound, ..skip });
        unit.begin(skip, remembered);
        Ok(())
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
                let skip = self.unit.as_mut().and_then(|unit| unit.skip.take());
                let rewound = skip.and_then(|(skip, _)| skip.rewound);
                let is_decision = !certain || rewound.is_some();
                let before = self.ledger.progress().clone();
                if let Some(place) = rewound {
                    self.ledger.go_back(*place);
                }
                self.ledger.passed_over(records, certain, last, next);
                self.publish();
                if is_decision {
                    self.settings.acknowledged.fill();
                    self.barrier().await?;
                }
                let now = self.ledger.progress();
                if let Ok(lost @ 1..) = u64::try_from(before.sequence - now.sequence) {
                    self.settings.events.went_back(&before, now, lost);
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
        if let Some(place) = self.unit.as_ref().and_then(|unit| unit.rewound()) {
            return self.truncated(place.target_offset + 1, place.target_offset);
        }
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
        // Equal, as it may be on the way back.
        let committed = unit.exactness.committed.wait_for(|offset| *offset == at);
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
