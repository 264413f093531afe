//! Signed tokens, as `BrokerJwtValidator` and the library under it (jose4j) check them.

use super::{Token, jwks::Jwks, jws};

/// The setting that names the keys.
pub(super) const KEYS: &str = "sasl.oauthbearer.jwks.endpoint.url";

/// `sasl.oauthbearer.clock.skew.seconds`, unless it is set.
const SKEW: u32 = 30;

/// What a token must be.
pub(crate) struct Signed {
    keys: Jwks,
    /// Whom it is for: one of these.
    audience: Vec<String>,
    issuer: Option<String>,
    scope_claim: String,
    principal_claim: String,
    skew_seconds: f64,
}

impl Signed {
    /// Reads the keys at `url`, and the other settings.
    ///
    /// # Errors
    /// A reason.
    pub(super) fn new<'a>(
        url: &str,
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, String> {
        let path = path(url).map_err(|why| format!("{KEYS}={url}: {why}"))?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let keys = Jwks::parse(&text).map_err(|why| format!("{path}: {why}"))?;
        let name = |name, default: &str| get(name).unwrap_or(default).trim().to_owned();
        let audience = get("sasl.oauthbearer.expected.audience").unwrap_or_default();
        let audience = audience.split(',').map(str::trim);
        let skew = get("sasl.oauthbearer.clock.skew.seconds");
        Ok(Self {
            keys,
            audience: audience
                .filter(|one| !one.is_empty())
                .map(str::to_owned)
                .collect(),
            issuer: get("sasl.oauthbearer.expected.issuer").map(str::to_owned),
            scope_claim: name("sasl.oauthbearer.scope.claim.name", "scope"),
            principal_claim: name("sasl.oauthbearer.sub.claim.name", "sub"),
            skew_seconds: f64::from(skew.and_then(|text| text.parse().ok()).unwrap_or(SKEW)),
        })
    }

    /// The error is a reason.
    pub(super) fn validate(&self, token: &str, now_ms: i64) -> Result<Token, String> {
        let jws = jws::Jws::parse(token)?;
        // Before anything that it says is believed. `none` is no algorithm of any key.
        let algorithm = jws.algorithm().ok_or("no algorithm")?;
        let id = jws.key_id();
        self.keys
            .verify(algorithm, id, jws.signed, &jws.signature)?;
        self.check_parties(&jws.claims)?;
        let expires = self.check_times(&jws.claims, now_ms)?;
        self.check_scope(&jws.claims)?;
        Ok(Token {
            principal: jws.claims.text(&self.principal_claim)?.to_owned(),
            expires_ms: jws::millis(expires),
        })
    }

    /// From whom and for whom. As in Kafka a token that is for somebody is for nobody else: without an expected audience it
    /// is refused.
    fn check_parties(&self, claims: &jws::Claims) -> Result<(), String> {
        if let Some(issuer) = &self.issuer
            && claims.text("iss").ok() != Some(issuer)
        {
            return Err("another issuer".to_owned());
        }
        let audience = claims.texts("aud");
        let is_ours = audience
            .iter()
            .any(|one| self.audience.iter().any(|own| own == one));
        let is_for_all = self.audience.is_empty() && !claims.has("aud");
        match is_ours || is_for_all {
            true => Ok(()),
            false => Err("for another audience".to_owned()),
        }
    }

    /// When it expires (`NumericDateValidator`: whole seconds).
    fn check_times(&self, claims: &jws::Claims, now_ms: i64) -> Result<f64, String> {
        let time = |name| Ok::<_, String>(claims.time(name)?.map(f64::trunc));
        let expires = time("exp")?.ok_or("no exp")?;
        let issued = time("iat")?.ok_or("no iat")?;
        let not_before = time("nbf")?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 are far below 2^52"
        )]
        let now = now_ms.div_euclid(1000) as f64;
        if now - self.skew_seconds >= expires {
            return Err("it has expired".to_owned());
        }
        if not_before.is_some_and(|begins| now + self.skew_seconds < begins) {
            return Err("it does not hold yet".to_owned());
        }
        if issued < 0.0 || expires < issued || not_before.is_some_and(|begins| expires < begins) {
            return Err("it ends before it begins".to_owned());
        }
        Ok(expires)
    }

    /// Scopes mean nothing here, but must be well-formed (`ClaimValidationUtils.validateScopes`).
    fn check_scope(&self, claims: &jws::Claims) -> Result<(), String> {
        let mut scopes = claims.texts(&self.scope_claim);
        let wrong = || format!("{} is blank or has the same twice", self.scope_claim);
        for scope in &mut scopes {
            *scope = scope.trim();
        }
        scopes.sort_unstable();
        let is_twice = scopes.windows(2).any(|pair| pair[0] == pair[1]);
        match is_twice || scopes.contains(&"") {
            true => Err(wrong()),
            false => Ok(()),
        }
    }
}

/// The path of a `file:` URL.
fn path(url: &str) -> Result<&str, &'static str> {
    let path = url.strip_prefix("file:").ok_or(
        "only files are read (file:///etc/broker-lite/jwks.json); fetch the keys of an https endpoint into one",
    )?;
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => path,
    };
    match path.starts_with('/') && !path.contains(['%', '?', '#']) {
        true => Ok(path),
        false => Err("a plain absolute path is wanted (file:///etc/broker-lite/jwks.json)"),
    }
}
