//! A client of one cluster: the control plane, and simple reads and writes of single partitions.
//!
//! A call finds its broker (any, the controller, a partition's leader, a group's coordinator), and on
//! an answer that says "not here" or "not now" looks again, until [`ClientSettings::retry_for`] is
//! over. A cluster that cannot be reached at all is an error at once: the caller knows best how long
//! to wait and what to say meanwhile. Nothing here creates a topic by asking for it.
//!
//! `topics` and `admin` describe and change what there is; `offsets`, `groups` and `records` are what their
//! names say; `routing` finds the broker for a call.

mod admin;
mod groups;
mod offsets;
mod records;
mod routing;
mod topics;

use std::{sync::Arc, time::Duration};

pub use admin::{ConfigEntry, ConfigOp, ConfigSource, NewTopic, Outcomes};
pub use groups::{CommitOutcomes, CommittedOffset};
use host::Host;
use kafka_protocol::protocol::Request;
pub use offsets::{ListedOffset, ListedOffsets, OffsetSpec};
pub use records::{Committed, FetchRequest, Fetched, Produced};
pub(crate) use routing::To;
pub use topics::{Broker, ClusterDescription, PartitionDescription, TopicDescription};

use crate::{
    Class,
    error::{ApiError, ClientError},
};

/// How to reach a cluster, and how patiently.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Hosts and ports to begin with; any one that answers is enough.
    pub bootstrap: Vec<(String, u16)>,
    /// Shown in the brokers' logs and quotas.
    pub client_id: String,
    /// For one connection.
    pub connect_timeout: Duration,
    /// For one answer.
    pub request_timeout: Duration,
    /// How long a call is repeated while a reachable cluster answers that it is not ready.
    pub retry_for: Duration,
    /// Largest answer, in bytes.
    pub max_frame: usize,
}

impl ClientSettings {
    /// Usual patience: 10 s to connect, 30 s for an answer and for repeats, 100 MiB.
    pub fn new(bootstrap: Vec<(String, u16)>, client_id: impl Into<String>) -> Self {
        Self {
            bootstrap,
            client_id: client_id.into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(30),
            max_frame: 100 << 20,
        }
    }
}

/// A client. Clones share connections; connects at the first call.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Host,
    settings: ClientSettings,
    routes: routing::Routes,
}

/// First pause between repeats; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

impl Client {
    /// Connects later, at the first call.
    pub fn new(host: Host, settings: ClientSettings) -> Self {
        Self(Arc::new(Inner {
            host,
            settings,
            routes: routing::Routes::default(),
        }))
    }

    /// Calls the broker that `to` stands for, in the highest common version up to `cap`. `error` finds
    /// the answer's error; one that is retriable is repeated, at another broker if need be.
    pub(crate) async fn call<R: Request>(
        &self,
        to: To<'_>,
        request: &R,
        cap: i16,
        error: impl Fn(&R::Response) -> Option<ApiError>,
    ) -> Result<R::Response, ClientError> {
        let clock = &self.0.host.clock;
        let deadline = clock.monotonic() + self.0.settings.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut reconnected = false;
        loop {
            let failure = match self.call_once(to, request, cap).await {
                Ok(answer) => match error(&answer) {
                    None => return Ok(answer),
                    Some(error) => ClientError::Api {
                        what: to.to_string(),
                        error,
                    },
                },
                // A connection that idled too long breaks at the next use: one more try is free.
                Err(ClientError::Unreachable { .. }) if !reconnected => {
                    reconnected = true;
                    self.forget(to);
                    continue;
                }
                Err(failure) => failure,
            };
            let again = failure.api_error().is_some() && failure.class() != Class::Fatal;
            if !again || clock.monotonic() + pause > deadline {
                return Err(failure);
            }
            self.forget(to);
            clock.sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn call_once<R: Request>(
        &self,
        to: To<'_>,
        request: &R,
        cap: i16,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(to).await?;
        connection.call(request, cap).await
    }
}
