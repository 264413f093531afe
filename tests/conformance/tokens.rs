//! Bearer tokens, and who issues them: a key of this run, whose public half is in a file.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

struct Issuer {
    folder: tempfile::TempDir,
    key: EcdsaKeyPair,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "kid": "key", "use": "sig",
        "x": BASE64.encode(x), "y": BASE64.encode(y),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let keys = json!({"keys": [jwk]}).to_string();
    std::fs::write(folder.path().join("jwks.json"), keys).expect("a file");
    Issuer { folder, key }
});

/// Where the public keys are.
pub fn url() -> String {
    let path = ISSUER.folder.path().join("jwks.json");
    format!("file://{}", path.display())
}

/// What the listener `name` wants of tokens, besides that it takes the mechanism. The validator must be named, and not for the mechanism alone: the default of
/// Kafka 4.1.1 is its clients', which looks at no signature.
pub fn settings(name: &str) -> String {
    let of = format!("listener.name.{name}.oauthbearer.sasl");
    format!(
        "{of}.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
{of}.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"kafka\";
{of}.oauthbearer.jwks.endpoint.url={}
{of}.oauthbearer.expected.audience=other,ours
{of}.oauthbearer.expected.issuer=https://issuer.example
listener.name.{name}.sasl.oauthbearer.jwt.validator.class=org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator",
        url()
    )
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_secs().cast_signed()
}

/// A token that nobody has signed.
pub fn unsecured(header: &Value, claims: &Value) -> String {
    format!("{}.", parts(header, claims))
}

/// A token that the issuer has signed.
pub fn signed(header: &Value, claims: &Value) -> String {
    let parts = parts(header, claims);
    let signature = ISSUER.key.sign(&SystemRandom::new(), parts.as_bytes());
    let signature = BASE64.encode(signature.expect("a signature"));
    format!("{parts}.{signature}")
}

fn parts(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}")
}
