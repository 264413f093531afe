//! One cluster, as used.

use std::{collections::BTreeMap, fmt, ops::Deref, time::Duration};

use wire::{client::AddressMap, security::OAUTHBEARER};

use super::Security;

/// How to reach one cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The name under `[clusters]`.
    pub alias: String,
    /// Host and port of the first brokers to ask; at least one.
    pub bootstrap: Vec<(String, u16)>,
    /// Where brokers are reached that cannot be at the host and port by which they go.
    pub address_map: AddressMap,
    /// For how long its brokers remember a producer (`producer.id.expiration.ms`), for those that do not tell.
    pub producer_id_expiration: Option<Duration>,
    /// librdkafka's properties, `bootstrap.servers` among them, secrets resolved.
    pub properties: Properties,
    /// What connections are secured with, for the wire client.
    pub security: Security,
}

impl ClusterConfig {
    /// What strait calls itself on this cluster.
    pub fn client_id(&self) -> &str {
        self.properties
            .get("client.id")
            .map_or("strait", String::as_str)
    }

    /// Where this process is, for brokers that know a nearer replica (KIP-392), if that is set.
    pub fn rack(&self) -> Option<&str> {
        let rack = self.properties.get("client.rack").map(String::as_str);
        rack.filter(|rack| !rack.is_empty())
    }

    /// What librdkafka, as it is built in, does not know of the way to it, if anything.
    pub fn needs_wire(&self) -> Option<&'static str> {
        let mechanism = self.properties.get("sasl.mechanism").map(String::as_str);
        [
            (!self.address_map.is_empty(), "no address map"),
            (self.security.has_proxy(), "no proxy"),
            (mechanism == Some(OAUTHBEARER), "no token endpoint"),
        ]
        .into_iter()
        .find_map(|(needs, what)| needs.then_some(what))
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        let protocol = self.properties.get("security.protocol");
        protocol.is_some_and(|name| name.to_ascii_uppercase().ends_with("SSL"))
    }

    /// After how long without use a connection is closed, if that is set; 0 and 1 ms mean never in Java
    /// and librdkafka, and are no wish for the wire client, which has its own default.
    pub fn max_idle(&self) -> Option<Duration> {
        let set = self.properties.get("connections.max.idle.ms")?;
        let set = set.parse().ok().filter(|ms: &u64| *ms > 1)?;
        Some(Duration::from_millis(set))
    }
}

/// Client properties by librdkafka's names. `Debug` shows values only of names known to be harmless.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Properties whose names and values were checked.
    pub fn new(properties: BTreeMap<String, String>) -> Self {
        Self(properties)
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| {
                let shown = if is_public(name) { value } else { "***" };
                (name, shown)
            }))
            .finish()
    }
}

/// Whether a property's value may be shown: only what can hold no secret.
fn is_public(name: &str) -> bool {
    matches!(
        name,
        "bootstrap.servers" | "client.id" | "security.protocol" | "sasl.mechanism"
    ) || name.ends_with(".ms")
        || name.ends_with(".bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_secrets() {
        let properties = Properties::new(BTreeMap::from([
            ("bootstrap.servers".to_owned(), "east:9092".to_owned()),
            ("sasl.password".to_owned(), "hunter2".to_owned()),
            ("ssl.key.pem".to_owned(), "hunter2".to_owned()),
        ]));
        let shown = format!("{properties:?}");
        assert!(shown.contains("east:9092"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
