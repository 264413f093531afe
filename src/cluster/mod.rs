//! One Kafka cluster, reached in both ways: the wire client for the control plane, librdkafka for
//! records.

pub mod leaders;

use host::Host;
use rdkafka::ClientConfig;
use wire::{
    client::{Client, ClientSettings},
    error::ClientError,
};

use crate::config::ClusterConfig;

/// Longest cluster id that is taken, in bytes: checkpoints carry two of them (Kafka's have 22).
const MAX_ID: usize = 255;

/// A cluster that can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    alias: String,
    bootstrap: String,
    properties: ClientConfig,
    client: Client,
}

impl Cluster {
    /// Connects at the first call.
    pub fn new(host: &Host, config: &ClusterConfig) -> Self {
        let settings = ClientSettings::new(config.bootstrap.clone(), config.client_id());
        let servers: Vec<_> = config
            .bootstrap
            .iter()
            .map(|(name, port)| format!("{name}:{port}"))
            .collect();
        let mut properties = ClientConfig::new();
        properties.extend(
            config
                .properties
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        properties.set("bootstrap.servers", servers.join(","));
        properties.set("client.id", config.client_id());
        Self {
            alias: config.alias.clone(),
            bootstrap: servers.join(","),
            properties,
            client: Client::new(host.clone(), settings),
        }
    }

    /// The name in the configuration.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The servers to begin with, as the operator wrote them.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// For everything but records.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The operator's properties, for librdkafka.
    pub fn properties(&self) -> ClientConfig {
        self.properties.clone()
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// If no broker answers, or with an id that no cluster has.
    pub async fn id(&self) -> Result<String, ClientError> {
        let id = self.client.describe_cluster().await?.cluster_id;
        if id.len() <= MAX_ID {
            return Ok(id);
        }
        Err(ClientError::Protocol {
            broker: self.bootstrap.clone(),
            reason: format!("its cluster id has {} bytes", id.len()),
        })
    }
}
