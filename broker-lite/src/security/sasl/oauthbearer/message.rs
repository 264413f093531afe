//! A client's first message, by the patterns of `OAuthBearerClientInitialResponse`.

use std::sync::LazyLock;

use regex::Regex;

/// Who the client asks to be; then pairs, each with %x01 behind it.
static MESSAGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = r"(?:[\x01-\x7F&&[^=,]]|=2C|=3D)+";
    let pairs = r"(?:[A-Za-z]+=[\x21-\x7E \t\r\n]+\x01)*";
    Regex::new(&format!(
        r"\An,(?:a=(?<authzid>{name}))?,\x01(?<pairs>{pairs})\x01\z"
    ))
    .ok()
});

/// The value of the pair `auth`.
static AUTH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\A(?<scheme>[A-Za-z0-9_]+) +(?<token>[-_~+/.a-zA-Z0-9]+=*)\z").ok()
});

/// What is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First<'a> {
    /// As it is written, as Kafka takes it; empty if it is not there.
    pub(super) asks_to_be: &'a str,
    pub(super) token: &'a str,
}

impl<'a> First<'a> {
    /// Extensions, pairs of other names, may be there and mean nothing (`OAuthBearerValidatorCallbackHandler` takes all).
    pub(super) fn parse(message: &'a str) -> Result<Self, String> {
        let invalid = "Invalid OAUTHBEARER client first message";
        let captured = MESSAGE.as_ref().and_then(|regex| regex.captures(message));
        let captured = captured.ok_or(invalid)?;
        let pairs = captured.name("pairs").map_or("", |found| found.as_str());
        // Of several the last one counts, as in Java's maps.
        let mut values = pairs.rsplit('\x01').filter_map(|pair| pair.split_once('='));
        let auth = values.find_map(|(key, value)| (key == "auth").then_some(value));
        let auth = auth.ok_or_else(|| format!("{invalid}: 'auth' not specified"))?;
        let auth = AUTH.as_ref().and_then(|regex| regex.captures(auth));
        let auth = auth.ok_or_else(|| format!("{invalid}: invalid 'auth' format"))?;
        if !auth["scheme"].eq_ignore_ascii_case("bearer") {
            return Err("Invalid scheme in OAUTHBEARER client first message".to_owned());
        }
        Ok(Self {
            asks_to_be: captured.name("authzid").map_or("", |found| found.as_str()),
            token: auth.name("token").map_or("", |found| found.as_str()),
        })
    }
}
