//! What a broker's own settings make of the defaults of topics (`ServerTopicConfigSynonyms`).

use std::collections::BTreeMap;

use super::{CONFIGS, Kind, check};

/// A topic's config and the broker's settings that it falls back to: the first that is set counts, times its factor.
const FALLBACKS: &[(&str, &[(&str, i64)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.lz4.level", &[("compression.lz4.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    (
        "delete.retention.ms",
        &[("log.cleaner.delete.retention.ms", 1)],
    ),
    (
        "file.delete.delay.ms",
        &[("log.segment.delete.delay.ms", 1)],
    ),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    ("flush.ms", &[("log.flush.interval.ms", 1)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", 1)]),
    ("local.retention.ms", &[("log.local.retention.ms", 1)]),
    (
        "max.compaction.lag.ms",
        &[("log.cleaner.max.compaction.lag.ms", 1)],
    ),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    (
        "message.timestamp.after.max.ms",
        &[("log.message.timestamp.after.max.ms", 1)],
    ),
    (
        "message.timestamp.before.max.ms",
        &[("log.message.timestamp.before.max.ms", 1)],
    ),
    (
        "message.timestamp.type",
        &[("log.message.timestamp.type", 1)],
    ),
    (
        "min.cleanable.dirty.ratio",
        &[("log.cleaner.min.cleanable.ratio", 1)],
    ),
    (
        "min.compaction.lag.ms",
        &[("log.cleaner.min.compaction.lag.ms", 1)],
    ),
    ("preallocate", &[("log.preallocate", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    (
        "retention.ms",
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", 3_600_000),
        ],
    ),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    (
        "segment.ms",
        &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)],
    ),
];

/// The broker's settings that topics fall back to, by name, as they were given.
pub(crate) type LogSettings = BTreeMap<String, String>;

/// Names of all of them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FALLBACKS
        .iter()
        .flat_map(|(_, from)| from.iter())
        .map(|(name, _)| *name)
}

/// The config of topics that falls back to the broker's setting `name`, where both have one unit. These settings can be
/// changed while it runs (`DynamicLogConfig.ReconfigurableConfigs`).
fn topic_config(name: &str) -> Option<&'static str> {
    let mut all = FALLBACKS.iter();
    let of = |from: &[(&str, i64)]| {
        from.iter()
            .any(|(one, factor)| *one == name && *factor == 1)
    };
    all.find_map(|(topic, from)| of(from).then_some(*topic))
}

/// The broker's setting that a topic's config falls back to first.
pub(crate) fn setting(topic: &str) -> Option<&'static str> {
    let mut all = FALLBACKS.iter();
    let (_, from) = all.find(|(one, _)| *one == topic)?;
    from.first().map(|(name, _)| *name)
}

/// Settings of other things that Kafka lets clients change, and that there are none of here, Kerberos and pools of threads:
/// they are stored and shown. Name, type, default.
pub(crate) const WITHOUT_EFFECT: &[(&str, Kind, &str)] = &[
    ("background.threads", Kind::Int(1), "10"),
    ("log.cleaner.threads", Kind::Int(0), "1"),
    ("num.io.threads", Kind::Int(1), "8"),
    ("num.network.threads", Kind::Int(1), "3"),
    ("num.recovery.threads.per.data.dir", Kind::Int(1), "2"),
    ("num.replica.fetchers", Kind::Int(1), "1"),
    (
        "sasl.kerberos.min.time.before.relogin",
        Kind::Long(i64::MIN),
        "60000",
    ),
    ("sasl.kerberos.ticket.renew.jitter", Kind::Double, "0.05"),
    (
        "sasl.kerberos.ticket.renew.window.factor",
        Kind::Double,
        "0.8",
    ),
];

/// What the values of a setting may be that clients can change, and its default.
pub(crate) fn dynamic(name: &str) -> Option<(Kind, &'static str)> {
    let mut without = WITHOUT_EFFECT.iter();
    let topic = topic_config(name);
    let of_topics = CONFIGS.iter().find(|(one, ..)| Some(*one) == topic);
    let found = of_topics.or_else(|| without.find(|(one, ..)| *one == name));
    found.map(|(_, kind, default)| (*kind, *default))
}

/// The setting that a topic's config falls back to last, and its default, where the first one has none.
pub(crate) fn last(topic: &str) -> Option<(&'static str, &'static str)> {
    match topic {
        "flush.ms" => Some(("log.flush.scheduler.interval.ms", "9223372036854775807")),
        "retention.ms" => Some(("log.retention.hours", "168")),
        "segment.ms" => Some(("log.roll.hours", "168")),
        _ => None,
    }
}

/// Whether the broker's setting `name` may have `value`; none if it is not one of these.
pub(crate) fn check_setting(name: &str, value: &str) -> Option<Result<(), String>> {
    let (topic, factor) = FALLBACKS.iter().find_map(|(topic, from)| {
        let (_, factor) = from.iter().find(|(one, _)| *one == name)?;
        Some((*topic, *factor))
    })?;
    let scaled = scale(value, factor);
    let scaled = scaled.ok_or_else(|| format!("{value:?} is not a number that {topic} can hold"));
    Some(scaled.and_then(|value| check(topic, &value)))
}

/// What topics have where nothing is set on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults(BTreeMap<&'static str, OfBroker>);

/// A default that a broker's setting made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfBroker {
    /// The setting, if it is in the config's own unit.
    from: Option<&'static str>,
    value: String,
    /// Settings in other units that it goes before, as they were given.
    coarser: Vec<(&'static str, String)>,
}

impl Defaults {
    /// As `settings`, which are checked, say.
    pub(crate) fn of(settings: &LogSettings) -> Self {
        let set = FALLBACKS.iter().filter_map(|(topic, all)| {
            let mut found = all.iter().filter_map(|(name, factor)| {
                let value = scale(settings.get(*name)?, *factor)?;
                let from = (*factor == 1).then_some(*name);
                let others = all
                    .iter()
                    .filter(|(other, factor)| *factor > 1 && other != name);
                let others =
                    others.filter_map(|(other, _)| Some((*other, settings.get(*other)?.clone())));
                let coarser = others.collect();
                Some(OfBroker {
                    from,
                    value,
                    coarser,
                })
            });
            Some((*topic, found.next()?))
        });
        Self(set.collect())
    }

    /// The default of a config.
    pub(crate) fn get(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(set) => &set.value,
            None => CONFIGS
                .iter()
                .find(|(one, ..)| *one == name)
                .map_or("", |(.., default)| default),
        }
    }

    /// Settings in other units that the one of [`Defaults::source`] goes before.
    pub(crate) fn coarser(&self, name: &str) -> &[(&'static str, String)] {
        let set = self.0.get(name).filter(|set| set.from.is_some());
        set.map_or(&[], |set| &set.coarser)
    }

    /// Whether a setting of the broker made the default of a config, in whatever unit.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The broker's setting that made the default of a config, if one did. One in another unit (hours)
    /// DescribeConfigs does not tell of in Kafka, CreateTopics does.
    pub(crate) fn source(&self, name: &str) -> Option<&'static str> {
        self.0.get(name)?.from
    }
}

