//! What is known at any time, set anew for each scrape ([`once`](super::metrics::once)).

use std::collections::BTreeMap;

use wire::client::Connections;

use super::metrics::{
    BUDGET, BUILD, CHECKPOINT_AGE, CONNECTIONS, EXACTLY_ONCE, GROUP_PARTITIONS, GROUPS, HELD,
    HELD_SECONDS, IN_FLIGHT, LAG_RECORDS, LAG_SECONDS, LEASE_AGE, PARTITION_BYTES,
    PARTITION_LAG_RECORDS, PARTITION_LAG_SECONDS, PARTITION_RECORDS, REACHABLE, RUNNING, STARTED,
    TROUBLES, WORKERS,
};
use crate::status::{FlowStatus, PartitionStatus, Phase};

/// One flow, as its process tells it; `per_partition` adds a series for each partition.
pub fn flow(status: &FlowStatus, per_partition: bool) {
    let flow = status.name.as_str();
    if status.partitions.iter().any(|p| p.lag.is_some()) {
        LAG_RECORDS.gauge(&[flow]).set(status.lag as f64);
    }
    if let Some(lag) = status.lag_ms {
        LAG_SECONDS.gauge(&[flow]).set(seconds(lag));
    }
    let running = matches!(status.phase, Some(Phase::Running));
    RUNNING.gauge(&[flow]).set(f64::from(u8::from(running)));
    if let Some(transport) = &status.provides.transport {
        let exactly = f64::from(u8::from(status.provides.is_exactly_once()));
        EXACTLY_ONCE.gauge(&[flow, transport]).set(exactly);
    }
    let held: Vec<_> = status.partitions.iter().filter_map(|p| p.held_ms).collect();
    HELD.gauge(&[flow]).set(held.len() as f64);
    let longest = held.into_iter().max().unwrap_or(0);
    HELD_SECONDS.gauge(&[flow]).set(seconds(longest));
    if let Some(age) = status.checkpoint_age_ms {
        CHECKPOINT_AGE.gauge(&[flow]).set(seconds(age));
    }
    if let Some(age) = status.lease_age_ms {
        LEASE_AGE.gauge(&[flow]).set(seconds(age));
    }
    workers(status);
    let mut troubles: BTreeMap<&str, u32> = BTreeMap::new();
    for trouble in &status.troubles {
        *troubles.entry(&trouble.code).or_default() += 1;
    }
    for (code, count) in troubles {
        TROUBLES.gauge(&[flow, code]).set(f64::from(count));
    }
    if let Some(groups) = status.groups.as_ref().filter(|groups| groups.off.is_none()) {
        for (state, count) in [("synced", groups.synced), ("left_alone", groups.left_alone)] {
            GROUPS.gauge(&[flow, state]).set(count as f64);
        }
        let partitions = [
            ("inexact", groups.inexact),
            ("waiting", groups.waiting),
            ("unknown", groups.unknown),
        ];
        for (state, count) in partitions {
            GROUP_PARTITIONS.gauge(&[flow, state]).set(count as f64);
        }
    }
    if per_partition {
        status.partitions.iter().for_each(|p| partition(flow, p));
    }
}

/// Partitions by state; those of the usual states are told also when there are none.
fn workers(status: &FlowStatus) {
    let usual = ["running", "retrying", "stopped"].map(|state| ((state, ""), 0));
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::from(usual);
    for partition in &status.partitions {
        let state = partition.state.as_deref().unwrap_or_default();
        let reason = partition.reason.as_deref().unwrap_or_default();
        *counts.entry((state, reason)).or_default() += 1;
    }
    for ((state, reason), count) in counts {
        let labels = [status.name.as_str(), state, reason];
        WORKERS.gauge(&labels).set(f64::from(count));
    }
}

fn partition(flow: &str, status: &PartitionStatus) {
    let partition = status.partition.to_string();
    let labels = [flow, status.topic.as_str(), partition.as_str()];
    if let Some(lag) = status.lag {
        PARTITION_LAG_RECORDS.gauge(&labels).set(lag as f64);
    }
    if let Some(lag) = status.lag_ms {
        PARTITION_LAG_SECONDS.gauge(&labels).set(seconds(lag));
    }
    let (records, bytes) = (status.records.unwrap_or(0), status.bytes.unwrap_or(0));
    PARTITION_RECORDS.counter(&labels).absolute(records);
    PARTITION_BYTES.counter(&labels).absolute(bytes);
}

/// Whether `flow` reaches the cluster with this alias.
pub fn cluster(flow: &str, cluster: &str, reachable: bool) {
    let value = f64::from(u8::from(reachable));
    REACHABLE.gauge(&[flow, cluster]).set(value);
}

/// How often `flow` connected to the brokers of the cluster with this alias.
pub fn connections(flow: &str, cluster: &str, count: Connections) {
    for (outcome, count) in [("opened", count.opened), ("failed", count.failed)] {
        CONNECTIONS
            .counter(&[flow, cluster, outcome])
            .absolute(count);
    }
}

/// The process: bytes in flight, how many there may be, and when it started in milliseconds since 1970.
pub fn process(in_flight: usize, budget: usize, started_ms: i64) {
    IN_FLIGHT.gauge(&[]).set(in_flight as f64);
    BUDGET.gauge(&[]).set(budget as f64);
    BUILD.gauge(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    STARTED.gauge(&[]).set(seconds(started_ms));
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
