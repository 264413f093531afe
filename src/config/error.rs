//! Why a configuration was refused.

use std::{fmt, path::PathBuf};

/// A configuration that cannot be used: where, and what to do about it. Never shows a value that
/// may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    place: Place,
    reason: String,
}

impl ConfigError {
    /// About the file as a whole.
    pub(super) fn whole(reason: impl Into<String>) -> Self {
        Self::at(&Place::default(), reason)
    }

    /// About one key.
    pub(super) fn at(place: &Place, reason: impl Into<String>) -> Self {
        Self {
            file: PathBuf::new(),
            place: place.clone(),
            reason: reason.into(),
        }
    }

    /// Names the file that was read.
    pub(super) fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = file.into();
        self
    }

    /// The key and what is wrong with it.
    pub(super) fn without_file(&self) -> String {
        match self.place.key.as_str() {
            "" => self.reason.clone(),
            key => format!("{key}: {}", self.reason),
        }
    }

    /// Line of the file, from 1; 0: the file as a whole.
    pub fn line(&self) -> usize {
        self.place.line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.place.line > 0 {
            write!(f, ":{}", self.place.line)?;
        }
        if !self.place.key.is_empty() {
            write!(f, ": {}", self.place.key)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Where in the file something is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1; 0: nowhere in particular.
    pub(super) line: usize,
    /// Path of the key, for example `flows[0].source`.
    pub(super) key: String,
}

/// The end of a message: the known name that is nearest to `name`, if one is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.75 => format!("; did you mean \"{known}\"?"),
        _ => String::new(),
    }
}
