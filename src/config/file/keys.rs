//! Reading the keys of one table: which are known, what their values may be.

use super::tree::{Node, Text};
use crate::config::error::{ConfigError, Place, did_you_mean};

/// Makes the as-written form of one table: every key optional, `KEYS` lists them, and `read` refuses
/// all others. A key that is a word of Rust's is written `field "key"`.
macro_rules! as_written {
    ($(#[$meta:meta])* $name:ident { $($key:ident $($written:literal)?),* $(,)? }) => {
        $(#[$meta])*
        pub(in crate::config::file) struct $name {
            $($key: Option<$crate::config::file::tree::Node>,)*
        }

        impl $name {
            pub(in crate::config::file) const KEYS: &[&str] = &[
                $($crate::config::file::keys::key_name!($key $($written)?)),*
            ];

            fn read(
                table: $crate::config::file::tree::Table,
            ) -> Result<Self, $crate::config::error::ConfigError> {
                let mut file = Self { $($key: None,)* };
                for entry in table.entries {
                    match entry.name.as_str() {
                        $($crate::config::file::keys::key_name!($key $($written)?) => {
                            file.$key = Some(entry.node);
                        })*
                        name => return Err($crate::config::file::keys::unknown(
                            &entry.place, name, Self::KEYS,
                        )),
                    }
                }
                Ok(file)
            }
        }
    };
}
pub(super) use as_written;

macro_rules! key_name {
    ($key:ident) => {
        stringify!($key)
    };
    ($key:ident $written:literal) => {
        $written
    };
}
pub(super) use key_name;

/// A key that is not in `known`.
pub(super) fn unknown(place: &Place, name: &str, known: &[&str]) -> ConfigError {
    let hint = did_you_mean(name, known.iter().copied());
    ConfigError::at(place, format!("unknown key{hint}"))
}

/// The value of a key that must be there.
pub(super) fn required(node: Option<Node>, table: &Place, key: &str) -> Result<Node, ConfigError> {
    node.ok_or_else(|| ConfigError::at(table, format!("`{key}` is missing")))
}

/// A single value, or the default.
pub(super) fn parsed<T>(
    node: Option<Node>,
    default: T,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    match node {
        None => Ok(default),
        Some(node) => {
            let text = node.text()?;
            parse(&text.value).map_err(|reason| refused(&text, &reason))
        }
    }
}

/// One of several words.
pub(super) fn one_of<T: Clone>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let known: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("{} is wanted", known.join(" or "))
    })
}

/// A key of which only some words work in this version; the first is the default. The words in
/// `later` are known and refused with `why`.
pub(super) fn only(
    node: Option<Node>,
    works: &[&str],
    later: &[&str],
    why: &str,
) -> Result<(), ConfigError> {
    let Some(node) = node else { return Ok(()) };
    let text = node.text()?;
    if works.contains(&text.value.as_str()) {
        return Ok(());
    }
    let works = works.join("\" or \"");
    let reason = if later.contains(&text.value.as_str()) {
        format!("not available in this version{why}; \"{works}\" is")
    } else {
        let known = later.join("\", \"");
        format!("\"{works}\" is wanted (\"{known}\": not available in this version)")
    };
    Err(refused(&text, &reason))
}

/// Refuses a value, quoting it as it is written in the file.
pub(super) fn refused(text: &Text, reason: &str) -> ConfigError {
    ConfigError::at(&text.place, format!("\"{}\": {reason}", text.written))
}
