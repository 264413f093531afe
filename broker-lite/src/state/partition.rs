//! One partition: its log, its producers, and whoever waits for its end to move.
//!
//! The broker is alone, so an appended record is replicated: the high watermark is the log's end, and
//! the last stable offset is the first open transaction's or the end.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use host::Host;
use kafka_protocol::error::ResponseError;
use tokio::sync::watch;
use wire::{
    Isolation,
    batch::BatchView,
    record::{ControlType, control_batch, control_type, decode},
};

use super::{
    producers::{AbortedTransaction, ProducerDescription, Producers, Verdict},
    validate::{Refusal, validate},
};
use crate::log::{Log, Scanned};

/// Batches decompress to at most as much.
pub(crate) const MAX_DECOMPRESSED: usize = 256 << 20;

/// What a topic's configs say about its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) max_message_bytes: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    /// `message.timestamp.type=LogAppendTime`
    pub(crate) log_append_time: bool,
    pub(crate) before_max_ms: i64,
    pub(crate) after_max_ms: i64,
    /// `cleanup.policy` contains `compact`.
    pub(crate) compacted: bool,
    /// None: `producer`.
    pub(crate) compression: Option<wire::record::Codec>,
    /// Sync each append before its answer.
    pub(crate) flush: bool,
    pub(crate) producer_id_expiration_ms: i64,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 unless the topic keeps append times.
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) records: Bytes,
    pub(crate) ends: Ends,
    pub(crate) aborted: Vec<AbortedTransaction>,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) log_start: i64,
    pub(crate) last_stable: i64,
    pub(crate) log_end: i64,
}

#[derive(Debug)]
pub(crate) struct Partition {
    host: Host,
    folder: PathBuf,
    state: Mutex<State>,
    /// The log's end, and how often a transaction ended: whatever a reader may wait for.
    changes: watch::Sender<(i64, u64)>,
}

#[derive(Debug)]
struct State {
    log: Log,
    producers: Producers,
    config: LogConfig,
}

impl Partition {
    /// Opens the partition in `folder`, made if it is not there.
    pub(crate) fn open(host: &Host, folder: &Path, config: LogConfig) -> io::Result<Self> {
        let mut producers = Producers::default();
        let log = Log::open(host, folder, &mut |scanned| {
            replay(&mut producers, &scanned)
        })?;
        producers.forget_before(log.start());
        let changes = watch::Sender::new((log.end(), 0));
        let state = Mutex::new(State {
            log,
            producers,
            config,
        });
        Ok(Self {
            host: host.clone(),
            folder: folder.to_owned(),
            state,
            changes,
        })
    }

    /// Appends what a client sent: checked as Kafka checks it (`UnifiedLog.append`, `LogValidator`).
    pub(crate) fn append(&self, records: &Bytes) -> Result<Appended, Refusal> {
        let state = &mut *self.state();
        let now = self.host.clock.wall_ms();
        let batch = validate(records, &state.config, now)?;
        state
            .producers
            .expire(now.saturating_sub(state.config.producer_id_expiration_ms));
        let log_start_offset = state.log.start();
        let log_append_time_ms = if state.config.log_append_time {
            now
        } else {
            -1
        };
        match state.producers.check(&batch.header).map_err(Refusal::of)? {
            Verdict::Duplicate { base_offset } => {
                return Ok(Appended {
                    base_offset,
                    log_append_time_ms: -1,
                    log_start_offset,
                });
            }
            Verdict::Append => {}
        }
        let base_offset = state.log.end();
        let mut header = batch.header;
        header.base_offset = base_offset;
        header.partition_leader_epoch = 0;
        let batch = batch.with_header(header);
        state
            .write(&batch)
            .map_err(|error| self.storage_error(&error))?;
        state.producers.appended(&batch.header);
        self.changes
            .send_modify(|(end, _)| *end = batch.header.next_offset());
        Ok(Appended {
            base_offset,
            log_append_time_ms,
            log_start_offset,
        })
    }

    /// Ends a transaction of `producer_id` here. A late marker of an older epoch is left out.
    pub(crate) fn append_marker(
        &self,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        coordinator_epoch: i32,
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.producers.is_fenced(producer_id, epoch) {
            return Ok(());
        }
        let now = self.host.clock.wall_ms();
        let base = state.log.end();
        let bytes = control_batch(base, producer_id, epoch, commit, coordinator_epoch, now)
            .map_err(io::Error::other)?;
        let batch = BatchView::read(&bytes).ok().flatten();
        let batch = batch.ok_or_else(|| io::Error::other("a marker that is no batch"))?;
        state.write(&batch)?;
        state
            .producers
            .ended(&batch.header, commit, coordinator_epoch);
        self.changes.send_modify(|(end, ended)| {
            *end = batch.header.next_offset();
            *ended += 1;
        });
        Ok(())
    }

