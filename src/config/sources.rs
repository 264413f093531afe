//! What a value may refer to: `${NAME}` is an environment variable, `${file:PATH}` the content of a
//! file without its last line end; `$${` stands for `${`.

use std::{fmt, io, io::Read, path::Path};

/// Where referred values come from.
pub struct Sources<'a> {
    /// The value of an environment variable, if it is set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a file, bounded.
    pub file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Sources<'static> {
    /// The environment of this process, and its files.
    pub fn process() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            file: &read_bounded,
        }
    }
}

/// The longest file that is read, in bytes; a configuration has kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file that the operator named; what is no file of ours does not go through the host.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

impl Sources<'_> {
    /// Replaces what `text` refers to; the error is a reason.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                expanded.push_str(&rest[..at]);
                expanded.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let (reference, after) = rest[at + 2..]
                .split_once('}')
                .ok_or("`${` without `}`; write `$${` for the characters themselves")?;
            expanded.push_str(&self.resolve(reference)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn resolve(&self, reference: &str) -> Result<String, String> {
        if let Some(path) = reference.strip_prefix("file:") {
            let mut content = (self.file)(Path::new(path))
                .map_err(|error| format!("cannot read the file of `${{{reference}}}`: {error}"))?;
            if content.ends_with('\n') {
                content.pop();
                if content.ends_with('\r') {
                    content.pop();
                }
            }
            return Ok(content);
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if reference.is_empty() || !reference.chars().all(legal) {
            return Err(format!(
                "`${{{reference}}}` is neither `${{NAME}}` nor `${{file:PATH}}`; \
                 write `$${{` for the characters themselves"
            ));
        }
        (self.variable)(reference)
            .ok_or_else(|| format!("the environment variable {reference} is not set"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        Sources {
            variable: &|name| (name == "USER_1").then(|| "ann ${X}".to_owned()),
            file: &|path| match path.to_str() {
                Some("/secret") => Ok("line\n\n".to_owned()),
                Some("/dos") => Ok("line\r\n".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        }
        .expand(text)
    }

    #[test]
    fn references_are_replaced_once() {
        assert_eq!(expand("a ${USER_1}-$b").unwrap(), "a ann ${X}-$b");
        assert_eq!(expand("${file:/secret}|").unwrap(), "line\n|");
        assert_eq!(expand("${file:/dos}").unwrap(), "line");
        assert_eq!(expand("$${USER_1} $$ $").unwrap(), "${USER_1} $$ $");
        assert_eq!(expand("$${${USER_1}").unwrap(), "${ann ${X}");
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        for (text, reason) in [
            ("${NOT_SET}", "NOT_SET is not set"),
            ("${file:/none}", "`${file:/none}`"),
            ("${USER_1", "without `}`"),
            ("${}", "neither"),
            ("${a b}", "neither"),
        ] {
            let error = expand(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let longest = usize::try_from(MAX_FILE).unwrap();
        std::fs::write(&path, "x".repeat(longest)).unwrap();
        assert!(read_bounded(&path).is_ok());
        std::fs::write(&path, "x".repeat(longest + 1)).unwrap();
        assert!(read_bounded(&path).is_err());
    }
}
