//! The names of files, and which of them are durable.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::inode::Inode;

type Table = BTreeMap<PathBuf, Arc<Inode>>;

#[derive(Debug, Default)]
pub(super) struct Names {
    now: Table,
    durable: Table,
    /// What was done since the folders were synced, with the file that it was done to.
    unsynced: Vec<(Change, Arc<Inode>)>,
}

/// A change of one name.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Created(PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Arc<Inode>> {
        self.now.get(path).cloned()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.now.keys()
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = &Arc<Inode>> {
        self.now.values()
    }

    pub(super) fn create(&mut self, path: &Path) -> Arc<Inode> {
        let inode = Arc::<Inode>::default();
        let change = Change::Created(path.to_owned());
        change.apply(&mut self.now, &inode);
        self.unsynced.push((change, Arc::clone(&inode)));
        inode
    }

    /// Renames or removes a file that is there.
    pub(super) fn change(&mut self, change: Change) {
        if let Some(inode) = self.get(change.of()) {
            change.apply(&mut self.now, &inode);
            self.unsynced.push((change, inode));
        }
    }

    /// Makes the changes in `folder`, and below it, durable.
    pub(super) fn sync(&mut self, folder: &Path) {
        for (change, inode) in mem::take(&mut self.unsynced) {
            match change.is_in(folder) {
                true => change.apply(&mut self.durable, &inode),
                false => self.unsynced.push((change, inode)),
            }
        }
    }

    /// Back to what is durable, and of the changes since those that are kept.
    pub(super) fn crash(&mut self, keeps: &mut dyn FnMut() -> bool) {
        for (change, inode) in self.unsynced.drain(..) {
            if keeps() {
                change.apply(&mut self.durable, &inode);
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl Change {
    fn of(&self) -> &Path {
        let (Self::Created(of) | Self::Renamed(of, _) | Self::Removed(of)) = self;
        of
    }

    fn is_in(&self, folder: &Path) -> bool {
        let to = match self {
            Self::Renamed(_, to) => to,
            other => other.of(),
        };
        self.of().starts_with(folder) || to.starts_with(folder)
    }

    fn apply(&self, table: &mut Table, inode: &Arc<Inode>) {
        match self {
            Self::Created(path) => {
                table.insert(path.clone(), Arc::clone(inode));
            }
            Self::Renamed(from, to) => {
                // Another file may have got the old name by now, if changes are kept out of their order.
                if table.get(from).is_some_and(|now| Arc::ptr_eq(now, inode)) {
                    table.remove(from);
                }
                table.insert(to.clone(), Arc::clone(inode));
            }
            Self::Removed(path) => {
                if table.get(path).is_some_and(|now| Arc::ptr_eq(now, inode)) {
                    table.remove(path);
                }
            }
        }
    }
}
