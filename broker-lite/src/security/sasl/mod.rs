//! Logins: a connection's talk before its first request, and again while it lasts (KIP-368).
//!
//! [`Login`] is `SaslServerAuthenticator` of Kafka: ApiVersions at most once, SaslHandshake, then tokens, in
//! SaslAuthenticate requests (version 1 of the handshake) or as bare frames (version 0). Anything else ends the
//! connection. It does no I/O: it hears frames, and says what to send and whether to go on.

mod mechanism;
mod oauthbearer;
mod plain;
mod scram;
mod settings;

use std::{io, marker::PhantomData, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use host::Random;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, SaslAuthenticateRequest,
        SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    },
    protocol::{Request, StrBytes},
};
pub(crate) use mechanism::Mechanism;
pub(crate) use oauthbearer::{JWT_VALIDATOR, is_handler};
pub(crate) use scram::Credential;
pub(crate) use settings::Sasl;
use wire::request;

use super::{Principal, credentials::Credentials};
use crate::api;

/// What came of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedIn {
    pub(crate) principal: Principal,
    pub(crate) mechanism: Mechanism,
    /// How long it holds; none: as long as the connection.
    pub(crate) lifetime: Option<Duration>,
}

/// What to do with a frame that was heard. The bytes are whole frames.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Send these, and hear on.
    GoOn(Option<BytesMut>),
    /// Send these; the login is complete.
    Done(Option<BytesMut>, LoggedIn),
    /// Send these a little later, and close the connection.
    Refused(Option<BytesMut>, String),
}

/// How a step of a mechanism ended.
enum Step {
    /// The client has to answer this.
    Challenge(Vec<u8>),
    /// It is who it says it is; the last word may be empty.
    Done {
        says: Vec<u8>,
        name: String,
        /// When what it proved it with is worth nothing any more, if it says so: milliseconds since 1970.
        expires_ms: Option<i64>,
    },
}

/// Why a step of a mechanism failed.
enum Failure {
    /// The client is told (`SaslAuthenticationException`).
    Told(String),
    /// The client is told nothing of it: it might learn who is known here (`SaslException`).
    Hidden(String),
    /// The client is told, and the log says more.
    Explained { told: String, reason: String },
}

/// Where a mechanism is.
enum Exchange {
    Plain,
    ScramFirst(Mechanism),
    ScramFinal(Box<scram::Server>),
    OAuthBearer(oauthbearer::Exchange),
}

/// Where a login is (`SaslState`).
enum Phase {
    HandshakeOrVersions,
    Handshake,
    Tokens(Mechanism, Exchange),
    /// The mechanism of a re-authentication is another one; the next frame ends it.
    BadMechanism(String),
}

/// A login that goes on.
pub(crate) struct Login {
    phase: Phase,
    /// Tokens are in SaslAuthenticate requests.
    has_headers: bool,
    /// The login that this one renews.
    previous: Option<LoggedIn>,
}

/// What a login asks of its surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) sasl: &'a Sasl,
    pub(crate) credentials: &'a Credentials,
    pub(crate) random: &'a dyn Random,
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
}

impl Login {
    /// On a new connection.
    pub(crate) fn first() -> Self {
        Self {
            phase: Phase::HandshakeOrVersions,
            has_headers: false,
            previous: None,
        }
    }

    /// On a connection that is logged in; begins with a handshake.
    pub(crate) fn again(previous: LoggedIn) -> Self {
        Self {
            phase: Phase::Handshake,
            has_headers: false,
            previous: Some(previous),
        }
    }

    /// Hears one frame; an error ends the connection at once.
    pub(crate) fn hear(&mut self, around: &Surroundings<'_>, frame: Bytes) -> io::Result<Heard> {
        match &mut self.phase {
            Phase::HandshakeOrVersions | Phase::Handshake => self.hear_request(around, frame),
            Phase::Tokens(..) if !self.has_headers => self.hear_bare_token(around, &frame),
            Phase::Tokens(..) => self.hear_token(around, frame),
            Phase::BadMechanism(reason) => Ok(Heard::Refused(None, std::mem::take(reason))),
        }
    }

