//! Whether the target's topics take what the source's hold, and keep it in the same way.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    client::{ConfigEntry, TopicToBe},
    error::ApiError,
};

use super::FlowReport;
use crate::{
    flow::{
        THROTTLING_QUOTA_EXCEEDED,
        topics::{configs::Wishes, create::LeftOut},
    },
    survey::{Survey, Topic},
};

/// Configs of one topic on both sides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// On the source, or why they are not known.
    pub source: Result<Vec<ConfigEntry>, ApiError>,
    /// On the target.
    pub target: TargetSettings,
}

/// Configs of the topic on the target.
#[derive(Clone, Debug)]
pub enum TargetSettings {
    /// It is there, with these, or they are not known.
    There(Result<Vec<ConfigEntry>, ApiError>),
    /// It is to be created, and this is what the target says to that; what it would go without.
    ToBe(Result<TopicToBe, ApiError>, Vec<LeftOut>),
}

/// Those by which two topics keep different records.
const COMPARED: &[&str] = &[
    "cleanup.policy",
    "delete.retention.ms",
    "max.compaction.lag.ms",
    "min.compaction.lag.ms",
    "retention.bytes",
    "retention.ms",
];

/// TOPIC_AUTHORIZATION_FAILED and CLUSTER_AUTHORIZATION_FAILED: told with the rights.
const DENIED: [i16; 2] = [29, 31];
const INVALID_REPLICATION_FACTOR: i16 = 38;

/// By name.
struct Configs<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Configs<'a> {
    fn new(entries: &'a [ConfigEntry]) -> Self {
        let entries = entries.iter();
        Self(
            entries
                .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)))
                .collect(),
        )
    }

    /// The same without configs of these names.
    fn without(mut self, names: &BTreeSet<String>) -> Self {
        self.0.retain(|name, _| !names.contains(*name));
        self
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }
}

/// Configs of an existing topic that `run` brings in line: they are in the plan.
fn will_follow(topic: &Topic, source: &[ConfigEntry], target: &TargetSettings) -> BTreeSet<String> {
    let rules = &topic.config.configs;
    let replicas = topic.existing.as_ref().map_or(0, |found| found.replicas);
    let changes = match target {
        TargetSettings::There(Ok(there)) if rules.follow => {
            Wishes::new(rules, source, replicas).changes(there)
        }
        _ => Vec::new(),
    };
    changes.into_iter().map(|change| change.name).collect()
}

impl FlowReport {
    pub(super) fn look_at_settings(
        &mut self,
        survey: &Survey,
        settings: &Result<BTreeMap<String, Settings>, String>,
    ) {
        let settings = match settings {
            Ok(settings) => settings,
            Err(reason) => {
                let message = format!("configs of topics cannot be read: {reason}");
                return self.warn("configs_unknown", message);
            }
        };
        let before = self.found();
        for topic in &survey.topics {
            let Some(found) = settings.get(&topic.source) else {
                continue;
            };
            let name = format!("{} {}", survey.target.alias, topic.target);
            let target = match &found.target {
                TargetSettings::There(Ok(entries)) => entries,
                TargetSettings::ToBe(Ok(to_be), left_out) => {
                    self.look_at_left_out(&name, left_out);
                    &to_be.configs
                }
                TargetSettings::There(Err(error)) => {
                    self.unknown(&name, error);
                    continue;
                }
                TargetSettings::ToBe(Err(error), _) => {
                    self.refused(&name, error);
                    continue;
                }
            };
            let target = Configs::new(target);
            self.look_at_in_sync(&name, topic, &target);
            match &found.source {
                Ok(source) => {
                    let follows = will_follow(topic, source, &found.target);
                    let left = Configs::new(source).without(&follows);
                    self.compare(&name, &left, &target);
                }
                Err(error) => {
                    self.unknown(&format!("{} {}", survey.source.alias, topic.source), error)
                }
            }
        }
        if self.found() == before && !settings.is_empty() {
            self.pass(
                "settings",
                "topics on the target take and keep what their sources hold".to_owned(),
            );
        }
    }

    fn unknown(&mut self, name: &str, error: &ApiError) {
        if !DENIED.contains(&error.code) {
            self.warn(
                "configs_unknown",
                format!("{name}: its configs cannot be read: {error}"),
            );
        }
    }

    fn refused(&mut self, name: &str, error: &ApiError) {
        match error.code {
            code if DENIED.contains(&code) => {}
            // It would create it, in a while.
            THROTTLING_QUOTA_EXCEEDED => {}
            // Said in better words where the number of brokers shows it.
            INVALID_REPLICATION_FACTOR
                if self
                    .problems
                    .iter()
                    .any(|one| one.code == "replication_factor") => {}
            INVALID_REPLICATION_FACTOR => {
                self.problem(
                    "replication_factor",
                    format!("{name} cannot be created: {error}"),
                );
            }
            _ => self.problem(
                "target_topic_refused",
                format!("{name} cannot be created: {error}"),
            ),
        }
    }

    fn look_at_left_out(&mut self, name: &str, left_out: &[LeftOut]) {
        for LeftOut {
            name: config,
            value,
            reason,
        } in left_out
        {
            let message =
                format!("{name} will not have {config} = {value} of its source: {reason}");
            self.warn("config_left_out", message);
        }
    }

    fn look_at_in_sync(&mut self, name: &str, topic: &Topic, target: &Configs<'_>) {
        let Some(existing) = &topic.existing else {
            return;
        };
        let least = target.number("min.insync.replicas").unwrap_or(1);
        let replicas = existing.replicas;
        if replicas > 0 && usize::try_from(least).is_ok_and(|least| least > replicas) {
            let message = format!(
                "{name} has {replicas} replicas and wants {least} in sync (min.insync.replicas): it takes no record"
            );
            self.problem("min_insync_replicas", message);
        }
    }

    fn compare(&mut self, name: &str, source: &Configs<'_>, target: &Configs<'_>) {
        let both = |config: &str| Some((source.number(config)?, target.number(config)?));
        if let Some((from, to)) = both("max.message.bytes")
            && to < from
        {
            let message = format!(
                "{name} takes batches up to {to} bytes, its source up to {from} (max.message.bytes): a larger record \
                 stops its partition"
            );
            self.warn("record_size", message);
        }
        let own_time =
            |configs: &Configs<'_>| configs.text("message.timestamp.type") == Some("LogAppendTime");
        if own_time(target) && !own_time(source) {
            let message = format!(
                "{name} has message.timestamp.type = LogAppendTime, its source has not: records get the time of their copy"
            );
            self.warn("timestamp_type", message);
        } else if !own_time(target) {
            self.look_at_times(name, &both);
        }
        let mut differ = Vec::new();
        for config in COMPARED {
            if let (Some(from), Some(to)) = (source.text(config), target.text(config))
                && from != to
            {
                differ.push(format!("{config} is {to} (source: {from})"));
            }
        }
        if !differ.is_empty() {
            self.warn("configs_differ", format!("{name}: {}", differ.join(", ")));
        }
    }

    fn look_at_times(&mut self, name: &str, both: &impl Fn(&str) -> Option<(i64, i64)>) {
        for (config, which) in [
            ("message.timestamp.before.max.ms", "older"),
            ("message.timestamp.after.max.ms", "further in the future"),
        ] {
            if let Some((from, to)) = both(config)
                && to < from
            {
                let message = format!(
                    "{name} refuses records that are {which} than {to} ms, its source those than {from} ms ({config}): \
                     such a record stops its partition"
                );
                self.warn("timestamp_limit", message);
            }
        }
    }
}
