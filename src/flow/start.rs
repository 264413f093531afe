//! Where a worker starts, or why it does not: a verdict over evidence. Pure.
//!
//! The order of the questions matters: first whether this is the right pair of clusters and topics, then
//! whether the source still is what was copied, then whether the target still holds what was
//! acknowledged. Whatever is in doubt stops the worker; nothing is guessed (EXACTNESS 8, 10, 11).

use uuid::Uuid;

use crate::{
    base::ids::Route,
    checkpoint::{Checkpoint, LastRecord, ProducerState, Stored, codec, text::topic_id},
    config::{OnExisting, OnGap, OnRecreate, TopicConfig},
    worker::{Progress, Stop, StopReason, wrap},
};

/// After this epoch the generation is raised; the leader's own type ends at 32,767.
const LAST_EPOCH: i16 = 32_766;

/// What identifies one side of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The cluster's alias.
    pub alias: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// The topic's id; nil on brokers without ids.
    pub topic_id: Uuid,
}

/// Who a unit is, as its checkpoint says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where from and where to.
    pub route: Route,
    /// The flow's group, for messages.
    pub group: String,
    /// The source.
    pub source: Side,
    /// The target.
    pub target: Side,
    /// Hash of all that decides which record gets which sequence.
    pub fingerprint: u64,
    /// Whether batches are written sealed, by the unit's own producer.
    pub sealed: bool,
    /// The topic's policies.
    pub config: TopicConfig,
}

/// First offset and end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that is there.
    pub start: i64,
    /// The offset after the last record.
    pub end: i64,
}

/// What became of the last copied record on the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// The source has no record at its offset any more.
    Gone,
    /// The source has a record there.
    Found {
        /// Its CRC.
        crc: u32,
        /// CRC of the records of its batch, as they lie there.
        payload_crc: u32,
        /// Epoch of the leader that appended it.
        leader_epoch: i32,
    },
    /// The source has no record there any more, and this is where the leader epoch that it was copied from ends
    /// there; -1: the source knows no such epoch.
    EpochEnds(i64),
}

/// All that a verdict rests on.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What the group holds for the target partition.
    pub stored: Option<Stored>,
    /// What the source holds.
    pub source: Extent,
    /// What the target holds.
    pub target: Extent,
    /// Where the first run decided to start; none: the earliest.
    pub first_start: Option<i64>,
    /// The last copied record; none if the checkpoint names none.
    pub last: Option<LastSeen>,
    /// The epoch in which the target's leader remembers the unit's producer; none if it does not, or was not asked.
    pub remembered: Option<i16>,
    /// The target holds records of this unit that no checkpoint tells of; looked for only where there is no checkpoint,
    /// or a gap behind it.
    pub trace: bool,
    /// There was a checkpoint about the topic that the source had before, and the one that it has now follows it.
    pub succeeds: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Copy.
    Run {
        /// From here.
        start: Progress,
        /// The checkpoint must be committed before the first append: without it, a death right after
        /// that append would leave records beside no checkpoint, or beside one of another mapping.
        barrier: bool,
        /// What a policy decided.
        decision: Option<Decision>,
    },
    /// Do not.
    Stop(Stop),
}

/// What the topic's policy decided where strait would stop otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Source records are gone (`on_gap`).
    Gap {
        /// The offset that was next.
        wanted: i64,
        /// Where it goes on.
        to: i64,
    },
    /// It writes behind records that are there (`on_existing`).
    Append {
        /// From this target offset on.
        target_offset: i64,
    },
    /// It writes another topic of the source's behind the one before (`on_recreate`).
    Succeed {
        /// From this target offset on.
        target_offset: i64,
    },
}

