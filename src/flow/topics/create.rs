//! What the target's topic is made of, from the source's. Pure.
//!
//! The same number of partitions and the configs that were set on the source's topic, save those that
//! cannot hold on the target. What is left out is said: an operator who relies on it must know.

use wire::{
    client::{ConfigEntry, ConfigSource, NewTopic},
    error::ApiError,
};

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

const MIN_ISR: &str = "min.insync.replicas";
/// Lists of brokers by number: another cluster has other brokers.
const OF_BROKERS: [&str; 2] = [
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
];
/// INVALID_CONFIG and INVALID_REQUEST: what brokers answer to a config they do not take.
const INVALID_CONFIG: [i16; 2] = [40, 42];

/// What a controller is asked to create at once: it refuses what makes more than 10,000 records of its log
/// (`QuorumController.MAX_RECORDS_PER_USER_OP`), a record for each partition and config, and has to answer in time.
const MOST_PARTITIONS: i32 = 1000;
/// See [`MOST_PARTITIONS`].
pub const MOST_TOPICS: usize = 100;

/// The first of `topics`: as many as are created at once.
pub fn portion<'a>(topics: impl Iterator<Item = &'a NewTopic>) -> Vec<NewTopic> {
    let mut partitions = 0;
    let fit = topics.take(MOST_TOPICS).take_while(|topic| {
        let alone = partitions == 0;
        partitions += topic.partitions.max(1);
        alone || partitions <= MOST_PARTITIONS
    });
    fit.cloned().collect()
}

/// Whether the number of replicas decides what a topic with the source's `configs` gets.
pub fn needs_replicas(configs: &[ConfigEntry]) -> bool {
    let mut set = configs.iter();
    set.any(|config| config.name == MIN_ISR && config.source == ConfigSource::Topic)
}

impl Draft {
    /// `name` on the target with the partitions and configs of the source's topic. `replicas` is how
    /// many `replication_factor`, -1 for the target's default, comes to; 0: not known.
    pub fn new(
        name: &str,
        partitions: i32,
        (replication_factor, replicas): (i16, usize),
        source_configs: &[ConfigEntry],
    ) -> Self {
        let set = source_configs
            .iter()
            .filter(|config| config.source == ConfigSource::Topic);
        let readable = set.filter(|config| !config.sensitive && !config.read_only);
        let configs = readable
            .filter_map(|c| Some((c.name.clone(), c.value.clone()?)))
            .collect();
        let mut draft = Self {
            topic: NewTopic {
                name: name.to_owned(),
                partitions,
                replication_factor,
                configs,
            },
            left_out: Vec::new(),
        };
        for name in OF_BROKERS {
            draft.leave_out(name, "it names brokers of the source");
        }
        let in_sync = draft
            .config(MIN_ISR)
            .and_then(|value| value.parse::<usize>().ok());
        if replicas > 0 && in_sync.is_some_and(|in_sync| in_sync > replicas) {
            draft.leave_out(MIN_ISR, &format!("the replication factor is {replicas}"));
        }
        draft
    }

    /// Goes without the config that `error`, the target's answer, is about; false if it is about
    /// something else. Brokers name the key in their message, and not as a field of its own.
    pub fn yield_to(&mut self, error: &ApiError) -> bool {
        if !Self::is_about_configs(error) {
            return false;
        }
        let message = error.message.clone().unwrap_or_default();
        let named = |name: &str| {
            message
                .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
                .any(|word| word.trim_matches('.') == name)
        };
        let names: Vec<_> = self
            .topic
            .configs
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let offending: Vec<_> = names.into_iter().filter(|name| named(name)).collect();
        for name in &offending {
            self.leave_out(name, &message);
        }
        !offending.is_empty()
    }

    /// Whether the target's answer may be about a config.
    pub fn is_about_configs(error: &ApiError) -> bool {
        INVALID_CONFIG.contains(&error.code)
    }

    fn config(&self, name: &str) -> Option<&str> {
        let mut configs = self.topic.configs.iter();
        configs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            read_only: false,
            sensitive: false,
        }
    }

    fn draft(configs: &[(&str, &str)]) -> Draft {
        let configs: Vec<_> = configs
            .iter()
            .map(|(name, value)| entry(name, value, ConfigSource::Topic))
            .collect();
        Draft::new("orders", 4, (-1, 2), &configs)
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
        let draft = Draft::new("orders", 4, (-1, 3), &configs);
        assert_eq!(names(&draft), ["retention.ms"]);
        assert_eq!(
            (draft.topic.partitions, draft.topic.replication_factor),
            (4, -1)
        );
        assert!(draft.left_out.is_empty());
    }

    #[test]
    fn many_topics_are_created_in_portions() {
        let topics = |count: usize, partitions| {
            let topic = move |index| NewTopic {
                name: format!("t{index}"),
                ..Draft::new("t", partitions, (-1, 1), &[]).topic
            };
            (0..count).map(topic).collect::<Vec<_>>()
        };
        let sizes = |mut left: Vec<NewTopic>| {
            let mut sizes = Vec::new();
            while !left.is_empty() {
                let portion = portion(left.iter());
                assert_eq!(portion, left[..portion.len()]);
                sizes.push(portion.len());
                left.drain(..portion.len());
            }
            sizes
        };
        assert_eq!(sizes(topics(250, 1)), [100, 100, 50]);
        assert_eq!(sizes(topics(200, 8)), [100, 100]);
        assert_eq!(sizes(topics(25, 100)), [10, 10, 5]);
        assert_eq!(sizes(topics(3, 1001)), [1, 1, 1]);
    }

    #[test]
    fn only_a_minimum_of_the_topic_itself_asks_for_the_replicas() {
        let minimum = |source| [entry(MIN_ISR, "2", source)];
        assert!(needs_replicas(&minimum(ConfigSource::Topic)));
        assert!(!needs_replicas(&minimum(ConfigSource::Broker)));
        assert!(!needs_replicas(&[entry(
            "retention.ms",
            "1",
            ConfigSource::Topic
        )]));
    }

    #[test]
    fn more_replicas_in_sync_than_there_are_is_left_out_and_said() {
        let of = |in_sync| draft(&[(MIN_ISR, in_sync), ("retention.ms", "1")]);
        assert_eq!(names(&of("2")), [MIN_ISR, "retention.ms"]);
        let refused = of("3");
        assert_eq!(names(&refused), ["retention.ms"]);
        assert_eq!(refused.left_out[0].name, MIN_ISR);
        assert_eq!(refused.left_out[0].value, "3");
        let throttled = draft(&[(OF_BROKERS[0], "0:1")]);
        assert!(names(&throttled).is_empty() && throttled.left_out.len() == 1);
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
