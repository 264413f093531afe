//! From the page cache to the disk, outside of the partition's lock.

use std::{io, sync::Arc};

use tokio::task::JoinHandle;

use super::{DueSnapshot, Partition, State};
use crate::{log::Unsynced, state::producers::snapshot};

/// After so many bytes a snapshot is due in the middle of a segment too: a crash leaves no more to be read again.
const REMEMBER: u64 = 64 << 20;

impl Partition {
    /// Starts what is left to do after appends, beside the caller. Where appends are synced it is
    /// returned, to be awaited before the answer: then all that was appended before is durable. Otherwise
    /// a segment that is complete is made durable in the background.
    pub(crate) fn settle(self: &Arc<Self>) -> Option<JoinHandle<io::Result<()>>> {
        let is_awaited = {
            let state = self.state();
            state.has_work().then_some(state.config.flush)?
        };
        let partition = Arc::clone(self);
        let work = self.host.files.spawn(Box::new(move || {
            partition.make_durable().inspect_err(|error| {
                partition.log_error(error);
            })
        }));
        is_awaited.then_some(work)
    }

    /// Makes what was appended durable where that is wanted, and writes the snapshot that is due. Blocks.
    pub(in crate::state) fn make_durable(&self) -> io::Result<()> {
        let _syncing = self.syncing();
        let mut state = self.state();
        // Whoever held the lock before may have done it.
        if state.is_removed || !state.has_work() {
            return Ok(());
        }
        let is_far = state.is_far();
        let unsynced = match is_far {
            true => state.log.take_all()?,
            false => state.log.take_unsynced(),
        };
        if is_far {
            state.remember_all();
        }
        let due = state.due_snapshot.take();
        drop(state);
        self.sync_files(&unsynced)?;
        if let Some(Err(error)) = due.map(|due| self.remember(due)) {
            // What was appended is durable. The next open reads more of it; the next sync tries again.
            self.log_error(&error);
        }
        Ok(())
    }

    /// Makes everything durable and notes how far: the next open has nothing to read again.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let _syncing = self.syncing();
        let mut state = self.state();
        if state.is_removed || state.is_broken || state.snapshot_offset == state.log.end() {
            return Ok(());
        }
        let unsynced = state.log.take_all()?;
        state.remember_all();
        let due = state.due_snapshot.take();
        drop(state);
        self.sync_files(&unsynced)?;
        due.map_or(Ok(()), |due| self.remember(due))
    }

    fn sync_files(&self, unsynced: &Unsynced) -> io::Result<()> {
        if let Err(error) = unsynced.sync() {
            // After a failed sync the system may have dropped what it could not write.
            self.state().is_broken = true;
            return Err(error);
        }
        let mut state = self.state();
        state.durable = state.durable.max(unsynced.end);
        self.announce(&state);
        Ok(())
    }

    /// Writes a snapshot of what is durable. One that cannot be written stays due.
    fn remember(&self, due: DueSnapshot) -> io::Result<()> {
        let written = snapshot::write(&*self.host.files, &self.folder, &due.bytes);
        let mut state = self.state();
        match written {
            Ok(()) => state.snapshot_offset = due.offset,
            Err(_) => drop(state.due_snapshot.get_or_insert(due)),
        }
        written
    }
}

impl State {
    /// Whether something is to be synced.
    fn has_work(&self) -> bool {
        let is_due = self.due_snapshot.is_some() || self.is_far();
        is_due || (self.config.flush && self.durable < self.log.end())
    }

    /// Whether much would have to be read again.
    fn is_far(&self) -> bool {
        self.unremembered > REMEMBER
    }

    /// With what is remembered now, nothing need be read again.
    pub(super) fn remember_all(&mut self) {
        let offset = self.log.end();
        let bytes = snapshot::encode(&self.producers, offset);
        self.due_snapshot = Some(DueSnapshot { offset, bytes });
        self.unremembered = 0;
    }
}
