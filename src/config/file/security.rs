//! How a cluster is secured: which properties go together, and the credentials that they amount to.
//!
//! They are read by the same code when the file is read and at each connect: from the text as written, so
//! that `${file:PATH}` and PEM files have the content of then.

use std::{collections::BTreeMap, fmt, path::Path};

use wire::security::{
    Credentials, Identity, Login, Mechanism, OAUTHBEARER, Secret, Tls, TokenSource,
};

use super::{
    java::{self, Written},
    properties::OF_TOKENS,
    reach::ProxyText,
    tree::Text,
};
use crate::config::{
    Sources,
    error::{ConfigError, Place},
};

/// The properties of one cluster that are about security, as written.
#[derive(Clone, Default)]
pub struct Security {
    /// Names in either language, places, texts with their references.
    written: Vec<(String, Place, String)>,
    /// What connections go through, of strait's own settings.
    pub(super) proxy: Option<ProxyText>,
}

/// Only the names: a text may be a password.
impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.written.iter().map(|(name, ..)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Security {
    /// Those of `properties`, whose names are not translated yet.
    pub(super) fn of(properties: &Written) -> Self {
        const OURS: [&str; 3] = ["ssl.", "sasl.", "https.ca."];
        let ours = |name: &str| name == PROTOCOL || OURS.iter().any(|ours| name.starts_with(ours));
        let written = properties.iter().filter(|(name, _)| ours(name));
        Self {
            written: written
                .map(|(name, text)| (name.clone(), text.place.clone(), text.written.clone()))
                .collect(),
            proxy: None,
        }
    }

    /// Whether there is a proxy.
    pub fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// The credentials of now.
    pub(super) fn read(&self, sources: &Sources<'_>) -> Result<Credentials, ConfigError> {
        let properties = self.translated(sources)?;
        let protocol = Protocol::of(&properties);
        let tls = protocol.is_tls().then(|| tls(&properties, sources));
        let login = protocol.is_sasl().then(|| login(&properties, sources));
        let proxy = self.proxy.as_ref().map(|proxy| proxy.read(sources));
        Ok(Credentials {
            tls: tls.transpose()?,
            login: login.transpose()?,
            proxy: proxy.transpose()?,
        })
    }

    /// The properties of now, by librdkafka's names.
    ///
    /// # Errors
    /// A reason that names what cannot be read, without a secret.
    pub fn properties(&self) -> Result<BTreeMap<String, String>, String> {
        let properties = self.translated(&Sources::process());
        let properties = properties.map_err(|error| error.without_file())?;
        let pairs = properties.into_iter();
        Ok(pairs.map(|(name, text)| (name, text.value)).collect())
    }

    fn translated(&self, sources: &Sources<'_>) -> Result<Written, ConfigError> {
        let mut properties = Written::new();
        for (name, place, written) in &self.written {
            let value = sources.expand(written);
            let value = value.map_err(|reason| ConfigError::at(place, reason))?;
            let text = Text {
                place: place.clone(),
                value,
                written: written.clone(),
            };
            properties.insert(name.clone(), text);
        }
        java::translate(&mut properties)?;
        Ok(properties)
    }
}

impl wire::security::Security for Security {
    fn credentials(&self) -> Result<Credentials, String> {
        self.read(&Sources::process())
            .map_err(|error| error.without_file())
    }
}

const PROTOCOL: &str = "security.protocol";

/// `security.protocol`; nothing else gets past librdkafka's check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    fn of(properties: &Written) -> Self {
        let text = properties.get(PROTOCOL).map(|text| text.value.as_str());
        match text.unwrap_or_default().to_ascii_uppercase().as_str() {
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => Self::Plaintext,
        }
    }

    fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// What goes together, by librdkafka's names. A property that would have no effect is refused: whoever
/// wrote it believes to be protected by it.
pub(super) fn check(properties: &Written) -> Result<(), ConfigError> {
    let protocol = Protocol::of(properties);
    for (name, text) in properties {
        let without_effect = match name.split('.').next() {
            Some("ssl") if !protocol.is_tls() => Some("SSL or SASL_SSL"),
            Some("sasl") if !protocol.is_sasl() => Some("SASL_SSL or SASL_PLAINTEXT"),
            _ => None,
        };
        if let Some(wanted) = without_effect {
            let reason = format!("has no effect without security.protocol = {wanted}");
            return Err(ConfigError::at(&text.place, reason));
        }
    }
    let bearer = value(properties, "sasl.mechanism") == Some(OAUTHBEARER);
    for (name, text) in properties {
        let of_tokens = OF_TOKENS.iter().any(|of| name.starts_with(of));
        let of_passwords = matches!(name.as_str(), "sasl.username" | "sasl.password");
        if (of_tokens && !bearer) || (of_passwords && bearer) {
            let with = if bearer {
                "PLAIN or SCRAM-SHA-512"
            } else {
                OAUTHBEARER
            };
            let reason = format!("has no effect without sasl.mechanism = {with}");
            return Err(ConfigError::at(&text.place, reason));
        }
    }
    for (text, file) in [
        ("https.ca.pem", "https.ca.location"),
        ("ssl.ca.pem", "ssl.ca.location"),
        ("ssl.certificate.pem", "ssl.certificate.location"),
        ("ssl.key.pem", "ssl.key.location"),
    ] {
        if let (Some(_), Some(file)) = (properties.get(text), properties.get(file)) {
            let reason = format!("`{text}` is given as well");
            return Err(ConfigError::at(&file.place, reason));
        }
    }
    Ok(())
}

