//! What secures the connections to a cluster, in the words that strait takes of Java's.

use super::{
    bearer,
    client::Draft,
    report::{Finding, KeyId},
    secrets::{Slot, refers},
};
use crate::config::{keystore_to_pem, parse_jaas, truststore_to_pem};

const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const JAAS: &str = "sasl.jaas.config";
const ALGORITHM: &str = "ssl.endpoint.identification.algorithm";
const CHAIN: &str = "ssl.keystore.certificate.chain";
const KEY: &str = "ssl.keystore.key";
/// Java's default.
const JKS: &str = "JKS";

/// Whether a property has its place in a cluster's table, or is dealt with here.
pub(super) fn takes(name: &str) -> bool {
    matches!(
        name,
        PROTOCOL | MECHANISM | JAAS | ALGORITHM | "ssl.key.password"
    ) || name.starts_with("ssl.keystore.")
        || name.starts_with("ssl.truststore.")
        || bearer::takes(name)
}

/// Adds what secures the cluster.
pub(super) fn add(draft: &mut Draft<'_, '_, '_>) {
    let protocol = draft.peek(PROTOCOL).unwrap_or("PLAINTEXT").to_uppercase();
    let protocol_key = draft.properties.get(PROTOCOL).copied();
    if ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
        draft.take(PROTOCOL);
    } else {
        let text = "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL itself has to be written here, no reference";
        draft.mark(PROTOCOL, Finding::refused(text));
    }
    if protocol.ends_with("SSL") {
        truststore(draft);
        keystore(draft);
        if draft.peek(ALGORITHM) == Some("") {
            draft.write(ALGORITHM, "none");
            draft.mark(ALGORITHM, Finding::renamed("\"none\""));
        }
        if draft.peek(ALGORITHM).is_some_and(refers) {
            let text = "it has to be written itself; without it, names of brokers are checked";
            draft.mark(ALGORITHM, Finding::not_supported(text));
        }
        draft.take(ALGORITHM);
    }
    if protocol.starts_with("SASL") {
        login(draft, protocol_key);
    }
    let without = format!("has no effect with security.protocol = {protocol}");
    for name in draft.properties.keys().cloned().collect::<Vec<_>>() {
        draft.mark(&name, Finding::not_needed(without.clone()));
    }
}

fn truststore(draft: &mut Draft<'_, '_, '_>) {
    let kind = draft
        .peek("ssl.truststore.type")
        .unwrap_or(JKS)
        .to_uppercase();
    let no_password = "a truststore in PEM has none; the commands ask for the old one";
    draft.mark("ssl.truststore.password", Finding::not_needed(no_password));
    if draft.peek("ssl.truststore.location").is_some() {
        draft.mark(
            "ssl.truststore.certificates",
            both("ssl.truststore.location"),
        );
    }
    draft.take_secret(
        "ssl.truststore.certificates",
        "the certificates to trust (PEM)",
    );
    if draft.peek("ssl.truststore.location").is_none() {
        return draft.mark(
            "ssl.truststore.type",
            Finding::not_needed("the text itself is given"),
        );
    }
    draft.write("ssl.truststore.type", "PEM");
    if kind == "PEM" {
        draft.mark("ssl.truststore.type", Finding::taken());
        draft.take("ssl.truststore.location");
        return;
    }
    let commands = truststore_to_pem(draft.peek("ssl.truststore.location").unwrap_or_default());
    draft.mark("ssl.truststore.type", Finding::renamed("\"PEM\""));
    converted(draft, "ssl.truststore.location", &commands);
}

fn keystore(draft: &mut Draft<'_, '_, '_>) {
    let kind = draft
        .peek("ssl.keystore.type")
        .unwrap_or(JKS)
        .to_uppercase();
    let no_password = "a keystore in PEM has none, only its key (ssl.key.password); the commands ask for the old one";
    draft.mark("ssl.keystore.password", Finding::not_needed(no_password));
    if draft.peek("ssl.keystore.location").is_some() {
        draft.mark(CHAIN, both("ssl.keystore.location"));
        draft.mark(KEY, both("ssl.keystore.location"));
    }
    let ways = [
        (CHAIN, "the certificate and those up to its CA (PEM)"),
        (KEY, "the private key (PEM)"),
    ];
    // One without the other is refused by MirrorMaker 2 as well, and asked for here.
    if ways.iter().any(|(name, _)| draft.peek(name).is_some()) {
        for (name, what) in ways {
            match draft.peek(name) {
                Some(_) => draft.take_secret(name, what),
                None => drop(draft.ask(name, what)),
            }
        }
    }
    let Some(location) = draft.peek("ssl.keystore.location") else {
        draft.take_secret("ssl.key.password", "the password of the private key");
        return draft.mark(
            "ssl.keystore.type",
            Finding::not_needed("the text itself is given"),
        );
    };
    let commands = keystore_to_pem(location, Some(&kind));
    draft.write("ssl.keystore.type", "PEM");
    if kind == "PEM" {
        draft.mark("ssl.keystore.type", Finding::taken());
        draft.take("ssl.keystore.location");
        draft.take_secret("ssl.key.password", "the password of the private key");
        return;
    }
    draft.mark("ssl.keystore.type", Finding::renamed("\"PEM\""));
    converted(draft, "ssl.keystore.location", &commands);
    let password = draft.ask(
        "ssl.key.password",
        "the new password, which openssl asks for, of the private key",
    );
    draft.mark(
        "ssl.key.password",
        Finding::renamed(format!("ssl.key.password = \"{password}\"")),
    );
}

