//! Files in memory that a crash cuts back to what was made durable.
//!
//! The model is the strict one: content is durable after `sync`, a name (new, renamed, removed)
//! after `sync_dir` of its folder. [`SimFiles::crash`] keeps only what is durable, so code that
//! forgets a sync fails its test; a real disk is kinder and keeps an arbitrary part of the rest.
//! Folders themselves are durable at once: no state of ours depends on an empty folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{File, Files, Lock};

/// Clones share one disk.
#[derive(Clone, Debug, Default)]
pub struct SimFiles(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Arc<SimFile>>,
    durable_names: BTreeMap<PathBuf, Arc<SimFile>>,
    locked: BTreeSet<PathBuf>,
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

#[derive(Debug, Default)]
struct SimFile(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable_bytes: Vec<u8>,
}

impl SimFiles {
    /// Power loss: everything that was not synced is gone. Open handles see the cut content too.
    pub fn crash(&self) {
        let mut disk = self.disk();
        disk.names = disk.durable_names.clone();
        for file in disk.names.values() {
            let mut content = file.content();
            content.bytes = content.durable_bytes.clone();
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        if !disk.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = Arc::clone(disk.names.entry(path.to_owned()).or_default());
        Ok(file)
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk();
        disk.names.contains_key(path) || disk.folders.contains(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk()
            .folders
            .extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if !disk.folders.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = disk
            .names
            .keys()
            .chain(&disk.folders)
            .filter(|p| p.parent() == Some(path));
        let names: BTreeSet<String> = inside
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let below = |p: &Path| p.strip_prefix(from).map(|rest| join(to, rest)).ok();
        let moved: Vec<_> = disk
            .names
            .keys()
            .filter_map(|p| Some((p.clone(), below(p)?)))
            .collect();
        let folders: Vec<_> = disk
            .folders
            .iter()
            .filter_map(|p| Some((p.clone(), below(p)?)))
            .collect();
        if moved.is_empty() && folders.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        for (old, new) in moved {
            if let Some(file) = disk.names.remove(&old) {
                disk.names.insert(new, file);
            }
        }
        for (old, new) in folders {
            disk.folders.remove(&old);
            disk.folders.insert(new);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk().names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.names.retain(|p, _| !p.starts_with(path));
        disk.folders.retain(|p| !p.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.durable_names.retain(|p, _| !p.starts_with(path));
        let inside: Vec<_> = disk
            .names
            .iter()
            .filter(|(p, _)| p.starts_with(path))
            .map(|(p, file)| (p.clone(), Arc::clone(file)))
            .collect();
        disk.durable_names.extend(inside);
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

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.bytes.len());
        let len = bytes.len().min(content.bytes.len() - start);
        bytes[..len].copy_from_slice(&content.bytes[start..start + len]);
        Ok(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content();
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = start + bytes.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content().bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge)?;
        self.content().bytes.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.content();
        content.durable_bytes = content.bytes.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::replace;

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
}
