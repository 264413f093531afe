//! One partition: its log, its producers, and whoever waits for its end to move.
//!
//! The broker is alone, so the high watermark is the log's end; where appends are synced, it is what is
//! durable: nobody reads what a loss of power could take back. The last stable offset is the first
//! open transaction's or the high watermark.
//!
//! `append.rs` writes, `read.rs` reads, `durability.rs` syncs, `cleanup.rs` removes what is out of date or superseded,
//! `epochs.rs` knows the leader's epochs, and `upheaval.rs` is what only tests do. Writes go to the page cache under
//! the partition's lock; reads and syncs of the disk go on outside of it.

mod append;
mod cleanup;
mod durability;
mod epochs;
mod read;
#[cfg(test)]
mod tests;
mod upheaval;

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use host::Host;
use kafka_protocol::error::ResponseError;
use tokio::sync::watch;
use wire::{
    Isolation,
    batch::BatchView,
    record::{ControlType, control_type, decode},
};

use self::epochs::Epochs;
pub(crate) use self::{
    append::Appended,
    read::{Found, Read, Records},
};
use super::{
    complaints::Complaints,
    folders::Folder,
    producers::{Expiration, ProducerDescription, Producers, snapshot},
};
use crate::log::{AbortedTransaction, Compaction, Log, Retention, Scanned};

/// What a topic's configs say about its log.
#[derive(Clone, Debug, PartialEq)]
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
    pub(crate) compaction: Compaction,
    /// `cleanup.policy` contains `delete`.
    pub(crate) deletes: bool,
    /// What is kept where it deletes.
    pub(crate) retention: Retention,
    /// None: `producer`.
    pub(crate) compression: Option<wire::record::Codec>,
    /// Sync each append before its answer.
    pub(crate) flush: bool,
    pub(crate) producers: Expiration,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) log_start: i64,
    pub(crate) last_stable: i64,
    pub(crate) high_watermark: i64,
}

impl Ends {
    /// Where a reader's records end.
    pub(crate) fn of(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadCommitted => self.last_stable,
            Isolation::ReadUncommitted => self.high_watermark,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    host: Host,
    /// Of `log.dirs`.
    home: Arc<Folder>,
    folder: PathBuf,
    state: Mutex<State>,
    /// Held while files are synced or removed. Taken before `state`.
    syncing: Mutex<()>,
    /// Held while superseded records are removed, which may take long. Taken before `trimming`.
    cleaning: Mutex<()>,
    /// Held while the start moves. Taken before `syncing`.
    trimming: Mutex<()>,
    high_watermark: watch::Sender<i64>,
    complaints: Complaints,
}

#[derive(Debug)]
struct State {
    log: Log,
    producers: Producers,
    epochs: Epochs,
    config: Arc<LogConfig>,
    /// Up to here the log is durable.
    durable: i64,
    /// Offset of the producers' snapshot on disk.
    snapshot_offset: i64,
    /// Bytes that were appended behind the last snapshot, or the one that is due.
    unremembered: u64,
    /// A snapshot that is written once the log before its offset is durable.
    due_snapshot: Option<DueSnapshot>,
    /// The topic was deleted, or the broker ends.
    is_removed: bool,
    /// A sync failed: what is on disk is not known any more.
    is_broken: bool,
    /// Compaction met what it cannot read; as in Kafka it is left alone until the next start
    /// (`LogCleanerManager.markPartitionUncleanable`).
    is_uncleanable: bool,
}

#[derive(Debug)]
struct DueSnapshot {
    offset: i64,
    bytes: Vec<u8>,
}

impl Partition {
    /// Opens the partition `name` in `home`, made if it is not there.
    pub(crate) fn open(
        host: &Host,
        home: &Arc<Folder>,
        name: &str,
        config: LogConfig,
    ) -> io::Result<Self> {
        let folder = &home.path().join(name);
        host.files.create_dir_all(folder)?;
        let epochs = Epochs::read(&*host.files, folder)?;
        let Contents {
            log,
            producers,
            mut epochs,
            trusted,
        } = contents(host, folder, &config, epochs)?;
        // A crash may have taken the records that an epoch began with.
        epochs.cut(log.end());
        let partition = Self {
            host: host.clone(),
            home: Arc::clone(home),
            folder: folder.to_owned(),
            high_watermark: watch::Sender::new(log.end()),
            state: Mutex::new(State {
                durable: trusted,
                snapshot_offset: trusted,
                unremembered: 0,
                due_snapshot: None,
                is_removed: false,
                is_broken: false,
                is_uncleanable: false,
                config: Arc::new(config),
                log,
                producers,
                epochs,
            }),
            syncing: Mutex::default(),
            cleaning: Mutex::default(),
            trimming: Mutex::default(),
            complaints: Complaints::default(),
        };
        if partition.state().config.flush {
            partition.sync()?;
        }
        Ok(partition)
    }

