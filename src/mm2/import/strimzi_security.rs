//! `tls` and `authentication` of a cluster in a `KafkaMirrorMaker2`, as the client properties that Strimzi makes of them.

use serde_json::{Map, Value};

use super::{
    bearer,
    connect::text,
    report::{Finding, KeyId, Keys},
    setup::Setup,
    strimzi::common,
};

/// One cluster.
pub(super) struct Secured<'a> {
    pub(super) file: usize,
    /// Of its secrets.
    pub(super) namespace: &'a str,
    /// In names of keys.
    pub(super) path: &'a str,
    pub(super) alias: &'a str,
}

impl Secured<'_> {
    pub(super) fn read(
        &self,
        cluster: &Map<String, Value>,
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) {
        let tls = cluster.get("tls").filter(|tls| !tls.is_null());
        let tls_key = tls.map(|tls| self.tls(tls, setup, keys));
        let login = cluster.get("authentication").and_then(Value::as_object);
        let login = login.and_then(|login| self.login(login, setup, keys));
        let protocol = match (tls_key, login) {
            (Some(tls), Some(_)) => (tls, "SASL_SSL"),
            (Some(tls), None) => (tls, "SSL"),
            (None, Some(login)) => (login, "SASL_PLAINTEXT"),
            (None, None) => return,
        };
        let (key, protocol) = protocol;
        self.derive("security.protocol", key, protocol.to_owned(), setup, keys);
    }

    fn key(&self, name: &str, value: &Value, keys: &mut Keys<'_>) -> KeyId {
        keys.add(self.file, format!("{}.{name}", self.path), text(value))
    }

    /// A client property that a key stands for.
    fn derive(
        &self,
        property: &str,
        origin: KeyId,
        value: String,
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) {
        let key = keys.derive(origin, value);
        common(setup, self.alias, property, key);
    }

    /// As Strimzi's `KubernetesSecretConfigProvider` refers to it.
    fn secret(&self, secret: &Value, key: &str) -> String {
        let name = secret["secretName"].as_str().unwrap_or_default();
        let key = secret[key]
            .as_str()
            .or(secret["pattern"].as_str())
            .unwrap_or(key);
        match self.namespace {
            "" => format!("${{secrets:{name}:{key}}}"),
            namespace => format!("${{secrets:{namespace}/{name}:{key}}}"),
        }
    }

    fn tls(&self, tls: &Value, setup: &mut Setup, keys: &mut Keys<'_>) -> KeyId {
        let key = self.key("tls", &Value::Null, keys);
        for (name, value) in tls.as_object().into_iter().flatten() {
            let inner = self.key(&format!("tls.{name}"), value, keys);
            let certificates = value.as_array().filter(|_| name == "trustedCertificates");
            match certificates {
                Some(certificates) if !certificates.is_empty() => {
                    let secrets = certificates
                        .iter()
                        .map(|secret| self.secret(secret, "certificate"));
                    self.derive(
                        "ssl.truststore.certificates",
                        inner,
                        secrets.collect(),
                        setup,
                        keys,
                    );
                }
                _ => keys.mark(
                    inner,
                    Finding::not_needed("the system's CAs are trusted where none is named"),
                ),
            }
        }
        key
    }

    /// The key that asks for SASL, if one does.
    fn login(
        &self,
        login: &Map<String, Value>,
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) -> Option<KeyId> {
        let kind = login.get("type")?.as_str().unwrap_or_default();
        let type_key = self.part("type", login, keys)?;
        let mechanism = match kind {
            "tls" | "custom" => None,
            "plain" => Some("PLAIN"),
            "scram-sha-256" => Some("SCRAM-SHA-256"),
            "scram-sha-512" => Some("SCRAM-SHA-512"),
            "oauth" => Some(bearer::MECHANISM),
            other => Some(other),
        };
        if let Some(mechanism) = mechanism {
            let mechanism = mechanism.to_owned();
            self.derive("sasl.mechanism", type_key, mechanism, setup, keys);
        }
        let read: &[&str] = match kind {
            "tls" => {
                keys.mark(type_key, Finding::renamed("ssl.keystore.*"));
                self.certificate(login, setup, keys);
                &["type", "certificateAndKey"]
            }
            "custom" => {
                keys.mark(type_key, Finding::renamed("the properties under `config`"));
                self.custom(login, setup, keys);
                &["type", "config"]
            }
            "plain" | "scram-sha-256" | "scram-sha-512" => {
                self.password(kind, login, setup, keys);
                &["type", "username", "passwordSecret"]
            }
            "oauth" => {
                self.token(login, setup, keys);
                &[
                    "type",
                    "tokenEndpointUri",
                    "clientId",
                    "clientSecret",
                    "scope",
                ]
            }
            _ => &["type"],
        };
        for name in login.keys().filter(|name| !read.contains(&name.as_str())) {
            let Some(key) = self.part(name, login, keys) else {
                continue;
            };
            let finding = match kind {
                "custom" => Finding::not_needed("says whether it is a login by SASL"),
                kind => {
                    let text = format!("a login of type {kind} has nothing of it in strait");
                    Finding::not_supported(text)
                }
            };
            keys.mark(key, finding);
        }
        let is_sasl = mechanism.is_some() || login.get("sasl") == Some(&Value::Bool(true));
        is_sasl.then_some(type_key)
    }

    /// A key under `authentication`, if it is there.
    fn part(&self, name: &str, login: &Map<String, Value>, keys: &mut Keys<'_>) -> Option<KeyId> {
        let value = login.get(name)?;
        Some(self.key(&format!("authentication.{name}"), value, keys))
    }

    fn certificate(&self, login: &Map<String, Value>, setup: &mut Setup, keys: &mut Keys<'_>) {
        let Some(pair) = self.part("certificateAndKey", login, keys) else {
            return;
        };
        for (property, name) in [
            ("ssl.keystore.certificate.chain", "certificate"),
            ("ssl.keystore.key", "key"),
        ] {
            let secret = self.secret(&login["certificateAndKey"], name);
            self.derive(property, pair, secret, setup, keys);
        }
    }

    fn custom(&self, login: &Map<String, Value>, setup: &mut Setup, keys: &mut Keys<'_>) {
        let config = login.get("config").and_then(Value::as_object);
        for (name, value) in config.into_iter().flatten() {
            let key = self.key(&format!("authentication.config.{name}"), value, keys);
            common(setup, self.alias, name, key);
        }
    }

    /// Strimzi's own callback handler asks for tokens in the same way.
    fn token(&self, login: &Map<String, Value>, setup: &mut Setup, keys: &mut Keys<'_>) {
        for (name, property) in [
            ("tokenEndpointUri", "sasl.oauthbearer.token.endpoint.url"),
            ("clientId", "sasl.oauthbearer.client.credentials.client.id"),
            ("scope", "sasl.oauthbearer.scope"),
        ] {
            if let Some(key) = self.part(name, login, keys) {
                let value = keys.value(key).to_owned();
                self.derive(property, key, value, setup, keys);
            }
        }
        if let Some(key) = self.part("clientSecret", login, keys) {
            let secret = self.secret(&login["clientSecret"], "clientSecret");
            let property = "sasl.oauthbearer.client.credentials.client.secret";
            self.derive(property, key, secret, setup, keys);
        }
    }

    fn password(
        &self,
        kind: &str,
        login: &Map<String, Value>,
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) {
        let user = self.part("username", login, keys);
        let password = self.part("passwordSecret", login, keys);
        let (Some(user), Some(password)) = (user, password) else {
            return;
        };
        keys.mark(user, Finding::renamed("sasl.username"));
        let module = if kind == "plain" { "Plain" } else { "Scram" };
        let user = keys.value(user).replace('\\', "\\\\").replace('"', "\\\"");
        let secret = self.secret(&login["passwordSecret"], "password");
        let jaas =
            format!("{module}LoginModule required username=\"{user}\" password=\"{secret}\";");
        self.derive("sasl.jaas.config", password, jaas, setup, keys);
    }
}
