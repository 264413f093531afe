//! A login by bearer tokens (OAUTHBEARER, KIP-768), by strait's names.

use super::{client::Draft, report::Finding, secrets::Slot};
use crate::config::parse_jaas;

pub(super) const MECHANISM: &str = "OAUTHBEARER";
const HANDLER: &str = "sasl.login.callback.handler.class";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const SCOPE: &str = "sasl.oauthbearer.scope";
const ID: &str = "sasl.oauthbearer.client.id";
const SECRET: &str = "sasl.oauthbearer.client.secret";
/// Java's names for these two, since 4.1 (KIP-1139).
const JAVA_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const JAVA_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const JAAS: &str = "sasl.jaas.config";

/// Whether it is dealt with here.
pub(super) fn takes(name: &str) -> bool {
    matches!(name, HANDLER | ENDPOINT | SCOPE | JAVA_ID | JAVA_SECRET)
}

/// Whether the client asks an issuer for tokens, as strait does, and no code of others makes them.
pub(super) fn is_ours(draft: &Draft<'_, '_, '_>) -> bool {
    let handler = draft.peek(HANDLER);
    handler.is_none_or(|class| class.ends_with(".OAuthBearerLoginCallbackHandler"))
}

/// Adds the login.
pub(super) fn add(draft: &mut Draft<'_, '_, '_>) {
    draft.mark(
        HANDLER,
        Finding::not_needed("strait asks for tokens itself"),
    );
    if draft.peek(ENDPOINT).is_some() {
        draft.take(ENDPOINT);
    } else {
        let slot = Slot {
            sample: "https://issuer/token",
            ..Slot::new(draft.alias, ENDPOINT, "the URL that gives tokens")
        };
        let url = draft.secrets.variable(slot);
        draft.write(ENDPOINT, url);
    }
    let jaas = draft.remove(JAAS);
    let text = jaas.map_or_else(String::new, |jaas| draft.keys.value(jaas).to_owned());
    let (_, mut options) = parse_jaas(&text).unwrap_or_default();
    let mut option = |name: &str| {
        let at = options.iter().position(|(option, _)| option == name)?;
        Some(options.swap_remove(at).1)
    };
    let (id, secret, scope) = (option("clientId"), option("clientSecret"), option("scope"));
    for (java, name, told, what) in [
        (JAVA_ID, ID, id, "the client's id"),
        (JAVA_SECRET, SECRET, secret, "the client's secret"),
    ] {
        let slot = Slot::new(draft.alias, name, what);
        let key = draft.remove(java);
        let value = key.map(|key| draft.keys.value(key).to_owned()).or(told);
        let Some(value) = value else {
            draft.ask(name, what);
            continue;
        };
        let text = match name {
            SECRET => draft.secrets.secret(&value, slot),
            _ => draft.secrets.text(&value, slot),
        };
        if let Some(key) = key {
            draft
                .keys
                .mark(key, Finding::renamed(format!("{name} = \"{text}\"")));
        }
        draft.write(name, text);
    }
    draft.take(SCOPE);
    if let Some(scope) = scope {
        draft.write(SCOPE, scope);
    }
    let extensions = options.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("extension_")?;
        Some(format!("{name}={value}"))
    });
    let extensions: Vec<_> = extensions.collect();
    if !extensions.is_empty() {
        draft.write("sasl.oauthbearer.extensions", extensions.join(","));
    }
    if let Some(jaas) = jaas {
        let finding = match options
            .iter()
            .find(|(name, _)| !name.starts_with("extension_"))
        {
            None => Finding::renamed(format!("{ID} and {SECRET}")),
            Some((name, _)) => {
                let text = format!(
                    "strait has no `{name}` for the token endpoint; {ID} and {SECRET} were taken"
                );
                Finding::not_supported(text)
            }
        };
        draft.keys.mark(jaas, finding);
    }
}
