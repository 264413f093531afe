//! Files in memory that a crash cuts back to what was made durable, and that fail when a test says so.
//!
//! The model is the strict one: content is durable after `sync`, a name (new, renamed, removed)
//! after `sync_dir` of its folder. [`SimFiles::crash`] keeps only what is durable, so code that
//! forgets a sync fails its test; a real disk is kinder and keeps an arbitrary part of the rest, as
//! [`SimFiles::crash_keeping`] does: writes torn between sectors, lengths without bytes, renames out of their order.
//! Folders themselves are durable at once: no state of ours depends on an empty folder.

mod faults;
mod inode;
mod names;

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::faults::{DISK_FAILS, Fault, NO_SPACE, Operation, OperationKind};
use self::{
    faults::Plan,
    inode::Inode,
    names::{Change, Names},
};
use crate::{File, Files, Lock, Random};

/// Clones share one disk.
#[derive(Clone, Debug, Default)]
pub struct SimFiles(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    folders: BTreeSet<PathBuf>,
    names: Names,
    locked: BTreeSet<PathBuf>,
    /// Changes so far.
    operations: u64,
    plan: Plan,
}

/// One path, taken.
#[derive(Debug)]
struct SimLock(SimFiles, PathBuf);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.disk().locked.remove(&self.1);
    }
}

/// An open file, by the path that it was opened by.
#[derive(Debug)]
struct Handle {
    files: SimFiles,
    path: PathBuf,
    inode: Arc<Inode>,
}

impl SimFiles {
    /// Power loss: everything that was not synced is gone. Open handles see the cut content too.
    pub fn crash(&self) {
        self.crash_by(&mut || false);
    }

    /// Power loss where an arbitrary part of what was not synced is kept, as `random` draws: names in any order,
    /// writes whole, any sectors of them, the length that they give a file without their bytes, or nothing.
    pub fn crash_keeping(&self, random: &dyn Random) {
        self.crash_by(&mut || random.number() & 1 == 1);
    }

    /// `keeps` is asked for each change in its order.
    fn crash_by(&self, keeps: &mut dyn FnMut() -> bool) {
        let mut disk = self.disk();
        disk.names.crash(keeps);
        for inode in disk.names.inodes() {
            inode.crash(keeps);
        }
    }