impl Identity {
    /// The checkpoint of this unit at `progress`.
    pub fn checkpoint(&self, progress: &Progress) -> Checkpoint {
        Checkpoint {
            source_cluster: self.source.cluster_id.clone(),
            source_topic: self.source.topic_id,
            target_cluster: self.target.cluster_id.clone(),
            target_topic: self.target.topic_id,
            source_offset: progress.source_offset,
            target_offset: progress.target_offset,
            last_record: progress.last_record,
            sequence: wrap(progress.sequence),
            producer: progress.producer,
            fingerprint: self.fingerprint,
            appends_at: progress.appends_at,
            stopped: None,
            settled: false,
            unmapped: progress.unmapped,
            anchors: progress.anchors.clone(),
        }
    }

    /// Whether `stored` is about the topic that the source had under this name before, and what it has now is to be
    /// copied behind that.
    pub fn succeeds(&self, stored: &Stored) -> bool {
        let before = codec::decode(stored).is_ok_and(|checkpoint| {
            checkpoint.source_topic != self.source.topic_id
                && checkpoint.source_cluster == self.source.cluster_id
                && checkpoint.target_topic == self.target.topic_id
        });
        before && self.config.on_recreate == OnRecreate::Append
    }

    /// Where to start.
    pub fn verdict(&self, evidence: &Evidence) -> Verdict {
        let verdict = match &evidence.stored {
            None => self.first_start(evidence),
            Some(stored) => match codec::decode(stored) {
                Ok(checkpoint) => self.resume(&checkpoint, evidence),
                Err(error) => Err(self.stop(
                    StopReason::CheckpointUnknownVersion,
                    -1,
                    format!(
                        "{error}; run the strait that wrote it, or forget what group {} holds for it if the partition \
                         is to start anew",
                        self.group
                    ),
                )),
            },
        };
        verdict.unwrap_or_else(Verdict::Stop)
    }

    /// No checkpoint: fine beside an empty target only.
    fn first_start(&self, evidence: &Evidence) -> Result<Verdict, Stop> {
        let Extent { start, end } = evidence.target;
        if end > 0 && evidence.trace {
            return Err(self.stop(
                StopReason::CheckpointMissing,
                evidence.source.start,
                format!(
                    "group {} has no checkpoint, and the target has offsets {start} to {end}, written by this flow: \
                     the checkpoint was lost; say where to go on",
                    self.group
                ),
            ));
        }
        if end > 0 && evidence.succeeds {
            return Ok(Verdict::Run {
                start: self.append(evidence, None),
                barrier: true,
                decision: Some(Decision::Succeed { target_offset: end }),
            });
        }
        if end > 0 && self.config.on_existing == OnExisting::Stop {
            return Err(self.stop(
                StopReason::CheckpointMissing,
                evidence.source.start,
                format!(
                    "group {} has no checkpoint and the target has offsets {start} to {end} (on_existing = \
                     \"stop\"); take a topic that is empty, or let the flow write behind what is there",
                    self.group
                ),
            ));
        }
        if end > 0 {
            return Ok(Verdict::Run {
                start: self.append(evidence, None),
                barrier: true,
                decision: Some(Decision::Append { target_offset: end }),
            });
        }
        let source_offset = fresh_offset(evidence);
        let mut start = Progress::start(source_offset, 0);
        start.producer = self.sealed.then(|| self.producer(0));
        Ok(Verdict::Run {
            start,
            barrier: true,
            decision: None,
        })
    }

    /// A fresh start behind what the target holds. `known` is a checkpoint that does not count any more, for the epoch
    /// of its producer.
    pub(super) fn append(&self, evidence: &Evidence, known: Option<&Checkpoint>) -> Progress {
        let end = evidence.target.end;
        let mut start = Progress {
            appends_at: Some(end),
            producer: known.and_then(|checkpoint| checkpoint.producer),
            settled: known.is_some_and(|checkpoint| checkpoint.settled),
            ..Progress::start(fresh_offset(evidence), end)
        };
        if self.sealed {
            self.next_epoch(&mut start, evidence.remembered);
        }
        start
    }

