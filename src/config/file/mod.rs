//! The configuration as written: TOML tables whose keys are all optional, and their conversion,
//! by full destructuring, so that a key can be neither forgotten nor ignored.

mod cluster;
mod configs;
mod flow;
mod java;
mod keys;
mod mm2;
mod properties;
mod reach;
mod rule;
mod security;
#[cfg(test)]
mod tests;
mod tree;
mod units;

use std::{collections::BTreeMap, path::PathBuf};

pub(crate) use cluster::addresses;
pub(crate) use java::{keystore_to_pem, parse_jaas, truststore_to_pem};
use keys::{as_written, parsed};
pub(crate) use properties::{check, kept};
pub use security::Security;
use tree::{Node, Table};

use super::{
    ClusterConfig, Config, FlowConfig, HttpConfig, Limits, Sources,
    error::{ConfigError, Place},
};

as_written! {
    /// The whole file.
    ConfigFile { clusters, flows, http, limits }
}
as_written! {
    /// `[http]`.
    HttpFile { listen, partition_metrics }
}
as_written! {
    /// `[limits]`.
    LimitsFile { memory, drain_timeout, state_dir }
}

/// Reads the text of a configuration file.
pub(super) fn parse(text: &str, sources: &Sources<'_>) -> Result<Config, ConfigError> {
    let ConfigFile {
        clusters,
        flows,
        http,
        limits,
    } = ConfigFile::read(tree::parse(text, sources)?)?;
    let (http, limits) = (self::http(http, sources)?, self::limits(limits)?);
    let clusters = self::clusters(clusters, sources)?;
    Ok(Config {
        file: "FILE".to_owned(),
        flows: self::flows(flows, &clusters)?,
        clusters,
        http,
        limits,
    })
}

fn clusters(
    node: Option<Node>,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, ClusterConfig>, ConfigError> {
    let mut clusters = BTreeMap::new();
    if let Some(node) = node {
        for entry in node.table()?.entries {
            let cluster = cluster::cluster(&entry.name, entry.node.table()?, sources)?;
            clusters.insert(entry.name, cluster);
        }
    }
    Ok(clusters)
}

fn flows(
    node: Option<Node>,
    clusters: &BTreeMap<String, ClusterConfig>,
) -> Result<Vec<FlowConfig>, ConfigError> {
    let mut flows: Vec<FlowConfig> = Vec::new();
    for node in node.map_or(Ok(Vec::new()), Node::list)? {
        let place = node.place().clone();
        let flow = flow::flow(node.table()?, clusters)?;
        if flows.iter().any(|other| other.name == flow.name) {
            let reason = format!("another flow is named \"{}\"; set `name`", flow.name);
            return Err(ConfigError::at(&place, reason));
        }
        flows.push(flow);
    }
    if flows.is_empty() {
        return Err(ConfigError::whole("no flow; write at least one [[flows]]"));
    }
    Ok(flows)
}

fn section(node: Option<Node>) -> Result<Table, ConfigError> {
    let empty = Table {
        place: Place::default(),
        entries: Vec::new(),
    };
    node.map_or(Ok(empty), Node::table)
}

fn http(node: Option<Node>, sources: &Sources<'_>) -> Result<HttpConfig, ConfigError> {
    let HttpFile {
        listen,
        partition_metrics,
    } = HttpFile::read(section(node)?)?;
    let mut default = HttpConfig::default();
    // What an image sets, since in a container nothing else is reached from outside.
    if let Some(text) = (sources.variable)(HTTP_LISTEN) {
        let parsed = parse_listen(&text);
        default.listen =
            parsed.map_err(|reason| ConfigError::whole(format!("{HTTP_LISTEN}: {reason}")))?;
    }
    Ok(HttpConfig {
        listen: parsed(listen, default.listen, parse_listen)?,
        partition_metrics: parsed(partition_metrics, default.partition_metrics, units::boolean)?,
    })
}

/// The environment variable with the default of `[http] listen`.
const HTTP_LISTEN: &str = "STRAIT_HTTP_LISTEN";

fn parse_listen(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("HOST:PORT is wanted, or \"\" for no server".into()),
    }
}

fn limits(node: Option<Node>) -> Result<Limits, ConfigError> {
    let LimitsFile {
        memory,
        drain_timeout,
        state_dir,
    } = LimitsFile::read(section(node)?)?;
    let default = Limits::default();
    Ok(Limits {
        memory: parsed(memory, default.memory, parse_memory)?,
        drain_timeout: parsed(drain_timeout, default.drain_timeout, units::duration)?,
        state_dir: parsed(state_dir, default.state_dir, parse_folder)?,
    })
}

fn parse_folder(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "" => Err("the path of a folder is wanted".into()),
        path => Ok(Some(path.into())),
    }
}

/// The budget counts in 32 bits; below a mebibyte not even one fetch of the default size fits.
fn parse_memory(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    usize::try_from(size)
        .ok()
        .filter(|size| (1 << 20..=u32::MAX as usize).contains(size))
        .ok_or_else(|| "1 MiB to 4 GiB is wanted".into())
}
