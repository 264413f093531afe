//! What the tests of several modules start from.

use std::sync::LazyLock;

use broker_lite::Broker;
use host::Host;
use tempfile::TempDir;
use tracing::{Dispatch, Subscriber};
use wire::client::{Client, ClientSettings, ConfigEntry, ConfigSource, NewTopic};

/// A broker-lite in this process, and a client of it.
pub(crate) struct Cluster {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

impl Cluster {
    /// A fresh one on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings, each `key=value`.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = broker_lite::Config::new("127.0.0.1:0", folder.path());
        for setting in settings {
            config.apply(setting).unwrap();
        }
        let broker = Broker::start(config, Host::real()).await.unwrap();
        let address = broker.address();
        let bootstrap = vec![(address.ip().to_string(), address.port())];
        let client = Client::new(Host::real(), ClientSettings::new(bootstrap, "test"));
        Self {
            broker,
            client,
            folder,
        }
    }

    /// A new topic.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter();
        let configs = configs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let topic = NewTopic {
            name: name.to_owned(),
            partitions,
            replication_factor: -1,
            configs: configs.collect(),
        };
        let outcomes = self.client.create_topics(&[topic], false).await.unwrap();
        outcomes[0].1.clone().unwrap();
    }
}

/// `subscriber`, which a thread may listen with. Where there is only one, the thread that first comes by a line of the log
/// decides for all whether somebody listens (`tracing_core::callsite::Rebuilder::JustOne`); so there is another one.
pub(crate) fn listener(subscriber: impl Subscriber + Send + Sync + 'static) -> Dispatch {
    static OTHER: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&OTHER);
    Dispatch::new(subscriber)
}

/// A config that may be seen and changed.
pub(crate) fn config_entry(name: &str, value: &str, source: ConfigSource) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
        read_only: false,
        sensitive: false,
    }
}
