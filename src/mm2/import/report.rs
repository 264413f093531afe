//! What became of each key of the input, and what is left to do.

use serde::{Deserialize, Serialize};

use super::ImportError;

/// What became of one key. Of several things that hold for it, in one flow or another, the last of this list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// strait does without, and nothing is missing.
    NotNeeded,
    /// It is in the TOML under its own name.
    Taken,
    /// It is in the TOML under another name.
    Renamed,
    /// What it asks for, strait does not do (yet).
    NotSupported,
    /// Without it other records would be copied, or to other places, so no TOML was made.
    Refused,
}

/// A verdict with what is to be said: the new name, why, or what to do instead. Never a value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn taken() -> Self {
        Self::new(Verdict::Taken, "")
    }

    pub(super) fn renamed(to: impl Into<String>) -> Self {
        Self::new(Verdict::Renamed, to)
    }

    pub(super) fn not_needed(why: impl Into<String>) -> Self {
        Self::new(Verdict::NotNeeded, why)
    }

    pub(super) fn not_supported(instead: impl Into<String>) -> Self {
        Self::new(Verdict::NotSupported, instead)
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::new(Verdict::Refused, why)
    }

    fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { verdict, text }
    }
}

/// One key of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file it is in.
    pub file: String,
    /// As written there.
    pub key: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The new name, why, or what to do instead.
    pub text: String,
}

/// A variable that the TOML refers to and that must be set before strait runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fill {
    /// Its name.
    pub variable: String,
    /// What goes into it, and where that was.
    pub what: String,
}

/// Where MirrorMaker 2 keeps how far a flow is: what a takeover has to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// The flow, by its name in the TOML.
    pub flow: String,
    /// The source, by its name in the TOML.
    pub source: String,
    /// What MirrorMaker 2 calls it.
    pub source_alias: String,
    /// Name of the source connector, where that is not fixed.
    pub connector: Option<String>,
    /// Kafka Connect's topic of positions; none: the input does not say.
    pub offsets_topic: Option<String>,
    /// The group of its processes; none: the input does not say.
    pub group: Option<String>,
}

/// All keys and what else there is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every key once, in the order of the input.
    pub keys: Vec<Line>,
    /// Variables to set.
    pub fill: Vec<Fill>,
    /// Of each flow.
    pub positions: Vec<Positions>,
    /// Where strait differs from MirrorMaker 2 without a key that says so.
    pub notes: Vec<String>,
}

impl Report {
    /// The keys of which this became.
    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Line> {
        let lines = self.keys.iter();
        lines.filter(move |line| line.verdict == verdict)
    }

    /// Whether strait does all that was asked for.
    pub fn is_complete(&self) -> bool {
        self.keys
            .iter()
            .all(|line| line.verdict < Verdict::NotSupported)
    }
}

/// A key of the input, by its place in [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyId(usize);

struct Key {
    file: usize,
    name: String,
    value: String,
    finding: Option<Finding>,
    /// What it was made of, to which all that is found belongs; not told of itself.
    origin: Option<KeyId>,
}

/// All keys of the input.
pub(super) struct Keys<'a> {
    files: &'a [String],
    keys: Vec<Key>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(files: &'a [String]) -> Self {
        let keys = Vec::new();
        Self { files, keys }
    }

    /// Adds a key of the `file`th file.
    pub(super) fn add(
        &mut self,
        file: usize,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> KeyId {
        self.keys.push(Key {
            file,
            name: name.into(),
            value: value.into(),
            finding: None,
            origin: None,
        });
        KeyId(self.keys.len() - 1)
    }

    /// Adds what a key says in other words.
    pub(super) fn derive(&mut self, origin: KeyId, value: impl Into<String>) -> KeyId {
        let Key { file, ref name, .. } = self.keys[origin.0];
        let name = name.clone();
        let derived = self.add(file, name, value);
        self.keys[derived.0].origin = Some(origin);
        derived
    }

    /// What is written for it, without blanks around, as Kafka's `ConfigDef` takes it.
    pub(super) fn value(&self, id: KeyId) -> &str {
        self.keys[id.0].value.trim()
    }

    /// Its name for messages about other keys.
    pub(super) fn name(&self, id: KeyId) -> &str {
        &self.keys[id.0].name
    }

    /// Notes what became of it, if that is more than is noted already.
    pub(super) fn mark(&mut self, id: KeyId, finding: Finding) {
        let id = self.keys[id.0].origin.unwrap_or(id);
        let noted = &mut self.keys[id.0].finding;
        if noted
            .as_ref()
            .is_none_or(|noted| noted.verdict < finding.verdict)
        {
            *noted = Some(finding);
        }
    }

    /// An error about the `file`th file.
    pub(super) fn unreadable(&self, file: usize, reason: &str) -> ImportError {
        ImportError::Unreadable {
            file: self.files[file].clone(),
            reason: reason.to_owned(),
        }
    }

    /// All of them; none is left out.
    pub(super) fn lines(self) -> Vec<Line> {
        let written = self.keys.into_iter().filter(|key| key.origin.is_none());
        let lines = written.map(|key| {
            let unread = || Finding::not_supported("strait does not know it");
            let Finding { verdict, text } = key.finding.unwrap_or_else(unread);
            Line {
                file: self.files[key.file].clone(),
                key: key.name,
                verdict,
                text,
            }
        });
        lines.collect()
    }
}
