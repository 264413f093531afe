//! Removing what is out of date or superseded. Blocks; one at a time for each partition.

use std::io;

use super::{Partition, State};
use crate::log::{AbortedTransaction, Cleaned, Compaction, Reader, Source, Terms, offset_file};

/// Up to where the log was cleaned; Kafka keeps it for all partitions in one file of this name.
const CHECKPOINT: &str = "cleaner-offset-checkpoint";

impl Partition {
    /// Removes segments whose records are all out of date (`UnifiedLog.deleteOldSegments`).
    pub(crate) fn expire_records(&self) -> io::Result<()> {
        let _cleaning = self.cleaning();
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
        if start == state.log.end() {
            // The segment that grows is out of date too.
            state.roll()?;
        }
        let removal = state.log.delete_before(start)?;
        tracing::info!(folder = %self.folder.display(), log_start_offset = start, "records are out of date");
        drop(state);
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
        if !self.state().config.compacted {
            return Ok(false);
        }
        self.sync_complete()?;
        let checkpoint = self.folder.join(CHECKPOINT);
        let first_dirty = offset_file::read(&*self.host.files, &checkpoint)?;
        let state = self.state();
        if state.is_unusable() {
            return Ok(false);
        }
        // What a loss of power could take back must not supersede anything.
        let limit = state.ends().last_stable.min(state.durable);
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
                offset_file::write(&*self.host.files, &checkpoint, end)?;
                tracing::info!(folder = %self.folder.display(), first_dirty_offset = end, "compacted");
                Ok(first_dirty != Some(end))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
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
    fn segment(&self, base: i64) -> io::Result<Reader> {
        let found = self.look(|state| state.log.segment(base))?;
        found.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    fn aborted(&self, from: i64, to: i64) -> io::Result<Vec<AbortedTransaction>> {
        self.look(|state| state.log.aborted(from, to))
    }

    fn replace(&self, cleaned: &Cleaned) -> io::Result<()> {
        let gone = self.look(|state| {
            let replaced = state.log.replace(cleaned);
            // What is open no longer fits to what is on disk; the next open completes it.
            state.is_broken |= replaced.is_err();
            replaced
        })?;
        // Their space is freed here, outside of the lock.
        gone.map(drop)
            .ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    fn check(&self) -> io::Result<()> {
        self.look(|_| Ok(()))
    }
}
