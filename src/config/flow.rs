//! One flow, as used.

use std::time::Duration;

use regex::Regex;
use wire::Isolation;

/// Replication from one cluster to another.
#[derive(Clone, Debug)]
pub struct FlowConfig {
    /// Names the flow in logs, metrics, and in the names of its group and topics.
    pub name: String,
    /// Alias of the source.
    pub source: String,
    /// Alias of the target; not the source.
    pub target: String,
    /// Topics to replicate: those that match one of these and none of `exclude`.
    pub topics: Vec<TopicPattern>,
    /// Topics to leave out, besides the internal ones.
    pub exclude: Vec<TopicPattern>,
    /// Source topic name to target topic name.
    pub naming: Naming,
    /// Where a new topic starts.
    pub start: Start,
    /// What is read of transactions.
    pub isolation: Isolation,
    /// Which clients carry the records.
    pub transport: Transport,
    /// Of target topics that strait creates; -1: the target's default.
    pub replication_factor: i16,
    /// How often checkpoints are committed.
    pub checkpoint_interval: Duration,
    /// Who runs the flow's workers.
    pub assignment: Assignment,
    /// This process's stable name in the flow's group; none: host name and slot.
    pub instance: Option<String>,
}

/// Who runs the workers of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// All processes that run the flow, as members of its group on the target.
    Shared,
    /// One process alone.
    Solo,
}

impl FlowConfig {
    /// The group on the target that holds the flow's checkpoints.
    pub fn group(&self) -> String {
        format!("strait.{}", self.name)
    }
}

/// A regular expression that a topic name must match as a whole.
#[derive(Clone, Debug)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // Compiled as written first, so that an error quotes what the operator wrote.
        Regex::new(text)?;
        Ok(Self {
            text: text.to_owned(),
            regex: Regex::new(&format!("^(?:{text})$"))?,
        })
    }

    /// Whether all of `topic` matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The rule that turns a source topic name into a target topic name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The same name.
    Identity,
    /// `SOURCE.TOPIC`, as MirrorMaker's default policy.
    Prefix,
    /// Text with `{topic}` once and `{source}` at will, legal in topic names.
    Template(String),
}

impl Naming {
    /// As written; the error is a reason.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "identity" | "{topic}" => return Ok(Self::Identity),
            "prefix" | "{source}.{topic}" => return Ok(Self::Prefix),
            _ => {}
        }
        if text.matches("{topic}").count() != 1 {
            let reason = "\"identity\", \"prefix\" or a template with one {topic} is wanted";
            return Err(reason.into());
        }
        let rest = text.replace("{topic}", "").replace("{source}", "");
        if !rest.chars().all(is_legal) {
            return Err(format!("{LEGAL}, {{topic}} and {{source}} are wanted"));
        }
        Ok(Self::Template(text.to_owned()))
    }
}

/// Longest alias or flow name, in bytes: it becomes part of topic names, which end at 249
/// (`org.apache.kafka.common.internals.Topic`).
const MAX_NAME: usize = 200;

const LEGAL: &str = "letters, digits, `.`, `_`, `-`";

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether `name` may become part of the names of groups and topics; the error is a reason.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_legal) {
        return Ok(());
    }
    Err(format!("as a name, 1 to {MAX_NAME} of {LEGAL} are wanted"))
}

/// Which clients carry the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Our own on both sides, unless a cluster needs librdkafka.
    Auto,
    /// Our own on both sides, or not at all.
    Wire,
    /// librdkafka on both sides.
    Librdkafka,
}

impl Transport {
    /// As written; the error is a reason.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "wire" => Ok(Self::Wire),
            "librdkafka" => Ok(Self::Librdkafka),
            _ => Err("\"auto\", \"wire\" or \"librdkafka\" is wanted".into()),
        }
    }
}

/// Where a topic without a checkpoint starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    Earliest,
    /// With records written from now on.
    Latest,
    /// At the first record that is not older, in milliseconds since 1970.
    Time(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = TopicPattern::new("a|orders").unwrap();
        assert!(pattern.matches("orders"));
        assert!(!pattern.matches("orders2") && !pattern.matches("ab"));
        assert!(TopicPattern::new("a(").is_err());
        assert!(TopicPattern::new("a)(b").is_err());
    }
}