    /// How many operations changed the disk so far, or tried to.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// From now on `plan` says which operations fail; the plan before it is dropped.
    pub fn fail(&self, plan: impl Fn(&Operation<'_>) -> Option<Fault> + Send + Sync + 'static) {
        self.disk().plan = Plan::new(plan);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.disk().plan = Plan::default();
    }

    /// Begins an operation; what it may do.
    fn begin(&self, kind: OperationKind, path: &Path) -> Result<(), Fault> {
        let mut disk = self.disk();
        let operation = Operation {
            number: disk.operations,
            kind,
            path,
        };
        let fault = disk.plan.judge(&operation);
        if kind != OperationKind::Read {
            disk.operations += 1;
        }
        fault.map_or(Ok(()), Err)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        if !self.disk().folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let found = self.disk().names.get(path);
        let kind = match found {
            Some(_) => OperationKind::Read,
            None => OperationKind::Create,
        };
        self.begin(kind, path)?;
        let inode = found.unwrap_or_else(|| self.disk().names.create(path));
        Ok(Arc::new(Handle {
            files: self.clone(),
            path: path.to_owned(),
            inode,
        }))
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk();
        disk.names.get(path).is_some() || disk.folders.contains(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.disk().folders.contains(path) {
            return Ok(());
        }
        self.begin(OperationKind::Create, path)?;
        let folders = path.ancestors().map(Path::to_owned);
        self.disk().folders.extend(folders);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.begin(OperationKind::Read, path)?;
        let disk = self.disk();
        if !disk.folders.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let all = disk.names.paths().chain(&disk.folders);
        let inside = all.filter(|p| p.parent() == Some(path));
        let names: BTreeSet<String> = inside
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(OperationKind::Rename, from)?;
        let mut disk = self.disk();
        let below = |p: &PathBuf| {
            let rest = p.strip_prefix(from).ok()?;
            Some((p.clone(), join(to, rest)))
        };
        let moved: Vec<_> = disk.names.paths().filter_map(below).collect();
        let folders: Vec<_> = disk.folders.iter().filter_map(below).collect();
        if moved.is_empty() && folders.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        for (old, new) in moved {
            disk.names.change(Change::Renamed(old, new));
        }
        for (old, new) in folders {
            disk.folders.remove(&old);
            disk.folders.insert(new);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.disk().names.get(path).is_none() {
            return Ok(());
        }
        self.begin(OperationKind::Remove, path)?;
        let removed = Change::Removed(path.to_owned());
        self.disk().names.change(removed);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        // A crash, or a disk that fails, may leave any part of it.
        let inside: Vec<PathBuf> = {
            let disk = self.disk();
            let inside = disk.names.paths().filter(|p| p.starts_with(path));
            inside.cloned().collect()
        };
        inside.iter().try_for_each(|file| self.remove(file))?;
        if !self.disk().folders.contains(path) {
            return Ok(());
        }
        self.begin(OperationKind::Remove, path)?;
        self.disk().folders.retain(|p| !p.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.begin(OperationKind::SyncDir, path)?;
        self.disk().names.sync(path);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.open(path)?;
        let fresh = self.disk().locked.insert(path.to_owned());
        Ok(fresh.then(|| Box::new(SimLock(self.clone(), path.to_owned())) as Box<dyn Lock>))
    }
}

fn join(to: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        to.to_owned()
    } else {
        to.join(rest)
    }
}

impl Handle {
    fn begin(&self, kind: OperationKind) -> Result<(), Fault> {
        self.files.begin(kind, &self.path)
    }
}

impl File for Handle {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.begin(OperationKind::Read)?;
        Ok(self.inode.read_at(bytes, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.begin(OperationKind::Write) {
            Ok(()) => self.inode.write_at(bytes, offset),
            Err(fault) => {
                if let Fault::Torn(_) = fault {
                    self.inode.write_at(&bytes[..bytes.len() / 2], offset)?;
                }
                Err(fault.into())
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.begin(OperationKind::Read)?;
        Ok(self.inode.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.inode.len() == len {
            return Ok(());
        }
        self.begin(OperationKind::SetLen)?;
        self.inode.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.begin(OperationKind::Sync)?;
        self.inode.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::replace, sim::SeededRandom};

    #[test]
    fn a_crash_keeps_only_what_was_synced() {
        let files = SimFiles::default();
        let folder = Path::new("/data");
        files.create_dir_all(folder).unwrap();
        let kept = files.open(&folder.join("kept")).unwrap();
        kept.write_all_at(b"old", 0).unwrap();
        kept.sync().unwrap();
        files.sync_dir(folder).unwrap();
        kept.write_all_at(b"new", 0).unwrap();
        files
            .open(&folder.join("nameless"))
            .unwrap()
            .sync()
            .unwrap();
        files.crash();
        assert_eq!(files.list(folder).unwrap(), ["kept"]);
        assert_eq!(kept.read_exact_at(3, 0).unwrap(), b"old");
    }

    #[test]
    fn a_path_is_locked_once_until_the_lock_is_dropped() {
        let files = SimFiles::default();
        files.create_dir_all(Path::new("/data")).unwrap();
        let path = Path::new("/data/slot");
        let lock = files.lock(path).unwrap();
        assert!(lock.is_some() && files.lock(path).unwrap().is_none());
        drop(lock);
        assert!(files.lock(path).unwrap().is_some());
        assert!(files.lock(Path::new("/nowhere/slot")).is_err());
    }

    #[test]
    fn replace_survives_a_crash() {
        let files = SimFiles::default();
        files.create_dir_all(Path::new("/data")).unwrap();
        let path = Path::new("/data/state");
        replace(&files, path, b"first").unwrap();
        replace(&files, path, b"second, longer").unwrap();
        files.crash();
        let file = files.open(path).unwrap();
        assert_eq!(file.read_exact_at(14, 0).unwrap(), b"second, longer");
        assert_eq!(files.list(Path::new("/data")).unwrap(), ["state"]);
    }

    #[test]
    fn what_is_not_synced_may_be_kept_in_part() {
        let mut seen = BTreeSet::new();
        for seed in 0..400 {
            let files = SimFiles::default();
            let folder = Path::new("/data");
            files.create_dir_all(folder).unwrap();
            let file = files.open(&folder.join("a")).unwrap();
            file.write_all_at(b"durable", 0).unwrap();
            file.sync().unwrap();
            files.sync_dir(folder).unwrap();
            file.write_all_at(b"not", 7).unwrap();
            files.rename(&folder.join("a"), &folder.join("b")).unwrap();
            files.crash_keeping(&SeededRandom::new(seed));
            let names = files.list(folder).unwrap();
            assert_eq!(names.len(), 1, "a rename is done or not");
            let file = files.open(&folder.join(&names[0])).unwrap();
            let content = file.read_exact_at(usize::try_from(file.len().unwrap()).unwrap(), 0);
            let content = String::from_utf8(content.unwrap()).unwrap();
            seen.insert((names[0].clone(), content));
        }
        let contents = ["durable", "durable\0\0\0", "durablenot"];
        let all = ["a", "b"].map(|name| contents.map(|content| (name.into(), content.into())));
        assert_eq!(
            seen,
            all.into_iter().flatten().collect(),
            "all of the write, its length, or nothing of it"
        );
    }

    #[test]
    fn a_write_is_torn_between_sectors_only() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let files = SimFiles::default();
            files.create_dir_all(Path::new("/data")).unwrap();
            let path = Path::new("/data/a");
            let file = files.open(path).unwrap();
            file.write_all_at(&[1; 100], 0).unwrap();
            file.sync().unwrap();
            files.sync_dir(Path::new("/data")).unwrap();
            // The rest of one sector, a whole one, and the beginning of another one.
            file.write_all_at(&[2; 1_000], 100).unwrap();
            files.crash_keeping(&SeededRandom::new(seed));
            let length = usize::try_from(file.len().unwrap()).unwrap();
            let bytes = file.read_exact_at(length, 0).unwrap();
            assert_eq!(bytes[..100], [1; 100]);
            let mut kept = Vec::new();
            for sector in [100..512, 512..1_024, 1_024..1_100] {
                let Some(bytes) = bytes.get(sector) else {
                    kept.push('-');
                    continue;
                };
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
                kept.push(if bytes[0] == 2 { 'x' } else { '0' });
            }
            seen.insert(kept.into_iter().collect::<String>());
        }
        let all = "--- 000 00x 0x- 0x0 0xx x-- x00 x0x xx- xx0 xxx";
        let possible: BTreeSet<_> = all.split(' ').map(str::to_owned).collect();
        assert!(seen.is_subset(&possible), "{seen:?}");
        assert!(seen.len() > 9, "{seen:?}");
    }

    #[test]
    fn operations_fail_as_planned() {
        let files = SimFiles::default();
        files.create_dir_all(Path::new("/data")).unwrap();
        let path = Path::new("/data/a");
        let file = files.open(path).unwrap();
        files.fail(|one| (one.kind == OperationKind::Write).then_some(Fault::Torn(NO_SPACE)));
        let error = file.write_all_at(b"abcd", 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.read_exact_at(2, 0).unwrap(), b"ab");
        assert_eq!(file.len().unwrap(), 2);
        let next = files.operations();
        files.fail(move |one| (one.number > next).then_some(Fault::Fails(DISK_FAILS)));
        file.sync().unwrap();
        assert!(file.sync().is_err() && files.remove(path).is_err());
        files.heal();
        file.sync().unwrap();
    }
}
