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
const EXTENSION: &str = "extension_";

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
    endpoint(draft);
    let jaas = draft.remove(JAAS);
    let text = jaas.map_or_else(String::new, |jaas| draft.keys.value(jaas).to_owned());
    let (_, mut options) = parse_jaas(&text).unwrap_or_default();
    let mut option = |name: &str| {
        let at = options.iter().position(|(option, _)| option == name)?;
        Some(options.swap_remove(at).1)
    };
    client(draft, (JAVA_ID, ID), option("clientId"));
    client(draft, (JAVA_SECRET, SECRET), option("clientSecret"));
    draft.take(SCOPE);
    if let Some(scope) = option("scope") {
        draft.write(SCOPE, scope);
    }
    let (extensions, others): (Vec<_>, Vec<_>) = options
        .into_iter()
        .partition(|(name, _)| name.starts_with(EXTENSION));
    let extensions = extensions
        .iter()
        .map(|(name, value)| format!("{}={value}", &name[EXTENSION.len()..]));
    let extensions: Vec<_> = extensions.collect();
    if !extensions.is_empty() {
        draft.write("sasl.oauthbearer.extensions", extensions.join(","));
    }
    if let Some(jaas) = jaas {
        let finding = match others.first() {
            None => Finding::renamed(format!("{ID} and {SECRET}")),
            Some((name, _)) => Finding::not_supported(format!(
                "strait has no `{name}` for the token endpoint; {ID} and {SECRET} were taken"
            )),
        };
        draft.keys.mark(jaas, finding);
    }
}

fn endpoint(draft: &mut Draft<'_, '_, '_>) {
    if draft.peek(ENDPOINT).is_some() {
        return draft.take(ENDPOINT);
    }
    let slot = Slot {
        sample: "https://issuer/token",
        ..Slot::new(draft.alias, ENDPOINT, "the URL that gives tokens")
    };
    let url = draft.secrets.variable(slot);
    draft.write(ENDPOINT, url);
}

/// The client's id or secret: of its own property, else `told` by the JAAS text, else to be filled in.
fn client(draft: &mut Draft<'_, '_, '_>, (java, name): (&str, &'static str), told: Option<String>) {
    let (secret, what) = match name {
        SECRET => (true, "the client's secret"),
        _ => (false, "the client's id"),
    };
    let key = draft.remove(java);
    let value = key.map(|key| draft.keys.value(key).to_owned()).or(told);
    let Some(value) = value else {
        draft.ask(name, what);
        return;
    };
    let slot = Slot::new(draft.alias, name, what);
    let text = match secret {
        true => draft.secrets.secret(&value, slot),
        false => draft.secrets.text(&value, slot),
    };
    if let Some(key) = key {
        let finding = Finding::renamed(format!("{name} = \"{text}\""));
        draft.keys.mark(key, finding);
    }
    draft.write(name, text);
}
