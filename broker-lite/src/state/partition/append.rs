//! Writing to a partition.

use std::{io, sync::Arc};

use kafka_protocol::error::ResponseError;
use wire::{
    batch::{BatchHeader, BatchView},
    record::control_batch,
};

use super::{DueSnapshot, Partition, State};
use crate::state::{
    producers::{Verdict, snapshot},
    validate::{Refusal, validate},
};

/// What a producer is told of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 unless the topic keeps append times; of a repeated batch its largest timestamp, as in Kafka.
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
}

impl Partition {
    /// Appends what a client sent: checked as Kafka checks it (`UnifiedLog.append`, `LogValidator`). It
    /// survives the process from here on; [`Partition::settle`] before the answer.
    pub(crate) fn append(&self, batch: BatchView) -> Result<Appended, Refusal> {
        let now = self.host.clock.wall_ms();
        let config = Arc::clone(&self.state().config);
        let name = self.name();
        let (batch, mut header) = validate(batch, &name, &config, now).map_err(|refusal| {
            match refusal.error {
                // `ReplicaManager.appendToLocalLog` tells no start with errors that it knows.
                ResponseError::MessageTooLarge
                | ResponseError::RecordListTooLarge
                | ResponseError::CorruptMessage => refusal,
                _ => refusal.at(self.ends().log_start),
            }
        })?;
        let mut state = self.usable().map_err(Refusal::of)?;
        state.sweep(now);
        let log_start_offset = state.log.start();
        match state.producers.check(&header) {
            Err(error) => return Err(Refusal::of(error).at(log_start_offset)),
            Ok(Verdict::Duplicate {
                base_offset,
                max_timestamp,
            }) => {
                return Ok(Appended {
                    base_offset,
                    log_append_time_ms: max_timestamp,
                    log_start_offset,
                });
            }
            Ok(Verdict::Append) => {}
        }
        let base_offset = state.log.end();
        header.base_offset = base_offset;
        header.partition_leader_epoch = state.epochs.current();
        let batch = batch.with_header(header);
        let written = state.write(&batch);
        written.map_err(|error| Refusal::of(self.log_error(&error)))?;
        state.producers.appended(&batch.header);
        self.announce(&state);
        Ok(Appended {
            base_offset,
            log_append_time_ms: if config.log_append_time { now } else { -1 },
            log_start_offset,
        })
    }

    /// Ends a transaction of `producer_id` here, durably where appends are. A late marker of an older
    /// epoch is left out.
    pub(crate) fn append_marker(
        &self,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        coordinator_epoch: i32,
    ) -> io::Result<()> {
        let mut state = match self.usable() {
            Ok(state) => state,
            Err(ResponseError::UnknownTopicOrPartition) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if state.producers.is_fenced(producer_id, epoch) {
            return Ok(());
        }
        let (now, base) = (self.host.clock.wall_ms(), state.log.end());
        let bytes = control_batch(base, producer_id, epoch, commit, coordinator_epoch, now);
        let batch = BatchView::read(&bytes.map_err(io::Error::other)?);
        let batch = batch.ok().flatten();
        let batch = batch.ok_or_else(|| io::Error::other("a marker that is no batch"))?;
        let header = BatchHeader {
            partition_leader_epoch: state.epochs.current(),
            ..batch.header
        };
        let batch = batch.with_header(header);
        state.write(&batch)?;
        let aborted = state
            .producers
            .ended(&batch.header, commit, coordinator_epoch);
        let noted = aborted.map_or(Ok(()), |aborted| state.log.push_aborted(&aborted));
        // Made again from the log at the next open.
        state.is_broken |= noted.is_err();
        self.announce(&state);
        let is_synced = state.config.flush;
        drop(state);
        noted?;
        // Otherwise a segment that the marker completed is left to the next write's `settle`.
        if is_synced {
            self.make_durable()
        } else {
            Ok(())
        }
    }

    /// Wakes those who wait for more to read.
    pub(super) fn announce(&self, state: &State) {
        let now = state.ends().high_watermark;
        self.high_watermark
            .send_if_modified(|known| std::mem::replace(known, now) != now);
    }
}

impl State {
    fn write(&mut self, batch: &BatchView) -> io::Result<()> {
        let (bytes, ms) = (self.config.segment_bytes, self.config.segment_ms);
        if self.log.is_full(&batch.header, bytes, ms) {
            self.roll()?;
        }
        self.log.append(batch)
    }

    /// Begins a new segment at the end.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        self.log.roll()?;
        // With what is remembered so far, the segments before need not be read again.
        let offset = self.log.end();
        let bytes = snapshot::encode(&self.producers, offset);
        self.due_snapshot = Some(DueSnapshot { offset, bytes });
        Ok(())
    }
}