    /// `<topic>-<number>`
    pub(crate) fn name(&self) -> Cow<'_, str> {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy()
    }

    pub(crate) fn ends(&self) -> Ends {
        self.state().ends()
    }

    /// The folder of `log.dirs` that it is in.
    pub(crate) fn home(&self) -> &Arc<Folder> {
        &self.home
    }

    /// KAFKA_STORAGE_ERROR if what is on disk cannot be read and written.
    pub(crate) fn check_online(&self) -> Result<(), ResponseError> {
        self.usable().map(drop)
    }

    /// Bytes of its records on disk.
    pub(crate) fn size(&self) -> Result<u64, ResponseError> {
        Ok(self.usable()?.log.size())
    }

    /// Told whenever there may be more to read.
    pub(crate) fn subscribe(&self) -> watch::Receiver<i64> {
        self.high_watermark.subscribe()
    }

    /// FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH if a client knows another epoch of the leader; -1 is a client
    /// that does not say.
    pub(crate) fn check_leader(&self, known: i32) -> Result<(), ResponseError> {
        self.state().epochs.check(known)
    }

    /// The leader's epoch.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.state().epochs.current()
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        self.state().epochs.at(offset)
    }

    /// The largest epoch up to `epoch`, and where its records end; none if the leader does not know it.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let state = self.state();
        let ends = state.ends();
        state
            .epochs
            .end_of(epoch, ends.log_start, ends.high_watermark)
    }

    /// Where the log and that of a reader part, whose last record is of `last_epoch` and right before `offset`
    /// (`Partition.readRecords`, KIP-595); none if they do not.
    pub(crate) fn divergence(
        &self,
        last_epoch: i32,
        offset: i64,
    ) -> Result<Option<(i32, i64)>, ResponseError> {
        if last_epoch < 0 {
            return Ok(None);
        }
        let end = self.end_of_epoch(last_epoch);
        let (epoch, end) = end.ok_or(ResponseError::OffsetOutOfRange)?;
        if offset < self.ends().log_start {
            return Err(ResponseError::OffsetOutOfRange);
        }
        Ok((epoch < last_epoch || end < offset).then_some((epoch, end)))
    }

    /// What is remembered of producers.
    pub(crate) fn producers(&self) -> Vec<ProducerDescription> {
        let mut state = self.state();
        state.sweep(self.host.clock.wall_ms());
        state.producers.describe()
    }

    pub(crate) fn set_config(&self, config: LogConfig) {
        let starts_to_flush = config.flush && !self.state().config.flush;
        // The high watermark must not fall back to what happens to be durable.
        let synced = if starts_to_flush { self.sync() } else { Ok(()) };
        if let Err(error) = synced {
            self.log_error(&error);
        }
        self.state().config = Arc::new(config);
    }

    /// Removes the partition's files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // Whoever cleans notices, and ends.
        self.state().is_removed = true;
        let _cleaning = self.cleaning();
        let _trimming = self.trimming();
        let _syncing = self.syncing();
        self.high_watermark.send_modify(|_| ());
        self.host.files.remove_dir_all(&self.folder)
    }

    /// The broker ends: waits for what is being made durable in the background; nothing is written after it.
    pub(crate) fn close(&self) {
        self.state().is_removed = true;
        let _cleaning = self.cleaning();
        let _trimming = self.trimming();
        let _syncing = self.syncing();
    }

    /// The state of a partition that may be read and written.
    fn usable(&self) -> Result<MutexGuard<'_, State>, ResponseError> {
        let state = self.state();
        match (state.is_removed, state.is_broken || self.home.is_offline()) {
            (true, _) => Err(ResponseError::UnknownTopicOrPartition),
            (_, true) => Err(ResponseError::KafkaStorageError),
            _ => Ok(state),
        }
    }

    /// Tells of an error of the disk, once in a minute: to a full one producers come again and again.
    pub(crate) fn log_error(&self, error: &io::Error) -> ResponseError {
        self.home.note(error);
        if let Some(times) = self.complaints.say(self.host.clock.monotonic()) {
            tracing::error!(folder = %self.folder.display(), %error, times, "storage failed");
        }
        ResponseError::KafkaStorageError
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cleaning(&self) -> MutexGuard<'_, ()> {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trimming(&self) -> MutexGuard<'_, ()> {
        self.trimming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ends(&self) -> Ends {
        let log_end = self.log.end();
        let high_watermark = if self.config.flush {
            self.durable
        } else {
            log_end
        };
        let log_start = self.log.start();
        // Of an open transaction the first records may be out of date already.
        let first_open = self.producers.first_open().unwrap_or(log_end);
        Ends {
            log_start,
            last_stable: first_open.max(log_start).min(high_watermark),
            high_watermark,
        }
    }

    fn is_unusable(&self) -> bool {
        self.is_removed || self.is_broken
    }

    fn sweep(&mut self, now_ms: i64) {
        self.producers.sweep(now_ms, self.config.producers);
    }
}

/// What is in a partition's folder.
struct Contents {
    log: Log,
    producers: Producers,
    epochs: Epochs,
    /// Up to here the log is known to be durable.
    trusted: i64,
}

/// Reads the log, and what is to be remembered of its producers: as of the last snapshot, and of all batches
/// behind it.
fn contents(
    host: &Host,
    folder: &Path,
    config: &LogConfig,
    epochs: Epochs,
) -> io::Result<Contents> {
    let (now, expiration) = (host.clock.wall_ms(), config.producers.after_ms);
    let (trusted, mut producers) = snapshot::read(&*host.files, folder)?.unwrap_or_default();
    producers.expire(now, expiration);
    let open = |trusted, producers: &mut Producers| {
        Log::open(&host.files, folder, trusted, &mut |batch| {
            replay(producers, &batch)
        })
    };
    let mut log = open(trusted, &mut producers)?;
    if log.end() < trusted {
        tracing::warn!(folder = %folder.display(), end = log.end(), snapshot = trusted,
            "the log ends before what is remembered of producers: read it whole");
        snapshot::remove(&*host.files, folder)?;
        producers = Producers::default();
        log = open(0, &mut producers)?;
    }
    Ok(Contents {
        trusted: trusted.min(log.end()),
        log,
        producers,
        epochs,
    })
}

/// Remembers a batch that was found at open.
fn replay(producers: &mut Producers, scanned: &Scanned) -> Option<AbortedTransaction> {
    let Some(batch) = &scanned.control else {
        producers.appended(&scanned.header);
        return None;
    };
    let commit = match control_type(batch) {
        Ok(ControlType::Commit) => true,
        Ok(ControlType::Abort) => false,
        _ => return None,
    };
    let aborts = producers.aborts(&scanned.header).filter(|_| !commit);
    producers.ended(&scanned.header, coordinator_epoch(batch));
    aborts
}

/// The value of a marker: version i16, coordinator epoch i32 (`EndTransactionMarker`).
fn coordinator_epoch(marker: &BatchView) -> i32 {
    let records = decode(marker, marker.bytes.len()).unwrap_or_default();
    let value = records.first().and_then(|record| record.value.as_deref());
    let epoch = value.and_then(|value| value.get(2..)?.first_chunk());
    epoch.map_or(-1, |epoch| i32::from_be_bytes(*epoch))
}
