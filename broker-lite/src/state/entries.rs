//! A journal of typed entries, as JSON, that is rewritten when it is mostly history.

use std::{io, marker::PhantomData, path::Path};

use host::Host;
use serde::{Serialize, de::DeserializeOwned};

use super::journal::Journal;

/// A journal shorter than this is left as it is, in bytes.
const SMALL: u64 = 1 << 20;

/// Entries of type `E`.
#[derive(Debug)]
pub(crate) struct Entries<E> {
    journal: Journal,
    /// The length at which the journal is rewritten next.
    rewrite_at: u64,
    /// Sync after each entry.
    flush: bool,
    kind: PhantomData<fn(E)>,
}

impl<E: Serialize + DeserializeOwned> Entries<E> {
    /// Opens the journal at `path` and hands over what is in it, oldest first.
    pub(crate) fn open(host: &Host, path: &Path, mut each: impl FnMut(E)) -> io::Result<Self> {
        let journal = Journal::open(host, path, |bytes| {
            let entry = serde_json::from_slice(bytes).map_err(|error| {
                let text = format!(
                    "{}: an entry that this version cannot read: {error}",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            each(entry);
            Ok(())
        })?;
        Ok(Self {
            journal,
            rewrite_at: SMALL,
            flush: false,
            kind: PhantomData,
        })
    }

    /// With `flush` every entry survives the machine when it is added.
    pub(crate) fn flushing(self, flush: bool) -> Self {
        Self { flush, ..self }
    }

    /// Adds an entry; it survives the process when this returns.
    pub(crate) fn append(&mut self, entry: &E) -> io::Result<()> {
        let bytes = serde_json::to_vec(entry)?;
        self.journal.append(&bytes, self.flush)
    }

    /// Makes what was added survive the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.journal.sync()
    }

    /// Replaces the journal by `snapshot`, which says the same in fewer entries, if it has grown to
    /// four times what it was after the last time.
    pub(crate) fn compact_if_large(&mut self, snapshot: impl FnOnce() -> Vec<E>) -> io::Result<()> {
        if self.journal.len() < self.rewrite_at {
            return Ok(());
        }
        // Also if it fails: another try at every entry would not help.
        self.rewrite_at = self.journal.len().saturating_mul(2);
        let entries: Result<Vec<_>, _> = snapshot().iter().map(serde_json::to_vec).collect();
        self.journal.rewrite(&entries?)?;
        self.rewrite_at = self.journal.len().saturating_mul(4).max(SMALL);
        Ok(())
    }
}
