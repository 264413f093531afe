//! Settings, by Kafka's names where Kafka has them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::state::topic_config::defaults;

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST:PORT` to listen on; port 0 takes a free one.
    pub listen: String,
    /// Folder of all data.
    pub data: PathBuf,
    /// What clients are told to connect to, `HOST:PORT`; none: the address that was bound.
    pub advertise: Option<String>,
    /// `node.id`
    pub node_id: i32,
    /// `num.partitions`: of topics that are created without a number.
    pub num_partitions: i32,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `socket.request.max.bytes`
    pub max_request_bytes: usize,
    /// `max.connections`
    pub max_connections: usize,
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
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`
    pub group_initial_rebalance_delay: Duration,
    /// `transaction.max.timeout.ms`
    pub transaction_max_timeout_ms: i32,
}

/// Why a setting is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting of this name.
    #[error("there is no setting {name:?}; these are: {known}")]
    Unknown {
        /// As written.
        name: String,
        /// All that there are.
        known: String,
    },
    /// The value is not one.
    #[error("{name}={value}: not a value of this setting")]
    Value {
        /// The setting.
        name: String,
        /// As written.
        value: String,
    },
    /// Not `key=value`.
    #[error("{0:?} is not key=value")]
    Form(String),
}

/// Names of all settings that files and `--set` know.
const KNOWN: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
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
    "max.connections",
    "node.id",
    "num.partitions",
    "producer.id.expiration.ms",
    "socket.request.max.bytes",
    "transaction.max.timeout.ms",
];

impl Config {
    /// Kafka's defaults, save the rebalance delay: a light broker's groups start at once.
    pub fn new(listen: impl Into<String>, data: impl AsRef<Path>) -> Self {
        Self {
            listen: listen.into(),
            data: data.as_ref().to_owned(),
            advertise: None,
            node_id: 1,
            num_partitions: 1,
            auto_create_topics: true,
            max_request_bytes: 100 << 20,
            max_connections: 4096,
            flush: false,
            log: BTreeMap::new(),
            log_initial_task_delay: Duration::from_secs(30),
            log_retention_check_interval: Duration::from_secs(300),
            log_cleaner_enable: true,
            log_cleaner_backoff: Duration::from_secs(15),
            log_cleaner_dedupe_buffer_size: 32 << 20,
            producer_id_expiration_ms: 86_400_000,
            group_min_session_timeout: Duration::from_secs(6),
            group_max_session_timeout: Duration::from_secs(1800),
            group_initial_rebalance_delay: Duration::ZERO,
            transaction_max_timeout_ms: 900_000,
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
            "advertised.listeners" => self.advertise = Some(parsed.address()?),
            "auto.create.topics.enable" => self.auto_create_topics = parsed.parse(|_| true)?,
            "group.initial.rebalance.delay.ms" => {
                self.group_initial_rebalance_delay = parsed.millis()?;
            }
            "group.max.session.timeout.ms" => self.group_max_session_timeout = parsed.millis()?,
            "group.min.session.timeout.ms" => self.group_min_session_timeout = parsed.millis()?,
            "listeners" => self.listen = parsed.address()?,
            "log.dirs" => {
                self.data =
                    parsed.parse(|path: &PathBuf| path.is_absolute() || path.is_relative())?
            }
            "log.flush.interval.messages" => {
                let every: i64 = parsed.parse(|n| *n == 1 || *n == i64::MAX)?;
                self.flush = every == 1;
            }
            "max.connections" => self.max_connections = parsed.parse(|n| *n > 0)?,
            "node.id" => self.node_id = parsed.parse(|n| *n >= 0)?,
            "num.partitions" => self.num_partitions = parsed.parse(|n| *n > 0)?,
            "producer.id.expiration.ms" => {
                self.producer_id_expiration_ms = parsed.parse(|n| *n > 0)?;
            }
            "socket.request.max.bytes" => self.max_request_bytes = parsed.parse(|n| *n > 0)?,
            "transaction.max.timeout.ms" => {
                self.transaction_max_timeout_ms = parsed.parse(|n| *n > 0)?;
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
                None => {
                    let mut known: Vec<&str> = KNOWN.to_vec();
                    known.extend(defaults::names());
                    known.sort_unstable();
                    let (name, known) = (name.to_owned(), known.join(", "));
                    return Err(ConfigError::Unknown { name, known });
                }
            },
        }
        Ok(())
    }

    /// Host and port that clients are told.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> (String, u16) {
        let advertised = self.advertise.as_deref().and_then(|address| {
            let (host, port) = address.rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?))
        });
        advertised.unwrap_or_else(|| (bound.ip().to_string(), bound.port()))
    }
}

struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn parse<T: FromStr>(&self, is_legal: impl Fn(&T) -> bool) -> Result<T, ConfigError> {
        let parsed = self.value.parse().ok().filter(is_legal);
        parsed.ok_or_else(|| ConfigError::Value {
            name: self.name.to_owned(),
            value: self.value.to_owned(),
        })
    }

    fn millis(&self) -> Result<Duration, ConfigError> {
        Ok(Duration::from_millis(self.parse(|_: &u64| true)?))
    }

    /// `HOST:PORT`, with or without `PLAINTEXT://` before it.
    fn address(&self) -> Result<String, ConfigError> {
        let address = self
            .value
            .strip_prefix("PLAINTEXT://")
            .unwrap_or(self.value);
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>().is_ok());
        let name = self.name;
        Setting {
            name,
            value: address,
        }
        .parse(|_: &String| port == Some(true))
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
        assert_eq!(config.listen, "127.0.0.1:1");
        config
            .apply("advertised.listeners=PLAINTEXT://kafka:9092")
            .unwrap();
        assert_eq!(
            config.advertised(([127, 0, 0, 1], 1).into()),
            ("kafka".to_owned(), 9092)
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut config = Config::new("127.0.0.1:9092", "data");
        let error = config.apply("log.retention=1").unwrap_err().to_string();
        assert!(
            error.contains("log.retention.ms") && error.contains("num.partitions"),
            "{error}"
        );
        for wrong in [
            "num.partitions=0",
            "num.partitions=many",
            "listeners=SSL://x",
            "nonsense",
        ] {
            assert!(config.apply(wrong).is_err(), "{wrong}");
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
