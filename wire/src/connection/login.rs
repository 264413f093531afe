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
    security::{Conversation, Login, Security},
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
    /// Says who we are; the answer is how long that holds, none: for good.
    pub(crate) async fn log_in(&self, login: &Login) -> Result<Option<Duration>, ClientError> {
        let alone = self.exchange.alone().await;
        let alone = alone.ok_or_else(|| self.refused("closed before the login"))?;
        let name = login.mechanism.name();
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
        let mut talk = Conversation::new(login).map_err(|reason| self.refused(&reason))?;
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
        self.refused(&format!(
            "login by {mechanism} failed: {error}; check sasl.username and sasl.password"
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
        host: Host,
    ) {
        let keeping = tokio::spawn(keep(Arc::downgrade(self), lifetime, security, host));
        // A connection logs in once for the first time.
        self.session.set(Session(keeping.abort_handle())).ok();
    }

    async fn log_in_again(&self, security: &dyn Security) -> Result<Option<Duration>, ClientError> {
        let credentials = security
            .credentials()
            .map_err(|reason| self.refused(&reason))?;
        let login = credentials
            .login
            .ok_or_else(|| self.refused("there are no credentials to log in with any more"))?;
        self.log_in(&login).await
    }
}

async fn keep(
    connection: Weak<Connection>,
    mut lifetime: Duration,
    security: Arc<dyn Security>,
    host: Host,
) {
    loop {
        // As Kafka's client (`SaslClientAuthenticator`): after 85 to 95 % of it, not all at once.
        let share = 0.85 + host.random.fraction() / 10.0;
        host.clock.sleep(lifetime.mul_f64(share)).await;
        let Some(connection) = connection.upgrade() else {
            return;
        };
        match connection.log_in_again(&*security).await {
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