    /// `handleKafkaRequest`
    fn hear_request(&mut self, around: &Surroundings<'_>, mut body: Bytes) -> io::Result<Heard> {
        let header = request::header(&mut body).map_err(api::invalid)?;
        match ApiKey::try_from(header.request_api_key) {
            Ok(ApiKey::ApiVersions) if matches!(self.phase, Phase::HandshakeOrVersions) => {
                let (answer, is_sound) = api::versions(&header, body)?;
                if is_sound {
                    self.phase = Phase::Handshake;
                }
                Ok(Heard::GoOn(answer))
            }
            Ok(ApiKey::SaslHandshake) => self.handshake(around, &header, body),
            _ => Err(api::invalid(format!(
                "API {} before the login",
                header.request_api_key
            ))),
        }
    }

    fn handshake(
        &mut self,
        around: &Surroundings<'_>,
        header: &RequestHeader,
        body: Bytes,
    ) -> io::Result<Heard> {
        let version = header.request_api_version;
        let asked: SaslHandshakeRequest = decode(ApiKey::SaslHandshake, version, body)?;
        let wanted = Mechanism::from_name(&asked.mechanism);
        let wanted = wanted.filter(|one| around.sasl.mechanisms.contains(one));
        let error = match wanted {
            Some(_) => 0,
            None => ResponseError::UnsupportedSaslMechanism.code(),
        };
        let answer = SaslHandshakeResponse::default()
            .with_error_code(error)
            .with_mechanisms(around.sasl.names());
        let answer = frame::<SaslHandshakeRequest>(header, answer)?;
        let Some(mechanism) = wanted else {
            // Where a login is renewed Kafka says nothing.
            let answer = answer.filter(|_| self.previous.is_none());
            let reason = format!("unsupported SASL mechanism {}", asked.mechanism);
            return Ok(Heard::Refused(answer, reason));
        };
        self.has_headers = version >= 1;
        self.phase = match &self.previous {
            Some(before) if before.mechanism != mechanism => Phase::BadMechanism(format!(
                "SASL mechanism '{}' is not supported for re-authentication of mechanism '{}'",
                mechanism.name(),
                before.mechanism.name()
            )),
            _ => Phase::Tokens(mechanism, Exchange::begin(mechanism)),
        };
        Ok(Heard::GoOn(answer))
    }

    /// A token without a header; where it is refused nothing is said.
    fn hear_bare_token(&mut self, around: &Surroundings<'_>, token: &[u8]) -> io::Result<Heard> {
        Ok(match self.step(around, token) {
            Ok((says, done)) => {
                let mut answer = BytesMut::with_capacity(4 + says.len());
                answer.put_u32(u32::try_from(says.len()).map_err(api::invalid)?);
                answer.extend_from_slice(&says);
                match done {
                    None => Heard::GoOn(Some(answer)),
                    Some(done) => Heard::Done(Some(answer), done),
                }
            }
            Err((_, reason)) => Heard::Refused(None, reason),
        })
    }

    /// A SaslAuthenticate request.
    fn hear_token(&mut self, around: &Surroundings<'_>, mut body: Bytes) -> io::Result<Heard> {
        let header = request::header(&mut body).map_err(api::invalid)?;
        let version = header.request_api_version;
        if header.request_api_key != ApiKey::SaslAuthenticate as i16 {
            let reason = format!("API {} in the middle of a login", header.request_api_key);
            return Ok(Heard::Refused(out_of_turn(&header)?, reason));
        }
        let asked: SaslAuthenticateRequest = decode(ApiKey::SaslAuthenticate, version, body)?;
        let answer = SaslAuthenticateResponse::default();
        Ok(match self.step(around, &asked.auth_bytes) {
            Ok((says, done)) => {
                let lifetime = done.as_ref().and_then(|done| done.lifetime);
                let lifetime = lifetime.unwrap_or_default().as_millis();
                let answer = answer
                    .with_error_message(Some(StrBytes::default()))
                    .with_auth_bytes(says.into())
                    .with_session_lifetime_ms(i64::try_from(lifetime).unwrap_or(i64::MAX));
                let answer = frame::<SaslAuthenticateRequest>(&header, answer)?;
                match done {
                    None => Heard::GoOn(answer),
                    Some(done) => Heard::Done(answer, done),
                }
            }
            Err((told, reason)) => {
                let answer = answer
                    .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                    .with_error_message(Some(StrBytes::from_string(told)));
                Heard::Refused(frame::<SaslAuthenticateRequest>(&header, answer)?, reason)
            }
        })
    }

