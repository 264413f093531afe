//! One flow, as used.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc, time::Duration};

use regex::Regex;
use wire::{Isolation, security::Secret};

use super::ConfigRules;

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
    pub topics: Vec<NamePattern>,
    /// Topics to leave out, besides the internal ones.
    pub exclude: Vec<NamePattern>,
    /// Source topic name to target topic name.
    pub naming: Naming,
    /// What is read of transactions.
    pub isolation: Isolation,
    /// Which clients carry the records.
    pub transport: Transport,
    /// What the flow insists on.
    pub require: Require,
    /// How often checkpoints are committed.
    pub checkpoint_interval: Duration,
    /// Who runs the flow's workers.
    pub assignment: Assignment,
    /// This process's stable name in the flow's group; none: host name and slot.
    pub instance: Option<String>,
    /// Whether the committed offsets of groups follow on the target.
    pub group_offsets: bool,
    /// Of those groups that match one of these and none of `groups_exclude`.
    pub groups: Vec<NamePattern>,
    /// Groups to leave out, besides those of flows.
    pub groups_exclude: Vec<NamePattern>,
    /// Which rules (ACLs) about its topics and groups follow on the target.
    pub acls: AclMode,
    /// Whether quotas follow on the target.
    pub quotas: bool,
    /// Passwords by user, if users of SCRAM follow on the target.
    pub scram_users: Option<BTreeMap<String, Secret>>,
    /// Topics that MirrorMaker 2's clients read on the target.
    pub mm2: Mm2Topics,
    /// The limit of all its topics together, in this process.
    pub rate: Rate,
    /// What holds for topics that no rule is about; without a limit of their own.
    pub defaults: TopicConfig,
    /// What holds for other topics; the first that matches.
    pub rules: Vec<TopicRule>,
}

/// Who runs the workers of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// All processes that run the flow, as members of its group on the target.
    Shared,
    /// One process alone.
    Solo,
}

/// Which rules about topics and groups follow on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclMode {
    /// None.
    Off,
    /// All but what allows to write.
    Read,
    /// All, for a cutover.
    Complete,
}

impl FlowConfig {
    /// The group on the target that holds the flow's checkpoints.
    pub fn group(&self) -> String {
        format!("strait.{}", self.name)
    }

    /// Whether it is to be known which offset of the source is which on the target.
    pub fn keeps_map(&self) -> bool {
        self.group_offsets || self.mm2.checkpoints || self.mm2.offset_syncs
    }

    /// Rules that hold for none of these topics of the source: nothing matches them, or others come first.
    pub fn idle_rules<'a>(&self, topics: impl IntoIterator<Item = &'a String>) -> Vec<&TopicRule> {
        let mut idle: Vec<_> = self.rules.iter().map(Some).collect();
        for topic in topics {
            let mut rules = self.rules.iter();
            if let Some(at) = rules.position(|rule| rule.topics.matches(topic)) {
                idle[at] = None;
            }
        }
        idle.into_iter().flatten().collect()
    }

    /// Whether topics may have their target topics made anew.
    pub fn recreates(&self) -> bool {
        let rules = self.rules.iter().map(|rule| &rule.config);
        let mut all = rules.chain([&self.defaults]);
        all.any(|config| config.on_recreate == OnRecreate::Recreate)
    }

    /// What holds for this topic of the source.
    pub fn topic(&self, source_topic: &str) -> &TopicConfig {
        let mut rules = self.rules.iter();
        let rule = rules.find(|rule| rule.topics.matches(source_topic));
        rule.map_or(&self.defaults, |rule| &rule.config)
    }
}

/// Which of MirrorMaker 2's internal topics a flow keeps on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mm2Topics {
    /// Signs of life, so often.
    pub heartbeats: Option<Duration>,
    /// Where groups go on.
    pub checkpoints: bool,
    /// Which record is which.
    pub offset_syncs: bool,
    /// Of these topics, if strait creates them; -1: as the flow's other topics of its own.
    pub replication_factor: i16,
}

impl Default for Mm2Topics {
    fn default() -> Self {
        Self {
            heartbeats: None,
            checkpoints: false,
            offset_syncs: false,
            replication_factor: -1,
        }
    }
}

/// What may be set for each topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Where it starts when it is new.
    pub start: Start,
    /// Of its target topic, if strait creates that; -1: the target's default.
    pub replication_factor: i16,
    /// When wanted records are gone from the source.
    pub on_gap: OnGap,
    /// When the target refuses a record.
    pub on_poison: OnPoison,
    /// When the target partition has records and there is no checkpoint.
    pub on_existing: OnExisting,
    /// When it is gone from the source.
    pub on_delete: OnDelete,
    /// For how long it, or the one before of its name, must be gone until its target topic is deleted for that.
    pub delete_grace: Duration,
    /// When the source has another topic of its name.
    pub on_recreate: OnRecreate,
    /// Which configs its target topic has from it.
    pub configs: Arc<ConfigRules>,
    /// The topic's own limit, besides the flow's, in this process.
    pub rate: Rate,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            start: Start::Earliest,
            replication_factor: -1,
            on_gap: OnGap::Stop,
            on_poison: OnPoison::Stop,
            on_existing: OnExisting::Stop,
            on_delete: OnDelete::Ignore,
            delete_grace: Duration::from_secs(3600),
            on_recreate: OnRecreate::Stop,
            configs: Arc::default(),
            rate: Rate::default(),
        }
    }
}

/// What holds for some of a flow's topics.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// For which.
    pub topics: NamePattern,
    /// What holds for them, whole: what the rule leaves out was taken from the flow.
    pub config: TopicConfig,
}

/// The most that may be copied in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Bytes of batches as they are written to the target; none: no limit.
    pub bytes: Option<NonZeroU64>,
    /// Records; none: no limit.
    pub records: Option<NonZeroU64>,
}

/// What to do when wanted records are gone from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap {
    /// Stop the partition.
    Stop,
    /// Go on at the first record that is there.
    Earliest,
    /// Go on with records written from now on.
    Latest,
}

/// What to do when the target refuses a record for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// Stop the partition.
    Stop,
    /// Go on without the record.
    Skip,
}

/// What to do when the target partition has records and there is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Stop the partition.
    Stop,
    /// Write behind them.
    Append,
}

/// What to do with a topic on the target whose source was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// Nothing: it stays as it is.
    Ignore,
    /// Delete it too, after a while.
    Delete,
}

/// What to do when the source has another topic of a topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRecreate {
    /// Stop its partitions.
    Stop,
    /// Copy it behind what was copied of the one before.
    Append,
    /// Delete what was copied of the one before, after a while, and copy it into a topic of its own.
    Recreate,
}

/// A regular expression that a name must match as a whole.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl NamePattern {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // Compiled as written first, so that an error quotes what the operator wrote.
        Regex::new(text)?;
        Ok(Self {
            text: text.to_owned(),
            regex: Regex::new(&format!("^(?:{text})$"))?,
        })
    }

    /// Whether all of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
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
pub(crate) fn check_name(name: &str) -> Result<(), String> {
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

/// The guarantee that a flow insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Whatever can be had.
    Any,
    /// Exactly once, or it does not run.
    ExactlyOnce,
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
        let pattern = NamePattern::new("a|orders").unwrap();
        assert!(pattern.matches("orders"));
        assert!(!pattern.matches("orders2") && !pattern.matches("ab"));
        assert!(NamePattern::new("a(").is_err());
        assert!(NamePattern::new("a)(b").is_err());
    }
}
