//! broker-lite: a light Kafka-protocol broker. One node, durable, small.
//!
//! A connection comes by a listener and may have to log in (`security`). A request goes `server` (frames) →
//! `api` (one file per Kafka API) → `state` (topics, groups, transactions) → `log` (segments in Kafka's format).
//! [`faults`] makes it fail on purpose, for tests that run it in their own process.

mod api;
mod config;
pub mod faults;
#[cfg(test)]
mod fuzz;
mod log;
mod metrics;
mod security;
mod server;
mod state;

use std::{io, net::SocketAddr, path::Path, sync::Arc};

pub use config::{Config, ConfigError};
use host::Host;
use security::listeners::Plan;
use state::{State, housekeeping};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that do not fit together, or name files that are not what they should be.
    #[error("{0}")]
    Settings(String),
    /// Another process works on the data folder.
    #[error("{0} is in use by another broker")]
    InUse(String),
    /// Its address cannot be bound.
    #[error("listen on {address}: {source}")]
    Listen {
        /// `HOST:PORT`
        address: String,
        /// What the machine says.
        source: io::Error,
    },
    /// Its data cannot be read.
    #[error("open {folder}: {source}")]
    Data {
        /// The data folder.
        folder: String,
        /// What the machine says.
        source: io::Error,
    },
}

/// A running broker. Dropping it is [`Broker::kill`] without waiting: the folder stays in use until the last
/// of its tasks is gone.
#[derive(Debug)]
pub struct Broker {
    addresses: Vec<(String, SocketAddr)>,
    metrics: Option<SocketAddr>,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Broker {
    /// Opens the data folder, listens, and serves.
    ///
    /// # Errors
    /// If the folder is in use or damaged, or the address is taken.
    pub async fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let folder = config.data.display().to_string();
        let data = |source| StartError::Data {
            folder: folder.clone(),
            source,
        };
        let plans = Plan::all(&config).map_err(StartError::Settings)?;
        let mut locks = Vec::new();
        for folder in config.log_dirs() {
            locks.push(lock(&host, folder)?);
        }
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for plan in plans {
            let (socket, address) = bind(&host, &plan).await?;
            let listener = plan.opened(config.node_id, address);
            addresses.push((listener.name.clone(), address));
            listeners.push((socket, Arc::new(listener)));
        }
        let state = Arc::new(State::open(host, config, locks).map_err(data)?);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (groups, token) = (Arc::clone(&state), stop.clone());
        tasks.spawn(async move { groups.groups.run(token).await });
        let (transactions, token) = (Arc::clone(&state), stop.clone());
        tasks.spawn(async move { transactions.transactions.run(&*transactions, token).await });
        tasks.spawn(housekeeping::expire(Arc::clone(&state), stop.clone()));
        tasks.spawn(housekeeping::compact(Arc::clone(&state), stop.clone()));
        let mut metrics = None;
        if let Some(address) = &state.config.metrics {
            let listen = |source| StartError::Listen {
                address: address.clone(),
                source,
            };
            let served = metrics::serve(address, Arc::clone(&state), stop.clone()).await;
            let (bound, serve) = served.map_err(listen)?;
            metrics = Some(bound);
            tasks.spawn(serve);
        }
        let admissions = server::Admissions::new(&state.config);
        for (socket, listener) in listeners {
            let (admissions, state) = (Arc::clone(&admissions), Arc::clone(&state));
            tasks.spawn(server::serve(
                socket,
                listener,
                admissions,
                state,
                stop.clone(),
            ));
        }
        Ok(Self {
            addresses,
            metrics,
            state,
            stop,
            tasks,
        })
    }

    /// The address that was bound, of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    /// Names of the listeners, and the addresses that were bound.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Where metrics are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.state.cluster_id
    }

    /// Sets faults, for tests.
    pub fn faults(&self) -> faults::Faults {
        faults::Faults::of(&self.state)
    }

    /// Ends connections, and makes everything durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn stop(mut self) -> io::Result<()> {
        self.end().await;
        self.state.sync()
    }

    /// Ends at once, as the process would by `kill -9`: nothing is flushed. When it returns, nothing of the
    /// broker runs any more, and another one may open its folder.
    pub async fn kill(mut self) {
        self.end().await;
    }

    /// Waits for every task: one that is cut off may still be in the middle of a write.
    async fn end(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens a listener; and its address.
async fn bind(
    host: &Host,
    plan: &Plan,
) -> Result<(Box<dyn host::Listener>, SocketAddr), StartError> {
    let address = plan.endpoint.address();
    let failed = |source| StartError::Listen {
        address: address.clone(),
        source,
    };
    let socket = host.net.listen(&address).await.map_err(failed)?;
    let bound = socket.local_address().map_err(failed)?;
    Ok((socket, bound))
}

/// Holds a data folder, made if it is not there, for this process. Freed by the system whatever becomes of it.
fn lock(host: &Host, folder: &Path) -> Result<Box<dyn host::Lock>, StartError> {
    let name = || folder.display().to_string();
    let made = host.files.create_dir_all(folder);
    let locked = made.and_then(|()| host.files.lock(&folder.join(".lock")));
    let locked = locked.map_err(|source| StartError::Data {
        folder: name(),
        source,
    })?;
    locked.ok_or_else(|| StartError::InUse(name()))
}
