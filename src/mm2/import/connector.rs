//! The keys of one connector's configuration, by what their beginnings say (`MirrorConnectorConfig`).
//!
//! The same for a connector on Connect and for what a properties file says of one pair (`A->B.`); there, what the clusters
//! say (`A.`) comes to the connector under longer beginnings and counts before some of it.

use super::{
    client_keys::is_common,
    flow_keys,
    report::{Finding, KeyId, Keys},
    setup::{Flow, OF_THE_FLOW, Property, Role, Setup},
};

/// Ranks: of what sets the same property the lowest counts.
pub(super) mod rank {
    /// `source.consumer.x` of a connector, and `producer.override.x`.
    pub(in super::super) const OWN: u8 = 0;
    /// `A.consumer.x`, `B.producer.x` in a properties file.
    pub(in super::super) const CLUSTER_CLIENT: u8 = 1;
    /// `A.x` in a properties file: it comes to the connector as `source.consumer.x` and the like.
    pub(in super::super) const CLUSTER: u8 = 2;
    /// `x` at the top of a properties file: likewise.
    pub(in super::super) const TOP: u8 = 3;
    /// `consumer.x` of a connector.
    pub(in super::super) const CONSUMER: u8 = 4;
    /// `source.cluster.x` of a connector on Connect.
    pub(in super::super) const CONNECT: u8 = 5;
    /// What counts only where nothing else is said.
    pub(in super::super) const LAST: u8 = 6;
}

/// What the beginning of a key says: whose client it is for.
const BEGINNINGS: [(&str, Side, Role, u8); 11] = [
    ("source.consumer.", Side::Source, Role::Consumer, rank::OWN),
    ("consumer.", Side::Source, Role::Consumer, rank::CONSUMER),
    (
        "producer.override.",
        Side::Target,
        Role::Producer,
        rank::OWN,
    ),
    ("source.producer.", Side::Source, Role::Helper, rank::LAST),
    ("source.admin.", Side::Source, Role::Helper, rank::LAST),
    ("target.producer.", Side::Target, Role::Helper, rank::LAST),
    ("target.consumer.", Side::Target, Role::Helper, rank::LAST),
    ("target.admin.", Side::Target, Role::Helper, rank::LAST),
    ("producer.", Side::Source, Role::Helper, rank::LAST),
    ("admin.override.", Side::Target, Role::Helper, rank::LAST),
    ("admin.", Side::Target, Role::Helper, rank::LAST),
];

#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

/// Puts one key of a connector where it belongs. `cluster_rank`: of `source.cluster.x` and `target.cluster.x`.
pub(super) fn place(
    setup: &mut Setup,
    keys: &mut Keys<'_>,
    flow: &mut Flow,
    name: &str,
    key: KeyId,
    cluster_rank: u8,
) {
    for (beginning, is_source) in [("source.cluster.", true), ("target.cluster.", false)] {
        if let Some(name) = name.strip_prefix(beginning)
            && name != "alias"
        {
            let alias = if is_source {
                &flow.source
            } else {
                &flow.target
            };
            return of_a_cluster(setup, keys, alias, name, key, cluster_rank);
        }
    }
    // Not of its consumer's properties, in spite of its name.
    let found = BEGINNINGS
        .iter()
        .filter(|_| name != "consumer.poll.timeout.ms");
    let found = found
        .map(|way| (name.strip_prefix(way.0), way))
        .find(|(rest, _)| rest.is_some());
    match found {
        Some((Some(property), (_, Side::Source, Role::Consumer, rank)))
            if OF_THE_FLOW.contains(&property) =>
        {
            flow.set(&format!("consumer.{property}"), *rank, key);
        }
        Some((Some(property), (_, side, role, rank))) => {
            let alias = match side {
                Side::Source => &flow.source,
                Side::Target => &flow.target,
            };
            let (role, rank) = (*role, *rank);
            setup.property(alias, property, Property { role, rank, key });
        }
        _ => flow.set(name, rank::OWN, key),
    }
}

/// A property that all clients of a cluster are given: they take only some.
pub(super) fn of_a_cluster(
    setup: &mut Setup,
    keys: &mut Keys<'_>,
    alias: &str,
    name: &str,
    key: KeyId,
    rank: u8,
) {
    if is_common(name) {
        let role = Role::Common;
        return setup.property(alias, name, Property { role, rank, key });
    }
    let text = "MirrorMaker 2 ignores this here too: it takes addresses and security for all clients of a cluster, and the \
                rest behind `consumer.` and `producer.`";
    keys.mark(key, Finding::not_needed(text));
}

/// Puts one key of a checkpoint or heartbeat connector where it belongs. `flow`: of the source connector between the same
/// clusters, if there is one.
pub(super) fn place_beside(keys: &mut Keys<'_>, flow: Option<&mut Flow>, name: &str, key: KeyId) {
    let of_clients = ["source.", "target.", "consumer.", "producer.", "admin."];
    let of_clients = of_clients
        .iter()
        .any(|beginning| name.starts_with(beginning));
    if of_clients && name != "consumer.poll.timeout.ms" || OF_A_SOURCE.contains(&name) {
        return keys.mark(
            key,
            Finding::not_needed("strait takes it from the source connector"),
        );
    }
    match flow {
        Some(flow) => flow.set(name, rank::LAST, key),
        None => {
            let finding = flow_keys::finding(name, keys.value(key));
            keys.mark(key, finding);
        }
    }
}

/// Settings that all connectors have and that a flow has of its source connector.
const OF_A_SOURCE: [&str; 7] = [
    "enabled",
    "errors.tolerance",
    "replication.policy.class",
    "replication.policy.separator",
    "topics",
    "topics.exclude",
    "topics.blacklist",
];
