//! Files, by position, and the few steps that make a change durable.
//!
//! The calls block. They are meant for short appends to the page cache and for state files; a
//! caller that syncs on a busy runtime gives the work to [`Files::spawn`].

use std::{
    fmt::Debug,
    fs::{self, TryLockError},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::Path,
    sync::Arc,
    time::UNIX_EPOCH,
};

use tokio::task::JoinHandle;

/// What is done apart from those who wait for it.
pub type Work = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A tree of files.
pub trait Files: Send + Sync + Debug {
    /// Opens `path` for reading and writing; made empty first if it does not exist.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> bool;
    /// Makes a folder and its parents; fine if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names inside a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Renames a file or folder; replaces a file that is there. Durable after [`Files::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; fine if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it; fine if there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names inside a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Begins `work`, which calls these files and may block for long, where it holds nobody up: on a thread for
    /// such work. A simulated disk has its own way: threads would not repeat.
    fn spawn(&self, work: Work) -> JoinHandle<io::Result<()>> {
        tokio::task::spawn_blocking(work)
    }
    /// How large the disk is that holds `path`; `Unsupported` where nobody knows.
    fn space(&self, _path: &Path) -> io::Result<Space> {
        Err(ErrorKind::Unsupported.into())
    }
    /// Takes the file at `path`, made if it does not exist, for this process alone; none if another one
    /// has it. Ends when the lock is dropped or the process dies, however it dies.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let what = format!("no locks here: {}", path.display());
        Err(io::Error::new(ErrorKind::Unsupported, what))
    }
}

/// The size of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What may still be written.
    pub usable: u64,
}

/// A file that is locked until this is dropped.
pub trait Lock: Send + Sync + Debug {}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Reads at `offset`; fewer bytes than asked for at the end, 0 past it.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`; grows the file as needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// When it was last written, milliseconds since 1970; `Unsupported` where nobody knows.
    fn modified_ms(&self) -> io::Result<i64> {
        Err(ErrorKind::Unsupported.into())
    }
    /// What the kernel knows it by, if it does.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reads exactly `len` bytes at `offset`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(bytes)
    }
}

/// Replaces the file at `path` by `bytes` so that a crash leaves the old content or the new, never a
/// mixture: temporary file, sync, rename, sync of the folder.
pub fn replace(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    let temporary = folder.join(name);
    let file = files.open(&temporary)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    files.rename(&temporary, path)?;
    files.sync_dir(folder)
}

/// The machine's disk.
#[derive(Debug)]
pub struct Disk;

impl Files for Disk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // Names that are not UTF-8 were not made by us; leave them alone.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        ignore_missing(fs::remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        ignore_missing(fs::remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let disk = rustix::fs::statvfs(path)?;
        Ok(Space {
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            usable: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Lock for fs::File {}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl File for fs::File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn modified_ms(&self) -> io::Result<i64> {
        let modified = self.metadata()?.modified()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}