/// A property's value, if it is set.
fn value<'a>(properties: &'a Written, name: &str) -> Option<&'a str> {
    properties.get(name).map(|text| text.value.as_str())
}

/// A value that another property makes necessary.
fn needed<'a>(properties: &'a Written, name: &str, by: &str) -> Result<&'a Text, ConfigError> {
    properties.get(name).ok_or_else(|| {
        let by = properties.get(by).map(|text| &text.place);
        let reason = format!("`{name}` is missing");
        ConfigError::at(by.unwrap_or(&Place::default()), reason)
    })
}

fn login(properties: &Written, sources: &Sources<'_>) -> Result<Login, ConfigError> {
    let named = needed(properties, "sasl.mechanism", PROTOCOL)?;
    if named.value == OAUTHBEARER {
        return token_source(properties, sources).map(Login::Token);
    }
    let mechanism = Mechanism::from_name(&named.value).ok_or_else(|| {
        let names = Mechanism::ALL.map(Mechanism::name).join(", ");
        let reason = format!(
            "only {names} and {OAUTHBEARER} are available in this version; where the brokers take none of them, use a \
             client certificate (security.protocol = SSL and ssl.keystore.*)"
        );
        ConfigError::at(&named.place, reason)
    })?;
    let secret =
        |name| needed(properties, name, "sasl.mechanism").map(|text| Secret::new(&text.value));
    Ok(Login::Password {
        mechanism,
        username: secret("sasl.username")?,
        password: secret("sasl.password")?,
    })
}

/// Who issues tokens, by librdkafka's names; client credentials are the one grant.
fn token_source(properties: &Written, sources: &Sources<'_>) -> Result<TokenSource, ConfigError> {
    const OF: &str = "sasl.oauthbearer.";
    let text = |name: &str| needed(properties, &format!("{OF}{name}"), "sasl.mechanism");
    let trusted = match (
        properties.get("https.ca.pem"),
        properties.get("https.ca.location"),
    ) {
        (Some(text), _) => Some(text.value.clone()),
        (None, Some(path)) if path.value != "probe" => Some(read(path, sources)?),
        _ => None,
    };
    let extensions = properties.get("sasl.oauthbearer.extensions");
    let extensions = extensions.map(|text| {
        let pairs = text.value.split(',').map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            // KIP-342; `auth` is the token itself.
            let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
            (legal && name != "auth").then(|| (name.to_owned(), value.to_owned()))
        });
        let wanted =
            "NAME=VALUE is wanted, several with commas between; names of letters, not `auth`";
        let pairs: Option<Vec<_>> = pairs.collect();
        pairs.ok_or_else(|| ConfigError::at(&text.place, wanted))
    });
    Ok(TokenSource {
        endpoint: text("token.endpoint.url")?.value.clone(),
        trusted,
        client_id: Secret::new(&text("client.id")?.value),
        client_secret: Secret::new(&text("client.secret")?.value),
        scope: value(properties, "sasl.oauthbearer.scope").map(str::to_owned),
        extensions: extensions.transpose()?.unwrap_or_default(),
    })
}

fn tls(properties: &Written, sources: &Sources<'_>) -> Result<Tls, ConfigError> {
    let pem = |text: &str, file: &str| match (properties.get(text), properties.get(file)) {
        (Some(text), _) => Ok(Some(text.value.clone())),
        (None, Some(path)) => read(path, sources).map(Some),
        (None, None) => Ok(None),
    };
    let trusted = match value(properties, "ssl.ca.location") {
        // librdkafka's word for the system's.
        Some("probe") => None,
        _ => pem("ssl.ca.pem", "ssl.ca.location")?,
    };
    let certificates = pem("ssl.certificate.pem", "ssl.certificate.location")?;
    let key = pem("ssl.key.pem", "ssl.key.location")?;
    let identity = match (certificates, key) {
        (Some(certificates), Some(key)) => Some(Identity {
            certificates,
            key: Secret::new(key),
            key_password: value(properties, "ssl.key.password").map(Secret::new),
        }),
        (None, None) => None,
        (found, _) => {
            let missing = found.map_or("certificate", |_| "key");
            let reason = format!("the client's {missing} is missing: `ssl.{missing}.location`");
            let place = properties.get(PROTOCOL).map(|text| text.place.clone());
            return Err(ConfigError::at(&place.unwrap_or_default(), reason));
        }
    };
    Ok(Tls {
        trusted,
        identity,
        check_name: value(properties, "ssl.endpoint.identification.algorithm") != Some("none"),
    })
}

