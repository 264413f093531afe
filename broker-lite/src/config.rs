//! Settings, by Kafka's names where Kafka has them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::{
    security::{credentials::ScramUser, listeners, properties::Properties},
    state::topic_config::defaults,
};

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// `listeners`: `NAME://HOST:PORT`, separated by commas, or only `HOST:PORT`. Port 0 takes a free one.
    pub listen: String,
    /// Folder of all data.
    pub data: PathBuf,
    /// More folders for partitions (`log.dirs` behind the first).
    pub more_data: Vec<PathBuf>,
    /// `advertised.listeners`: what clients are told to connect to, by listener. Without, the address that was bound.
    pub advertise: Option<String>,
    /// `node.id`
    pub node_id: i32,
    /// `num.partitions`: of topics that are created without a number.
    pub num_partitions: i32,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `socket.request.max.bytes`
    pub max_request_bytes: usize,
    /// `max.connection.creation.rate`: in a second; none is as many as come.
    pub max_connection_creation_rate: Option<u32>,
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `queued.max.request.bytes`: memory of requests that are read or worked on. Kafka has no limit by default.
    pub queued_max_request_bytes: usize,
    /// How long TLS and the login of a new connection may take. Kafka has no name for it.
    pub login_timeout: Duration,
    /// How long a peer may take nothing of an answer that waits for it. Kafka has no name for it.
    pub write_timeout: Duration,
    /// `log.flush.interval.messages=1`: sync each append before its answer.
    pub flush: bool,
    /// What topics fall back to, by name, as given: `log.retention.ms`, `log.segment.bytes`, `message.max.bytes`, ...
    pub log: BTreeMap<String, String>,
    /// `log.initial.task.delay.ms`: from the start to the first look for what is out of date.
    pub log_initial_task_delay: Duration,
    /// `log.retention.check.interval.ms`
    pub log_retention_check_interval: Duration,
    /// `log.cleaner.enable`: compact what topics want compacted.
    pub log_cleaner_enable: bool,
    /// `log.cleaner.backoff.ms`: between two looks for what to compact.
    pub log_cleaner_backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`: most bytes that compaction remembers keys in.
    pub log_cleaner_dedupe_buffer_size: usize,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`: between two looks for producers to forget. Internal in Kafka.
    pub producer_id_expiration_check_interval_ms: i64,
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`
    pub group_initial_rebalance_delay: Duration,
    /// `transaction.max.timeout.ms`
    pub transaction_max_timeout_ms: i32,
    /// Where to serve metrics for Prometheus, `HOST:PORT`; none: nowhere.
    pub metrics: Option<String>,
    /// Users that can log in by SCRAM from the first start on.
    pub(crate) scram_users: Vec<ScramUser>,
    /// Settings of listeners and of security.
    pub(crate) security: Properties,
}

/// Why a setting is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting of this name.
    #[error("there is no setting {name:?}; did you mean {near:?}?")]
    Unknown {
        /// As written.
        name: String,
        /// The one that is most like it.
        near: String,
    },
    /// The value is not one.
    #[error("{name}={value}: not a value of this setting")]
    Value {
        /// The setting.
        name: String,
        /// As written.
        value: String,
    },
    /// Not TOML.
    #[error(
        "{0}; names such as \"max.connections\" must be in quotes beside \"max.connections.per.ip\""
    )]
    Toml(String),
    /// Not `key=value`.
    #[error("{0:?} is not in the form of key=value")]
    Form(String),
}

/// Names of all settings that files and `--set` know.
const KNOWN: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "connections.max.idle.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "listeners",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.enable",
    "log.dirs",
    "log.flush.interval.messages",
    "log.initial.task.delay.ms",
    "log.retention.check.interval.ms",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "node.id",
    "num.partitions",
    "producer.id.expiration.check.interval.ms",
    "producer.id.expiration.ms",
    "queued.max.request.bytes",
    "socket.request.max.bytes",
    "transaction.max.timeout.ms",
];

impl Config {
    /// Kafka's defaults, save the rebalance delay: a light broker's groups start at once.
    pub fn new(listen: impl Into<String>, data: impl AsRef<Path>) -> Self {
        Self {
            listen: listen.into(),
            data: data.as_ref().to_owned(),
            more_data: Vec::new(),
            advertise: None,
            node_id: 1,
            num_partitions: 1,
            auto_create_topics: true,
            max_request_bytes: 100 << 20,
            max_connection_creation_rate: None,
            max_connections: 4096,
            max_connections_per_ip: usize::MAX,
            connections_max_idle: Duration::from_secs(600),
            queued_max_request_bytes: 512 << 20,
            login_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            flush: false,
            log: BTreeMap::new(),
            log_initial_task_delay: Duration::from_secs(30),
            log_retention_check_interval: Duration::from_secs(300),
            log_cleaner_enable: true,
            log_cleaner_backoff: Duration::from_secs(15),
            log_cleaner_dedupe_buffer_size: 32 << 20,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_interval_ms: 600_000,
            group_min_session_timeout: Duration::from_secs(6),
            group_max_session_timeout: Duration::from_secs(1800),
            group_initial_rebalance_delay: Duration::ZERO,
            transaction_max_timeout_ms: 900_000,
            metrics: None,
            scram_users: Vec::new(),
            security: Properties::default(),
        }
    }

    /// Takes the lines of a properties file: `key=value`, comments begin with `#`.
    ///
    /// # Errors
    /// At the first line that is not a known setting with a value of it.
    pub fn apply_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .try_for_each(|line| self.apply(line))
    }

    /// Takes a file in TOML. Nested tables stand for names with dots, arrays for values with commas; a name that is the
    /// beginning of another one (`max.connections`) must be quoted.
    ///
    /// # Errors
    /// If it is no TOML, or has what is not a known setting with a value of it.
    pub fn apply_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Toml(error.message().to_owned()))?;
        let mut settings = Vec::new();
        flatten(String::new(), toml::Value::Table(table), &mut settings);
        settings.iter().try_for_each(|setting| self.apply(setting))
    }

    /// Adds a user that logs in by SCRAM, written as for Kafka's `StorageTool --add-scram`:
    /// `SCRAM-SHA-512=[name=NAME,password=PASSWORD]`, with `iterations=N` if wanted. Whom the data folder knows by this
    /// mechanism keeps the password.
    ///
    /// # Errors
    /// If it is not written so. The error does not show it.
    pub fn add_scram(&mut self, text: &str) -> Result<(), ConfigError> {
        let user =
            ScramUser::parse(text).ok_or_else(|| ConfigError::Form("--add-scram".to_owned()))?;
        self.scram_users.push(user);
        Ok(())
    }

    /// All folders that hold partitions.
    pub(crate) fn log_dirs(&self) -> impl Iterator<Item = &Path> {
        let first = std::iter::once(&self.data);
        first.chain(&self.more_data).map(PathBuf::as_path)
    }

    /// Takes one `key=value`.
    ///
    /// # Errors
    /// If it is not a known setting with a value of it.
    pub fn apply(&mut self, setting: &str) -> Result<(), ConfigError> {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| ConfigError::Form(setting.to_owned()))?;
        let (name, value) = (name.trim(), value.trim());
        let parsed = Setting { name, value };
        match name {
            "advertised.listeners" => self.advertise = Some(parsed.listeners()?),
            "auto.create.topics.enable" => self.auto_create_topics = parsed.parse(|_| true)?,
            "group.initial.rebalance.delay.ms" => {
                self.group_initial_rebalance_delay = parsed.millis()?;
            }
            "group.max.session.timeout.ms" => self.group_max_session_timeout = parsed.millis()?,
            "group.min.session.timeout.ms" => self.group_min_session_timeout = parsed.millis()?,
            "listeners" => self.listen = parsed.listeners()?,
            "log.dirs" => {
                let all = value.split(',').map(str::trim);
                let mut all = all.filter(|path| !path.is_empty()).map(PathBuf::from);
                self.data = all.next().ok_or_else(|| parsed.wrong())?;
                self.more_data = all.collect();
            }
            "log.flush.interval.messages" => {
                let every: i64 = parsed.parse(|n| *n == 1 || *n == i64::MAX)?;
                self.flush = every == 1;
                self.log.insert(name.to_owned(), value.to_owned());
            }
            "max.connection.creation.rate" => {
                self.max_connection_creation_rate = Some(parsed.parse(|n| *n > 0)?);
            }
            "max.connections" => self.max_connections = parsed.parse(|n| *n > 0)?,
            "max.connections.per.ip" => {
                self.max_connections_per_ip = parsed.parse(|n| *n > 0)?;
            }
            "connections.max.idle.ms" => {
                let ms: i64 = parsed.parse(|n| *n != 0)?;
                // As in Kafka a negative number is for ever.
                let idle = u64::try_from(ms).unwrap_or(u64::MAX >> 1);
                self.connections_max_idle = Duration::from_millis(idle);
            }
            "queued.max.request.bytes" => {
                let bytes: i64 = parsed.parse(|n| *n != 0)?;
                self.queued_max_request_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            }
            "node.id" => self.node_id = parsed.parse(|n| *n >= 0)?,
            "num.partitions" => self.num_partitions = parsed.parse(|n| *n > 0)?,
            "producer.id.expiration.ms" => {
                self.producer_id_expiration_ms = parsed.parse(|n| *n > 0)?;
            }
            "producer.id.expiration.check.interval.ms" => {
                self.producer_id_expiration_check_interval_ms = parsed.parse(|n| *n > 0)?;
            }
            "socket.request.max.bytes" => self.max_request_bytes = parsed.parse(|n| *n > 0)?,
            "transaction.max.timeout.ms" => {
                self.transaction_max_timeout_ms = parsed.parse(|n| *n > 0)?;
            }
            _ if Properties::knows(name) => {
                if !self.security.set(name, value) {
                    return Err(parsed.wrong());
                }
            }
            _ => self.apply_log(&parsed)?,
        }
        Ok(())
    }

    /// A setting of the logs, or one that topics fall back to.
    fn apply_log(&mut self, setting: &Setting<'_>) -> Result<(), ConfigError> {
        let name = setting.name;
        match name {
            "log.cleaner.backoff.ms" => self.log_cleaner_backoff = setting.millis()?,
            "log.cleaner.dedupe.buffer.size" => {
                self.log_cleaner_dedupe_buffer_size = setting.parse(|n| *n >= 1 << 20)?;
            }
            "log.cleaner.enable" => self.log_cleaner_enable = setting.parse(|_| true)?,
            "log.initial.task.delay.ms" => self.log_initial_task_delay = setting.millis()?,
            "log.retention.check.interval.ms" => {
                let ms = setting.parse(|ms: &u64| *ms > 0)?;
                self.log_retention_check_interval = Duration::from_millis(ms);
            }
            _ => match defaults::check_setting(name, setting.value) {
                Some(is_legal) => {
                    setting.parse(|_: &String| is_legal.is_ok())?;
                    self.log.insert(name.to_owned(), setting.value.to_owned());
                }
                None => return Err(unknown(name)),
            },
        }
        Ok(())
    }
}

