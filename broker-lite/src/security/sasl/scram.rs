//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), as `ScramSaslServer` takes it: without
//! channel binding, and without delegation tokens.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use host::Random;
use regex::Regex;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Failure, Mechanism, Step};

/// What is kept of a password: enough to check a proof, and not enough to make one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
    pub(crate) iterations: i32,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Credential {
    /// From the password as the client has salted and hashed it.
    pub(crate) fn new(
        mechanism: Mechanism,
        salt: &[u8],
        iterations: i32,
        salted_password: &[u8],
    ) -> Self {
        let client_key = sign(mechanism, salted_password, b"Client Key");
        Self {
            salt: salt.to_owned(),
            stored_key: hash(mechanism, client_key.as_ref()),
            server_key: sign(mechanism, salted_password, b"Server Key")
                .as_ref()
                .to_owned(),
            iterations,
        }
    }

    /// From a password.
    pub(crate) fn of_password(
        mechanism: Mechanism,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Option<Self> {
        let (algorithm, length) = match mechanism {
            Mechanism::ScramSha512 => (ring::pbkdf2::PBKDF2_HMAC_SHA512, digest::SHA512_OUTPUT_LEN),
            _ => (ring::pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN),
        };
        let mut salted = vec![0; length];
        let rounds = iterations.try_into().ok()?;
        ring::pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut salted);
        let iterations = i32::try_from(iterations).ok()?;
        Some(Self::new(mechanism, salt, iterations, &salted))
    }
}

fn sign(mechanism: Mechanism, key: &[u8], text: &[u8]) -> hmac::Tag {
    let algorithm = match mechanism {
        Mechanism::ScramSha512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), text)
}

fn hash(mechanism: Mechanism, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match mechanism {
        Mechanism::ScramSha512 => &digest::SHA512,
        _ => &digest::SHA256,
    };
    digest::digest(algorithm, bytes).as_ref().to_owned()
}

/// Parts of both messages (`ScramMessages`).
const VALUE: &str = r"[\x01-\x7F&&[^,]]+";
const NONCE: &str = r"[\x21-\x7E&&[^,]]+";

/// `ScramMessages.ClientFirstMessage`: header, name, nonce, extensions.
static CLIENT_FIRST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = r"(?:[\x01-\x7F&&[^=,]]|=2C|=3D)+";
    Regex::new(&format!(
        r"\An,(?:a=(?<authzid>{name}))?,(?<bare>(?:m={VALUE},)?n=(?<name>{name}),r=(?<nonce>{NONCE})(?<more>(?:,[A-Za-z]+={VALUE})*))\z"
    ))
    .ok()
});

/// `ScramMessages.ClientFinalMessage`: channel binding, nonce, extensions, proof.
static CLIENT_FINAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let base64 = r"(?:[a-zA-Z0-9/+]{4})*(?:[a-zA-Z0-9/+]{3}=|[a-zA-Z0-9/+]{2}==)?";
    Regex::new(&format!(
        r"\A(?<bare>c={base64},r=(?<nonce>{NONCE})(?:,[A-Za-z]+={VALUE})*?),p=(?<proof>{base64})\z"
    ))
    .ok()
});

fn hidden(reason: &str) -> Failure {
    Failure::Hidden(reason.to_owned())
}

/// A conversation between its two rounds.
pub(super) struct Server {
    mechanism: Mechanism,
    name: String,
    credential: Credential,
    /// The client's and ours.
    nonce: String,
    /// Both first messages.
    messages: String,
}

impl Server {
    /// In the middle of the conversation that the RFC shows.
    #[cfg(test)]
    pub(super) fn of_rfc(
        mechanism: Mechanism,
        credential: Credential,
        nonce: &str,
        messages: &str,
    ) -> Self {
        Self {
            mechanism,
            name: "user".to_owned(),
            credential,
            nonce: nonce.to_owned(),
            messages: messages.to_owned(),
        }
    }

    /// Hears the client's first message; and what to answer.
    pub(super) fn first(
        mechanism: Mechanism,
        lookup: impl FnOnce(&str) -> Option<Credential>,
        random: &dyn Random,
        message: &[u8],
    ) -> Result<(Self, Vec<u8>), Failure> {
        let malformed = || hidden("no first message of SCRAM");
        let text = std::str::from_utf8(message).map_err(|_| malformed())?;
        let parts = CLIENT_FIRST.as_ref().and_then(|first| first.captures(text));
        let parts = parts.ok_or_else(malformed)?;
        if parts["more"].split(',').any(|one| one == "tokenauth=true") {
            return Err(hidden("delegation tokens are not served"));
        }
        let name = plain_name(&parts["name"]);
        let credential = lookup(&name).ok_or_else(|| hidden("no such user"))?;
        if let Some(asks_to_be) = parts.name("authzid")
            && asks_to_be.as_str() != name
        {
            return Err(Failure::Told(
                "Authentication failed: Client requested an authorization id that is different from username".to_owned(),
            ));
        }
        let mut ours = [0; 24];
        random.fill(&mut ours);
        let nonce = format!("{}{}", &parts["nonce"], BASE64.encode(ours));
        let salt = BASE64.encode(&credential.salt);
        let answer = format!("r={nonce},s={salt},i={}", credential.iterations);
        let server = Self {
            mechanism,
            name,
            credential,
            nonce,
            messages: format!("{},{answer}", &parts["bare"]),
        };
        Ok((server, answer.into_bytes()))
    }

    /// Hears the client's proof. What it says of channel binding is part of the proof, and as in Kafka not looked at.
    pub(super) fn last(&self, message: &[u8]) -> Result<Step, Failure> {
        let malformed = || hidden("no final message of SCRAM");
        let text = std::str::from_utf8(message).map_err(|_| malformed())?;
        let parts = CLIENT_FINAL.as_ref().and_then(|last| last.captures(text));
        let parts = parts.ok_or_else(malformed)?;
        if parts["nonce"] != self.nonce {
            return Err(hidden("another nonce in the final message"));
        }
        let proof = BASE64.decode(&parts["proof"]).map_err(|_| malformed())?;
        let messages = format!("{},{}", self.messages, &parts["bare"]);
        let stored_key = &self.credential.stored_key;
        let signature = sign(self.mechanism, stored_key, messages.as_bytes());
        let signature = signature.as_ref();
        if proof.len() != signature.len() {
            return Err(malformed());
        }
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let found = hash(self.mechanism, &client_key);
        if !bool::from(found.ct_eq(stored_key)) {
            return Err(hidden("wrong password"));
        }
        let ours = sign(
            self.mechanism,
            &self.credential.server_key,
            messages.as_bytes(),
        );
        let says = format!("v={}", BASE64.encode(ours));
        Ok(Step::Done {
            says: says.into_bytes(),
            name: self.name.clone(),
            expires_ms: None,
        })
    }
}

/// Commas and equals signs stand as numbers in a name.
fn plain_name(name: &str) -> String {
    name.replace("=2C", ",").replace("=3D", "=")
}
