//! What befalls a partition in a cluster and cannot here: an unclean election's truncation, another leader's
//! epoch, producers that are forgotten. Only tests ask for it, see `crate::faults`.

use std::io;

use kafka_protocol::error::ResponseError;

use super::{Partition, contents};

impl Partition {
    /// Drops the records from `offset` on, and with them what was remembered of their producers, as a Kafka
    /// follower does (`UnifiedLog.truncateTo`): what is left is read again. The batch that holds `offset` goes
    /// too. Returns the log's new end. Blocks.
    pub(crate) fn truncate(&self, offset: i64) -> Result<i64, ResponseError> {
        let _cleaning = self.cleaning();
        let _trimming = self.trimming();
        let _syncing = self.syncing();
        let mut state = self.usable()?;
        if !(state.log.start()..=state.log.end()).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut cut = || -> io::Result<_> {
            if !state.log.truncate(offset)? {
                return Ok(None);
            }
            let contents = contents(
                &self.host,
                &self.folder,
                &state.config,
                state.epochs.clone(),
            );
            contents.map(Some)
        };
        match cut() {
            Ok(None) => {}
            Ok(Some(mut found)) => {
                found.epochs.cut(found.log.end());
                let written = found.epochs.write(&*self.host.files, &self.folder);
                let written = written.and_then(|()| self.cut_first_dirty(found.log.end()));
                found.log.succeeds(&state.log);
                (state.log, state.producers) = (found.log, found.producers);
                state.epochs = found.epochs;
                // What is left was durable as far as it was before.
                state.durable = state.durable.min(state.log.end());
                state.snapshot_offset = found.trusted;
                state.due_snapshot = None;
                written.map_err(|error| self.log_error(&error))?;
            }
            Err(error) => {
                // What is open no longer fits to what is on disk.
                state.is_broken = true;
                return Err(self.log_error(&error));
            }
        }
        let end = state.log.end();
        drop(state);
        self.high_watermark.send_replace(end);
        Ok(end)
    }

    /// What comes in the place of what was cut off is dirty (`LogCleanerManager.maybeTruncateCheckpoint`).
    fn cut_first_dirty(&self, end: i64) -> io::Result<()> {
        match self.first_dirty()? {
            Some(first_dirty) if first_dirty > end => self.set_first_dirty(end),
            _ => Ok(()),
        }
    }

    /// Begins the next epoch of its leader; returns it. Blocks.
    pub(crate) fn raise_leader_epoch(&self) -> Result<i32, ResponseError> {
        let mut state = self.usable()?;
        let end = state.log.end();
        state.epochs.raise(end);
        let written = state.epochs.write(&*self.host.files, &self.folder);
        written.map_err(|error| self.log_error(&error))?;
        let epoch = state.epochs.current();
        drop(state);
        // Who waits with the older epoch is told.
        self.high_watermark.send_modify(|_| ());
        Ok(epoch)
    }

    /// Forgets a producer, or all of them, durably; those in a transaction stay, as they do not expire either.
    /// Returns how many. Blocks.
    pub(crate) fn forget_producers(&self, id: Option<i64>) -> Result<usize, ResponseError> {
        let forgotten = {
            let mut state = self.usable()?;
            // The snapshot on disk knows them still.
            state.snapshot_offset = -1;
            state.producers.forget(id)
        };
        self.sync().map_err(|error| self.log_error(&error))?;
        Ok(forgotten)
    }
}