    fn resume(&self, checkpoint: &Checkpoint, evidence: &Evidence) -> Result<Verdict, Stop> {
        self.check_topics(checkpoint)?;
        let mut start = Progress::from(checkpoint);
        let mut barrier = checkpoint.fingerprint != self.fingerprint;
        let begins = barrier || start.producer.is_none();
        let gap = checkpoint.source_offset < evidence.source.start;
        // A worker that goes on in its epoch finds what the target still holds (EXACTNESS 10).
        if !self.sealed || begins || gap {
            self.check_target(checkpoint, evidence.target)?;
        }
        if self.sealed && begins {
            // What the epoch before wrote behind its checkpoint is looked for.
            start.appends_at = None;
            self.next_epoch(&mut start, evidence.remembered);
            barrier = true;
        }
        // Only `checkpoint set` says so of an empty target: what is lost behind a place that somebody chose is a gap.
        let chosen = checkpoint.appends_at == Some(0);
        let untouched = !chosen
            && checkpoint.last_record.is_none()
            && checkpoint.anchors.is_empty()
            && checkpoint.target_offset == evidence.target.end;
        let mut decision = None;
        if untouched && checkpoint.source_offset < evidence.source.start {
            // Nothing was copied yet, so there is no gap: the start is resolved anew (EXACTNESS 11).
            start.source_offset = evidence.source.start;
            barrier = true;
        } else if let Some(to) = self.beyond_gap(checkpoint, evidence) {
            let wanted = checkpoint.source_offset;
            start = self.jump(Some(checkpoint), to, evidence);
            (barrier, decision) = (true, Some(Decision::Gap { wanted, to }));
        } else {
            self.check_source(checkpoint, evidence)?;
        }
        Ok(Verdict::Run {
            start,
            barrier,
            decision,
        })
    }

    /// Where to go on if wanted records were deleted and the policy is not to stop. An offset beyond the end is no
    /// such gap: the source lost its end, and what was copied may not be what it has now. Nor is it one where the target
    /// holds records of this unit that the checkpoint does not tell of: which of the source's they are showed only in
    /// what is gone, and what is left may be among them.
    fn beyond_gap(&self, checkpoint: &Checkpoint, evidence: &Evidence) -> Option<i64> {
        let source = evidence.source;
        match self.config.on_gap {
            _ if checkpoint.source_offset >= source.start || evidence.trace => None,
            OnGap::Stop => None,
            OnGap::Earliest => Some(source.start),
            OnGap::Latest => Some(source.end),
        }
    }

