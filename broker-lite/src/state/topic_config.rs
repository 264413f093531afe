//! The configs of topics: names, types and defaults of Kafka 4.1 (`org.apache.kafka.common.config.TopicConfig`,
//! `org.apache.kafka.storage.internals.log.LogConfig`).
//!
//! All are checked, stored and shown. Those that decide what happens at once (sizes, timestamps, codec,
//! keys) are acted on; retention and compaction are not yet.

use std::collections::BTreeMap;

use wire::record::Codec;

use super::partition::LogConfig;

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

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Bool => matches!(value, "true" | "false"),
            Self::Text([]) => true,
            Self::Text(allowed) => allowed.contains(&value),
            Self::Int(least) => value.parse::<i32>().is_ok_and(|n| i64::from(n) >= least),
            Self::Long(least) => value.parse::<i64>().is_ok_and(|n| n >= least),
            Self::Double => value.parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n)),
            Self::List(allowed) => {
                let mut parts = value
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                parts.all(|part| allowed.is_empty() || allowed.contains(&part))
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

/// Configs that are set on a topic.
pub(crate) type Overrides = BTreeMap<String, String>;

/// What is set, or the default.
pub(crate) fn value<'a>(overrides: &'a Overrides, name: &str) -> &'a str {
    let default = || {
        CONFIGS
            .iter()
            .find(|(n, ..)| *n == name)
            .map_or("", |(.., default)| default)
    };
    overrides.get(name).map_or_else(default, String::as_str)
}

/// Whether a value may be set; the error is Kafka's message.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some((_, kind, _)) = CONFIGS.iter().find(|(n, ..)| *n == name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    if kind.accepts(value) {
        return Ok(());
    }
    Err(format!("Invalid value {value} for configuration {name}"))
}

/// What the configs mean for the log.
pub(crate) fn log_config(overrides: &Overrides, flush: bool, expiration_ms: i64) -> LogConfig {
    let number = |name| value(overrides, name).parse::<i64>().unwrap_or(i64::MAX);
    let policy = value(overrides, "cleanup.policy");
    LogConfig {
        max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
        segment_bytes: number("segment.bytes").unsigned_abs(),
        segment_ms: number("segment.ms"),
        log_append_time: value(overrides, "message.timestamp.type") == "LogAppendTime",
        before_max_ms: number("message.timestamp.before.max.ms"),
        after_max_ms: number("message.timestamp.after.max.ms"),
        deletes: policy.split(',').any(|part| part.trim() == "delete"),
        compacted: policy.split(',').any(|part| part.trim() == "compact"),
        compression: value(overrides, "compression.type").parse::<Codec>().ok(),
        flush: flush || number("flush.messages") == 1,
        producer_id_expiration_ms: expiration_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal_and_sorted() {
        for (name, kind, default) in CONFIGS {
            assert!(kind.accepts(default), "{name}");
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
