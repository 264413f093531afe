//! Tokens taken apart (RFC 7515, compact form), and their claims (RFC 7519).

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// RFC 7515 has no padding; some issuers do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes out of text.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A token in its parts. What it says is not known to be true yet.
pub(super) struct Jws<'a> {
    header: Map<String, Value>,
    pub(super) claims: Claims,
    /// What the signature is of.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Three parts; only the last may be empty. The error is a reason, and shows nothing of it.
    pub(super) fn parse(token: &'a str) -> Result<Self, String> {
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, claims, signature] = &*parts else {
            return Err(format!("{} parts instead of three", parts.len()));
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = object(header).ok_or("a header that is no JSON object")?;
        // Whoever does not know what it says must not take it (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err("extensions that must be understood".to_owned());
        }
        Ok(Self {
            header,
            claims: Claims(object(claims).ok_or("claims that are no JSON object")?),
            signed,
            signature: decoded(signature).ok_or("a signature that is not in Base64")?,
        })
    }

    /// How it is signed.
    pub(super) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg")?.as_str()
    }

    /// Which key has signed it, if it says so.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decoded(part)?).ok()
}

/// What a token says.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// A time in seconds since 1970, perhaps with a fraction; none if it is not there.
    pub(super) fn time(&self, name: &str) -> Result<Option<f64>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(format!("{name} is not a number")),
            },
        }
    }

    /// A text that must be there, without the spaces around it.
    pub(super) fn text(&self, name: &str) -> Result<&str, String> {
        let text = self.0.get(name).and_then(Value::as_str).map(str::trim);
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| format!("{name} is not there, or is no text"))
    }

    /// A text or an array of texts; empty if it is not there or something else.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(text)) => vec![text],
            // What is no text cannot be what is looked for; nor is it as if it were not there.
            Some(Value::Array(all)) => all.iter().map(|one| one.as_str().unwrap_or("")).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether [`Claims::texts`] is all that it says.
    pub(super) fn is_texts(&self, name: &str) -> bool {
        let value = self.0.get(name);
        value.is_none_or(|value| value.is_string() || value.is_array())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Seconds as milliseconds; what is no number is long ago, what is too large as late as can be.
pub(super) fn millis(seconds: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "casts of floating point saturate"
    )]
    {
        (seconds * 1000.0).round() as i64
    }
}