    /// One token: what to say, and what came of it. Or what the client is told, and the reason for the log.
    fn step(
        &mut self,
        around: &Surroundings<'_>,
        token: &[u8],
    ) -> Result<(Vec<u8>, Option<LoggedIn>), (String, String)> {
        let Phase::Tokens(mechanism, exchange) = &mut self.phase else {
            let reason = "a token out of turn".to_owned();
            return Err((reason.clone(), reason));
        };
        let mechanism = *mechanism;
        match exchange.step(around, token) {
            Ok(Step::Challenge(says)) => Ok((says, None)),
            Ok(Step::Done {
                says,
                name,
                expires_ms,
            }) => {
                let principal = Principal::user(&name);
                if let Some(before) = &self.previous
                    && before.principal != principal
                {
                    let reason = format!(
                        "Cannot change principals during re-authentication from {}: {}",
                        before.principal.dotted(),
                        principal.dotted()
                    );
                    return Err((reason.clone(), reason));
                }
                let done = LoggedIn {
                    principal,
                    mechanism,
                    lifetime: lifetime(around, mechanism, expires_ms),
                };
                Ok((says, Some(done)))
            }
            Err(Failure::Told(why)) => Err((why.clone(), why)),
            Err(Failure::Explained { told, reason }) => Err((told, reason)),
            Err(Failure::Hidden(reason)) => {
                let what = match self.previous {
                    Some(_) => "re-authentication",
                    None => "authentication",
                };
                let told = format!(
                    "Authentication failed during {what} due to invalid credentials with SASL mechanism {}",
                    mechanism.name()
                );
                Err((told, reason))
            }
        }
    }
}

/// How long a login holds: until what it was proven with expires, or the listener wants it renewed, whichever comes first
/// (`calcCompletionTimesAndReturnSessionLifetimeMs`).
fn lifetime(
    around: &Surroundings<'_>,
    mechanism: Mechanism,
    expires_ms: Option<i64>,
) -> Option<Duration> {
    let left = expires_ms.map(|at| {
        let left = at.saturating_sub(around.now_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    });
    [left, around.sasl.lifetime(mechanism)]
        .into_iter()
        .flatten()
        .min()
}

impl Exchange {
    fn begin(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::OAuthBearer => Self::OAuthBearer(oauthbearer::Exchange::default()),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => Self::ScramFirst(mechanism),
        }
    }

    fn step(&mut self, around: &Surroundings<'_>, token: &[u8]) -> Result<Step, Failure> {
        match self {
            Self::Plain => plain::step(&around.sasl.users, token),
            Self::ScramFirst(mechanism) => {
                let lookup = |name: &str| around.credentials.get(name, *mechanism);
                let (server, says) =
                    scram::Server::first(*mechanism, lookup, around.random, token)?;
                *self = Self::ScramFinal(Box::new(server));
                Ok(Step::Challenge(says))
            }
            Self::ScramFinal(server) => server.last(token),
            Self::OAuthBearer(exchange) => {
                // It is offered only where there is one.
                let validator = around.sasl.tokens.as_ref();
                let validator = validator.ok_or_else(|| Failure::Hidden("no tokens".to_owned()))?;
                exchange.step(validator, around.now_ms, token)
            }
        }
    }
}

/// The answer to another request where a token is due. Kafka has one for every API; that of the others is that the
/// connection ends.
fn out_of_turn(header: &RequestHeader) -> io::Result<Option<BytesMut>> {
    let error = ResponseError::IllegalSaslState.code();
    match ApiKey::try_from(header.request_api_key) {
        Ok(ApiKey::SaslHandshake) => {
            let answer = SaslHandshakeResponse::default().with_error_code(error);
            frame::<SaslHandshakeRequest>(header, answer)
        }
        Ok(ApiKey::ApiVersions) => {
            let answer = ApiVersionsResponse::default().with_error_code(error);
            frame::<ApiVersionsRequest>(header, answer)
        }
        _ => Ok(None),
    }
}

/// The body of a request, in a version that is served.
fn decode<R: Request>(api: ApiKey, version: i16, body: Bytes) -> io::Result<R> {
    if !api::serves(api, version) {
        return Err(api::invalid(format!("{api:?} {version} is not served")));
    }
    request::decode(body, version).map_err(api::invalid)
}

fn frame<R: Request>(header: &RequestHeader, answer: R::Response) -> io::Result<Option<BytesMut>> {
    let (id, version) = (header.correlation_id, header.request_api_version);
    api::encode(PhantomData::<R>, id, version, Some(answer))
}

#[cfg(test)]
mod tests;
