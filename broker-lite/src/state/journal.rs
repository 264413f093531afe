//! An append-only file of entries that survives crashes.
//!
//! An entry is: length u32, CRC-32C of the bytes u32, format version u8 (1), bytes; big-endian. The
//! file is read to the first entry that is not whole; the rest is a torn write and cut off. A rewrite
//! makes a new file and renames it, so a crash leaves the old journal or the new.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use host::{File, Host, files};

const VERSION: u8 = 1;
const HEADER: usize = 9;
/// Longest entry: an entry is one change of one thing.
const MAX_ENTRY: usize = 64 << 20;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    host: Host,
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    /// Behind the last entry stands one that was refused, or a part of it.
    is_torn: bool,
}

impl Journal {
    /// Opens the journal at `path`, made if it is not there, and hands over its entries in order.
    pub(crate) fn open(
        host: &Host,
        path: &Path,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let file = host.files.open(path)?;
        let end = file.len()?;
        let mut len = 0;
        while let Some(entry) = read_entry(&*file, len, end)? {
            each(&entry)?;
            len += (HEADER + entry.len()) as u64;
        }
        if len < end {
            tracing::warn!(file = %path.display(), position = len, "cut off a torn entry");
            file.set_len(len)?;
        }
        Ok(Self {
            host: host.clone(),
            path: path.to_owned(),
            file,
            len,
            is_torn: false,
        })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds an entry; it survives the process when this returns, and the machine too if it `flushes`. After an error it
    /// is not there.
    pub(crate) fn append(&mut self, bytes: &[u8], flushes: bool) -> io::Result<()> {
        self.mend()?;
        let (entry, before) = (encode(bytes)?, self.len);
        let written = self.file.write_all_at(&entry, before);
        self.len += entry.len() as u64;
        let written = written.and_then(|()| if flushes { self.sync() } else { Ok(()) });
        if written.is_err() {
            (self.len, self.is_torn) = (before, true);
            // If that fails too, the next append tries again first.
            let _mended = self.mend();
        }
        written
    }

    /// What was refused must not be found at the next open.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Makes what was added survive the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        match self.path.parent() {
            Some(folder) => self.host.files.sync_dir(folder),
            None => Ok(()),
        }
    }

    /// Replaces everything by `entries`.
    pub(crate) fn rewrite(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in entries {
            all.extend_from_slice(&encode(entry)?);
        }
        files::replace(&*self.host.files, &self.path, &all)?;
        self.file = self.host.files.open(&self.path)?;
        (self.len, self.is_torn) = (all.len() as u64, false);
        Ok(())
    }
}

fn encode(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.len() > MAX_ENTRY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the entry is too long",
        ));
    }
    let mut entry = (bytes.len() as u32).to_be_bytes().to_vec();
    entry.extend_from_slice(&crc32c::crc32c(bytes).to_be_bytes());
    entry.push(VERSION);
    entry.extend_from_slice(bytes);
    Ok(entry)
}

/// The entry at `position`; none if what stands there is not a whole one.
fn read_entry(file: &dyn File, position: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let rest = end - position;
    if rest < HEADER as u64 {
        return Ok(None);
    }
    let header = file.read_exact_at(HEADER, position)?;
    let (Some(length), Some(crc)) = (header.first_chunk(), header[4..].first_chunk()) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_ENTRY || (HEADER + length) as u64 > rest || header[8] != VERSION {
        return Ok(None);
    }
    let bytes = file.read_exact_at(length, position + HEADER as u64)?;
    Ok((crc32c::crc32c(&bytes) == u32::from_be_bytes(*crc)).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use host::sim::{Fault, NO_SPACE, OperationKind, SimFiles};

    use super::*;

    fn host(files: &SimFiles) -> Host {
        Host {
            files: Arc::new(files.clone()),
            ..Host::real()
        }
    }

    fn entries(host: &Host) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        Journal::open(host, Path::new("/d/journal"), |entry| {
            all.push(entry.to_vec());
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn entries_come_back_and_a_torn_one_is_cut_off_wherever_it_tears() {
        let files = SimFiles::default();
        let host = host(&files);
        host.files.create_dir_all(Path::new("/d")).unwrap();
        let mut journal = Journal::open(&host, Path::new("/d/journal"), |_| Ok(())).unwrap();
        journal.append(b"one", false).unwrap();
        journal.append(b"", false).unwrap();
        let whole = journal.len();
        journal.append(b"torn", false).unwrap();
        for end in whole..journal.len() {
            let file = host.files.open(Path::new("/d/journal")).unwrap();
            let bytes = file
                .read_exact_at(usize::try_from(end).unwrap(), 0)
                .unwrap();
            file.set_len(0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            assert_eq!(
                entries(&host),
                [b"one".to_vec(), Vec::new()],
                "cut at {end}"
            );
            journal.len = whole;
            journal.append(b"torn", false).unwrap();
        }
    }

    #[test]
    fn what_was_refused_is_not_found_again() {
        for kind in [OperationKind::Write, OperationKind::Sync] {
            let files = SimFiles::default();
            let host = host(&files);
            host.files.create_dir_all(Path::new("/d")).unwrap();
            let mut journal = Journal::open(&host, Path::new("/d/journal"), |_| Ok(())).unwrap();
            journal.append(b"one", true).unwrap();
            // Nor can it be cut off at once.
            let fails = move |one| one == kind || one == OperationKind::SetLen;
            files.fail(move |one| fails(one.kind).then_some(Fault::Torn(NO_SPACE)));
            assert!(journal.append(b"refused", true).is_err());
            files.heal();
            assert!(journal.append(b"", true).is_ok());
            assert_eq!(entries(&host), [b"one".to_vec(), Vec::new()], "{kind:?}");
            let len = host.files.open(Path::new("/d/journal")).unwrap().len();
            assert_eq!(len.unwrap(), journal.len(), "{kind:?}");
        }
    }

    #[test]
    fn a_rewrite_leaves_the_old_journal_or_the_new() {
        let files = SimFiles::default();
        let host = host(&files);
        host.files.create_dir_all(Path::new("/d")).unwrap();
        let mut journal = Journal::open(&host, Path::new("/d/journal"), |_| Ok(())).unwrap();
        journal.append(b"old", false).unwrap();
        journal.sync().unwrap();
        journal.append(b"lost with the power", false).unwrap();
        files.crash();
        assert_eq!(entries(&host), [b"old".to_vec()]);
        let mut journal = Journal::open(&host, Path::new("/d/journal"), |_| Ok(())).unwrap();
        journal.rewrite(&[b"new".to_vec()]).unwrap();
        journal.append(b"more", false).unwrap();
        journal.sync().unwrap();
        files.crash();
        assert_eq!(entries(&host), [b"new".to_vec(), b"more".to_vec()]);
    }
}
