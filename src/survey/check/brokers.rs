//! Whether every broker is reached where it says it is.

use std::net::IpAddr;

use super::FlowReport;

/// One broker, dialled at the address that it advertises.
#[derive(Clone, Debug)]
pub struct Dialled {
    /// The cluster.
    pub alias: String,
    /// The broker's number.
    pub id: i32,
    /// What it advertises.
    pub host: String,
    /// What it advertises.
    pub port: i32,
    /// Whether the operator's own `bootstrap.servers` are on this machine.
    pub near: bool,
    /// Why it was not reached.
    pub failure: Option<String>,
}

impl FlowReport {
    pub(super) fn look_at_brokers(&mut self, brokers: &[Dialled]) {
        let before = self.problems.len();
        for broker in brokers {
            let Some(failure) = &broker.failure else {
                continue;
            };
            let Dialled {
                alias,
                id,
                host,
                port,
                ..
            } = broker;
            let hint = hint(broker, failure)
                .map(|hint| format!("; {hint}"))
                .unwrap_or_default();
            let message = format!(
                "broker {id} of {alias}, which advertises {host}:{port}, is not reached: {failure}{hint}"
            );
            self.problem("broker_unreachable", message);
        }
        if self.problems.len() == before {
            let count = brokers.len();
            self.pass(
                "brokers",
                format!("all {count} brokers are reached where they advertise themselves"),
            );
        }
    }
}

fn hint(broker: &Dialled, failure: &str) -> Option<&'static str> {
    if is_loopback(&broker.host) && !broker.near {
        return Some(
            "only its own machine has that address: set its advertised.listeners to one that clients reach",
        );
    }
    // As getaddrinfo's failures are worded by the standard library, on every platform.
    failure.contains("failed to lookup address").then_some(
        "this machine does not know that name: make it known here, or set the broker's advertised.listeners to one that is",
    )
}

/// Whether `host` is this machine, whichever machine asks.
pub(super) fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
