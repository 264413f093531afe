//! What topics have where nothing is set on them, and where it is from: settings that the broker was started with, and those
//! that clients gave all brokers, or this one, since (`DynamicBrokerConfig`).

use crate::state::topic_config::defaults::{Defaults, LogSettings};

/// Whom settings are given to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) enum Scope {
    /// All brokers of the cluster.
    Cluster,
    /// This one; it goes first.
    Broker,
}

/// Settings by where they are from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    started_with: LogSettings,
    cluster: LogSettings,
    broker: LogSettings,
    /// What all of them come to.
    defaults: Defaults,
}

/// `DescribeConfigsResponse.ConfigSource`
pub(crate) const DYNAMIC_BROKER: i8 = 2;
pub(crate) const DYNAMIC_CLUSTER: i8 = 3;
pub(crate) const STATIC_BROKER: i8 = 4;

impl Inherited {
    /// Nothing is given but what the broker was started with.
    pub(crate) fn new(started_with: LogSettings) -> Self {
        Self {
            defaults: Defaults::of(&started_with),
            started_with,
            ..Self::default()
        }
    }

    /// The same, with other settings given.
    pub(crate) fn with(&self, scope: Scope, settings: LogSettings) -> Self {
        let mut new = self.clone();
        match scope {
            Scope::Cluster => new.cluster = settings,
            Scope::Broker => new.broker = settings,
        }
        let mut all = new.started_with.clone();
        all.extend(new.cluster.clone());
        all.extend(new.broker.clone());
        new.defaults = Defaults::of(&all);
        new
    }

    /// What is given to one or to all.
    pub(crate) fn given(&self, scope: Scope) -> &LogSettings {
        match scope {
            Scope::Cluster => &self.cluster,
            Scope::Broker => &self.broker,
        }
    }

    /// The values of a setting, and where they are from; the first counts.
    pub(crate) fn values(&self, setting: &str) -> impl Iterator<Item = (&str, i8)> {
        let all = [
            (&self.broker, DYNAMIC_BROKER),
            (&self.cluster, DYNAMIC_CLUSTER),
            (&self.started_with, STATIC_BROKER),
        ];
        let all = all.into_iter();
        all.filter_map(move |(layer, source)| Some((layer.get(setting)?.as_str(), source)))
    }

    /// Where the default of a topic's config is from, if anybody set it.
    pub(crate) fn source(&self, config: &str) -> Option<i8> {
        let setting = self.defaults.source(config);
        let given = setting.and_then(|setting| self.values(setting).next());
        let in_another_unit = || self.defaults.is_set(config).then_some(STATIC_BROKER);
        given.map(|(_, source)| source).or_else(in_another_unit)
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: &str) -> LogSettings {
        [("log.retention.ms".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn the_nearest_counts() {
        let mut inherited = Inherited::new(settings("1"));
        let now = |inherited: &Inherited| {
            let values: Vec<_> = inherited.values("log.retention.ms").collect();
            assert_eq!(values[0].0, inherited.defaults().get("retention.ms"));
            values.iter().map(|(_, source)| *source).collect::<Vec<_>>()
        };
        assert_eq!(now(&inherited), [STATIC_BROKER]);
        inherited = inherited.with(Scope::Broker, settings("2"));
        assert_eq!(now(&inherited), [DYNAMIC_BROKER, STATIC_BROKER]);
        inherited = inherited.with(Scope::Cluster, settings("3"));
        assert_eq!(
            now(&inherited),
            [DYNAMIC_BROKER, DYNAMIC_CLUSTER, STATIC_BROKER]
        );
        inherited = inherited.with(Scope::Broker, LogSettings::new());
        assert_eq!(now(&inherited), [DYNAMIC_CLUSTER, STATIC_BROKER]);
    }
}
