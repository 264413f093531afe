//! Public keys of those who issue tokens (RFC 7517), and signatures (RFC 7518).
//!
//! The cryptography is `ring`'s, which TLS and SCRAM use as well: libraries for such tokens bring a second one along.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::jws;

/// A set of keys.
pub(super) struct Jwks(Vec<Key>);

struct Key {
    id: Option<String>,
    /// What alone it is for, if it says so.
    algorithm: Option<String>,
    public: Public,
}

enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// As it is written; which fields there are depends on the type.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Smallest RSA modulus, in bytes (RFC 7518, 3.3).
const LEAST_RSA: usize = 2048 / 8;

impl Jwks {
    /// Keys for something else are left out, as `JsonWebKeySet` does.
    ///
    /// # Errors
    /// A reason, if none is left.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|error| format!("no JWKS: {error}"))?;
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::parse).collect();
        match keys.is_empty() {
            true => Err("it has no key for signatures (RSA from 2048 bits, P-256, P-384)".into()),
            false => Ok(Self(keys)),
        }
    }

    /// Whether one of the keys, that of this name if one is given, has signed `message`.
    ///
    /// # Errors
    /// A reason.
    pub(super) fn verify(
        &self,
        algorithm: &str,
        id: Option<&str>,
        message: &str,
        signature: &[u8],
    ) -> Result<(), String> {
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let for_it = |key: &&Key| key.algorithm.as_deref().is_none_or(|own| own == algorithm);
        let mut fits = false;
        for key in self.0.iter().filter(named).filter(for_it) {
            match key.public.verify(algorithm, message.as_bytes(), signature) {
                Some(true) => return Ok(()),
                Some(false) => fits = true,
                None => {}
            }
        }
        Err(match fits {
            true => "a wrong signature".to_owned(),
            false => format!("no key {id:?} for {algorithm:?}"),
        })
    }
}

impl Key {
    fn parse(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.purpose.as_deref().is_some_and(|one| one != "sig") {
            return None;
        }
        let public = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(&jwk.n?)?, number(&jwk.e?)?);
                if n.len() < LEAST_RSA {
                    return None;
                }
                Public::Rsa(RsaPublicKeyComponents { n, e })
            }
            ("EC", Some("P-256")) => Public::P256(point(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => Public::P384(point(&jwk.x?, &jwk.y?, 48)?),
            _ => return None,
        };
        Some(Self {
            id: jwk.kid,
            algorithm: jwk.alg,
            public,
        })
    }
}

impl Public {
    /// None if it is not a key for that algorithm.
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        let verified = match self {
            Self::Rsa(key) => key.verify(rsa(algorithm)?, message, signature),
            Self::P256(point) if algorithm == "ES256" => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            Self::P384(point) if algorithm == "ES384" => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature)
            }
            _ => return None,
        };
        Some(verified.is_ok())
    }
}

fn rsa(algorithm: &str) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// A number without leading zeros, which some write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = jws::decoded(text)?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A point of a curve, uncompressed (SEC 1, 2.3.3).
fn point(x: &str, y: &str, size: usize) -> Option<Vec<u8>> {
    let (x, y) = (jws::decoded(x)?, jws::decoded(y)?);
    let is_whole = x.len() == size && y.len() == size;
    is_whole.then(|| [&[4][..], &x, &y].concat())
}
