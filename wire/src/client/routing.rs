//! Which broker a call goes to, and the connections to them.
//!
//! There is one connection to a broker. Whoever needs it first opens it while others wait; after a failure
//! all get its reason at once until a pause is over, so that many callers of a broker that is down do not
//! storm it when it comes back. Where nobody was let in the pause is longer: brokers answer wrong passwords
//! slowly, and may lock the account of who asks too often.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::{
    messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse},
    protocol::StrBytes,
};

use super::{
    Client, FIRST_PAUSE, LAST_PAUSE,
    topics::{leader_not_available, metadata_request},
};
use crate::{
    TopicPartition,
    connection::Connection,
    error::{ApiError, ClientError},
};

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// Any broker.
    Any,
    /// The broker with this id.
    Broker(i32),
    /// The controller, for changes of topics.
    Controller,
    /// The leader of a partition.
    Leader(&'a TopicPartition),
    /// The coordinator of a group.
    Coordinator(&'a str),
}

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("a broker"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Controller => f.write_str("the controller"),
            Self::Leader(partition) => write!(f, "{partition}"),
            Self::Coordinator(group) => write!(f, "group {group}"),
        }
    }
}

/// Pauses between logins and handshakes that are refused.
const FIRST_PAUSE_REFUSED: Duration = Duration::from_secs(1);
const LAST_PAUSE_REFUSED: Duration = Duration::from_secs(30);

/// What is known of the cluster, and the connections. Addresses are `(host, port)`.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<i32, Address>,
    controller: Option<i32>,
    /// Of partitions that were read or written by this client.
    leaders: BTreeMap<TopicPartition, i32>,
    coordinators: BTreeMap<String, Address>,
    connections: BTreeMap<Address, Arc<Connection>>,
    doors: BTreeMap<Address, Arc<Door>>,
}

pub(super) type Address = (String, u16);

/// Held while a connection is opened; inside, the last failure.
type Door = tokio::sync::Mutex<Option<Failure>>;

#[derive(Debug)]
struct Failure {
    error: ClientError,
    /// When the next try may be, on the monotonic clock.
    next: Duration,
    pause: Duration,
}

impl Known {
    fn connection(&self, address: &Address) -> Option<Arc<Connection>> {
        let connection = self.connections.get(address)?;
        (!connection.is_broken()).then(|| Arc::clone(connection))
    }
}

