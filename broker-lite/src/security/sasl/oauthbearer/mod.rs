//! OAUTHBEARER (RFC 7628, KIP-255, KIP-768): whoever has a token that holds is who the token says.
//!
//! The conversation is that of `OAuthBearerSaslServer`: one message with the token; a token that is refused is answered
//! with JSON, the client says that it heard, and only then the login fails. Which tokens hold is said by a
//! [`Validator`]: [`signed`] ones are checked with keys out of a file, [`unsecured`] ones are taken at their word and must
//! be asked for. `jws` takes tokens apart, `jwks` holds keys and checks signatures.

mod jwks;
mod jws;
mod message;
mod signed;
#[cfg(test)]
mod tests;
mod unsecured;

use super::{Failure, Mechanism, Step};
use crate::security::{jaas, properties::Settings};

/// `sasl.server.callback.handler.class` for signed tokens; and as it was called before Kafka 4.0.
const SIGNED: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
];
/// For tokens that nobody has signed.
const UNSECURED: &str = "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler";

/// The one value of `sasl.oauthbearer.jwt.validator.class`: what [`signed`] does, said or not. Kafka 4.1.1 must be told so,
/// or it checks no signature.
pub(crate) const JWT_VALIDATOR: &str =
    "org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator";

/// What a client's one word is that it heard why its token is refused (RFC 7628, 3.2.3).
const HEARD: &[u8] = &[1];

/// Whether this is a value of `sasl.server.callback.handler.class`.
pub(crate) fn is_handler(class: &str) -> bool {
    SIGNED.contains(&class) || class == UNSECURED
}

/// A token that holds.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    /// Whose it is.
    principal: String,
    /// Until when, in milliseconds since 1970.
    expires_ms: i64,
}

/// Why a token does not hold.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// The scope that it lacks, if it is that.
    scope: Option<String>,
    /// For the log.
    reason: String,
}

impl Refusal {
    fn invalid(reason: impl Into<String>) -> Self {
        Self {
            scope: None,
            reason: reason.into(),
        }
    }

    /// What the client is told (`jsonErrorResponse`).
    fn json(&self) -> String {
        match &self.scope {
            None => r#"{"status":"invalid_token"}"#.to_owned(),
            Some(scope) => format!(r#"{{"status":"insufficient_scope", "scope":"{scope}"}}"#),
        }
    }
}

/// Which tokens hold.
pub(super) enum Validator {
    Signed(signed::Signed),
    Unsecured(unsecured::Unsecured),
}

impl Validator {
    /// Reads the settings, and the keys that they name. Kafka takes unsecured tokens unless told otherwise; here somebody
    /// must have written the word.
    ///
    /// # Errors
    /// A reason.
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let name = Mechanism::OAuthBearer.name();
        let options = match settings.of_mechanism(name, "sasl.jaas.config") {
            Some(line) => jaas::options(line, "OAuthBearerLoginModule")
                .map_err(|why| format!("oauthbearer.sasl.jaas.config: {why}"))?,
            None => Vec::new(),
        };
        let handler = settings.of_mechanism(name, "sasl.server.callback.handler.class");
        let names_it = options.iter().any(|(key, _)| key.starts_with("unsecured"));
        let is_unsecured = match handler {
            Some(class) => class == UNSECURED,
            None => names_it,
        };
        let get = |name: &str| {
            let own = settings.of_mechanism(Mechanism::OAuthBearer.name(), name);
            own.or_else(|| settings.get(name))
        };
        match (is_unsecured, get(signed::KEYS)) {
            (true, None) => unsecured::Unsecured::new(&options).map(Self::Unsecured),
            (false, Some(url)) => signed::Signed::new(url, get).map(Self::Signed),
            (true, Some(_)) => Err(format!(
                "{} is set, and so is what takes tokens without a signature: which of them?",
                signed::KEYS
            )),
            (false, None) => Err(format!(
                "which tokens does OAUTHBEARER take? Set {} to the keys that sign them",
                signed::KEYS
            )),
        }
    }

    fn validate(&self, token: &str, now_ms: i64) -> Result<Token, Refusal> {
        match self {
            Self::Signed(signed) => signed.validate(token, now_ms).map_err(Refusal::invalid),
            Self::Unsecured(unsecured) => unsecured.validate(token, now_ms),
        }
    }
}

/// A conversation; it remembers why it refused the last token.
#[derive(Default)]
pub(super) struct Exchange(Option<Refusal>);

impl Exchange {
    /// Hears one message.
    pub(super) fn step(
        &mut self,
        validator: &Validator,
        now_ms: i64,
        message: &[u8],
    ) -> Result<Step, Failure> {
        let refused = self.0.take();
        if let Some(refusal) = refused.filter(|_| message == HEARD) {
            return Err(Failure::Explained {
                told: refusal.json(),
                reason: refusal.reason,
            });
        }
        let message = String::from_utf8_lossy(message);
        let first = message::First::parse(&message).map_err(Failure::Hidden)?;
        let token = match validator.validate(first.token, now_ms) {
            Ok(token) => token,
            Err(refusal) => {
                let says = refusal.json().into_bytes();
                self.0 = Some(refusal);
                return Ok(Step::Challenge(says));
            }
        };
        if !first.asks_to_be.is_empty() && first.asks_to_be != token.principal {
            return Err(Failure::Told(format!(
                "Authentication failed: Client requested an authorization id ({}) that is different from the token's principal name ({})",
                first.asks_to_be, token.principal
            )));
        }
        Ok(Step::Done {
            says: Vec::new(),
            name: token.principal,
            expires_ms: Some(token.expires_ms),
        })
    }
}
