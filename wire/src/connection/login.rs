//! The login of a connection (SASL), and its repetition before the broker ends the session (KIP-368).
//!
//! A login is a few requests that belong together: the broker takes nothing else in between. So all
//! answers are waited for first, and callers wait until it is over.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use host::Host;
use kafka_protocol::{
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::StrBytes,
};
use tokio::task::AbortHandle;

use super::Connection;
use crate::{
    error::{ApiError, ClientError},
    security::{Conversation, Login, NoToken, OAUTHBEARER, Proof, Security, Tokens},
};

/// Messages of one conversation; SCRAM needs two.
const MAX_ROUNDS: usize = 8;

const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// Keeps a session; stops when dropped.
#[derive(Debug)]
pub(super) struct Session(AbortHandle);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Says who we are; the answer is how long that holds, none: for good. A token that is not taken is not used again.
    pub(crate) async fn log_in(
        &self,
        login: &Login,
        (tokens, host): (&Tokens, &Host),
    ) -> Result<Option<Duration>, ClientError> {
        let proof = self.proof(login, tokens, host).await?;
        let ended = self.prove(&proof).await;
        if let (Err(ClientError::Refused { .. }), Proof::Token(token, _)) = (&ended, &proof) {
            tokens.forget(token).await;
        }
        ended
    }

    async fn proof(
        &self,
        login: &Login,
        tokens: &Tokens,
        host: &Host,
    ) -> Result<Proof, ClientError> {
        let source = match login {
            Login::Token(source) => source,
            Login::Password {
                mechanism,
                username,
                password,
            } => {
                return Ok(Proof::Password(
                    *mechanism,
                    username.clone(),
                    password.clone(),
                ));
            }
        };
        match tokens.get(source, host).await {
            Ok(token) => Ok(Proof::Token(token, source.extensions.clone())),
            Err(NoToken::Refused(reason)) => Err(self.refused(&reason)),
            Err(NoToken::Later(reason)) => Err(ClientError::Unreachable {
                broker: self.settings.broker.clone(),
                reason,
            }),
        }
    }

    async fn prove(&self, proof: &Proof) -> Result<Option<Duration>, ClientError> {
        let alone = self.exchange.alone().await;
        let alone = alone.ok_or_else(|| self.refused("closed before the login"))?;
        let name = proof.mechanism();
        // Version 0 has no SaslAuthenticate: its messages come without frames.
        let request =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let version = self.version::<SaslHandshakeRequest>(1..=1)?;
        let answer = self.exchange_as(Some(&alone), &request, version).await?;
        if let Some(error) = ApiError::from_code(answer.error_code, None::<&str>) {
            let known: Vec<_> = answer.mechanisms.iter().map(|m| m.to_string()).collect();
            return Err(self.refused(&format!(
                "it does not take SASL mechanism {name}: {error}; it takes \"{}\", set sasl.mechanism",
                known.join("\", \"")
            )));
        }
        let version = self.version::<SaslAuthenticateRequest>(0..=2)?;
        let mut talk = Conversation::new(proof).map_err(|reason| self.refused(&reason))?;
        let step = |talk: &mut Conversation, heard: Option<&[u8]>| {
            talk.step(heard).map_err(|reason| self.refused(&reason))
        };
        let mut said = step(&mut talk, None)?;
        for _ in 0..MAX_ROUNDS {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(said));
            let answer = self.exchange_as(Some(&alone), &request, version).await?;
            let message = answer.error_message.as_deref();
            if let Some(error) = ApiError::from_code(answer.error_code, message) {
                return Err(self.not_let_in(name, error));
            }
            if !talk.is_finished() {
                said = step(&mut talk, Some(&answer.auth_bytes))?;
                if !talk.is_finished() {
                    continue;
                }
            }
            let lifetime = u64::try_from(answer.session_lifetime_ms).unwrap_or(0);
            return Ok((lifetime > 0).then(|| Duration::from_millis(lifetime)));
        }
        Err(self.refused(&format!("its side of {name} does not end")))
    }

    fn not_let_in(&self, mechanism: &str, error: ApiError) -> ClientError {
        if error.code != SASL_AUTHENTICATION_FAILED {
            let what = format!("{}, login by {mechanism}", self.settings.broker);
            return ClientError::Api { what, error };
        }
        let check = match mechanism == OAUTHBEARER {
            true => "what the issuer allows the client and what the broker expects",
            false => "sasl.username and sasl.password",
        };
        self.refused(&format!(
            "login by {mechanism} failed: {error}; check {check}"
        ))
    }

    fn refused(&self, reason: &str) -> ClientError {
        ClientError::Refused {
            broker: self.settings.broker.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Logs in again before `lifetime` is over, and so on, with the credentials of then. If that fails
    /// the connection breaks: the broker would close it anyway.
    pub(crate) fn keep_session(
        self: &Arc<Self>,
        lifetime: Duration,
        security: Arc<dyn Security>,
        with: (Arc<Tokens>, Host),
    ) {
        let keeping = tokio::spawn(keep(Arc::downgrade(self), lifetime, security, with));
        // A connection logs in once for the first time.
        self.session.set(Session(keeping.abort_handle())).ok();
    }

    async fn log_in_again(
        &self,
        security: &dyn Security,
        with: (&Tokens, &Host),
    ) -> Result<Option<Duration>, ClientError> {
        let credentials = security
            .credentials()
            .map_err(|reason| self.refused(&reason))?;
        let login = credentials
            .login
            .ok_or_else(|| self.refused("there are no credentials to log in with any more"))?;
        self.log_in(&login, with).await
    }
}

async fn keep(
    connection: Weak<Connection>,
    mut lifetime: Duration,
    security: Arc<dyn Security>,
    (tokens, host): (Arc<Tokens>, Host),
) {
    loop {
        // As Kafka's client (`SaslClientAuthenticator`): after 85 to 95 % of it, not all at once.
        let share = 0.85 + host.random.fraction() / 10.0;
        host.clock.sleep(lifetime.mul_f64(share)).await;
        let Some(connection) = connection.upgrade() else {
            return;
        };
        match connection.log_in_again(&*security, (&tokens, &host)).await {
            Ok(Some(next)) => lifetime = next,
            Ok(None) => return,
            Err(error) => {
                let reason = match error {
                    ClientError::Refused { reason, .. } => reason,
                    error => error.to_string(),
                };
                connection.exchange.close(&reason);
                return;
            }
        }
    }
}
