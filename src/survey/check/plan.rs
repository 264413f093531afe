//! What `run` would change on the target, as a diff.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{FlowReport, facts::Facts, settings::TargetSettings};
use crate::{
    checkpoint::control_topic::{ControlRecords, TopicRecord},
    config::{FlowConfig, OnDelete},
    flow::{THROTTLING_QUOTA_EXCEEDED, plan::Rules, topics::configs::Wishes},
    survey::{Partition, Survey, Topic},
};

/// One line of the diff.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Step {
    /// Name of the topic on the target.
    pub topic: String,
    /// From a closed list: `create_topic`, `add_partitions`, `set_config`, `unset_config`, `recreate_topic`,
    /// `delete_topic`; and what is told and not changed: `more_partitions`, `replicas`.
    pub action: &'static str,
    /// Which config it is about.
    pub config: Option<String>,
    /// What is there now.
    pub from: Option<String>,
    /// What is to be there.
    pub to: Option<String>,
}

impl Step {
    /// `+`, `~` or `-`; `!` for what differs and stays so.
    pub fn sign(&self) -> char {
        match self.action {
            "create_topic" => '+',
            "set_config" if self.from.is_none() => '+',
            "set_config" | "add_partitions" => '~',
            "unset_config" | "delete_topic" | "recreate_topic" => '-',
            _ => '!',
        }
    }

    /// Whether `strait check --apply` does it.
    pub fn is_applied(&self) -> bool {
        !matches!(self.action, "more_partitions" | "replicas" | "delete_topic")
    }
}

/// Lists what is to be done with one topic.
struct Diff<'a> {
    steps: &'a mut Vec<Step>,
    topic: &'a str,
}

impl Diff<'_> {
    fn step(&mut self, action: &'static str, from: Option<String>, to: Option<String>) {
        self.config(action, None, from, to);
    }

    fn config(
        &mut self,
        action: &'static str,
        config: Option<String>,
        from: Option<String>,
        to: Option<String>,
    ) {
        let topic = self.topic.to_owned();
        let step = Step {
            topic,
            action,
            config,
            from,
            to,
        };
        self.steps.push(step);
    }
}

impl FlowReport {
    pub(super) fn make_plan(&mut self, flow: &FlowConfig, survey: &Survey, facts: &Facts) {
        let none = BTreeMap::new();
        let settings = facts.settings.as_ref().unwrap_or(&none);
        let (rules, none) = (Rules::new(flow), ControlRecords::default());
        let records = facts.control.as_ref().unwrap_or(&none);
        for topic in &survey.topics {
            let mut diff = Diff {
                steps: &mut self.plan,
                topic: &topic.target,
            };
            if let Some(record) = replaced(&rules, records, topic) {
                diff.step("recreate_topic", gone_since(record), Some(count(topic)));
                continue;
            }
            let Some(settings) = settings.get(&topic.source) else {
                if topic.existing.is_some() {
                    diff.partitions(topic);
                }
                continue;
            };
            let source = settings.source.as_deref().unwrap_or_default();
            let replicas = topic.existing.as_ref().map_or(0, |found| found.replicas);
            let wishes = Wishes::new(&topic.config.configs, source, replicas);
            match &settings.target {
                TargetSettings::ToBe(Ok(_), left_out) => {
                    diff.step("create_topic", None, Some(count(topic)));
                    for (name, value) in wishes.given() {
                        if left_out.iter().all(|out| out.name != name) {
                            diff.config("set_config", Some(name), None, Some(value));
                        }
                    }
                }
                TargetSettings::ToBe(Err(error), _) if error.code == THROTTLING_QUOTA_EXCEEDED => {
                    diff.step("create_topic", None, Some(count(topic)));
                }
                TargetSettings::ToBe(Err(_), _) => {}
                TargetSettings::There(there) => {
                    diff.partitions(topic);
                    let follows = topic.config.configs.follow && settings.source.is_ok();
                    let there = there.as_deref().ok().filter(|_| follows);
                    for change in there.map_or_else(Vec::new, |there| wishes.changes(there)) {
                        let action = match change.to {
                            Some(_) => "set_config",
                            None => "unset_config",
                        };
                        diff.config(action, Some(change.name), change.from, change.to);
                    }
                }
            }
        }
        self.plan_deletions(flow, survey, facts);
        self.plan.sort();
    }

    /// Topics that are gone from the source. How long ago that was, only a running flow knows.
    fn plan_deletions(&mut self, flow: &FlowConfig, survey: &Survey, facts: &Facts) {
        let (rules, none) = (Rules::new(flow), Default::default());
        let records = facts.control.as_ref().unwrap_or(&none).topics.values();
        let gone = records.filter(|record| {
            rules.owns(record)
                && !survey.seen.contains(&record.source_topic)
                && flow.topic(&record.source_topic).on_delete == OnDelete::Delete
                && record.target_topic_id.is_some()
        });
        for record in gone {
            let mut diff = Diff {
                steps: &mut self.plan,
                topic: &record.target_topic,
            };
            diff.step("delete_topic", gone_since(record), None);
        }
    }
}

fn count(topic: &Topic) -> String {
    topic.partitions.len().to_string()
}

fn gone_since(record: &TopicRecord) -> Option<String> {
    let since = jiff::Timestamp::from_millisecond(record.gone_since_ms?).ok()?;
    Some(format!("source gone since {since:.0}"))
}

/// The topic that the source had under this name before, if its copy is to be deleted and this one not copied behind
/// it already.
fn replaced<'a>(
    rules: &Rules,
    records: &'a ControlRecords,
    topic: &Topic,
) -> Option<&'a TopicRecord> {
    let target = topic.existing.as_ref()?.id;
    let begun = |partition: &Partition| {
        let known = partition.checkpoint().and_then(Result::ok);
        known.is_some_and(|known| {
            known.source_topic == topic.source_id && known.target_topic == target
        })
    };
    if topic.partitions.iter().any(begun) {
        return None;
    }
    rules.before(records, (&topic.source, topic.source_id), target)
}

impl Diff<'_> {
    fn partitions(&mut self, topic: &Topic) {
        let Some(existing) = &topic.existing else {
            return;
        };
        let (there, wanted) = (existing.partitions.len(), topic.partitions.len());
        let (from, to) = (Some(there.to_string()), Some(wanted.to_string()));
        if there < wanted {
            self.step("add_partitions", from, to);
        } else if there > wanted {
            self.step("more_partitions", from, to);
        }
        let factor = usize::try_from(topic.config.replication_factor).ok();
        if let Some(factor) = factor.filter(|f| existing.replicas > 0 && *f != existing.replicas) {
            let (from, to) = (existing.replicas.to_string(), factor.to_string());
            self.step("replicas", Some(from), Some(to));
        }
    }
}
