//! The folders that hold partitions (`log.dirs`), and which of them have failed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::io::Errno;

/// One folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_offline: AtomicBool,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_offline: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It failed: until the next start its partitions take and give nothing.
    pub(crate) fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Relaxed)
    }

    /// Takes it offline if the disk fails (`LogDirFailureChannel`). One that is full may have room again.
    pub(crate) fn note(&self, error: &io::Error) {
        let number = error.raw_os_error().map(Errno::from_raw_os_error);
        let has_failed = matches!(
            number,
            Some(Errno::IO | Errno::ROFS | Errno::NXIO | Errno::NODEV)
        );
        if has_failed && !self.is_offline.swap(true, Ordering::Relaxed) {
            tracing::error!(folder = %self.path.display(), %error,
                "the disk fails: all partitions in the folder are offline until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_not_one_that_is_full() {
        let folder = Folder::new(Path::new("/data"));
        for number in [28, 122, 24] {
            folder.note(&io::Error::from_raw_os_error(number));
        }
        folder.note(&io::ErrorKind::InvalidData.into());
        assert!(!folder.is_offline());
        folder.note(&io::Error::from_raw_os_error(5));
        assert!(folder.is_offline());
    }
}
