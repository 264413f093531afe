//! Which broker a call goes to, and the connections to them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kafka_protocol::{
    messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse},
    protocol::StrBytes,
};

use super::{Client, topics::metadata_request};
use crate::{
    TopicPartition,
    connection::{Connection, ConnectionSettings},
    error::{ApiError, ClientError},
};

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// Any broker.
    Any,
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
            Self::Controller => f.write_str("the controller"),
            Self::Leader(partition) => write!(f, "{partition}"),
            Self::Coordinator(group) => write!(f, "group {group}"),
        }
    }
}

/// What is known of the cluster, and the connections. Addresses are `(host, port)`.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    brokers: HashMap<i32, Address>,
    controller: Option<i32>,
    leaders: HashMap<TopicPartition, i32>,
    coordinators: HashMap<String, Address>,
    connections: HashMap<Address, Arc<Connection>>,
}

type Address = (String, u16);

impl Routes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Forgets where `to` is, so that the next call looks again.
    pub(super) fn forget(&self, to: To<'_>) {
        let mut known = self.0.routes.known();
        match to {
            To::Any => {}
            To::Controller => known.controller = None,
            To::Leader(partition) => drop(known.leaders.remove(partition)),
            To::Coordinator(group) => drop(known.coordinators.remove(group)),
        }
    }

    /// A working connection to whom `to` stands for.
    pub(super) async fn connection(&self, to: To<'_>) -> Result<Arc<Connection>, ClientError> {
        match to {
            To::Any => self.any().await,
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
                .retain(|_, connection| !connection.is_broken());
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
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| ClientError::Unreachable {
            broker: "bootstrap".to_owned(),
            reason: "no bootstrap servers are set".to_owned(),
        }))
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
        let metadata = self
            .metadata(&metadata_request(Some(std::slice::from_ref(
                &partition.topic,
            ))))
            .await?;
        let found = find(&self.0.routes.known());
        found.ok_or_else(|| ClientError::Api {
            what: partition.to_string(),
            error: leader_error(&metadata, partition.partition),
        })
    }

    async fn coordinator(&self, group: &str) -> Result<Address, ClientError> {
        if let Some(address) = self.0.routes.known().coordinators.get(group) {
            return Ok(address.clone());
        }
        // Version 3 asks for one group; later ones for many.
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(group.to_owned()))
            .with_key_type(0);
        let found = Box::pin(self.any()).await?.call(&request, 3).await?;
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

    /// Asks for metadata and remembers what it says about brokers and leaders.
    pub(super) async fn metadata(
        &self,
        request: &MetadataRequest,
    ) -> Result<MetadataResponse, ClientError> {
        let connection = match self.any().await?.call(request, 12).await {
            // One more try, elsewhere or on a new connection.
            Err(ClientError::Unreachable { .. }) => self.any().await?,
            answer => return answer.inspect(|metadata| self.learn(metadata)),
        };
        connection
            .call(request, 12)
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
        for topic in &metadata.topics {
            let Some(name) = &topic.name else { continue };
            for partition in topic.partitions.iter().filter(|p| p.leader_id.0 >= 0) {
                let key = TopicPartition::new(name.to_string(), partition.partition_index);
                known.leaders.insert(key, partition.leader_id.0);
            }
        }
    }

    /// The connection to `address`, made if there is none that works.
    async fn connect(&self, address: &Address) -> Result<Arc<Connection>, ClientError> {
        let existing = self
            .0
            .routes
            .known()
            .connections
            .get(address)
            .map(Arc::clone);
        if let Some(connection) = existing.filter(|connection| !connection.is_broken()) {
            return Ok(connection);
        }
        let settings = &self.0.settings;
        let (host, port) = address;
        let broker = format!("{host}:{port}");
        let unreachable = |reason: String| ClientError::Unreachable {
            broker: broker.clone(),
            reason,
        };
        let stream = tokio::select! {
            biased;
            stream = self.0.host.net.connect(host, *port) => {
                stream.map_err(|error| unreachable(error.to_string()))?
            }
            () = self.0.host.clock.sleep(settings.connect_timeout) => {
                let seconds = settings.connect_timeout.as_secs();
                return Err(unreachable(format!("no connection within {seconds} s")));
            }
        };
        let settings = ConnectionSettings {
            broker: broker.clone(),
            client_id: settings.client_id.clone(),
            request_timeout: settings.request_timeout,
            max_frame: settings.max_frame,
            clock: Arc::clone(&self.0.host.clock),
        };
        let connection = Arc::new(Connection::open(stream, settings).await?);
        let kept = Arc::clone(&connection);
        self.0
            .routes
            .known()
            .connections
            .insert(address.clone(), kept);
        Ok(connection)
    }
}

/// Why metadata names no leader of a partition.
fn leader_error(metadata: &MetadataResponse, partition: i32) -> ApiError {
    let topic = metadata.topics.first();
    let of_topic = topic.map_or(0, |topic| topic.error_code);
    let of_partition = topic
        .and_then(|topic| {
            topic
                .partitions
                .iter()
                .find(|p| p.partition_index == partition)
        })
        .map_or(UNKNOWN_TOPIC_OR_PARTITION, |partition| partition.error_code);
    let codes = [of_topic, of_partition, LEADER_NOT_AVAILABLE];
    let code = codes
        .into_iter()
        .find(|code| *code != 0)
        .unwrap_or(LEADER_NOT_AVAILABLE);
    ApiError {
        code,
        message: None,
    }
}

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
