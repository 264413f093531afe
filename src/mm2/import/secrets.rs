//! Values for the TOML: what Kafka's config providers refer to, and what no file should hold.
//!
//! Kafka replaces `${PROVIDER:PATH:KEY}` (`ConfigTransformer`), strait `${NAME}` and `${file:PATH}`. What strait can read
//! where Kafka did is referred to there; everything else becomes a variable to set.

use std::{collections::BTreeMap, io, path::Path};

use super::report::Fill;
use crate::config::Sources;

/// A certificate and its key, of nobody: what is put for PEM text when the TOML is tried.
const STAND_IN: &str = include_str!("stand_in.pem");

/// Variables that were made, and what to put for all that the TOML refers to when it is tried.
pub(super) struct Secrets<'a> {
    providers: &'a BTreeMap<String, String>,
    fill: BTreeMap<String, Fill>,
    /// By name of a variable or path of a file.
    samples: BTreeMap<String, String>,
}

/// What a value is for.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    /// Of the cluster.
    pub(super) alias: &'a str,
    /// Names the variable, if one is made.
    pub(super) property: &'a str,
    /// For people.
    pub(super) what: &'a str,
    /// A value that would do.
    pub(super) sample: &'a str,
}

impl<'a> Slot<'a> {
    pub(super) fn new(alias: &'a str, property: &'a str, what: &'a str) -> Self {
        let is_pem = matches!(
            property,
            "ssl.keystore.key" | "ssl.keystore.certificate.chain" | "ssl.truststore.certificates"
        );
        let sample = if is_pem { STAND_IN } else { "1" };
        Self {
            alias,
            property,
            what,
            sample,
        }
    }

    /// `EAST_SASL_PASSWORD`.
    fn variable(&self) -> String {
        let text = format!("{}_{}", self.alias, self.property).to_uppercase();
        let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        text.chars().map(legal).collect()
    }
}

/// One `${PROVIDER:PATH:KEY}`.
struct Reference<'a> {
    provider: &'a str,
    path: &'a str,
    key: &'a str,
}

impl<'a> Secrets<'a> {
    /// `providers`: the class of each that the input names.
    pub(super) fn new(providers: &'a BTreeMap<String, String>) -> Self {
        Self {
            providers,
            fill: BTreeMap::new(),
            samples: BTreeMap::new(),
        }
    }

    /// The variables to set.
    pub(super) fn fill(&self) -> Vec<Fill> {
        self.fill.values().cloned().collect()
    }