    fn check_topics(&self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        for (reason, side, known) in [
            (
                StopReason::SourceTopicRecreated,
                &self.source,
                checkpoint.source_topic,
            ),
            (
                StopReason::TargetTopicRecreated,
                &self.target,
                checkpoint.target_topic,
            ),
        ] {
            if known != side.topic_id {
                return Err(self.stop(
                    reason,
                    checkpoint.source_offset,
                    format!(
                        "the topic on {} has id {}, the checkpoint is about {}: it was created anew; copy it under \
                         another name, delete the target's topic and forget the checkpoint, or copy a new source topic behind the old one (on_recreate)",
                        side.alias,
                        topic_id(side.topic_id),
                        topic_id(known),
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_target(&self, checkpoint: &Checkpoint, target: Extent) -> Result<(), Stop> {
        if target.end >= checkpoint.target_offset {
            return Ok(());
        }
        let again = Progress::from(checkpoint).again_from(target.end);
        let held = match again {
            0.. => format!("what it surely still holds ends before source offset {again}"),
            _ => "nothing is known that it surely still holds".to_owned(),
        };
        Err(self.stop(
            StopReason::TargetTruncated,
            again,
            format!(
                "{} ends at offset {}, but offset {} was acknowledged: the target lost records (an unclean \
                 election, a restored backup); {held}; compare both sides before it goes on",
                self.target.alias, target.end, checkpoint.target_offset
            ),
        ))
    }

    fn check_source(&self, checkpoint: &Checkpoint, evidence: &Evidence) -> Result<(), Stop> {
        let wanted = checkpoint.source_offset;
        let Extent { start, end } = evidence.source;
        if wanted < start || wanted > end {
            let why = if wanted > end {
                "it lost its end (an unclean election, a restored backup); compare both sides before it goes on"
                    .to_owned()
            } else if evidence.trace {
                format!(
                    "records were deleted, and {} holds records of this flow behind offset {} that no checkpoint tells \
                     of, as after a crash: which ones they are cannot be told any more, so no on_gap passes over the \
                     gap; compare the last record there with the source, and go on behind it",
                    self.target.alias, checkpoint.target_offset
                )
            } else {
                "records were deleted before they were copied (on_gap = \"stop\")".to_owned()
            };
            let text = format!(
                "offset {wanted} is next, {} has offsets {start} to {end}: {why}",
                self.source.alias
            );
            // Only a gap is left behind by going on at what is there; else that would copy again what is copied.
            let at = if wanted > end || evidence.trace {
                -1
            } else {
                wanted
            };
            return Err(self.stop(StopReason::OffsetOutOfRange, at, text));
        }
        match (&checkpoint.last_record, evidence.last) {
            (Some(last), Some(seen)) if !is_the_same(last, seen) => Err(self.stop(
                StopReason::SourceRecordMismatch,
                last.source_offset,
                format!(
                    "the record at offset {} of {} is not the one that was copied: the source's log \
                     changed; compare both sides before it goes on",
                    last.source_offset, self.source.alias
                ),
            )),
            // By the record's own offset: what lies between it and the wanted one may be of a later epoch.
            (Some(last), Some(LastSeen::EpochEnds(end))) if end <= last.source_offset => {
                Err(self.truncated(last, end))
            }
            _ => Ok(()),
        }
    }

    /// Going on at the source offset `to`, wherever that is: behind what the target holds, and in a new epoch, so that
    /// its leader takes the new numbering. Where `to` is the position that is known, the target is still compared from
    /// its checkpoint on, and what was copied behind that is not copied again. Which record was the last one says
    /// nothing then: who goes on there knows what the source lost or changed.
    pub(super) fn jump(
        &self,
        known: Option<&Checkpoint>,
        to: i64,
        evidence: &Evidence,
    ) -> Progress {
        let end = evidence.target.end;
        let known = known.map(Progress::from);
        let mut start = match known {
            Some(known) if known.source_offset == to && known.target_offset <= end => Progress {
                last_record: None,
                appends_at: None,
                ..known
            },
            known => Progress {
                source_offset: to,
                target_offset: end,
                last_record: None,
                appends_at: Some(end),
                // Where there is no checkpoint, nobody knows what is still on its way.
                ..known.unwrap_or(Progress {
                    settled: false,
                    ..Progress::start(to, end)
                })
            },
        };
        if self.sealed {
            self.next_epoch(&mut start, evidence.remembered);
        }
        start
    }

    /// The id under which the target's leader knows the unit: that of the checkpoint, or the first one.
    pub(super) fn producer_id(&self, known: Option<&Checkpoint>) -> i64 {
        let known = known.and_then(|checkpoint| checkpoint.producer);
        known.map_or_else(|| self.producer(0).id, |producer| producer.id)
    }

    /// Who the unit is in the offset map.
    pub(super) fn in_map(&self) -> u64 {
        self.producer(0).id.cast_unsigned()
    }

    /// The unit's producer in its first epoch. Its id is derived, so that two processes that both start without
    /// a checkpoint meet in the leader's sequence check instead of writing twice (EXACTNESS 1). Bit 62 keeps
    /// it away from the ids that brokers allocate, which count up from 0.
    fn producer(&self, generation: u32) -> ProducerState {
        let (source, target) = (&self.source, &self.target);
        let text = format!(
            "{} {} {} {} {} {} {generation}",
            self.group,
            source.cluster_id,
            source.topic_id,
            self.route.source,
            target.topic_id,
            self.route.target,
        );
        let hash = fingerprint(&text) & (u64::MAX >> 2);
        ProducerState {
            id: (hash | 1 << 62).cast_signed(),
            generation,
            epoch: 0,
            epoch_base: 0,
        }
    }

    /// Another mapping or transport, or the first sealed one: sequences begin anew, in an epoch in which
    /// nothing was written yet. `remembered` is the one that the target's leader knows, which may be newer than that of
    /// the checkpoint, or be known where there is none.
    fn next_epoch(&self, start: &mut Progress, remembered: Option<i16>) {
        let mut last = start.producer.unwrap_or_else(|| ProducerState {
            epoch: -1,
            ..self.producer(0)
        });
        last.epoch = last.epoch.max(remembered.unwrap_or(-1));
        let used_up = last.epoch >= LAST_EPOCH;
        let next = if used_up {
            self.producer(last.generation + 1)
        } else {
            ProducerState {
                epoch: last.epoch + 1,
                ..last
            }
        };
        start.producer = Some(ProducerState {
            epoch_base: last.epoch_base + start.sequence,
            ..next
        });
        start.sequence = 0;
    }

    fn truncated(&self, last: &LastRecord, end: i64) -> Stop {
        let source = &self.source.alias;
        let epoch = match end {
            -1 => format!("which {source} does not know"),
            _ => format!("which ends at offset {end} on {source}"),
        };
        self.stop(
            StopReason::SourceRecordMismatch,
            last.source_offset,
            format!(
                "the record at offset {} was copied from leader epoch {}, {epoch}: the source lost its end after \
                 that and went on (an unclean election, a restored backup); compare both sides before it goes on",
                last.source_offset, last.leader_epoch
            ),
        )
    }

    fn stop(&self, reason: StopReason, source_offset: i64, text: String) -> Stop {
        let Route { source, target } = &self.route;
        let (from, to) = (&self.source.alias, &self.target.alias);
        Stop {
            reason,
            source_offset,
            text: format!("{from} {source} to {to} {target}: {text}"),
        }
    }
}

impl From<&Checkpoint> for Progress {
    /// Behind what the checkpoint says is acknowledged.
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            last_record: checkpoint.last_record,
            producer: checkpoint.producer,
            sequence: i64::from(checkpoint.sequence),
            appends_at: checkpoint.appends_at,
            anchors: checkpoint.anchors.clone(),
            settled: checkpoint.settled,
            unmapped: checkpoint.unmapped,
            ..Self::start(checkpoint.source_offset, checkpoint.target_offset)
        }
    }
}

/// Whether the source still holds the record that was copied last. A batch that was copied sealed is known by its
/// bytes; where compaction wrote them anew since, the epoch of the leader that appended it still tells.
pub(super) fn is_the_same(last: &LastRecord, seen: LastSeen) -> bool {
    match (last.payload_crc, seen) {
        (_, LastSeen::Gone | LastSeen::EpochEnds(_)) => true,
        (None, LastSeen::Found { crc, .. }) => crc == last.crc,
        (
            Some(known),
            LastSeen::Found {
                payload_crc,
                leader_epoch,
                ..
            },
        ) => payload_crc == known || leader_epoch >= 0 && leader_epoch == last.leader_epoch,
    }
}

/// Where the first run starts; what it decided may have fallen off the log since.
fn fresh_offset(evidence: &Evidence) -> i64 {
    let Extent { start, end } = evidence.source;
    evidence
        .first_start
        .map_or(start, |decided| decided.clamp(start, end.max(start)))
}

/// FNV-1a, 64 bits: the same in every build, unlike the standard library's hash.
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
