//! Connections: who is let in ([`Admissions`]), and what is talked about ([`connection`]).

mod connection;
mod deadline;
mod memory;
mod rate;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(crate) use connection::converse;
pub(crate) use memory::Memory;
use rate::Rate;

use crate::{config::Config, security::listeners::Listener, state::State};

/// Accepts the connections of one listener until `stop`.
pub(crate) async fn serve(
    socket: Box<dyn host::Listener>,
    listener: Arc<Listener>,
    admissions: Arc<Admissions>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut rate = listener.max_creation_rate.map(Rate::new);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, most likely: others may end soon.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                state.host.clock.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let now = state.host.clock.monotonic();
        let own = rate.as_mut().map_or(Duration::ZERO, |rate| rate.take(now));
        let wait = own.max(admissions.pace(now));
        if !wait.is_zero() {
            // Those that come meanwhile wait in the system's queue, as in Kafka (`ConnectionQuotas.waitForConnectionSlot`).
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = state.host.clock.sleep(wait) => {}
            }
        }
        let here = connections.len();
        let admission = match here < listener.max_connections {
            true => Admissions::admit(&admissions, peer.ip()),
            false => Err("max.connections of the listener"),
        };
        let admission = match admission {
            Ok(admission) => admission,
            Err(limit) => {
                state.metrics.connections_refused.increment(1);
                tracing::warn!(%peer, listener = listener.name, limit, "too many connections");
                continue;
            }
        };
        let (listener, state) = (Arc::clone(&listener), Arc::clone(&state));
        let memory = Arc::clone(&admissions.memory);
        connections.spawn(async move {
            let _admission = admission;
            let name = listener.name.clone();
            let _counted = Counted::new(&state);
            if let Err(error) = connection::converse(stream, peer, listener, state, memory).await {
                tracing::debug!(%peer, listener = name, %error, "connection ends");
            }
        });
    }
    connections.shutdown().await;
}

/// A connection that shows in the metrics until it is dropped.
struct Counted(Arc<State>);

impl Counted {
    fn new(state: &Arc<State>) -> Self {
        state.metrics.connections.increment(1);
        Self(Arc::clone(state))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.decrement(1);
    }
}

/// How many connections there are, of all listeners together, and what memory their requests may take.
#[derive(Debug)]
pub(crate) struct Admissions {
    max: usize,
    max_per_address: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
    /// Of new ones.
    rate: Option<Mutex<Rate>>,
    memory: Arc<Memory>,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
struct Admission {
    admissions: Arc<Admissions>,
    address: IpAddr,
}

impl Admissions {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            max: config.max_connections,
            max_per_address: config.max_connections_per_ip,
            counts: Mutex::default(),
            rate: config
                .max_connection_creation_rate
                .map(|per_second| Mutex::new(Rate::new(per_second))),
            memory: Arc::new(Memory::new(config.queued_max_request_bytes)),
        })
    }

    /// How long a connection that came now must wait.
    fn pace(&self, now: Duration) -> Duration {
        self.rate.as_ref().map_or(Duration::ZERO, |rate| {
            rate.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(now)
        })
    }

    /// Lets a connection in, or names the setting that is in its way.
    fn admit(this: &Arc<Self>, address: IpAddr) -> Result<Admission, &'static str> {
        let mut counts = this.counts();
        if counts.values().sum::<usize>() >= this.max {
            return Err("max.connections");
        }
        let of_address = counts.entry(address).or_default();
        if *of_address >= this.max_per_address {
            return Err("max.connections.per.ip");
        }
        *of_address += 1;
        Ok(Admission {
            admissions: Arc::clone(this),
            address,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_until_they_end() {
        let mut config = Config::new("127.0.0.1:0", "data");
        (config.max_connections, config.max_connections_per_ip) = (3, 2);
        let all = Admissions::new(&config);
        let (one, other): (IpAddr, IpAddr) = ([1, 1, 1, 1].into(), [2, 2, 2, 2].into());
        let first = Admissions::admit(&all, one).unwrap();
        let _second = Admissions::admit(&all, one).unwrap();
        assert_eq!(
            Admissions::admit(&all, one).unwrap_err(),
            "max.connections.per.ip"
        );
        let _third = Admissions::admit(&all, other).unwrap();
        assert_eq!(
            Admissions::admit(&all, other).unwrap_err(),
            "max.connections"
        );
        drop(first);
        let _fourth = Admissions::admit(&all, other).unwrap();
        assert_eq!(all.counts().values().sum::<usize>(), 3);
    }
}
