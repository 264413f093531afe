//! Java's client property names whose meaning librdkafka has under another name.

use std::collections::BTreeMap;

use wire::security::OAUTHBEARER;

use super::tree::Text;
use crate::config::error::ConfigError;

/// Properties of one cluster by name.
pub(super) type Written = BTreeMap<String, Text>;

/// Same meaning, same values.
const RENAMED: &[(&str, &str)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    // librdkafka has both.
    ("sasl.mechanisms", "sasl.mechanism"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
];

/// Java names that are looked at one by one.
const SPECIAL: &[&str] = &[
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.method",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// All Java names that are understood besides librdkafka's own.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let renamed = RENAMED.iter().map(|(java, _)| *java);
    renamed.chain(SPECIAL.iter().copied())
}

/// Replaces Java's names by librdkafka's.
pub(super) fn translate(properties: &mut Written) -> Result<(), ConfigError> {
    for (java, name) in RENAMED {
        if let Some(text) = properties.remove(*java) {
            put(properties, name, text)?;
        }
    }
    truststore(properties)?;
    keystore(properties)?;
    tokens_come_our_way(properties)?;
    if let Some(jaas) = properties.remove("sasl.jaas.config") {
        login(properties, jaas)?;
    }
    if let Some(text) = properties.get_mut("ssl.endpoint.identification.algorithm")
        && text.value.is_empty()
    {
        // Java switches the check off by an empty text, librdkafka by this word.
        text.value = "none".to_owned();
    }
    Ok(())
}

fn put(properties: &mut Written, name: &str, text: Text) -> Result<(), ConfigError> {
    let place = text.place.clone();
    match properties.insert(name.to_owned(), text) {
        None => Ok(()),
        Some(_) => Err(ConfigError::at(
            &place,
            format!("`{name}` is given as well"),
        )),
    }
}

/// What says in Java and in librdkafka that tokens come by client credentials, which is the one way here.
fn tokens_come_our_way(properties: &mut Written) -> Result<(), ConfigError> {
    for (name, ours) in [
        (
            "sasl.login.callback.handler.class",
            "OAuthBearerLoginCallbackHandler",
        ),
        ("sasl.oauthbearer.grant.type", "client_credentials"),
        ("sasl.oauthbearer.method", "oidc"),
    ] {
        if let Some(text) = properties.remove(name)
            && text.value.rsplit('.').next() != Some(ours)
        {
            let reason = format!("only {ours} is available in this version");
            return Err(ConfigError::at(&text.place, reason));
        }
    }
    Ok(())
}

fn truststore(properties: &mut Written) -> Result<(), ConfigError> {
    let kind = properties.remove("ssl.truststore.type");
    if let Some(password) = properties.remove("ssl.truststore.password") {
        let reason = "a truststore in PEM has no password; leave it out";
        return Err(ConfigError::at(&password.place, reason));
    }
    let Some(location) = properties.remove("ssl.truststore.location") else {
        return Ok(());
    };
    if kind.is_some_and(|kind| kind.value.eq_ignore_ascii_case("PEM")) {
        return put(properties, "ssl.ca.location", location);
    }
    let file = &location.written;
    let commands = truststore_to_pem(file);
    let reason = format!(
        "a truststore is read in PEM only (Java's default is JKS). Convert it: {commands}; \
         then ssl.truststore.type = \"PEM\" and ssl.truststore.location = \"{file}.pem\""
    );
    Err(ConfigError::at(&location.place, reason))
}

fn keystore(properties: &mut Written) -> Result<(), ConfigError> {
    let kind = properties.remove("ssl.keystore.type");
    let kind = kind.map(|kind| kind.value.to_ascii_uppercase());
    let password = properties.remove("ssl.keystore.password");
    let Some(location) = properties.remove("ssl.keystore.location") else {
        return password.map_or(Ok(()), |password| Err(store_password(&password)));
    };
    if kind.as_deref() != Some("PEM") {
        let file = &location.written;
        let commands = keystore_to_pem(file, kind.as_deref());
        let reason = format!(
            "a keystore is read in PEM only (Java's default is JKS). Convert it: {commands}; \
             then ssl.keystore.type = \"PEM\", \
             ssl.keystore.location = \"{file}.pem\" and ssl.key.password, without ssl.keystore.password"
        );
        return Err(ConfigError::at(&location.place, reason));
    }
    if let Some(password) = password {
        return Err(store_password(&password));
    }
    // One file with the key and the certificates, as Java wants it.
    for name in ["ssl.certificate.location", "ssl.key.location"] {
        let text = Text {
            place: location.place.clone(),
            value: location.value.clone(),
            written: location.written.clone(),
        };
        put(properties, name, text)?;
    }
    Ok(())
}

/// The commands that make `FILE.pem` of a truststore in JKS or PKCS#12.
pub(crate) fn truststore_to_pem(file: &str) -> String {
    format!(
        "`keytool -importkeystore -srckeystore {file} -destkeystore {file}.p12 -deststoretype PKCS12`, \
         `openssl pkcs12 -in {file}.p12 -nokeys -out {file}.pem`"
    )
}

/// The commands that make `FILE.pem` of a keystore of this kind (`PKCS12`, else JKS).
pub(crate) fn keystore_to_pem(file: &str, kind: Option<&str>) -> String {
    if kind == Some("PKCS12") {
        return format!("`openssl pkcs12 -in {file} -out {file}.pem`");
    }
    format!(
        "`keytool -importkeystore -srckeystore {file} -destkeystore {file}.p12 -deststoretype PKCS12`, \
         `openssl pkcs12 -in {file}.p12 -out {file}.pem`"
    )
}

fn store_password(password: &Text) -> ConfigError {
    let reason = "a keystore in PEM has no password; an encrypted key's is `ssl.key.password`";
    ConfigError::at(&password.place, reason)
}

/// `sasl.jaas.config`: `MODULE required username="..." password="...";`
fn login(properties: &mut Written, jaas: Text) -> Result<(), ConfigError> {
    let refuse = |reason: &str| ConfigError::at(&jaas.place, reason);
    let (module, options) = parse_jaas(&jaas.value)
        .ok_or_else(|| refuse("`MODULE required name=\"value\" ...;` is wanted"))?;
    let mechanisms: &[&str] = match module.rsplit('.').next().unwrap_or_default() {
        "PlainLoginModule" => &["PLAIN"],
        "ScramLoginModule" => &["SCRAM-SHA-256", "SCRAM-SHA-512"],
        "OAuthBearerLoginModule" => &[OAUTHBEARER],
        "Krb5LoginModule" => {
            return Err(refuse(
                "Kerberos is not available in this version; use SCRAM or a client certificate",
            ));
        }
        _ => {
            return Err(refuse(
                "only PlainLoginModule, ScramLoginModule and OAuthBearerLoginModule are available in this version; \
                 or use a client certificate",
            ));
        }
    };
    let named = properties.get("sasl.mechanism");
    let fits = |text: &Text| mechanisms.contains(&text.value.as_str());
    if !named.is_some_and(fits) {
        let wanted = mechanisms.join(" or ");
        return Err(refuse(&format!(
            "its module goes with sasl.mechanism = {wanted}"
        )));
    }
    let mut put = |name: &str, value: String| {
        let text = Text {
            place: jaas.place.clone(),
            value,
            written: jaas.written.clone(),
        };
        put(properties, name, text)
    };
    if mechanisms == [OAUTHBEARER] {
        for (name, value) in token_options(options).map_err(|reason| refuse(&reason))? {
            put(name, value)?;
        }
        return Ok(());
    }
    for (option, name) in [("username", "sasl.username"), ("password", "sasl.password")] {
        let Some((_, value)) = options.iter().find(|(name, _)| name == option) else {
            return Err(refuse(&format!("`{option}` is missing")));
        };
        put(name, value.clone())?;
    }
    Ok(())
}

/// Options of Java's `OAuthBearerLoginModule` for `OAuthBearerLoginCallbackHandler`, by librdkafka's names.
fn token_options(options: Vec<(String, String)>) -> Result<Vec<(&'static str, String)>, String> {
    let (mut named, mut extensions) = (Vec::new(), Vec::new());
    for (option, value) in options {
        match option.as_str() {
            "clientId" => named.push(("sasl.oauthbearer.client.id", value)),
            "clientSecret" => named.push(("sasl.oauthbearer.client.secret", value)),
            "scope" => named.push(("sasl.oauthbearer.scope", value)),
            _ => match option.strip_prefix("extension_") {
                Some(name) => extensions.push(format!("{name}={value}")),
                None => return Err(format!("`{option}` is not available in this version")),
            },
        }
    }
    if !extensions.is_empty() {
        named.push(("sasl.oauthbearer.extensions", extensions.join(",")));
    }
    Ok(named)
}

/// The login module and its options; values are bare or in double quotes with `\` as escape.
pub(crate) fn parse_jaas(text: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (module, rest) = text.trim().split_once(char::is_whitespace)?;
    let (flag, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_lowercase().as_str())
    {
        return None;
    }
    let mut rest = rest.trim_start();
    let mut options = Vec::new();
    while rest != ";" {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = jaas_value(after.trim_start())?;
        options.push((name.trim().to_owned(), value));
        rest = after.trim();
    }
    Some((module, options))
}

/// One value and what follows it.
fn jaas_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == ';')?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Place;

    fn translated(properties: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let text = |value: &str| Text {
            place: Place::default(),
            value: value.to_owned(),
            written: value.to_owned(),
        };
        let mut written: Written = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), text(value)))
            .collect();
        translate(&mut written).map_err(|error| error.to_string())?;
        Ok(written
            .into_iter()
            .map(|(name, text)| (name, text.value))
            .collect())
    }

    #[test]
    fn a_login_becomes_name_and_password() {
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required \
                     username=\"ann\" password=\"a;b=\\\"c\\\\\" ;";
        let got = translated(&[
            ("sasl.jaas.config", scram),
            ("sasl.mechanism", "SCRAM-SHA-512"),
        ]);
        let got = got.unwrap();
        assert_eq!(got["sasl.username"], "ann");
        assert_eq!(got["sasl.password"], "a;b=\"c\\");
        assert!(!got.contains_key("sasl.jaas.config"));

        let plain = "x.PlainLoginModule required username=ann password=secret;";
        let got = translated(&[("sasl.jaas.config", plain), ("sasl.mechanism", "PLAIN")]).unwrap();
        assert_eq!(got["sasl.password"], "secret");
    }

    #[test]
    fn a_login_by_tokens_is_the_same_in_java_and_librdkafka() {
        let mechanism = ("sasl.mechanism", "OAUTHBEARER");
        let jaas = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                    clientId=\"ann\" clientSecret=\"s=;\" scope=\"a b\" extension_logicalCluster=\"lkc-1\" extension_x=\"y\";";
        let handler =
            "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler";
        let url = (
            "sasl.oauthbearer.token.endpoint.url",
            "https://issuer/token",
        );
        let java = translated(&[
            mechanism,
            url,
            ("sasl.jaas.config", jaas),
            ("sasl.login.callback.handler.class", handler),
        ]);
        let librdkafka = [
            mechanism,
            url,
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "ann"),
            ("sasl.oauthbearer.client.secret", "s=;"),
            ("sasl.oauthbearer.scope", "a b"),
            ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1,x=y"),
        ];
        assert_eq!(java.unwrap(), translated(&librdkafka).unwrap());
        for (name, value) in [
            ("sasl.oauthbearer.method", "default"),
            (
                "sasl.oauthbearer.grant.type",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
            ),
            (
                "sasl.login.callback.handler.class",
                "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
            ),
        ] {
            let error = translated(&[mechanism, (name, value)]).unwrap_err();
            assert!(error.contains(name) || error.contains("only "), "{error}");
        }
        let other = jaas.replace("scope", "ssl.truststore.location");
        let error = translated(&[mechanism, ("sasl.jaas.config", &other)]).unwrap_err();
        assert!(error.contains("ssl.truststore.location"), "{error}");
    }

    #[test]
    fn a_login_that_is_not_understood_is_refused_without_its_text() {
        for (jaas, reason) in [
            (
                "x.PlainLoginModule required username=ann;",
                "`password` is missing",
            ),
            (
                "x.PlainLoginModule required password=\"hunter2;",
                "is wanted",
            ),
            (
                "x.ScramLoginModule required username=a password=hunter2;",
                "goes with",
            ),
            (
                "x.Krb5LoginModule required keyTab=\"hunter2\";",
                "Kerberos is not available",
            ),
            (
                "x.AWSLoginModule required a=\"hunter2\";",
                "only PlainLoginModule",
            ),
            (
                "x.OAuthBearerLoginModule required clientSecret=\"hunter2\";",
                "goes with",
            ),
            ("hunter2", "is wanted"),
            ("", "is wanted"),
        ] {
            let error = translated(&[("sasl.jaas.config", jaas), ("sasl.mechanism", "PLAIN")]);
            let error = error.unwrap_err();
            assert!(
                error.contains(reason) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn stores_are_read_in_pem() {
        let got = translated(&[
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", "/ca.pem"),
            ("ssl.keystore.type", "pem"),
            ("ssl.keystore.location", "/me.pem"),
            ("ssl.endpoint.identification.algorithm", ""),
        ])
        .unwrap();
        assert_eq!(got["ssl.ca.location"], "/ca.pem");
        assert_eq!(got["ssl.certificate.location"], "/me.pem");
        assert_eq!(got["ssl.key.location"], "/me.pem");
        assert_eq!(got["ssl.endpoint.identification.algorithm"], "none");
        assert_eq!(got.len(), 4);
    }

    #[test]
    fn a_jks_store_gets_the_commands_that_convert_it() {
        for (name, kind) in [
            ("ssl.truststore.location", "ssl.truststore.type"),
            ("ssl.keystore.location", "ssl.keystore.type"),
        ] {
            let error = translated(&[(name, "/s.jks"), (kind, "JKS")]).unwrap_err();
            assert!(
                error.contains("keytool -importkeystore -srckeystore /s.jks"),
                "{error}"
            );
            assert!(translated(&[(name, "/s.jks")]).is_err());
        }
        let pkcs12 = [
            ("ssl.keystore.location", "/s.p12"),
            ("ssl.keystore.type", "PKCS12"),
            ("ssl.keystore.password", "hunter2"),
        ];
        let error = translated(&pkcs12).unwrap_err();
        assert!(
            error.contains("Convert it: `openssl pkcs12 -in /s.p12 -out /s.p12.pem`"),
            "{error}"
        );
    }

    #[test]
    fn a_store_in_pem_has_no_password() {
        let pem = [
            ("ssl.keystore.location", "/s.pem"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.password", "hunter2"),
        ];
        let error = translated(&pem).unwrap_err();
        assert!(error.contains("`ssl.key.password`"), "{error}");
        assert!(translated(&pem[2..]).is_err());
        assert!(translated(&[("ssl.truststore.password", "x")]).is_err());
    }

    #[test]
    fn a_name_given_in_both_languages_is_refused() {
        let error = translated(&[("ssl.ca.pem", "a"), ("ssl.truststore.certificates", "b")]);
        assert!(error.unwrap_err().contains("`ssl.ca.pem` is given as well"));
    }
}
