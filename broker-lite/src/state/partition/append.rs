//! Writing to a partition.

use std::{io, sync::Arc};

use kafka_protocol::error::ResponseError;
use wire::{
    batch::{BatchHeader, BatchView},
    record::control_batch,
};

use super::{Partition, State};
use crate::state::{
    producers::Verdict,
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
        let written = state.roll_if_full(&batch.header);
        let written = written.and_then(|()| state.log.append(&batch));
        written.map_err(|error| Refusal::of(self.log_error(&error)))?;
        state.unremembered += batch.bytes.len() as u64;
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
        let aborts = state.producers.aborts(&batch.header).filter(|_| !commit);
        let written = state.roll_if_full(&batch.header);
        let written = written.and_then(|()| state.log.append_marker(&batch, aborts.as_ref()));
        written.inspect_err(|error| {
            self.log_error(error);
        })?;
        state.producers.ended(&batch.header, coordinator_epoch);
        self.announce(&state);
        let is_synced = state.config.flush;
        drop(state);
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
    /// Begins a new segment if the next batch belongs into one.
    fn roll_if_full(&mut self, header: &BatchHeader) -> io::Result<()> {
        let (bytes, ms) = (self.config.segment_bytes, self.config.segment_ms);
        match self.log.is_full(header, bytes, ms) {
            true => self.roll(),
            false => Ok(()),
        }
    }

    /// Begins a new segment at the end.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        self.log.roll()?;
        self.remember_all();
        Ok(())
    }
}
