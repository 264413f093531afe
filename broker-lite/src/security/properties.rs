//! Settings of listeners and of security, as they were written: by Kafka's names, a listener's own behind
//! `listener.name.NAME.`.

use std::{collections::BTreeMap, fmt};

use super::{
    authorizer, listeners,
    mapping::Mapping,
    sasl::{self, Mechanism},
};

/// Settings that a listener may have of its own; without, they are those of all listeners.
const OF_LISTENERS: &[&str] = &[
    "connections.max.reauth.ms",
    "sasl.enabled.mechanisms",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.jwt.validator.class",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.server.max.receive.size",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.principal.mapping.rules",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.type",
];

/// Settings that only a listener has.
const OF_ONE_LISTENER: &[&str] = &["max.connection.creation.rate", "max.connections"];

/// Settings of a mechanism on a listener: `listener.name.NAME.MECHANISM.`.
const OF_MECHANISMS: &[&str] = &["connections.max.reauth.ms", "sasl.jaas.config"];

/// And which tokens OAUTHBEARER takes; what begins with `sasl.oauthbearer.` may also stand there.
const OF_TOKENS: &str = "sasl.server.callback.handler.class";

/// Settings of the whole broker.
const OF_BROKER: &[&str] = &[
    "allow.everyone.if.no.acl.found",
    "authorizer.class.name",
    "listener.security.protocol.map",
    "super.users",
];

const PREFIX: &str = "listener.name.";

/// What was written. Values may be secrets, and are never shown.
#[derive(Clone, Default)]
pub(crate) struct Properties(BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Properties {
    /// Whether there is a setting of this name.
    pub(crate) fn knows(name: &str) -> bool {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            return OF_LISTENERS.contains(&name) || OF_BROKER.contains(&name);
        };
        let Some((listener, own)) = rest.split_once('.') else {
            return false;
        };
        let of_mechanism = || {
            let mechanism = Mechanism::ALL.iter().find_map(|one| {
                let name = one.name().to_ascii_lowercase();
                Some((*one, own.strip_prefix(&name)?.strip_prefix('.')?))
            });
            mechanism.is_some_and(|(mechanism, own)| {
                let is_of_tokens = || {
                    own == OF_TOKENS
                        || own.starts_with("sasl.oauthbearer.") && OF_LISTENERS.contains(&own)
                };
                OF_MECHANISMS.contains(&own)
                    || mechanism == Mechanism::OAuthBearer && is_of_tokens()
            })
        };
        let is_own = OF_LISTENERS.contains(&own) || OF_ONE_LISTENER.contains(&own);
        !listener.is_empty() && (is_own || of_mechanism())
    }

    /// All names, for who looks for one; those of single listeners with a stand-in.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        OF_LISTENERS.iter().chain(OF_BROKER).copied()
    }

    /// Takes a setting that is known; false if the value is not one of it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let own = OF_LISTENERS
            .iter()
            .chain(OF_ONE_LISTENER)
            .chain(OF_BROKER)
            .chain([&OF_TOKENS])
            .find(|own| name.ends_with(**own));
        let is_legal = match own.copied().unwrap_or_default() {
            "connections.max.reauth.ms" => value.parse::<u64>().is_ok(),
            OF_TOKENS => sasl::is_handler(value),
            "sasl.oauthbearer.jwt.validator.class" => value == sasl::JWT_VALIDATOR,
            "sasl.oauthbearer.clock.skew.seconds" => value.parse::<u32>().is_ok(),
            "sasl.oauthbearer.scope.claim.name" | "sasl.oauthbearer.sub.claim.name" => {
                !value.trim().is_empty()
            }
            "sasl.server.max.receive.size" | "max.connection.creation.rate" | "max.connections" => {
                value.parse::<u32>().is_ok_and(|n| n > 0)
            }
            "ssl.client.auth" => ["none", "requested", "required"].contains(&value),
            "ssl.principal.mapping.rules" => Mapping::parse(value).is_ok(),
            "ssl.keystore.type" | "ssl.truststore.type" => value == "PEM",
            "allow.everyone.if.no.acl.found" => value.parse::<bool>().is_ok(),
            "authorizer.class.name" => value == authorizer::CLASS,
            "super.users" => authorizer::super_users(value).is_some(),
            "listener.security.protocol.map" => listeners::protocols(value).is_some(),
            _ => true,
        };
        if is_legal {
            self.0.insert(name.to_owned(), value.to_owned());
        }
        is_legal
    }

    /// A setting of the whole broker.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Listeners that have settings of their own, as they are written.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys();
        names.filter_map(|name| Some(name.strip_prefix(PREFIX)?.split_once('.')?.0))
    }

    /// The settings of one listener.
    pub(crate) fn of(&self, listener: &str) -> Settings<'_> {
        Settings {
            all: self,
            prefix: format!("{PREFIX}{}.", listener.to_ascii_lowercase()),
        }
    }
}

/// The settings of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    all: &'a Properties,
    prefix: String,
}

impl<'a> Settings<'a> {
    /// Its own, or that of all.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.own(name).or_else(|| self.all.get(name))
    }

    /// Its own.
    pub(crate) fn own(&self, name: &str) -> Option<&'a str> {
        self.all.get(&format!("{}{name}", self.prefix))
    }

    /// That of a mechanism.
    pub(crate) fn of_mechanism(&self, mechanism: &str, name: &str) -> Option<&'a str> {
        self.own(&format!("{}.{name}", mechanism.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listeners_own_setting_comes_first() {
        let mut properties = Properties::default();
        for (name, value) in [
            ("ssl.client.auth", "none"),
            ("listener.name.admin.ssl.client.auth", "required"),
            (
                "listener.name.admin.scram-sha-256.connections.max.reauth.ms",
                "5",
            ),
        ] {
            assert!(Properties::knows(name), "{name}");
            assert!(properties.set(name, value), "{name}");
        }
        let (admin, other) = (properties.of("ADMIN"), properties.of("OTHER"));
        assert_eq!(admin.get("ssl.client.auth"), Some("required"));
        assert_eq!(other.get("ssl.client.auth"), Some("none"));
        assert_eq!(other.own("ssl.client.auth"), None);
        let own = admin.of_mechanism("SCRAM-SHA-256", "connections.max.reauth.ms");
        assert_eq!(own, Some("5"));
    }

    #[test]
    fn names_and_values_that_are_none_are_refused() {
        for unknown in [
            "ssl.client",
            "listener.name.x",
            "listener.name..ssl.client.auth",
            "listener.name.x.super.users",
            "listener.name.x.plain.ssl.client.auth",
            "listener.name.x.gssapi.sasl.jaas.config",
            "max.connections",
        ] {
            assert!(!Properties::knows(unknown), "{unknown}");
        }
        let mut properties = Properties::default();
        for (name, value) in [
            ("listener.name.x.ssl.client.auth", "maybe"),
            ("ssl.keystore.type", "JKS"),
            ("listener.security.protocol.map", "A:B"),
            ("connections.max.reauth.ms", "-1"),
            ("ssl.principal.mapping.rules", "RULE:("),
        ] {
            assert!(!properties.set(name, value), "{name}");
        }
    }

    #[test]
    fn values_do_not_show() {
        let mut properties = Properties::default();
        properties.set("ssl.key.password", "hunter2");
        let shown = format!("{properties:?}");
        assert!(
            shown.contains("ssl.key.password") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
