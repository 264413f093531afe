//! A client of one cluster: the control plane, and simple reads and writes of single partitions.
//!
//! A call finds its broker (any, the controller, a partition's leader, a group's coordinator), and on
//! an answer that says "not here" or "not now" looks again, until [`ClientSettings::retry_for`] is
//! over. A cluster that cannot be reached at all is an error at once: the caller knows best how long
//! to wait and what to say meanwhile. Nothing here creates a topic by asking for it.
//!
//! `topics` and `admin` describe and change topics, `group_admin` groups; `member` is one of a group's, which say to
//! each other what `consumer_protocol` holds; `groups` holds what groups committed, `offsets` where partitions begin
//! and end, `log_dirs` how large they are, `leader_state` what leaders remember, `records` what is written and read,
//! `rights` what this client may do. `routing` finds the broker for a call, `leaders` those for many partitions,
//! `together` has many callers share a question, `dial` connects.

mod acls;
mod admin;
pub mod consumer_protocol;
mod dial;
mod group_admin;
mod groups;
mod leader_state;
mod leaders;
mod log_dirs;
pub mod member;
mod offsets;
mod quotas;
mod records;
mod rights;
mod routing;
mod scram;
mod together;
mod topics;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use acls::{ANY_NAME, Acl, AclPattern, AclResource, Acls};
pub use admin::{ConfigEntry, ConfigOp, ConfigSource, NewTopic, Outcomes, TopicToBe, TopicsToBe};
pub use group_admin::{GroupDescription, GroupMember, ListedGroup};
pub use groups::{CommitOutcomes, CommittedOffset, GroupOffsets};
use host::Host;
use kafka_protocol::{messages::ApiKey, protocol::Request};
pub use leader_state::{EpochEnd, EpochEnds, ProducerState, Producers};
pub use log_dirs::PartitionSizes;
pub use offsets::{ListedOffset, ListedOffsets, OffsetSpec};
pub use quotas::{Quota, QuotaEntity, QuotaValue};
pub use records::{Committed, FetchRequest, Fetched, Produced};
pub use rights::{NamedRights, Operation, Rights};
pub(crate) use routing::To;
pub use scram::ScramLogin;
use together::Together;
pub use topics::{Broker, ClusterDescription, PartitionDescription, TopicDescription};

use crate::{
    Class,
    error::{ApiError, ClientError},
    security::{Security, Tokens},
};

/// How to reach a cluster, and how patiently.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Hosts and ports to begin with; any one that answers is enough.
    pub bootstrap: Vec<(String, u16)>,
    /// Where brokers are reached that cannot be at the host and port by which they or `bootstrap` go.
    pub address_map: AddressMap,
    /// Shown in the brokers' logs and quotas.
    pub client_id: String,
    /// For one connection, TLS included.
    pub connect_timeout: Duration,
    /// After so long without use a connection is not used again: brokers close such ones after
    /// `connections.max.idle.ms`, 10 minutes, and a request that meets the close is lost.
    pub max_idle: Duration,
    /// For one answer.
    pub request_timeout: Duration,
    /// How long a call is repeated while a reachable cluster answers that it is not ready.
    pub retry_for: Duration,
    /// Largest answer, in bytes.
    pub max_frame: usize,
    /// What connections are secured with; none: neither encrypted nor logged in.
    pub security: Option<Arc<dyn Security>>,
}

/// Hosts and ports by those that are told.
pub type AddressMap = BTreeMap<(String, u16), (String, u16)>;

impl ClientSettings {
    /// Usual patience: 10 s to connect, 30 s for an answer and for repeats, 9 minutes idle, 100 MiB.
    /// Not secured.
    pub fn new(bootstrap: Vec<(String, u16)>, client_id: impl Into<String>) -> Self {
        Self {
            bootstrap,
            address_map: AddressMap::new(),
            client_id: client_id.into(),
            connect_timeout: Duration::from_secs(10),
            max_idle: Duration::from_secs(9 * 60),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(30),
            max_frame: 100 << 20,
            security: None,
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
    topics: Together<Result<Arc<TopicDescription>, ClientError>>,
    tokens: Arc<Tokens>,
    opened: AtomicU64,
    failed: AtomicU64,
}

/// How often a client connected since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Ready for calls: connected, secured, logged in.
    pub opened: u64,
    /// Not so.
    pub failed: u64,
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
            topics: Together::default(),
            tokens: Arc::default(),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    /// How often it connected, all its brokers together.
    pub fn connections(&self) -> Connections {
        Connections {
            opened: self.0.opened.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
        }
    }

    /// Calls the broker that `to` stands for, in the highest of `versions` that both speak. `error` finds
    /// the answer's error; one that is retriable is repeated, at another broker if need be.
    pub(crate) async fn call<R: Request>(
        &self,
        to: To<'_>,
        request: &R,
        versions: RangeInclusive<i16>,
        error: impl Fn(&R::Response) -> Option<ApiError>,
    ) -> Result<R::Response, ClientError> {
        let clock = &self.0.host.clock;
        let deadline = clock.monotonic() + self.0.settings.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut reconnected = !may_be_repeated(R::KEY);
        loop {
            let failure = match self.call_once(to, request, versions.clone()).await {
                Ok(answer) => match error(&answer) {
                    None => return Ok(answer),
                    Some(error) => ClientError::Api {
                        what: to.to_string(),
                        error,
                    },
                },
                // A connection that the broker has just closed breaks at the next use: one more try is
                // free.
                Err(ClientError::Unreachable { .. }) if !reconnected => {
                    reconnected = true;
                    self.forget(to);
                    continue;
                }
                Err(failure) => {
                    // The broker may be gone for good, and another in its place elsewhere.
                    self.forget(to);
                    failure
                }
            };
            let again = failure.api_error().is_some()
                && matches!(failure.class(), Class::Retriable | Class::Throttled);
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
        versions: RangeInclusive<i16>,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(to).await?;
        connection.call(request, versions).await
    }

    /// How long a broker may work on a call, in milliseconds: it shall say that it was too long
    /// before this side gives the connection up.
    fn patience_ms(&self) -> i32 {
        let patience = self.0.settings.request_timeout.mul_f64(0.6);
        i32::try_from(patience.as_millis()).unwrap_or(i32::MAX)
    }
}

/// Whether a request whose answer was lost does no harm a second time. A batch would be written twice;
/// a topic that was created would be refused as existing.
fn may_be_repeated(key: i16) -> bool {
    const ONCE: [ApiKey; 4] = [
        ApiKey::Produce,
        ApiKey::CreateTopics,
        ApiKey::DeleteTopics,
        ApiKey::CreatePartitions,
    ];
    !ONCE.iter().any(|once| *once as i16 == key)
}

/// What stands for the answer that a broker left out.
fn unanswered() -> ApiError {
    ApiError {
        code: -1,
        message: Some("the broker did not answer for it".to_owned()),
    }
}
