//! From the page cache to the disk, outside of the partition's lock.

use std::{io, sync::Arc};

use tokio::task::JoinHandle;

use super::{DueSnapshot, Partition, State};
use crate::state::producers::snapshot;

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
    pub(super) fn make_durable(&self) -> io::Result<()> {
        let _syncing = self.syncing();
        let mut state = self.state();
        // Whoever held the lock before may have done it.
        if state.is_removed || !state.has_work() {
            return Ok(());
        }
        let unsynced = state.log.take_unsynced();
        let due = state.due_snapshot.take();
        drop(state);
        self.sync_then(&unsynced, due)
    }

    /// Makes everything durable and notes how far: the next open has nothing to read again.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let _syncing = self.syncing();
        let mut state = self.state();
        if state.is_removed || state.is_broken || state.snapshot_offset == state.log.end() {
            return Ok(());
        }
        let unsynced = state.log.take_all()?;
        let offset = unsynced.end;
        let bytes = snapshot::encode(&state.producers, offset);
        state.due_snapshot = None;
        drop(state);
        self.sync_then(&unsynced, Some(DueSnapshot { offset, bytes }))
    }

    fn sync_then(
        &self,
        unsynced: &crate::log::Unsynced,
        due: Option<DueSnapshot>,
    ) -> io::Result<()> {
        if let Err(error) = unsynced.sync() {
            // After a failed sync the system may have dropped what it could not write.
            self.state().is_broken = true;
            return Err(error);
        }
        let offset = due.as_ref().map(|due| due.offset);
        let written = due.map_or(Ok(()), |due| {
            snapshot::write(&*self.host.files, &self.folder, &due.bytes)
        });
        let mut state = self.state();
        state.durable = state.durable.max(unsynced.end);
        if let (Ok(()), Some(offset)) = (&written, offset) {
            state.snapshot_offset = offset;
        }
        self.announce(&state);
        written
    }
}

impl State {
    /// Whether something is to be synced.
    fn has_work(&self) -> bool {
        self.due_snapshot.is_some() || (self.config.flush && self.durable < self.log.end())
    }
}