fn read(path: &Text, sources: &Sources<'_>) -> Result<String, ConfigError> {
    (sources.file)(Path::new(&path.value)).map_err(|error| {
        let reason = format!("cannot read the file \"{}\": {error}", path.written);
        ConfigError::at(&path.place, reason)
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Files that the test changes, and one cluster's properties.
    struct Case {
        files: RefCell<BTreeMap<&'static str, String>>,
        security: Security,
    }

    fn certified() -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["east".to_owned()]).unwrap();
        format!(
            "{}{}",
            key.serialize_pem(),
            params.self_signed(&key).unwrap().pem()
        )
    }

    impl Case {
        fn new(properties: &[(&str, &str)], files: &[(&'static str, &str)]) -> Self {
            let written = properties.iter().map(|(name, written)| {
                let place = Place {
                    line: 7,
                    key: (*name).to_owned(),
                };
                ((*name).to_owned(), place, (*written).to_owned())
            });
            let files = files.iter().map(|(path, text)| (*path, (*text).to_owned()));
            Self {
                files: RefCell::new(files.collect()),
                security: Security {
                    written: written.collect(),
                    proxy: None,
                },
            }
        }

        fn read(&self) -> Result<Credentials, String> {
            let sources = Sources {
                variable: &|_| None,
                file: &|path: &Path| {
                    let files = self.files.borrow();
                    let text = path.to_str().and_then(|path| files.get(path)).cloned();
                    text.ok_or_else(|| io::ErrorKind::NotFound.into())
                },
            };
            self.security
                .read(&sources)
                .map_err(|error| error.without_file())
        }
    }

    fn login(credentials: Credentials) -> (Secret, Secret) {
        match credentials.login.unwrap() {
            Login::Password {
                username, password, ..
            } => (username, password),
            Login::Token(source) => (source.client_id, source.client_secret),
        }
    }

    #[test]
    fn passwords_are_read_again() {
        let ways: [&[(&str, &str)]; 2] = [
            &[
                ("sasl.username", "ann"),
                ("sasl.password", "${file:/password}"),
            ],
            &[(
                "sasl.jaas.config",
                "x.ScramLoginModule required username=\"ann\" password=\"${file:/password}\";",
            )],
        ];
        for way in ways {
            let rest = [
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "SCRAM-SHA-256"),
            ];
            let properties = [&rest, way].concat();
            let case = Case::new(&properties, &[("/password", "one\n")]);
            let is = |password| (Secret::new("ann"), Secret::new(password));
            assert!(login(case.read().unwrap()) == is("one"));
            case.files
                .borrow_mut()
                .insert("/password", "two\n".to_owned());
            assert!(login(case.read().unwrap()) == is("two"));
            case.files.borrow_mut().clear();
            let error = case.read().unwrap_err();
            assert!(
                error.contains("sasl.") && error.contains("/password"),
                "{error}"
            );
        }
    }

    #[test]
    fn stores_of_java_and_of_librdkafka_are_the_same() {
        let (ca, own) = (certified(), certified());
        let files = [("/ca.pem", ca.as_str()), ("/own.pem", own.as_str())];
        let ways: [&[(&str, &str)]; 3] = [
            &[
                ("ssl.ca.location", "/ca.pem"),
                ("ssl.certificate.location", "/own.pem"),
                ("ssl.key.location", "/own.pem"),
            ],
            &[
                ("ssl.truststore.type", "PEM"),
                ("ssl.truststore.location", "/ca.pem"),
                ("ssl.keystore.type", "PEM"),
                ("ssl.keystore.location", "/own.pem"),
            ],
            &[
                ("ssl.truststore.certificates", "${file:/ca.pem}"),
                ("ssl.keystore.certificate.chain", "${file:/own.pem}"),
                ("ssl.keystore.key", "${file:/own.pem}"),
            ],
        ];
        for way in ways {
            let properties = [&[("security.protocol", "ssl")], way].concat();
            let case = Case::new(&properties, &files);
            let credentials = case.read().unwrap();
            credentials.check().unwrap();
            let tls = credentials.tls.unwrap();
            assert!(tls.check_name && credentials.login.is_none());
            assert_eq!(tls.trusted.unwrap().trim_end(), ca.trim_end());
            let identity = tls.identity.unwrap();
            assert_eq!(identity.certificates.trim_end(), own.trim_end());

            let next = certified();
            case.files.borrow_mut().insert("/own.pem", next.clone());
            let identity = case.read().unwrap().tls.unwrap().identity.unwrap();
            assert_eq!(identity.certificates.trim_end(), next.trim_end());
        }
    }

    #[test]
    fn nothing_asked_for_is_nothing() {
        let credentials = Case::new(&[], &[]).read().unwrap();
        assert!(credentials.tls.is_none() && credentials.login.is_none());
        let system = [
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "probe"),
            ("ssl.endpoint.identification.algorithm", ""),
        ];
        let tls = Case::new(&system, &[]).read().unwrap().tls.unwrap();
        assert!(tls.trusted.is_none() && tls.identity.is_none() && !tls.check_name);
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let case = Case::new(&[("sasl.password", "hunter2")], &[]);
        let shown = format!("{:?}", case.security);
        assert_eq!(shown, "[\"sasl.password\"]");
    }
}