/// `value` in a unit of which it has `factor`; -1 means no limit in each.
fn scale(value: &str, factor: i64) -> Option<String> {
    if factor == 1 || value.trim() == "-1" {
        return Some(value.trim().to_owned());
    }
    let scaled = value.trim().parse::<i64>().ok()?.checked_mul(factor)?;
    Some(scaled.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&str, &str)]) -> Defaults {
        let settings = settings.iter().map(|(name, value)| {
            check_setting(name, value).unwrap().unwrap();
            ((*name).to_owned(), (*value).to_owned())
        });
        Defaults::of(&settings.collect())
    }

    #[test]
    fn the_finest_unit_counts() {
        assert_eq!(of(&[]).get("retention.ms"), "604800000");
        assert_eq!(of(&[]).source("retention.ms"), None);
        let hours = of(&[("log.retention.hours", "2")]);
        assert_eq!(hours.get("retention.ms"), "7200000");
        assert_eq!(hours.source("retention.ms"), None);
        let ms = of(&[("log.retention.ms", "5")]);
        assert_eq!(ms.source("retention.ms"), Some("log.retention.ms"));
        let both = of(&[("log.retention.hours", "2"), ("log.retention.minutes", "1")]);
        assert_eq!(both.get("retention.ms"), "60000");
        assert_eq!(
            of(&[("log.retention.hours", "-1")]).get("retention.ms"),
            "-1"
        );
    }

    #[test]
    fn settings_are_checked_as_configs_are() {
        for (name, _) in FALLBACKS {
            assert!(CONFIGS.iter().any(|(one, ..)| one == name), "{name}");
        }
        assert_eq!(check_setting("log.nonsense", "1"), None);
        for (name, value) in [
            ("log.segment.bytes", "1000"),
            ("log.cleanup.policy", "shred"),
            ("log.retention.hours", "9223372036854775807"),
            ("log.retention.hours", "soon"),
        ] {
            assert!(
                check_setting(name, value).unwrap().is_err(),
                "{name}={value}"
            );
        }
    }
}
