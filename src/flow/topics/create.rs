//! What the target's topic is made of, from the source's. Pure.
//!
//! The same number of partitions, and of the configs what the rules say ([`configs`](super::configs)), save those that
//! cannot hold on the target. What is left out is said: an operator who relies on it must know.

use wire::{
    client::{ConfigEntry, ConfigSource, NewTopic},
    error::ApiError,
};

use super::configs::{MIN_ISR, Wishes};
use crate::config::{ConfigRules, DefaultsFrom};

/// A config of the source's topic that the target's topic does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Its value on the source.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// A topic to create, and what it goes without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// To be created.
    pub topic: NewTopic,
    /// Left out so far.
    pub left_out: Vec<LeftOut>,
}

/// INVALID_CONFIG and INVALID_REQUEST: what brokers answer to a config they do not take.
const INVALID_CONFIG: [i16; 2] = [40, 42];

/// Whether the number of replicas decides what a topic with the source's `configs` gets by `rules`.
pub fn needs_replicas(configs: &[ConfigEntry], rules: &ConfigRules) -> bool {
    let all = rules.defaults_from == DefaultsFrom::Source;
    let mut set = configs.iter();
    let inherits =
        set.any(|config| config.name == MIN_ISR && (all || config.source == ConfigSource::Topic));
    rules.set.contains_key(MIN_ISR) || inherits && !rules.excludes(MIN_ISR)
}

impl Draft {
    /// `name` on the target with the partitions and configs of the source's topic. `replicas` is how
    /// many `replication_factor`, -1 for the target's default, comes to; 0: not known.
    pub fn new(
        name: &str,
        partitions: i32,
        (replication_factor, replicas): (i16, usize),
        source_configs: &[ConfigEntry],
        rules: &ConfigRules,
    ) -> Self {
        let wishes = Wishes::new(rules, source_configs, replicas);
        Self {
            topic: NewTopic {
                name: name.to_owned(),
                partitions,
                replication_factor,
                configs: wishes.given(),
            },
            left_out: wishes.left_out,
        }
    }

    /// Goes without the config that `error`, the target's answer, is about; false if it is about
    /// something else. Brokers name the key in their message, and not as a field of its own.
    pub fn yield_to(&mut self, error: &ApiError) -> bool {
        if !Self::is_about_configs(error) {
            return false;
        }
        let message = error.message.clone().unwrap_or_default();
        let names = self.topic.configs.iter().map(|(name, _)| name.clone());
        let offending: Vec<_> = names.filter(|name| is_named(&message, name)).collect();
        for name in &offending {
            self.leave_out(name, &message);
        }
        !offending.is_empty()
    }

    /// Whether the target's answer may be about a config.
    pub fn is_about_configs(error: &ApiError) -> bool {
        INVALID_CONFIG.contains(&error.code)
    }

    /// Takes `name` out, if it is there.
    pub fn leave_out(&mut self, name: &str, reason: &str) {
        let configs = &mut self.topic.configs;
        if let Some(at) = configs.iter().position(|(known, _)| known == name) {
            let (name, value) = configs.remove(at);
            self.left_out.push(LeftOut {
                name,
                value,
                reason: reason.to_owned(),
            });
        }
    }
}

/// Whether a broker's `message` is about the config `name`.
pub fn is_named(message: &str, name: &str) -> bool {
    message
        .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
        .any(|word| word.trim_matches('.') == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config_entry as entry;

    fn draft(configs: &[(&str, &str)]) -> Draft {
        let configs: Vec<_> = configs
            .iter()
            .map(|(name, value)| entry(name, value, ConfigSource::Topic))
            .collect();
        Draft::new("orders", 4, (-1, 2), &configs, &ConfigRules::default())
    }

    fn names(draft: &Draft) -> Vec<&str> {
        draft
            .topic
            .configs
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    fn error(code: i16, message: &str) -> ApiError {
        ApiError {
            code,
            message: Some(message.to_owned()),
        }
    }

    #[test]
    fn only_what_was_set_on_the_topic_goes_along() {
        let mut secret = entry("secret", "x", ConfigSource::Topic);
        secret.sensitive = true;
        let configs = [
            entry("retention.ms", "1000", ConfigSource::Topic),
            entry("segment.bytes", "14", ConfigSource::Broker),
            entry("max.message.bytes", "5", ConfigSource::Default),
            entry("future", "5", ConfigSource::Other(9)),
            secret,
        ];
        let draft = Draft::new("orders", 4, (-1, 3), &configs, &ConfigRules::default());
        assert_eq!(names(&draft), ["retention.ms"]);
        assert_eq!(
            (draft.topic.partitions, draft.topic.replication_factor),
            (4, -1)
        );
        assert!(draft.left_out.is_empty());
    }

    #[test]
    fn only_a_minimum_that_the_topic_gets_asks_for_the_replicas() {
        let minimum = |source| [entry(MIN_ISR, "2", source)];
        let rules = ConfigRules::default();
        assert!(needs_replicas(&minimum(ConfigSource::Topic), &rules));
        assert!(!needs_replicas(&minimum(ConfigSource::Broker), &rules));
        let retention = entry("retention.ms", "1", ConfigSource::Topic);
        assert!(!needs_replicas(&[retention], &rules));
        let set = ConfigRules {
            set: [(MIN_ISR.to_owned(), "2".to_owned())].into(),
            ..ConfigRules::default()
        };
        assert!(needs_replicas(&[], &set));
        let from_source = ConfigRules {
            defaults_from: DefaultsFrom::Source,
            ..ConfigRules::default()
        };
        assert!(needs_replicas(&minimum(ConfigSource::Broker), &from_source));
        let excluded = ConfigRules {
            exclude: vec![crate::config::NamePattern::new("min.*").unwrap()],
            ..ConfigRules::default()
        };
        assert!(!needs_replicas(&minimum(ConfigSource::Topic), &excluded));
    }

    /// Messages as Kafka 4.1.1 words them (`LogConfig.validate`, `ConfigDef`).
    #[test]
    fn the_target_refuses_keys_by_name() {
        let configs = [
            ("cleanup.policy", "compact"),
            ("retention.ms", "1"),
            ("x.retention.ms", "2"),
        ];
        let mut unknown = draft(&configs);
        assert!(unknown.yield_to(&error(40, "Unknown topic config name: x.retention.ms")));
        assert_eq!(names(&unknown), ["cleanup.policy", "retention.ms"]);
        let invalid = error(
            40,
            "Invalid value 1 for configuration retention.ms: Value must be at least -1",
        );
        assert!(unknown.yield_to(&invalid));
        assert_eq!(names(&unknown), ["cleanup.policy"]);
        assert_eq!(unknown.left_out[1].reason, invalid.message.clone().unwrap());
        assert!(
            !unknown.yield_to(&invalid),
            "it is about nothing that is still there"
        );
        assert!(
            !unknown.yield_to(&error(38, "cleanup.policy")),
            "not about a config"
        );
        assert!(!unknown.yield_to(&ApiError {
            code: 40,
            message: None
        }));
    }
}
