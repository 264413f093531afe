//! A file that holds one offset, as text.

use std::{io, path::Path};

use host::Files;

/// Longest number, with a line's end.
const MAX_LEN: u64 = 21;

/// The offset in the file at `path`; none if there is no file.
pub(crate) fn read(files: &dyn Files, path: &Path) -> io::Result<Option<i64>> {
    if !files.exists(path) {
        return Ok(None);
    }
    let file = files.open(path)?;
    let length = usize::try_from(file.len()?.min(MAX_LEN)).unwrap_or(0);
    let text = String::from_utf8_lossy(&file.read_exact_at(length, 0)?).into_owned();
    let offset = text.trim().parse().ok().filter(|offset| *offset >= 0);
    offset.map(Some).ok_or_else(|| {
        let text = format!("{}: {text:?} is not an offset", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Replaces the file at `path`, durably.
pub(crate) fn write(files: &dyn Files, path: &Path, offset: i64) -> io::Result<()> {
    host::files::replace(files, path, offset.to_string().as_bytes())
}
