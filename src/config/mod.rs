//! What the operator asked for.
//!
//! Two sets of types: as written (`file`, every key optional) and as used (the public ones
//! here, checked and complete). Whoever holds a [`Config`] need not check anything again:
//! * every alias that a flow names is in `clusters`, and its two sides differ;
//! * flow names are unique and legal inside topic and group names;
//! * cluster properties carry librdkafka's names, and none that strait sets itself;
//! * secrets are resolved, and `Debug` never shows them; [`Security`] reads them again.
//!
//! Keys that have one possible value in this version (`require`, `source_commits`, ...) are checked and
//! have no field here.

mod cluster;
mod configs;
mod error;
mod file;
mod flow;
mod sources;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

pub use cluster::{ClusterConfig, Properties};
pub use configs::{ConfigRules, DefaultsFrom};
pub use error::ConfigError;
pub use file::Security;
pub(crate) use file::{
    addresses, check as check_property, kept as kept_property, keystore_to_pem, parse_jaas,
    truststore_to_pem,
};
pub(crate) use flow::check_name;
pub use flow::{
    AclMode, Assignment, FlowConfig, Mm2Topics, NamePattern, Naming, OnDelete, OnExisting, OnGap,
    OnPoison, OnRecreate, Rate, Require, Start, TopicConfig, TopicRule, Transport,
};
pub use sources::Sources;

/// A whole configuration, as used.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as the operator named it; `FILE` for one that was not read from a file.
    pub file: String,
    /// The clusters, by alias.
    pub clusters: BTreeMap<String, ClusterConfig>,
    /// The flows, in the order written; at least one.
    pub flows: Vec<FlowConfig>,
    /// The HTTP server.
    pub http: HttpConfig,
    /// Bounds of the process.
    pub limits: Limits,
}

impl Config {
    /// Reads the file at `path`.
    pub fn load(path: &Path, sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let text = (sources.file)(path).map_err(|error| ConfigError::whole(error.to_string()));
        text.and_then(|text| Self::parse(&text, sources))
            .map(|config| Self {
                file: path.display().to_string(),
                ..config
            })
            .map_err(|error| error.in_file(path))
    }

    /// Reads the text of a configuration file.
    pub fn parse(text: &str, sources: &Sources<'_>) -> Result<Self, ConfigError> {
        file::parse(text, sources)
    }
}

/// The HTTP server of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// `HOST:PORT` to listen on; none: no server.
    pub listen: Option<String>,
    /// Whether `/metrics` has series per partition.
    pub partition_metrics: bool,
}

/// Bounds of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records in flight, all flows together.
    pub memory: usize,
    /// How long a stop may take until what is still in flight is given up.
    pub drain_timeout: Duration,
    /// For files of this process; none: a folder of the user's that lasts while the machine is up.
    pub state_dir: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Some("127.0.0.1:9465".to_owned()),
            partition_metrics: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            drain_timeout: Duration::from_secs(20),
            state_dir: None,
        }
    }
}
