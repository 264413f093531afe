//! `[[flows.rules]]`, and the keys of a flow that a rule may set for its topics.

use std::{num::NonZeroU64, time::Duration};

use super::{
    configs,
    flow::FlowFile,
    keys::{as_written, one_of, parsed, refused, required},
    tree::{Node, Table, Text},
    units,
};
use crate::config::{
    NamePattern, OnDelete, OnExisting, OnGap, OnPoison, OnRecreate, Rate, Start, TopicConfig,
    TopicRule, error::ConfigError,
};

as_written! {
    /// One `[[flows.rules]]` table.
    RuleFile {
        topics "match", start, replication_factor, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate,
        rate_bytes, rate_records, configs,
    }
}

/// Keys that mean the same in a flow and in its rules.
pub(super) struct TopicKeys {
    pub(super) start: Option<Node>,
    pub(super) replication_factor: Option<Node>,
    pub(super) on_gap: Option<Node>,
    pub(super) on_poison: Option<Node>,
    pub(super) on_existing: Option<Node>,
    pub(super) on_delete: Option<Node>,
    pub(super) delete_grace: Option<Node>,
    pub(super) on_recreate: Option<Node>,
    pub(super) configs: Option<Node>,
}

impl TopicKeys {
    /// What they say, and `defaults` where they say nothing. The rate is no such key: a flow's holds for all
    /// its topics together, a rule's for each of its topics.
    pub(super) fn over(self, defaults: &TopicConfig) -> Result<TopicConfig, ConfigError> {
        let Self {
            start,
            replication_factor,
            on_gap,
            on_poison,
            on_existing,
            on_delete,
            delete_grace,
            on_recreate,
            configs,
        } = self;
        let factor = defaults.replication_factor;
        Ok(TopicConfig {
            start: parsed(start, defaults.start, parse_start)?,
            replication_factor: parsed(replication_factor, factor, parse_replication_factor)?,
            on_gap: parsed(on_gap, defaults.on_gap, parse_on_gap)?,
            on_poison: parsed(on_poison, defaults.on_poison, parse_on_poison)?,
            on_existing: parsed(on_existing, defaults.on_existing, parse_on_existing)?,
            on_delete: parsed(on_delete, defaults.on_delete, parse_on_delete)?,
            delete_grace: parsed(delete_grace, defaults.delete_grace, parse_grace)?,
            on_recreate: parsed(on_recreate, defaults.on_recreate, parse_on_recreate)?,
            configs: configs::configs(configs, &defaults.configs)?,
            rate: Rate::default(),
        })
    }
}

/// The rules of a flow with these defaults, in the order written.
pub(super) fn rules(
    node: Option<Node>,
    defaults: &TopicConfig,
) -> Result<Vec<TopicRule>, ConfigError> {
    let nodes = node.map_or(Ok(Vec::new()), Node::list)?;
    let rules = nodes.into_iter();
    rules.map(|node| rule(node.table()?, defaults)).collect()
}

fn rule(table: Table, defaults: &TopicConfig) -> Result<TopicRule, ConfigError> {
    let place = table.place.clone();
    let of_the_flow =
        |name: &str| FlowFile::KEYS.contains(&name) && !RuleFile::KEYS.contains(&name);
    if let Some(entry) = table.entries.iter().find(|entry| of_the_flow(&entry.name)) {
        let reason = "holds for the whole flow: set it in [[flows]], above its rules";
        return Err(ConfigError::at(&entry.place, reason));
    }
    #[rustfmt::skip] // one line per meaning
    let RuleFile {
        topics, start, replication_factor, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate,
        rate_bytes, rate_records, configs,
    } = RuleFile::read(table)?;
    #[rustfmt::skip] // one line per meaning
    let config = TopicKeys {
        start, replication_factor, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate, configs,
    }.over(defaults)?;
    Ok(TopicRule {
        topics: pattern(&required(topics, &place, "match")?.text()?)?,
        config: TopicConfig {
            rate: rate(rate_bytes, rate_records)?,
            ..config
        },
    })
}

/// A limit; 0 is none.
pub(super) fn rate(bytes: Option<Node>, records: Option<Node>) -> Result<Rate, ConfigError> {
    Ok(Rate {
        bytes: parsed(bytes, None, |text| Ok(NonZeroU64::new(units::size(text)?)))?,
        records: parsed(records, None, |text| {
            let records = text.parse().map_err(|_| "a whole number is wanted")?;
            Ok(NonZeroU64::new(records))
        })?,
    })
}

/// A pattern of topic names.
pub(super) fn pattern(text: &Text) -> Result<NamePattern, ConfigError> {
    NamePattern::new(&text.value).map_err(|error| {
        // The first lines draw the expression, the last one says what is wrong with it.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default();
        let reason = reason.trim_start_matches("error: ");
        refused(text, &format!("not a regular expression: {reason}"))
    })
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => units::time_ms(text).map(Start::Time).ok_or_else(|| {
            "\"earliest\", \"latest\" or a time by RFC 3339 is wanted, \
             for example \"2026-11-24T08:00:00Z\""
                .to_owned()
        }),
    }
}

pub(super) fn parse_replication_factor(text: &str) -> Result<i16, String> {
    match text.parse() {
        Ok(factor @ (-1 | 1..)) => Ok(factor),
        _ => Err("1 or more is wanted, or -1 for the target's default".into()),
    }
}

fn parse_on_gap(text: &str) -> Result<OnGap, String> {
    one_of(
        text,
        &[
            ("stop", OnGap::Stop),
            ("earliest", OnGap::Earliest),
            ("latest", OnGap::Latest),
        ],
    )
}

fn parse_on_poison(text: &str) -> Result<OnPoison, String> {
    if text == "quarantine" {
        return Err("not available in this version; \"stop\" or \"skip\" is".into());
    }
    one_of(text, &[("stop", OnPoison::Stop), ("skip", OnPoison::Skip)])
}

fn parse_on_existing(text: &str) -> Result<OnExisting, String> {
    one_of(
        text,
        &[("stop", OnExisting::Stop), ("append", OnExisting::Append)],
    )
}

fn parse_on_delete(text: &str) -> Result<OnDelete, String> {
    one_of(
        text,
        &[("ignore", OnDelete::Ignore), ("delete", OnDelete::Delete)],
    )
}

fn parse_on_recreate(text: &str) -> Result<OnRecreate, String> {
    one_of(
        text,
        &[
            ("stop", OnRecreate::Stop),
            ("append", OnRecreate::Append),
            ("recreate", OnRecreate::Recreate),
        ],
    )
}

/// Longest time that a topic may be gone, so that sums of times have no end to run over.
const MAX_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

fn parse_grace(text: &str) -> Result<Duration, String> {
    let grace = units::duration(text)?;
    if (Duration::from_secs(1)..=MAX_GRACE).contains(&grace) {
        return Ok(grace);
    }
    Err("1 s to 366 d is wanted".into())
}
