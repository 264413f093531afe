//! The configs of topics: names, types and defaults of Kafka 4.1 (`org.apache.kafka.common.config.TopicConfig`,
//! `org.apache.kafka.storage.internals.log.LogConfig`).
//!
//! All are checked, stored and shown. Those are acted on that say what a log takes and keeps: sizes, times, codec,
//! keys, retention, compaction.

pub(crate) mod defaults;

use std::collections::BTreeMap;

use wire::record::Codec;

use self::defaults::Defaults;
use super::{partition::LogConfig, producers::Expiration};
use crate::log::{Compaction, Retention};

/// What a value may be. The numbers are DescribeConfigs' types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Text(&'static [&'static str]),
    Int(i64),
    Long(i64),
    Double,
    List(&'static [&'static str]),
}

impl Kind {
    /// `DescribeConfigsResponse.ConfigType`
    pub(crate) fn number(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Text(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Double => 6,
            Self::List(_) => 7,
        }
    }

    /// Kafka's message if `value` may not be set (`ConfigDef.parseType`, its validators).
    pub(crate) fn check(self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |value: &str, why: &str| {
            Err(format!(
                "Invalid value {value} for configuration {name}: {why}"
            ))
        };
        let number = |number: Option<i64>, kind: &str, least: i64| match number {
            None => wrong(value, &format!("Not a number of type {kind}")),
            Some(number) if number < least => {
                wrong(value, &format!("Value must be at least {least}"))
            }
            Some(_) => Ok(()),
        };
        let one_of = |value: &str, allowed: &[&str]| match allowed {
            [] => Ok(()),
            _ if allowed.contains(&value) => Ok(()),
            _ => wrong(
                value,
                &format!("String must be one of: {}", allowed.join(", ")),
            ),
        };
        let value = value.trim();
        match self {
            Self::Bool
                if ["true", "false"]
                    .iter()
                    .any(|is| value.eq_ignore_ascii_case(is)) =>
            {
                Ok(())
            }
            Self::Bool => wrong(value, "Expected value to be either true or false"),
            Self::Text(allowed) => one_of(value, allowed),
            Self::Int(least) => number(value.parse::<i32>().ok().map(i64::from), "INT", least),
            Self::Long(least) => number(value.parse().ok(), "LONG", least),
            Self::Double => match value.parse::<f64>() {
                Err(_) => wrong(value, "Not a number of type DOUBLE"),
                // As Java writes it, with a point.
                Ok(number) if number < 0.0 => {
                    wrong(&format!("{number:?}"), "Value must be at least 0")
                }
                Ok(number) if number > 1.0 => {
                    wrong(&format!("{number:?}"), "Value must be no more than 1")
                }
                Ok(_) => Ok(()),
            },
            Self::List(allowed) => {
                let mut parts = value.split(',').map(str::trim);
                parts.try_for_each(|part| match part {
                    "" => Ok(()),
                    part => one_of(part, allowed),
                })
            }
        }
    }
}

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Name, type, default.
pub(crate) const CONFIGS: &[(&str, Kind, &str)] = &[
    (
        "cleanup.policy",
        Kind::List(&["compact", "delete"]),
        "delete",
    ),
    ("compression.gzip.level", Kind::Int(-1), "-1"),
    ("compression.lz4.level", Kind::Int(1), "9"),
    ("compression.type", Kind::Text(CODECS), "producer"),
    ("compression.zstd.level", Kind::Int(-131_072), "3"),
    ("delete.retention.ms", Kind::Long(0), "86400000"),
    ("file.delete.delay.ms", Kind::Long(0), "60000"),
    ("flush.messages", Kind::Long(1), "9223372036854775807"),
    ("flush.ms", Kind::Long(0), "9223372036854775807"),
    (
        "follower.replication.throttled.replicas",
        Kind::List(&[]),
        "",
    ),
    ("index.interval.bytes", Kind::Int(0), "4096"),
    ("leader.replication.throttled.replicas", Kind::List(&[]), ""),
    ("local.retention.bytes", Kind::Long(-2), "-2"),
    ("local.retention.ms", Kind::Long(-2), "-2"),
    (
        "max.compaction.lag.ms",
        Kind::Long(1),
        "9223372036854775807",
    ),
    ("max.message.bytes", Kind::Int(0), "1048588"),
    ("message.timestamp.after.max.ms", Kind::Long(0), "3600000"),
    (
        "message.timestamp.before.max.ms",
        Kind::Long(0),
        "9223372036854775807",
    ),
    (
        "message.timestamp.type",
        Kind::Text(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
    ),
    ("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    ("min.compaction.lag.ms", Kind::Long(0), "0"),
    ("min.insync.replicas", Kind::Int(1), "1"),
    ("preallocate", Kind::Bool, "false"),
    ("remote.log.copy.disable", Kind::Bool, "false"),
    ("remote.log.delete.on.disable", Kind::Bool, "false"),
    ("remote.storage.enable", Kind::Bool, "false"),
    ("retention.bytes", Kind::Long(i64::MIN), "-1"),
    ("retention.ms", Kind::Long(-1), "604800000"),
    ("segment.bytes", Kind::Int(1 << 20), "1073741824"),
    ("segment.index.bytes", Kind::Int(4), "10485760"),
    ("segment.jitter.ms", Kind::Long(0), "0"),
    ("segment.ms", Kind::Long(1), "604800000"),
    ("unclean.leader.election.enable", Kind::Bool, "false"),
];

/// The broker's setting that a topic's config falls back to, where its name is another one and it has a default
/// (`ServerTopicConfigSynonyms`).
pub(crate) fn synonym(name: &str) -> Option<&str> {
    Some(match name {
        "cleanup.policy" => "log.cleanup.policy",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "compression.gzip.level"
        | "compression.lz4.level"
        | "compression.type"
        | "compression.zstd.level"
        | "min.insync.replicas"
        | "unclean.leader.election.enable" => name,
        _ => return None,
    })
}

/// Configs that are set on a topic.
pub(crate) type Overrides = BTreeMap<String, String>;

/// What is set, or the default.
pub(crate) fn value<'a>(overrides: &'a Overrides, defaults: &'a Defaults, name: &str) -> &'a str {
    let set = overrides.get(name);
    set.map_or_else(|| defaults.get(name), String::as_str)
}

/// What the values of a config may be.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let mut all = CONFIGS.iter();
    all.find_map(|(one, kind, _)| (*one == name).then_some(*kind))
}

/// Whether a value may be set; the error is Kafka's message.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let kind = kind(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    kind.check(name, value)
}