/// `key=value` for each value of a tree.
fn flatten(name: String, value: toml::Value, settings: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let name = match &*name {
                    "" => key,
                    name => format!("{name}.{key}"),
                };
                flatten(name, value, settings);
            }
        }
        toml::Value::Array(values) => {
            let values: Vec<_> = values.into_iter().map(plain).collect();
            settings.push(format!("{name}={}", values.join(",")));
        }
        value => settings.push(format!("{name}={}", plain(value))),
    }
}

fn plain(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn parse<T: FromStr>(&self, is_legal: impl Fn(&T) -> bool) -> Result<T, ConfigError> {
        let parsed = self.value.parse().ok().filter(is_legal);
        parsed.ok_or_else(|| self.wrong())
    }

    /// The value is not one. What may be a secret is not shown.
    fn wrong(&self) -> ConfigError {
        let is_secret = ["jaas", "password", "ssl.keystore.key"]
            .iter()
            .any(|word| self.name.contains(word));
        ConfigError::Value {
            name: self.name.to_owned(),
            value: if is_secret { "***" } else { self.value }.to_owned(),
        }
    }

    fn millis(&self) -> Result<Duration, ConfigError> {
        Ok(Duration::from_millis(self.parse(|_: &u64| true)?))
    }

    /// `NAME://HOST:PORT`, separated by commas.
    fn listeners(&self) -> Result<String, ConfigError> {
        self.parse(|value: &String| listeners::parse(value).is_some())
    }
}

