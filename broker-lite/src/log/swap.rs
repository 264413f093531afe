//! Putting a cleaned segment in the place of others, whatever ends the process in between.
//!
//! As in Kafka (`LocalLog.replaceSegments`, `LogLoader`), its files are written with the suffix `.cleaned`, made
//! durable, and renamed to `.swap`, the log last: from then on it counts, and the old segments do not. A cleaned segment
//! ends where the last of them ended, so its log alone tells which ones these are. What a crash leaves is completed, or
//! dropped if it had not come so far.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use host::{File, Files};

use super::{
    Log,
    cleaner::Cleaned,
    reader::{PIECE, header_at},
    segment::{self, Active, KINDS, path},
};

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";

/// Kinds of files but the log, which counts for all.
const INDEXES: [&str; 3] = ["index", "timeindex", "txnindex"];

/// An empty segment beside those that it will replace.
pub(super) fn create(files: &Arc<dyn Files>, folder: &Path, base: i64) -> io::Result<Active> {
    discard(&**files, folder, base)?;
    Active::open_as(files, folder, base, CLEANED)
}

/// From here on `cleaned` counts.
pub(super) fn commit(files: &dyn Files, folder: &Path, cleaned: &mut Active) -> io::Result<()> {
    cleaned.complete()?;
    let base = cleaned.reader().base;
    // Also one without entries: it replaces another.
    files.open(&named(folder, base, "txnindex", CLEANED))?;
    cleaned
        .all_files()?
        .iter()
        .try_for_each(|file| file.sync())?;
    for kind in INDEXES {
        let cleaned = named(folder, base, kind, CLEANED);
        files.rename(&cleaned, &named(folder, base, kind, SWAP))?;
    }
    files.sync_dir(folder)?;
    let cleaned = named(folder, base, "log", CLEANED);
    files.rename(&cleaned, &named(folder, base, "log", SWAP))?;
    files.sync_dir(folder)
}

/// Drops what was written of a cleaned segment. If it counts already, the next open completes it unless it is dropped
/// here first.
pub(super) fn discard(files: &dyn Files, folder: &Path, base: i64) -> io::Result<()> {
    // The log first: indexes alone mean nothing.
    for (kind, suffix) in KINDS
        .iter()
        .flat_map(|kind| [(kind, SWAP), (kind, CLEANED)])
    {
        files.remove(&named(folder, base, kind, suffix))?;
    }
    Ok(())
}

/// Puts a cleaned segment that counts in its place. Done twice it is the same.
fn complete(files: &dyn Files, folder: &Path, base: i64, others: &[i64]) -> io::Result<()> {
    for other in others {
        segment::remove(files, folder, *other)?;
    }
    for kind in INDEXES {
        let swap = named(folder, base, kind, SWAP);
        if files.exists(&swap) {
            files.rename(&swap, &path(folder, base, kind))?;
        }
    }
    // Without its log nothing would tell any more that the others are to go.
    files.sync_dir(folder)?;
    files.rename(
        &named(folder, base, "log", SWAP),
        &path(folder, base, "log"),
    )
}

/// Completes or drops what a crash left in the folder of a log. The names that are there then.
pub(super) fn recover(files: &dyn Files, folder: &Path) -> io::Result<Vec<String>> {
    let names = files.list(folder)?;
    let is_left = |name: &&String| name.ends_with(SWAP) || name.ends_with(CLEANED);
    if !names.iter().any(|name| is_left(&name)) {
        return Ok(names);
    }
    let bases: Vec<i64> = names
        .iter()
        .filter_map(|name| segment::base_of(name))
        .collect();
    for name in &names {
        let Some(base) = name.strip_suffix(SWAP).and_then(segment::base_of) else {
            continue;
        };
        let Some(next) = end(files, folder, base)? else {
            continue;
        };
        tracing::info!(folder = %folder.display(), base_offset = base, next_offset = next,
            "complete what a compaction began");
        let others = bases
            .iter()
            .copied()
            .filter(|other| base < *other && *other < next);
        complete(files, folder, base, &others.collect::<Vec<_>>())?;
    }
    let left = files.list(folder)?;
    let mut left = left.iter().filter(is_left);
    left.try_for_each(|name| files.remove(&folder.join(name)))?;
    files.list(folder)
}

/// Cuts a log off at byte `len`, in a file of its own: whoever reads the old one, or sends it, finds in it what was there.
pub(super) fn cut(
    files: &dyn Files,
    folder: &Path,
    base: i64,
    log: &dyn File,
    len: u64,
) -> io::Result<()> {
    let kept_name = named(folder, base, "log", CLEANED);
    files.remove(&kept_name)?;
    let kept = files.open(&kept_name)?;
    let mut at = 0;
    while at < len {
        let piece = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
        kept.write_all_at(&log.read_exact_at(piece, at)?, at)?;
        at += piece as u64;
    }
    kept.sync()?;
    files.rename(&kept_name, &path(folder, base, "log"))?;
    files.sync_dir(folder)
}

/// Where a segment that counts ends; none if nothing whole is in it.
fn end(files: &dyn Files, folder: &Path, base: i64) -> io::Result<Option<i64>> {
    let log = files.open(&named(folder, base, "log", SWAP))?;
    let (mut at, len, mut next) = (0, log.len()?, None);
    while let Some(header) = header_at(&*log, at, len)? {
        at += header.size() as u64;
        next = Some(header.next_offset());
    }
    Ok(next)
}

fn named(folder: &Path, base: i64, kind: &str, suffix: &str) -> PathBuf {
    path(folder, base, &format!("{kind}{suffix}"))
}

impl Log {
    /// Puts a cleaned segment in the place of those it was made of; none if they are not all there any more. After an
    /// error the log has to be opened again, which completes it.
    ///
    /// The files that go are returned, still open: to drop them frees their space, which takes time.
    pub(crate) fn replace(&mut self, cleaned: &Cleaned) -> io::Result<Option<Vec<Arc<dyn File>>>> {
        let Some((first, others)) = cleaned.of.split_first() else {
            return Ok(None);
        };
        let at = self.sealed.partition_point(|one| one.base < *first);
        let there = self.sealed[at..].iter().map(|one| one.base);
        if !there.take(cleaned.of.len()).eq(cleaned.of.iter().copied()) {
            return Ok(None);
        }
        let open = |base: &i64| self.files.open(&path(&self.folder, *base, "log"));
        let gone: io::Result<Vec<_>> = cleaned.of.iter().map(open).collect();
        let gone = gone?;
        complete(&*self.files, &self.folder, *first, others)?;
        self.sealed
            .splice(at..at + cleaned.of.len(), [cleaned.segment]);
        self.shared.forget(*first);
        self.changed += 1;
        Ok(Some(gone))
    }
}
