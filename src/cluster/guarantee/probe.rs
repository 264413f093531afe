//! Tries a target until something is seen of it, and asks it how long it remembers producers.

use std::time::Duration;

use host::Host;
use tokio::sync::OnceCell;
use wire::{Class, client::Client, error::ClientError};

use super::{Probed, TOPIC, attempt::Attempt, code, verdict};
use crate::base::backoff::Backoff;

/// How long a target may take until it can be probed: its topic is made, leaders move.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// TOPIC_ and CLUSTER_AUTHORIZATION_FAILED.
const DENIED: [i16; 2] = [29, 31];
/// About the topic or the clocks, not about producers: MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP,
/// POLICY_VIOLATION.
const BESIDE_THE_POINT: [i16; 4] = [10, 18, 32, 44];

/// One target's probe in this process: made by the first flow that asks, while others wait for it.
#[derive(Debug, Default)]
pub struct Once(OnceCell<Probed>);

impl Once {
    /// What [`probe`] found, now or before.
    ///
    /// # Errors
    /// As [`probe`]; it is tried again when asked again.
    pub async fn get(
        &self,
        client: &Client,
        host: &Host,
        replication_factor: i16,
    ) -> Result<&Probed, String> {
        let found = || probe(client, host, replication_factor);
        self.0.get_or_try_init(found).await
    }
}

/// Tries the cluster behind `client`, on [`TOPIC`], which is created with `replication_factor` if it is not there.
///
/// # Errors
/// A reason, if it cannot be tried for the moment.
pub async fn probe(
    client: &Client,
    host: &Host,
    replication_factor: i16,
) -> Result<Probed, String> {
    let deadline = host.clock.monotonic() + PATIENCE;
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    loop {
        let attempt = Attempt::new(client, host);
        let left = deadline.saturating_sub(host.clock.monotonic());
        let seen = tokio::select! {
            biased;
            seen = attempt.look(replication_factor) => seen,
            () = host.clock.sleep(left) => Err(Failure::Again("no answer in time".to_owned())),
        };
        let reason = match seen {
            Ok(seen) => {
                return Ok(match verdict(&seen) {
                    Ok(()) => Probed::Passed,
                    Err(what) => Probed::Failed(what),
                });
            }
            Err(Failure::Never(reason)) => return Ok(Probed::Not(reason)),
            Err(Failure::Again(reason)) => reason,
        };
        let pause = backoff.delay(&*host.random);
        if host.clock.monotonic() + pause > deadline {
            return Err(format!("{TOPIC} cannot be used: {reason}"));
        }
        host.clock.sleep(pause).await;
    }
}

/// Why a target does not tell for how long it remembers producers.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// It cannot be asked.
    #[error("{0}")]
    Call(#[from] ClientError),
    /// A broker has no such config.
    #[error("broker {0} has no such config")]
    Unknown(i32),
}

impl Untold {
    /// Whether it may tell soon: a broker that has just gone is still named by the others.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Call(error) if error.class() == Class::Retriable)
    }
}

/// For how long the brokers remember a producer without news (`producer.id.expiration.ms`): the shortest of all.
///
/// # Errors
/// If one of them does not tell.
pub async fn expiration(client: &Client) -> Result<Duration, Untold> {
    const NAME: &str = "producer.id.expiration.ms";
    let mut shortest = Duration::MAX;
    for broker in client.describe_cluster().await?.brokers {
        let configs = client.describe_broker_configs(broker.id, &[NAME]).await?;
        let mut configs = configs.into_iter();
        let found = configs.find(|config| config.name == NAME);
        let found = found.and_then(|config| config.value?.parse().ok());
        let found = found.ok_or(Untold::Unknown(broker.id))?;
        shortest = shortest.min(Duration::from_millis(found));
    }
    Ok(shortest)
}

/// Why nothing was seen.
pub(super) enum Failure {
    /// Soon there may be.
    Again(String),
    /// There will not be until somebody changes something.
    Never(String),
}

/// A failed call: what passes, is forbidden or beside the point says nothing about the target, the rest is what it does.
pub(super) fn judged<T>(
    outcome: Result<T, ClientError>,
) -> Result<Result<T, ClientError>, Failure> {
    let Err(error) = &outcome else {
        return Ok(outcome);
    };
    match (code(error), error.class()) {
        (Some(code), _) if DENIED.contains(&code) => {
            let reason = format!("strait may not use topic {TOPIC} ({error})");
            Err(Failure::Never(reason))
        }
        (Some(code), _) if BESIDE_THE_POINT.contains(&code) => {
            Err(Failure::Never(error.to_string()))
        }
        (_, Class::Retriable | Class::Throttled) => Err(Failure::Again(error.to_string())),
        (_, Class::Fenced | Class::Fatal) => Ok(outcome),
    }
}

/// The same where only success says something.
pub(super) fn wanted<T>(outcome: Result<T, ClientError>) -> Result<T, Failure> {
    judged(outcome)?.map_err(|error| Failure::Never(error.to_string()))
}
