//! Removing what is out of date or superseded. Blocks; one at a time for each partition.

use std::{io, sync::MutexGuard};

use kafka_protocol::error::ResponseError;

use super::{Partition, State};
use crate::log::{
    AbortedTransaction, Cleaned, Compaction, Log, Reader, Source, Terms, offset_file,
};

/// Up to where the log was cleaned; Kafka keeps it for all partitions in one file of this name.
const CHECKPOINT: &str = "cleaner-offset-checkpoint";

impl Partition {
    /// Drops records before `offset`; -1: all. Returns the new start. Blocks.
    pub(crate) fn delete_records(&self, offset: i64) -> Result<i64, ResponseError> {
        let trimming = self.trimming();
        let state = self.usable()?;
        if !state.config.deletes {
            return Err(ResponseError::PolicyViolation);
        }
        let (start, end) = (state.log.start(), state.ends().high_watermark);
        let offset = if offset == -1 { end } else { offset };
        if !(0..=end).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        drop(state);
        if offset <= start {
            return Ok(start);
        }
        let moved = self.advance_start(&trimming, offset);
        moved.map_err(|error| self.log_error(&error))?;
        Ok(self.usable()?.log.start())
    }

    /// Removes segments whose records are all out of date (`UnifiedLog.deleteOldSegments`).
    pub(crate) fn expire_records(&self) -> io::Result<()> {
        let trimming = self.trimming();
        let mut state = self.state();
        if state.is_unusable() || !state.config.deletes {
            return Ok(());
        }
        let retention = state.config.retention;
        let (now, limit) = (self.host.clock.wall_ms(), state.ends().high_watermark);
        let start = state.log.expired_before(&retention, now, limit)?;
        if start == state.log.start() {
            return Ok(());
        }
        if start > state.log.active_base() {
            // The segment that grows is out of date too.
            state.roll()?;
        }
        drop(state);
        tracing::info!(folder = %self.folder.display(), log_start_offset = start, "records are out of date");
        self.advance_start(&trimming, start)
    }

    /// Moves the start to `start`, which does not lie behind the high watermark, and removes the segments before it.
    /// The disk knows first: what is gone for one reader does not come back for another.
    fn advance_start(&self, _trimming: &MutexGuard<'_, ()>, start: i64) -> io::Result<()> {
        let is_remembered = {
            let state = self.state();
            let goes = state.log.goes_with(start);
            goes.is_none_or(|end| end <= state.snapshot_offset)
        };
        if !is_remembered {
            // What is known of the producers of these records could not be read again.
            self.sync()?;
        }
        if self.state().is_unusable() {
            return Ok(());
        }
        Log::write_start(&*self.host.files, &self.folder, start)?;
        let removal = self.state().log.advance_start(start);
        removal.run()
    }

    /// Compacts once, if the topic wants it and enough is dirty; true if something was done. Keys take at most
    /// `max_map_bytes` of memory.
    pub(crate) fn compact(
        &self,
        max_map_bytes: usize,
        is_stopped: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let _cleaning = self.cleaning();
        let is_remembered = {
            let state = self.state();
            if !state.config.compacted || state.is_uncleanable {
                return Ok(false);
            }
            state.log.active_base() <= state.snapshot_offset
        };
        if !is_remembered {
            self.sync()?;
        }
        let first_dirty = self.first_dirty()?;
        let state = self.state();
        if state.is_unusable() {
            return Ok(false);
        }
        // What a loss of power could take back must not supersede anything, and what is known of the producers must
        // not depend on what is superseded.
        let limit = state.ends().last_stable.min(state.snapshot_offset);
        let Compaction {
            delete_retention_ms,
            ..
        } = state.config.compaction;
        let terms = Terms {
            now: self.host.clock.wall_ms(),
            delete_retention_ms,
            segment_bytes: state.config.segment_bytes,
            max_map_bytes,
            producers: state.producers.last_records(),
        };
        let compaction = state.config.compaction;
        let pass = state
            .log
            .to_clean(&compaction, first_dirty.unwrap_or(0), limit, terms.now)?;
        drop(state);
        let Some(pass) = pass else {
            return Ok(false);
        };
        let source = Locked {
            partition: self,
            is_stopped,
        };
        match pass.run(&source, &terms) {
            Ok(end) => {
                self.set_first_dirty(end)?;
                tracing::info!(folder = %self.folder.display(), first_dirty_offset = end, "compacted");
                Ok(first_dirty != Some(end))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => {
                // A full disk may have room the next time; damage stays.
                self.state().is_uncleanable |= matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge
                );
                Err(error)
            }
        }
    }

    /// Where the last pass came to; none if that is not known.
    pub(super) fn first_dirty(&self) -> io::Result<Option<i64>> {
        let read = offset_file::read(&*self.host.files, &self.folder.join(CHECKPOINT));
        match read {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "everything is compacted anew");
                Ok(None)
            }
            read => read,
        }
    }

    pub(super) fn set_first_dirty(&self, offset: i64) -> io::Result<()> {
        offset_file::write(&*self.host.files, &self.folder.join(CHECKPOINT), offset)
    }
}

/// The partition as a cleaner sees it.
struct Locked<'a> {
    partition: &'a Partition,
    is_stopped: &'a dyn Fn() -> bool,
}

impl Locked<'_> {
    fn look<T>(&self, look: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.partition.state();
        if state.is_unusable() || (self.is_stopped)() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        look(&mut state)
    }
}

impl Source for Locked<'_> {
    fn segment(&self, base: i64) -> io::Result<Option<Reader>> {
        self.look(|state| state.log.segment(base))
    }

    fn aborted(&self, from: i64, to: i64) -> io::Result<Vec<AbortedTransaction>> {
        self.look(|state| state.log.aborted(from, to))
    }

    fn replace(&self, cleaned: &Cleaned) -> io::Result<bool> {
        let gone = self.look(|state| {
            let replaced = state.log.replace(cleaned);
            // What is open no longer fits to what is on disk; the next open completes it.
            state.is_broken |= replaced.is_err();
            replaced
        })?;
        // Their space is freed here, outside of the lock.
        Ok(gone.map(drop).is_some())
    }

    fn check(&self) -> io::Result<()> {
        self.look(|_| Ok(()))
    }
}
