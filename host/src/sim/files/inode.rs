//! The content of a file, and what of it is durable.

use std::{
    io::{self, ErrorKind},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A disk writes so many bytes, on a boundary of as many, or none of them.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Inode(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Written(usize, Vec<u8>),
    SetLen(usize),
}

impl Inode {
    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> usize {
        let content = self.content();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let start = start.min(content.bytes.len());
        let len = bytes.len().min(content.bytes.len() - start);
        bytes[..len].copy_from_slice(&content.bytes[start..start + len]);
        len
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        self.change(Change::Written(start, bytes.to_vec()));
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge)?;
        self.change(Change::SetLen(len));
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.content().bytes.len() as u64
    }

    pub(super) fn sync(&self) {
        let content = &mut *self.content();
        content.durable.clone_from(&content.bytes);
        content.unsynced.clear();
    }

    /// Back to what is durable, and of the changes since those, or those sectors of them, that are kept.
    pub(super) fn crash(&self, keeps: &mut dyn FnMut() -> bool) {
        let content = &mut *self.content();
        for change in content.unsynced.drain(..) {
            if !keeps() {
                continue;
            }
            match change {
                Change::Written(at, bytes) if keeps() => {
                    torn(&mut content.durable, at, &bytes, keeps);
                }
                change => change.apply(&mut content.durable),
            }
        }
        content.bytes.clone_from(&content.durable);
    }

    fn change(&self, change: Change) {
        let content = &mut *self.content();
        change.apply(&mut content.bytes);
        content.unsynced.push(change);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write of which a part reached the disk: any of its sectors, and maybe the new length without its bytes.
fn torn(content: &mut Vec<u8>, at: usize, bytes: &[u8], keeps: &mut dyn FnMut() -> bool) {
    let end = at + bytes.len();
    if keeps() && content.len() < end {
        content.resize(end, 0);
    }
    let mut from = at;
    while from < end {
        let to = (from - from % SECTOR + SECTOR).min(end);
        if keeps() {
            Change::Written(from, bytes[from - at..to - at].to_vec()).apply(content);
        }
        from = to;
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Written(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}