impl Routes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A connection to a broker that nobody else uses, for whoever moves many bytes.
    ///
    /// # Errors
    /// If the broker is not known or cannot be reached.
    pub async fn dial(&self, broker: i32) -> Result<Arc<Connection>, ClientError> {
        let address = self.broker(broker).await?;
        let dialled = self.open(&address).await;
        if dialled.is_err() {
            // It may have moved.
            self.forget(To::Broker(broker));
        }
        dialled
    }

    /// Forgets where `to` is, so that the next call looks again.
    pub(super) fn forget(&self, to: To<'_>) {
        let mut known = self.0.routes.known();
        match to {
            To::Any => {}
            To::Broker(id) => drop(known.brokers.remove(&id)),
            To::Controller => known.controller = None,
            To::Leader(partition) => drop(known.leaders.remove(partition)),
            To::Coordinator(group) => drop(known.coordinators.remove(group)),
        }
    }

    /// A working connection to whom `to` stands for.
    pub(super) async fn connection(&self, to: To<'_>) -> Result<Arc<Connection>, ClientError> {
        match to {
            To::Any => self.any().await,
            To::Broker(id) => {
                let address = self.broker(id).await?;
                self.connect(&address).await
            }
            To::Controller => match self.controller().await? {
                Some(address) => self.connect(&address).await,
                // A cluster without a controller for the moment: any broker says so.
                None => self.any().await,
            },
            To::Leader(partition) => {
                let address = self.leader(partition).await?;
                self.connect(&address).await
            }
            To::Coordinator(group) => {
                let address = self.coordinator(group).await?;
                self.connect(&address).await
            }
        }
    }

    /// The first broker that can be reached: one that is connected, one that is known, one of the
    /// bootstrap list.
    async fn any(&self) -> Result<Arc<Connection>, ClientError> {
        let candidates = {
            let mut known = self.0.routes.known();
            known
                .connections
                .retain(|_, connection| !connection.is_broken() && connection.is_fresh());
            if let Some(connection) = known.connections.values().next() {
                return Ok(Arc::clone(connection));
            }
            let brokers = known.brokers.values().cloned();
            let mut all: Vec<Address> = self.0.settings.bootstrap.clone();
            all.extend(brokers.filter(|address| !self.0.settings.bootstrap.contains(address)));
            all
        };
        let mut failure = None;
        for address in &candidates {
            match self.connect(address).await {
                Ok(connection) => return Ok(connection),
                // A refusal tells more than a silence.
                Err(error @ ClientError::Refused { .. }) => failure = Some(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| ClientError::Unreachable {
            broker: "bootstrap".to_owned(),
            reason: "no bootstrap servers are set".to_owned(),
        }))
    }

    async fn broker(&self, id: i32) -> Result<Address, ClientError> {
        let find = |known: &Known| known.brokers.get(&id).cloned();
        if let Some(address) = find(&self.0.routes.known()) {
            return Ok(address);
        }
        self.metadata(&metadata_request(Some(&[]))).await?;
        find(&self.0.routes.known()).ok_or_else(|| ClientError::Unreachable {
            broker: format!("broker {id}"),
            reason: "it is not in the cluster's metadata".to_owned(),
        })
    }

    async fn controller(&self) -> Result<Option<Address>, ClientError> {
        let find = |known: &Known| known.brokers.get(&known.controller?).cloned();
        if let Some(address) = find(&self.0.routes.known()) {
            return Ok(Some(address));
        }
        self.metadata(&metadata_request(Some(&[]))).await?;
        Ok(find(&self.0.routes.known()))
    }

    async fn leader(&self, partition: &TopicPartition) -> Result<Address, ClientError> {
        let find = |known: &Known| known.brokers.get(known.leaders.get(partition)?).cloned();
        if let Some(address) = find(&self.0.routes.known()) {
            return Ok(address);
        }
        let topic = self.topic(&partition.topic).await?;
        let refused = |error| ClientError::Api {
            what: partition.to_string(),
            error,
        };
        let leader = topic.leader(partition.partition).map_err(refused)?;
        let mut known = self.0.routes.known();
        known.leaders.insert(partition.clone(), leader);
        // Metadata may name a leader that it does not list among the brokers.
        find(&known).ok_or_else(|| refused(leader_not_available()))
    }

    pub(super) async fn coordinator(&self, group: &str) -> Result<Address, ClientError> {
        if let Some(address) = self.0.routes.known().coordinators.get(group) {
            return Ok(address.clone());
        }
        // Version 3 asks for one group; later ones for many.
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(group.to_owned()))
            .with_key_type(0);
        let found = Box::pin(self.any()).await?.call(&request, 0..=3).await?;
        let message = found.error_message.as_deref();
        if let Some(error) = ApiError::from_code(found.error_code, message) {
            return Err(ClientError::Api {
                what: format!("group {group}"),
                error,
            });
        }
        let address = (
            found.host.to_string(),
            u16::try_from(found.port).unwrap_or_default(),
        );
        self.0
            .routes
            .known()
            .coordinators
            .insert(group.to_owned(), address.clone());
        Ok(address)
    }

    /// Asks for metadata and remembers what it says about brokers.
    pub(super) async fn metadata(
        &self,
        request: &MetadataRequest,
    ) -> Result<MetadataResponse, ClientError> {
        // Below version 4 asking for a topic creates it.
        let versions = 4..=12;
        let connection = match self.any().await?.call(request, versions.clone()).await {
            // One more try, elsewhere or on a new connection.
            Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => {
                self.any().await?
            }
            answer => return answer.inspect(|metadata| self.learn(metadata)),
        };
        connection
            .call(request, versions)
            .await
            .inspect(|metadata| self.learn(metadata))
    }

    fn learn(&self, metadata: &MetadataResponse) {
        let mut known = self.0.routes.known();
        let address = |host: &StrBytes, port| (host.to_string(), u16::try_from(port).unwrap_or(0));
        let brokers = metadata.brokers.iter();
        known.brokers = brokers
            .map(|b| (b.node_id.0, address(&b.host, b.port)))
            .collect();
        known.controller = Some(metadata.controller_id.0).filter(|id| *id >= 0);
    }

    /// The connection to `address`, made if there is none that works.
    async fn connect(&self, address: &Address) -> Result<Arc<Connection>, ClientError> {
        let host = &self.0.host;
        let door = {
            let mut known = self.0.routes.known();
            known
                .connections
                .retain(|_, connection| connection.is_fresh());
            if let Some(connection) = known.connection(address) {
                return Ok(connection);
            }
            Arc::clone(known.doors.entry(address.clone()).or_default())
        };
        let mut last_failure = door.lock().await;
        if let Some(connection) = self.0.routes.known().connection(address) {
            return Ok(connection);
        }
        if let Some(failure) = last_failure.as_ref()
            && host.clock.monotonic() < failure.next
        {
            return Err(failure.error.clone());
        }
        match self.open(address).await {
            Ok(connection) => {
                *last_failure = None;
                let mut known = self.0.routes.known();
                known
                    .connections
                    .insert(address.clone(), Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                let (first, last) = match error {
                    ClientError::Unreachable { .. } | ClientError::Timeout { .. } => {
                        (FIRST_PAUSE, LAST_PAUSE)
                    }
                    _ => (FIRST_PAUSE_REFUSED, LAST_PAUSE_REFUSED),
                };
                let longer = |failure: &Failure| (failure.pause * 2).clamp(first, last);
                let pause = last_failure.as_ref().map_or(first, longer);
                let drawn = pause.mul_f64(0.5 + host.random.fraction() / 2.0);
                *last_failure = Some(Failure {
                    error: error.clone(),
                    next: host.clock.monotonic() + drawn,
                    pause,
                });
                Err(error)
            }
        }
    }
}