    /// Calls `f` with values for all that the TOML refers to.
    pub(super) fn filled<T>(&self, f: impl FnOnce(&Sources<'_>) -> T) -> T {
        f(&Sources {
            variable: &|name| self.samples.get(name).cloned(),
            file: &|path: &Path| {
                let path = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                let sample = self.samples.get(path).map(String::as_str);
                Ok(sample.unwrap_or(STAND_IN).to_owned())
            },
        })
    }

    /// A value that is no secret, for the TOML. If it refers to what strait cannot read, it becomes a variable.
    pub(super) fn text(&mut self, value: &str, slot: Slot<'_>) -> String {
        let parts = parts(value);
        let written: Option<Vec<_>> = parts.iter().map(|part| self.written(part)).collect();
        // What stands for something else already cannot be this as well.
        let fits = |(_, place): &(String, Option<String>)| {
            let known = place.as_ref().and_then(|place| self.samples.get(place));
            known.is_none_or(|known| known == slot.sample)
        };
        let Some(written) = written.filter(|written| written.iter().all(fits)) else {
            let what = told(slot.what, &parts);
            return self.variable(Slot {
                what: &what,
                ..slot
            });
        };
        for place in written.iter().filter_map(|(_, place)| place.clone()) {
            self.samples.insert(place, slot.sample.to_owned());
        }
        written.into_iter().map(|(text, _)| text).collect()
    }

    /// A value that is a secret: if it is not referred to, or if strait cannot read what is referred to, it becomes a
    /// variable.
    pub(super) fn secret(&mut self, value: &str, slot: Slot<'_>) -> String {
        let parts = parts(value);
        if parts.iter().all(|part| matches!(part, Part::Reference(_))) {
            return self.text(value, slot);
        }
        self.variable(slot)
    }

    /// A variable to set; the reference to it.
    pub(super) fn variable(&mut self, slot: Slot<'_>) -> String {
        let what = format!("{} of {}", slot.what, slot.alias);
        let mut variable = slot.variable();
        // Aliases may differ in what variables cannot have, and others may have the name.
        let is_it = |fill: &Fill| fill.what == what;
        while self.samples.contains_key(&variable) && !self.fill.get(&variable).is_some_and(is_it) {
            variable.push_str("_2");
        }
        self.samples
            .insert(variable.clone(), slot.sample.to_owned());
        let fill = Fill {
            variable: variable.clone(),
            what,
        };
        self.fill.insert(variable.clone(), fill);
        format!("${{{variable}}}")
    }

    /// As strait would read it, with the variable or file that is referred to; none: it cannot.
    fn written(&self, part: &Part<'_>) -> Option<(String, Option<String>)> {
        let reference = match part {
            Part::Text(text) => return Some((text.replace("${", "$${"), None)),
            Part::Reference(reference) => reference,
        };
        let Reference {
            provider,
            path,
            key,
        } = reference;
        match self.class(provider) {
            "DirectoryConfigProvider" if !path.is_empty() => {
                let file = format!("{}/{key}", path.trim_end_matches('/'));
                Some((format!("${{file:{file}}}"), Some(file)))
            }
            "EnvVarConfigProvider" if is_variable(key) => {
                Some((format!("${{{key}}}"), Some((*key).to_owned())))
            }
            _ => None,
        }
    }

    /// The simple name of a provider's class; by its usual name where the input does not tell.
    fn class<'b>(&'b self, provider: &'b str) -> &'b str {
        match (self.providers.get(provider), provider) {
            (Some(class), _) => class.rsplit('.').next().unwrap_or(class),
            (None, "directory" | "dir" | "strimzidir") => "DirectoryConfigProvider",
            (None, "env" | "strimzienv") => "EnvVarConfigProvider",
            (None, other) => other,
        }
    }
}

/// `what`, and where it was.
fn told(what: &str, parts: &[Part<'_>]) -> String {
    let places = parts.iter().filter_map(|part| match part {
        Part::Reference(Reference { path: "", key, .. }) => Some((*key).to_owned()),
        Part::Reference(Reference { path, key, .. }) => Some(format!("{key} of {path}")),
        Part::Text(_) => None,
    });
    format!("{what} ({})", places.collect::<Vec<_>>().join(", "))
}

enum Part<'a> {
    Text(&'a str),
    Reference(Reference<'a>),
}

/// Whether a value refers to anything.
pub(super) fn refers(value: &str) -> bool {
    let mut parts = parts(value).into_iter();
    parts.any(|part| matches!(part, Part::Reference(_)))
}

/// References, and what stands between.
fn parts(value: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = value;
    let mut searched = 0;
    while let Some(at) = rest[searched..].find("${").map(|at| at + searched) {
        let inner = rest[at + 2..].split_once('}');
        let Some((reference, after)) =
            inner.and_then(|(inner, after)| Some((reference(inner)?, after)))
        else {
            searched = at + 2;
            continue;
        };
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        parts.push(Part::Reference(reference));
        (rest, searched) = (after, 0);
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// `PROVIDER:KEY` or `PROVIDER:PATH:KEY`.
fn reference(inner: &str) -> Option<Reference<'_>> {
    let (provider, rest) = inner.split_once(':')?;
    let (path, key) = rest.split_once(':').unwrap_or(("", rest));
    let reference = Reference {
        provider,
        path,
        key,
    };
    (!provider.is_empty() && !key.is_empty()).then_some(reference)
}

fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str, secret: bool) -> (String, Vec<Fill>) {
        let class = |name: &str, class: &str| {
            (
                name.to_owned(),
                format!("org.apache.kafka.common.config.provider.{class}"),
            )
        };
        let providers = BTreeMap::from([
            class("f", "FileConfigProvider"),
            class("d", "DirectoryConfigProvider"),
        ]);
        let mut secrets = Secrets::new(&providers);
        let slot = Slot::new("east-1", "a.thing", "a thing");
        let text = match secret {
            true => secrets.secret(value, slot),
            false => secrets.text(value, slot),
        };
        // Whatever is referred to, there is something to try it with.
        secrets.filled(|sources| sources.expand(&text)).unwrap();
        (text, secrets.fill())
    }

    #[test]
    fn references_go_where_strait_can_read_them() {
        for (value, wanted) in [
            ("east:9092", "east:9092"),
            ("${d:/run/secrets/:pw}", "${file:/run/secrets/pw}"),
            ("${env:PW}", "${PW}"),
            ("a-${env:PW}-b", "a-${PW}-b"),
            ("a${b", "a$${b"),
            ("${no}reference", "$${no}reference"),
        ] {
            assert_eq!(one(value, false), (wanted.to_owned(), vec![]), "{value}");
        }
    }

    #[test]
    fn other_references_become_variables_that_tell_where_it_was() {
        for (value, what) in [
            (
                "${f:/etc/mm2.properties:pw}",
                "a thing (pw of /etc/mm2.properties) of east-1",
            ),
            (
                "${secrets:ns/user:password}",
                "a thing (password of ns/user) of east-1",
            ),
            ("${vault:x}", "a thing (x) of east-1"),
        ] {
            for secret in [true, false] {
                let (text, fill) = one(value, secret);
                assert_eq!(
                    (text.as_str(), fill[0].what.as_str()),
                    ("${EAST_1_A_THING}", what)
                );
            }
        }
    }

    #[test]
    fn a_secret_is_not_written() {
        for value in ["hunter2", "x${env:PW}", "", "${"] {
            let (text, fill) = one(value, true);
            assert_eq!(
                (text.as_str(), fill.len()),
                ("${EAST_1_A_THING}", 1),
                "{value}"
            );
            assert!(!format!("{fill:?}").contains("hunter2"));
        }
        assert_eq!(one("${env:PW}", true), ("${PW}".to_owned(), vec![]));
    }
}