/// A text beside the file that has it.
fn both(location: &str) -> Finding {
    Finding::not_supported(format!(
        "MirrorMaker 2 refuses it beside {location}, which was taken"
    ))
}

/// A store that is to be converted first.
fn converted(draft: &mut Draft<'_, '_, '_>, name: &'static str, commands: &str) {
    let Some(key) = draft.remove(name) else {
        return;
    };
    let slot = Slot::new(draft.alias, name, name);
    let location = draft.secrets.text(draft.keys.value(key), slot);
    let text = format!("\"{location}.pem\", which is to be made: {commands}");
    draft.keys.mark(key, Finding::renamed(text));
    draft.write(name, format!("{location}.pem"));
}

/// `protocol`: the key that asks for a login.
fn login(draft: &mut Draft<'_, '_, '_>, protocol: Option<KeyId>) {
    let mechanism = draft.peek(MECHANISM).unwrap_or("GSSAPI").to_owned();
    if mechanism == bearer::MECHANISM && bearer::is_ours(draft) {
        draft.take(MECHANISM);
        return bearer::add(draft);
    }
    if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&mechanism.as_str()) {
        return other_login(draft, &mechanism, protocol);
    }
    draft.take(MECHANISM);
    let Some(jaas) = draft.remove(JAAS) else {
        // In a JAAS file of the JVM, or nowhere.
        draft.ask("sasl.username", "the name of the login");
        draft.ask("sasl.password", "the password of the login");
        return;
    };
    let text = draft.keys.value(jaas).to_owned();
    let option = |name: &str| {
        let (_, options) = parse_jaas(&text)?;
        let found = options.into_iter().find(|(option, _)| option == name);
        found.map(|(_, value)| value)
    };
    let alias = draft.alias;
    if let (Some(username), Some(password)) = (option("username"), option("password")) {
        let slot = Slot::new(alias, "sasl.username", "the name of the login");
        let username = draft.secrets.text(&username, slot);
        let slot = Slot::new(alias, "sasl.password", "the password of the login");
        let password = draft.secrets.secret(&password, slot);
        let finding =
            Finding::renamed(format!("sasl.username, and sasl.password = \"{password}\""));
        draft.keys.mark(jaas, finding);
        draft.write("sasl.username", username);
        draft.write("sasl.password", password);
        return;
    }
    // All of it lies elsewhere, or is written in a way of its own.
    let what = "MODULE required username=\"...\" password=\"...\"; for the login";
    let module = if mechanism == "PLAIN" {
        "Plain"
    } else {
        "Scram"
    };
    let sample = format!("{module}LoginModule required username=a password=b;");
    let slot = Slot {
        sample: &sample,
        ..Slot::new(alias, JAAS, what)
    };
    let whole = draft.secrets.secret(&text, slot);
    draft
        .keys
        .mark(jaas, Finding::renamed(format!("{JAAS} = \"{whole}\"")));
    draft.write(JAAS, whole);
}

/// A login that strait does not have: another one stands in, to be filled in.
fn other_login(draft: &mut Draft<'_, '_, '_>, mechanism: &str, protocol: Option<KeyId>) {
    let text = format!(
        "strait logs in by SCRAM, PLAIN or tokens of an OAuth issuer, or by a client certificate (security.protocol = SSL), not \
         by {mechanism}: the TOML has SCRAM-SHA-512 with a name and a password to fill in"
    );
    if let Some(key) = draft.remove(MECHANISM).or(protocol) {
        draft.keys.mark(key, Finding::not_supported(text));
    }
    draft.mark(
        JAAS,
        Finding::not_supported(format!("a login by {mechanism}")),
    );
    draft.write(MECHANISM, "SCRAM-SHA-512");
    draft.ask("sasl.username", "the name of a SCRAM user");
    draft.ask("sasl.password", "the password of a SCRAM user");
}
