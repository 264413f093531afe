//! Tokens without a signature: anybody can make one. For development, as
//! `OAuthBearerUnsecuredValidatorCallbackHandler` says of itself.

use super::{Refusal, Token, jws};

/// What a token must say all the same: options of the login module, `unsecuredValidator...`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsecured {
    principal_claim: String,
    scope_claim: String,
    required_scope: Vec<String>,
    skew_ms: i64,
}

impl Unsecured {
    /// Options with other names are for the broker's own login, which there is none of.
    ///
    /// # Errors
    /// A reason.
    pub(super) fn new(options: &[(String, String)]) -> Result<Self, String> {
        let get = |name: &str| {
            let found = options
                .iter()
                .find(|(key, _)| key.strip_prefix("unsecuredValidator") == Some(name));
            let value = found.map_or("", |(_, value)| value.trim());
            (!value.is_empty()).then_some(value)
        };
        let required = get("RequiredScope").unwrap_or_default();
        if required.contains(['"', '\\']) {
            return Err("unsecuredValidatorRequiredScope is no list of scopes".to_owned());
        }
        let skew_ms = match get("AllowableClockSkewMs").map(str::parse::<u32>) {
            None => 0,
            Some(Ok(skew)) => i64::from(skew),
            Some(Err(_)) => {
                return Err("unsecuredValidatorAllowableClockSkewMs is no number".to_owned());
            }
        };
        Ok(Self {
            principal_claim: get("PrincipalClaimName").unwrap_or("sub").to_owned(),
            scope_claim: get("ScopeClaimName").unwrap_or("scope").to_owned(),
            required_scope: required.split_whitespace().map(str::to_owned).collect(),
            skew_ms,
        })
    }

    pub(super) fn validate(&self, token: &str, now_ms: i64) -> Result<Token, Refusal> {
        let jws = jws::Jws::parse(token).map_err(Refusal::invalid)?;
        if jws.algorithm() != Some("none") || !jws.signature.is_empty() {
            return Err(Refusal::invalid(
                "signed, where no signature can be checked",
            ));
        }
        let principal = jws.claims.text(&self.principal_claim);
        let token = Token {
            principal: principal.map_err(Refusal::invalid)?.to_owned(),
            expires_ms: self.expires_ms(&jws.claims, now_ms)?,
        };
        if !jws.claims.is_texts(&self.scope_claim) {
            return Err(Refusal::invalid("a scope that is no text"));
        }
        let scopes = jws.claims.texts(&self.scope_claim);
        let has = |wanted: &String| scopes.iter().any(|scope| scope.trim() == wanted);
        match self.required_scope.iter().all(has) {
            true => Ok(token),
            false => Err(Refusal {
                // As Java shows a list.
                scope: Some(format!("[{}]", self.required_scope.join(", "))),
                reason: "it lacks a required scope".to_owned(),
            }),
        }
    }

    /// When it expires (`OAuthBearerValidationUtils`); what it says of its beginning must go with it.
    fn expires_ms(&self, claims: &jws::Claims, now_ms: i64) -> Result<i64, Refusal> {
        let time = |name| claims.time(name).map_err(Refusal::invalid);
        let expires = time("exp")?.ok_or_else(|| Refusal::invalid("no exp"))?;
        let issued = time("iat")?;
        let expires_ms = jws::millis(expires);
        if now_ms.saturating_sub(self.skew_ms) >= expires_ms {
            return Err(Refusal::invalid("it has expired"));
        }
        match issued {
            Some(issued) if jws::millis(issued) > now_ms.saturating_add(self.skew_ms) => {
                Err(Refusal::invalid("it is issued in the future"))
            }
            Some(issued) if expires <= issued => {
                Err(Refusal::invalid("it ends before it is issued"))
            }
            _ => Ok(expires_ms),
        }
    }
}
