//! Files of full segments that somebody reads or sends: each is open once, however many do.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use host::File;

/// By the first offset of the segment, for as long as they are in use.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<i64, Weak<dyn File>>>);

impl Shared {
    /// The file of the segment that begins at `base`, opened if nobody has it.
    pub(super) fn get(
        &self,
        base: i64,
        open: impl FnOnce() -> io::Result<Arc<dyn File>>,
    ) -> io::Result<Arc<dyn File>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&base).and_then(Weak::upgrade) {
            return Ok(file);
        }
        files.retain(|_, file| file.strong_count() > 0);
        let file = open()?;
        files.insert(base, Arc::downgrade(&file));
        Ok(file)
    }

    /// Another file took the segment's place.
    pub(super) fn forget(&self, base: i64) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(&base);
    }
}