/// What the configs mean for the log.
pub(crate) fn log_config(
    overrides: &Overrides,
    defaults: &Defaults,
    flush: bool,
    producers: Expiration,
) -> LogConfig {
    let value = |name| value(overrides, defaults, name).trim();
    let number = |name| value(name).parse::<i64>().unwrap_or(i64::MAX);
    // Negative: no limit.
    let limit = |name| u64::try_from(number(name)).ok();
    let policy: Vec<&str> = value("cleanup.policy").split(',').map(str::trim).collect();
    let compacted = policy.contains(&"compact");
    let compaction = Compaction {
        delete_retention_ms: number("delete.retention.ms"),
        min_lag_ms: number("min.compaction.lag.ms"),
        max_lag_ms: number("max.compaction.lag.ms"),
        min_dirty_ratio: value("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
    };
    // What has to be compacted soon must not stay in the segment that grows (`LogConfig.maxSegmentMs`).
    let segment_ms = match compacted {
        true => number("segment.ms").min(compaction.max_lag_ms),
        false => number("segment.ms"),
    };
    LogConfig {
        max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
        segment_bytes: number("segment.bytes").unsigned_abs(),
        segment_ms,
        log_append_time: value("message.timestamp.type") == "LogAppendTime",
        before_max_ms: number("message.timestamp.before.max.ms"),
        after_max_ms: number("message.timestamp.after.max.ms"),
        deletes: policy.contains(&"delete"),
        retention: Retention {
            ms: Some(number("retention.ms")).filter(|ms| *ms >= 0),
            bytes: limit("retention.bytes"),
        },
        compacted,
        compaction,
        compression: value("compression.type").parse::<Codec>().ok(),
        flush: flush || number("flush.messages") == 1,
        producers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal_and_sorted() {
        for (name, kind, default) in CONFIGS {
            kind.check(name, default).unwrap();
        }
        assert!(CONFIGS.is_sorted_by_key(|(name, ..)| name));
    }

    #[test]
    fn values_are_checked() {
        check("cleanup.policy", "compact,delete").unwrap();
        check("retention.ms", "-1").unwrap();
        assert!(check("cleanup.policy", "shred").is_err());
        assert!(
            check("segment.bytes", "1000").is_err(),
            "at least 1 MiB since 4.0"
        );
        assert!(check("retention.ms", "soon").is_err());
        assert!(check("no.such.config", "1").is_err());
    }
}