/// With the known name that is most like it.
fn unknown(name: &str) -> ConfigError {
    let logs = defaults::names();
    let known = KNOWN.iter().copied().chain(Properties::names()).chain(logs);
    // Of a listener's own settings the part behind its name is looked for.
    let own = name.strip_prefix("listener.name.");
    let (prefix, wanted) = match own.and_then(|own| own.split_once('.')) {
        Some((listener, rest)) => (format!("listener.name.{listener}."), rest),
        None => (String::new(), name),
    };
    let near = known.max_by(|a, b| {
        let likeness = |known| strsim::jaro_winkler(wanted, known);
        likeness(a).total_cmp(&likeness(b))
    });
    ConfigError::Unknown {
        name: name.to_owned(),
        near: format!("{prefix}{}", near.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_by_kafkas_names() {
        let mut config = Config::new("127.0.0.1:9092", "data");
        config
            .apply_file(
                "# a comment\n\nnode.id = 7\nnum.partitions=3\nlisteners=PLAINTEXT://127.0.0.1:1\n",
            )
            .unwrap();
        assert_eq!((config.node_id, config.num_partitions), (7, 3));
        assert_eq!(config.listen, "PLAINTEXT://127.0.0.1:1");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut config = Config::new("127.0.0.1:9092", "data");
        for (wrong, near) in [
            ("num.partition=1", "num.partitions"),
            ("ssl.keystore.path=1", "ssl.keystore.type"),
            (
                "listener.name.x.ssl.client.aut=1",
                "listener.name.x.ssl.client.auth",
            ),
        ] {
            let error = config.apply(wrong).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("did you mean {near:?}?")),
                "{error}"
            );
        }
        let error = config.apply("listener.name.x.ssl.truststore.type=hunter2");
        assert!(error.unwrap_err().to_string().contains("hunter2"));
        for wrong in [
            "num.partitions=0",
            "num.partitions=many",
            "listeners=SSL://x",
            "ssl.client.auth=maybe",
            "nonsense",
        ] {
            assert!(config.apply(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn toml_says_the_same() {
        let mut config = Config::new("127.0.0.1:9092", "data");
        let text = "node.id = 7\nauto.create.topics.enable = false\n\
                    listeners = [\"IN://127.0.0.1:1\", \"OUT://127.0.0.1:2\"]\n\
                    \"max.connections\" = 5\n\"max.connections.per.ip\" = 2\n\
                    [listener.name.in]\n\"ssl.client.auth\" = \"none\"\n";
        config.apply_toml(text).unwrap();
        assert_eq!(config.listen, "IN://127.0.0.1:1,OUT://127.0.0.1:2");
        assert_eq!((config.node_id, config.auto_create_topics), (7, false));
        assert_eq!(
            (config.max_connections, config.max_connections_per_ip),
            (5, 2)
        );
        assert_eq!(
            config.security.of("IN").own("ssl.client.auth"),
            Some("none")
        );
        for wrong in [
            "node.id = -1",
            "node.idx = 1",
            "node",
            "max.connections = 5\nmax.connections.per.ip = 2",
        ] {
            assert!(config.apply_toml(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_known_name_is_a_setting() {
        let mut config = Config::new("127.0.0.1:9092", "data");
        for name in KNOWN {
            let error = config.apply(&format!("{name}=\u{0}"));
            assert!(!matches!(error, Err(ConfigError::Unknown { .. })), "{name}");
        }
    }
}
