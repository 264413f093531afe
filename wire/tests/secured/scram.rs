//! The broker's side of SCRAM (RFC 5802), written against the RFC and not against the client's library.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use ring::{digest, hmac, pbkdf2};

/// One of the hash functions.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
    digest: &'static digest::Algorithm,
}

pub(crate) fn sha256() -> Hash {
    Hash {
        hmac: hmac::HMAC_SHA256,
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
        digest: &digest::SHA256,
    }
}

pub(crate) fn sha512() -> Hash {
    Hash {
        hmac: hmac::HMAC_SHA512,
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
        digest: &digest::SHA512,
    }
}

/// The client's proof and the server's signature over `messages` (`AuthMessage`).
pub(crate) fn proofs(
    hash: Hash,
    password: &str,
    salt: &[u8],
    iterations: u32,
    messages: &str,
) -> (String, String) {
    let mut salted = vec![0; hash.digest.output_len()];
    let rounds = iterations.try_into().unwrap();
    pbkdf2::derive(hash.pbkdf2, rounds, salt, password.as_bytes(), &mut salted);
    let keyed = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hash.hmac, key), text);
    let client_key = keyed(&salted, b"Client Key");
    let stored_key = digest::digest(hash.digest, client_key.as_ref());
    let signature = keyed(stored_key.as_ref(), messages.as_bytes());
    let bytes = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = bytes.map(|(a, b)| a ^ b).collect();
    let server_key = keyed(&salted, b"Server Key");
    let server = keyed(server_key.as_ref(), messages.as_bytes());
    (BASE64.encode(proof), BASE64.encode(server))
}

/// One login, between the client's two messages.
pub(crate) struct Server {
    hash: Hash,
    pub(crate) username: String,
    nonce: String,
    messages: String,
}

const SALT: &[u8] = b"some salt";
const ITERATIONS: u32 = 4096;

impl Server {
    /// From the client's first message; and what to answer.
    pub(crate) fn first(hash: Hash, message: &[u8]) -> (Self, Vec<u8>) {
        let message = std::str::from_utf8(message).unwrap();
        let bare = message.strip_prefix("n,,").expect("no channel binding");
        let (username, client_nonce) = bare.split_once(",r=").unwrap();
        let username = username.strip_prefix("n=").unwrap();
        let nonce = format!("{client_nonce}%server");
        let answer = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(SALT));
        let server = Self {
            hash,
            username: username.replace("=2C", ",").replace("=3D", "="),
            messages: format!("{bare},{answer}"),
            nonce,
        };
        (server, answer.into_bytes())
    }

    /// From the client's last message: whether it knows `password`, and what proves that we do.
    pub(crate) fn last(self, message: &[u8], password: &str) -> Option<Vec<u8>> {
        let message = std::str::from_utf8(message).unwrap();
        let (bare, proof) = message.split_once(",p=").unwrap();
        assert_eq!(bare, format!("c=biws,r={}", self.nonce));
        let messages = format!("{},{bare}", self.messages);
        let (wanted, signature) = proofs(self.hash, password, SALT, ITERATIONS, &messages);
        (proof == wanted).then(|| format!("v={signature}").into_bytes())
    }
}

/// RFC 7677, 3.
#[test]
fn it_is_what_the_rfc_says() {
    let messages = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let (proof, signature) = proofs(sha256(), "pencil", &salt, 4096, messages);
    assert_eq!(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}