    /// Whole batches from the one that holds `offset` on.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        isolation: Isolation,
    ) -> Result<Read, ResponseError> {
        let (place, ends) = {
            let state = self.state();
            let ends = state.ends();
            if offset < ends.log_start || offset > ends.log_end {
                return Err(ResponseError::OffsetOutOfRange);
            }
            let place = state.log.place(offset, ends.of(isolation));
            (place.map_err(|error| self.log_error(&error))?, ends)
        };
        let Some(place) = place else {
            return Ok(Read {
                records: Bytes::new(),
                ends,
                aborted: Vec::new(),
            });
        };
        let records = place
            .read(max_bytes, min_one)
            .map_err(|error| self.log_error(&error))?;
        let aborted = match isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => {
                let last = wire::batch::batches(records.clone())
                    .filter_map(Result::ok)
                    .last();
                let upper = last.map_or(offset, |batch| batch.header.next_offset());
                self.state().producers.aborted(offset, upper)
            }
        };
        Ok(Read {
            records,
            ends,
            aborted,
        })
    }

    pub(crate) fn ends(&self) -> Ends {
        self.state().ends()
    }

    /// Told whenever there may be more to read.
    pub(crate) fn subscribe(&self) -> watch::Receiver<(i64, u64)> {
        self.changes.subscribe()
    }

    /// The first record at or behind `timestamp`: its time and offset.
    pub(crate) fn offset_at(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let state = self.state();
        let first = state.log.first_segment_at_time(timestamp);
        let start = state.log.start();
        let mut found = Ok(None);
        state.log.headers(first, |header, place| {
            if header.max_timestamp < timestamp || header.is_control() {
                return true;
            }
            found = place
                .read(usize::MAX, true)
                .map(|bytes| first_at(&bytes, timestamp, start));
            matches!(found, Ok(None))
        })?;
        found
    }

    /// The record with the largest timestamp: its time and offset.
    pub(crate) fn max_timestamp(&self) -> io::Result<Option<(i64, i64)>> {
        let state = self.state();
        let mut largest = None;
        state.log.headers(state.log.start(), |header, _| {
            if !header.is_control() && largest.is_none_or(|max| header.max_timestamp > max) {
                largest = Some(header.max_timestamp);
            }
            true
        })?;
        drop(state);
        largest.map_or(Ok(None), |timestamp| self.offset_at(timestamp))
    }

    /// Drops records before `offset`; -1: all. Returns the new start.
    pub(crate) fn delete_records(&self, offset: i64) -> Result<i64, ResponseError> {
        let mut state = self.state();
        let end = state.log.end();
        let offset = if offset == -1 { end } else { offset };
        if !(0..=end).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        state
            .log
            .delete_before(offset)
            .map_err(|error| self.log_error(&error))?;
        let start = state.log.start();
        state.producers.forget_before(start);
        Ok(start)
    }

    pub(crate) fn producers(&self) -> Vec<ProducerDescription> {
        self.state().producers.describe()
    }

    pub(crate) fn set_config(&self, config: LogConfig) {
        self.state().config = config;
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.state().log.sync()
    }

    /// Removes the partition's files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.host.files.remove_dir_all(&self.folder)
    }

    fn storage_error(&self, error: &io::Error) -> Refusal {
        Refusal::of(self.log_error(error))
    }

    fn log_error(&self, error: &io::Error) -> ResponseError {
        tracing::error!(folder = %self.folder.display(), %error, "storage failed");
        ResponseError::KafkaStorageError
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, batch: &BatchView) -> io::Result<()> {
        self.log
            .append(batch, self.config.segment_bytes, self.config.segment_ms)?;
        if self.config.flush {
            self.log.sync()
        } else {
            Ok(())
        }
    }

    fn ends(&self) -> Ends {
        let log_end = self.log.end();
        let last_stable = self.producers.first_open().unwrap_or(log_end);
        Ends {
            log_start: self.log.start(),
            last_stable,
            log_end,
        }
    }
}

impl Ends {
    /// Where a reader's records end.
    pub(crate) fn of(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadCommitted => self.last_stable,
            Isolation::ReadUncommitted => self.log_end,
        }
    }
}

fn replay(producers: &mut Producers, scanned: &Scanned) {
    match &scanned.control {
        None => producers.appended(&scanned.header),
        Some(marker) => {
            let commit = matches!(control_type(marker), Ok(ControlType::Commit));
            producers.ended(&scanned.header, commit, 0);
        }
    }
}

/// The first record of these batches at or behind `timestamp`, not before `start`.
fn first_at(batches: &Bytes, timestamp: i64, start: i64) -> Option<(i64, i64)> {
    let batches = wire::batch::batches(batches.clone()).filter_map(Result::ok);
    let records = batches
        .filter_map(|batch| decode(&batch, MAX_DECOMPRESSED).ok())
        .flatten();
    let mut records = records.filter(|record| record.offset >= start);
    records
        .find(|record| record.timestamp >= timestamp)
        .map(|record| (record.timestamp, record.offset))
}
