//! Bearer tokens of an OAuth issuer, by its client credentials grant (RFC 6749, 4.4; KIP-768), and where they are kept
//! until they are due for another.

use std::{fmt::Display, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use host::{ByteStream, Host};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Handshake, NotSecured, Secret, Tls};

/// The longest answer that is taken, in bytes: tokens have a few thousand.
const MAX_ANSWER: usize = 64 << 10;
/// From connect to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The share of a token's life after which another is asked for, as Kafka's client does by default
/// (`sasl.login.refresh.window.factor`).
const RENEW_AFTER: f64 = 0.8;
/// What is left of a token's life is that of a session too, which wants some time to be renewed.
const LEAST_LEFT: Duration = Duration::from_secs(10);
const WANTED: &str = "https://HOST/PATH is wanted as the token endpoint";

/// Where tokens come from, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// `https://HOST/PATH`, or `http://` where the way is safe.
    pub endpoint: String,
    /// Certificates to trust there, in PEM; none: the system's CAs.
    pub trusted: Option<String>,
    /// Who asks.
    pub client_id: Secret,
    /// And proves it by this.
    pub client_secret: Secret,
    /// What the token shall allow, if that is to be said.
    pub scope: Option<String>,
    /// What else brokers are told with a token (RFC 7628, 3.1; KIP-342): letters and text.
    pub extensions: Vec<(String, String)>,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The issuer cannot be reached, or not now.
    Later(String),
    /// It does not know us, or what it says makes no sense.
    Refused(String),
}

/// The token that is in use.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    source: TokenSource,
    token: Secret,
    /// By the host's monotonic clock.
    renew_at: Duration,
}

impl Tokens {
    /// A token that is good for a while; who asks meanwhile waits for the same.
    pub(crate) async fn get(&self, source: &TokenSource, host: &Host) -> Result<Secret, NoToken> {
        let mut held = self.0.lock().await;
        let now = host.clock.monotonic();
        if let Some(held) = &*held
            && held.source == *source
            && now < held.renew_at
        {
            return Ok(held.token.clone());
        }
        let asked = tokio::select! {
            biased;
            asked = source.ask(host) => asked,
            () = host.clock.sleep(TIMEOUT) => {
                let seconds = TIMEOUT.as_secs();
                Err(NoToken::Later(format!("no answer within {seconds} s")))
            }
        };
        let answer = asked.map_err(|why| source.named(why))?;
        let token = Secret::new(answer.access_token);
        let life = Duration::from_secs(answer.expires_in);
        *held = Some(Held {
            source: source.clone(),
            token: token.clone(),
            renew_at: now
                + life
                    .mul_f64(RENEW_AFTER)
                    .min(life.saturating_sub(LEAST_LEFT)),
        });
        Ok(token)
    }

    /// A broker did not take `token`: the next one is a new one.
    pub(crate) async fn forget(&self, token: &Secret) {
        self.0.lock().await.take_if(|held| held.token == *token);
    }
}

/// A successful answer (RFC 6749, 5.1). Where an issuer does not say for how long it holds, each login asks anew.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// An error (RFC 6749, 5.2).
#[derive(Deserialize)]
struct Failure {
    error: String,
    error_description: Option<String>,
}

impl TokenSource {
    /// Whether the endpoint is one.
    ///
    /// # Errors
    /// A reason.
    pub fn check(&self) -> Result<(), String> {
        if self.is_tls()? {
            Handshake::new(&self.tls())?;
        }
        Ok(())
    }

    fn uri(&self) -> Result<Uri, String> {
        let uri: Uri = self.endpoint.parse().map_err(|_| WANTED.to_owned())?;
        let is_ours = matches!(uri.scheme_str(), Some("http" | "https"));
        (is_ours && uri.host().is_some_and(|host| !host.is_empty()))
            .then_some(uri)
            .ok_or_else(|| WANTED.to_owned())
    }

    fn is_tls(&self) -> Result<bool, String> {
        Ok(self.uri()?.scheme_str() == Some("https"))
    }

    fn tls(&self) -> Tls {
        Tls {
            trusted: self.trusted.clone(),
            identity: None,
            check_name: true,
        }
    }

    fn named(&self, why: NoToken) -> NoToken {
        let named = |reason| format!("no token from {}: {reason}", self.endpoint);
        match why {
            NoToken::Later(reason) => NoToken::Later(named(reason)),
            NoToken::Refused(reason) => NoToken::Refused(named(reason)),
        }
    }

    async fn ask(&self, host: &Host) -> Result<Answer, NoToken> {
        let uri = self.uri().map_err(NoToken::Refused)?;
        let stream = self.connect(host, &uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(later)?;
        let asking = async {
            let answer = sender
                .send_request(self.request(&uri)?)
                .await
                .map_err(later)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| later(&*error))?.to_bytes()))
        };
        tokio::pin!(connection);
        let (status, body) = tokio::select! {
            biased;
            answer = asking => answer?,
            // It carries the request, and ends only where the issuer closes it.
            Err(error) = &mut connection => return Err(later(&error)),
        };
        understood(status, &body)
    }

    async fn connect(&self, host: &Host, uri: &Uri) -> Result<Box<dyn ByteStream>, NoToken> {
        let is_tls = uri.scheme_str() == Some("https");
        let name = uri.host().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = host.net.connect(name, port).await.map_err(later)?;
        if !is_tls {
            return Ok(stream);
        }
        let handshake = Handshake::new(&self.tls()).map_err(NoToken::Refused)?;
        handshake
            .secure(stream, name)
            .await
            .map_err(|failure| match failure {
                NotSecured::Broken(reason) => NoToken::Later(reason),
                NotSecured::Refused(reason) => NoToken::Refused(reason),
            })
    }

    /// The name and the secret are not encoded for URLs before they are for Base64, as in Kafka's client
    /// (`sasl.oauthbearer.header.urlencode = false`) and librdkafka.
    fn request(&self, uri: &Uri) -> Result<Request<Full<Bytes>>, NoToken> {
        let pair = format!(
            "{}:{}",
            self.client_id.reveal(),
            self.client_secret.reveal()
        );
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = &self.scope {
            form.push_str("&scope=");
            form.extend(form_urlencoded::byte_serialize(scope.as_bytes()));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(
                AUTHORIZATION,
                format!("Basic {}", BASE64_STANDARD.encode(pair)),
            )
            .body(Full::new(Bytes::from(form)));
        request.map_err(|error| NoToken::Refused(error.to_string()))
    }
}

fn later(error: impl Display) -> NoToken {
    NoToken::Later(error.to_string())
}

/// What an answer says. A text of the issuer's is shown, a token never.
fn understood(status: StatusCode, body: &[u8]) -> Result<Answer, NoToken> {
    if status.is_success() {
        let answer = serde_json::from_slice(body);
        // What is wrong about it could show a part of it.
        let wrong = |_| NoToken::Refused("its answer is no token (RFC 6749, 5.1)".to_owned());
        return answer.map_err(wrong);
    }
    let told: Option<Failure> = serde_json::from_slice(body).ok();
    let told = told.map_or_else(String::new, |told| match told.error_description {
        None => format!(": {}", told.error),
        Some(description) => format!(": {}: {description}", told.error),
    });
    let reason = format!("{status}{told}");
    let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Err(match passes {
        true => NoToken::Later(reason),
        false => NoToken::Refused(format!("{reason}; check the client's id, secret and scope")),
    })
}

#[cfg(test)]
mod tests;
