//! One Kafka cluster, reached in both ways: by the wire client, and by librdkafka where a flow's records go
//! through it. [`guarantee`] tries what it does as a target, [`leaders`] finds who leads a partition, [`read`] reads ranges.
//!
//! Both are secured by the same properties. The wire client reads passwords and PEM files again at each
//! connect. A librdkafka client has for as long as it lives those of when it was made: it reads files once, and
//! its Rust binding has no call for another password.

pub mod guarantee;
pub mod leaders;
pub mod read;

use std::{sync::Arc, time::Duration};

use host::Host;
use rdkafka::ClientConfig;
use wire::{
    client::{Client, ClientSettings},
    error::ClientError,
};

use crate::config::{ClusterConfig, Security};

/// Longest cluster id that is taken, in bytes: checkpoints carry two of them (Kafka's have 22).
const MAX_ID: usize = 255;

/// Of a person who waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the wire client reaches a cluster.
pub fn wire(config: &ClusterConfig) -> ClientSettings {
    let mut settings = ClientSettings::new(config.bootstrap.clone(), config.client_id());
    settings.max_idle = config.max_idle().unwrap_or(settings.max_idle);
    settings.address_map.clone_from(&config.address_map);
    settings.security = Some(Arc::new(config.security.clone()));
    settings
}

/// The same where a person waits for the answer: patience is short.
pub fn wire_for_a_person(config: &ClusterConfig) -> ClientSettings {
    ClientSettings {
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        retry_for: PATIENCE,
        ..wire(config)
    }
}

/// How librdkafka does.
fn librdkafka(config: &ClusterConfig, bootstrap: &str) -> ClientConfig {
    let mut properties = ClientConfig::new();
    // As the wire client has it; the operator may have other wishes.
    properties.set("socket.keepalive.enable", "true");
    let has = |name| config.properties.contains_key(name);
    if config.is_tls() && !has("ssl.ca.pem") {
        // The system's CAs; OpenSSL, built in, would look where its maker has them.
        properties.set("ssl.ca.location", "probe");
    }
    for (name, value) in config.properties.iter() {
        properties.set(name, value);
    }
    properties.set("bootstrap.servers", bootstrap);
    properties.set("client.id", config.client_id());
    properties
}

/// A cluster that can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    alias: String,
    bootstrap: String,
    properties: ClientConfig,
    security: Security,
    rack: Option<String>,
    producer_id_expiration: Option<Duration>,
    client: Client,
}

impl Cluster {
    /// Connects at the first call.
    pub fn new(host: &Host, config: &ClusterConfig) -> Self {
        Self::with(host, config, wire(config))
    }

    /// For a command: a person waits for it.
    pub fn for_a_person(host: &Host, config: &ClusterConfig) -> Self {
        Self::with(host, config, wire_for_a_person(config))
    }

    fn with(host: &Host, config: &ClusterConfig, settings: ClientSettings) -> Self {
        let servers: Vec<_> = config
            .bootstrap
            .iter()
            .map(|(name, port)| format!("{name}:{port}"))
            .collect();
        let bootstrap = servers.join(",");
        Self {
            alias: config.alias.clone(),
            properties: librdkafka(config, &bootstrap),
            bootstrap,
            security: config.security.clone(),
            rack: config.rack().map(str::to_owned),
            producer_id_expiration: config.producer_id_expiration,
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

    /// `client.rack`: where this process is.
    pub fn rack(&self) -> Option<&str> {
        self.rack.as_deref()
    }

    /// For how long its brokers remember a producer, by the operator's word.
    pub fn producer_id_expiration(&self) -> Option<Duration> {
        self.producer_id_expiration
    }

    /// For everything but records.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The operator's properties, for a new librdkafka client; what secures it is read again.
    pub fn properties(&self) -> ClientConfig {
        let mut properties = self.properties.clone();
        match self.security.properties() {
            Ok(current) => properties.extend(current),
            Err(error) => {
                let cluster = &self.alias;
                tracing::warn!(%cluster, %error, "credentials cannot be read; those of the start are used");
            }
        }
        properties
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

#[cfg(test)]
mod tests;
