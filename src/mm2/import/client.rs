//! The table `[clusters.ALIAS]` of one cluster.
//!
//! MirrorMaker 2 has many clients for a cluster, strait one set of properties for all. What the client that moves records
//! has (the consumer of a source, the producer of a target) counts before what is common.

use std::collections::BTreeMap;

use super::{
    client_keys::{self, PLAIN},
    report::{Finding, KeyId, Keys},
    secrets::{Secrets, Slot, refers},
    security,
    setup::{Cluster, Property, Role, Setup, displaced},
};
use crate::config::{addresses, check_property};

/// Names and values of a table, as they are to be written.
pub(super) type Written = Vec<(&'static str, String)>;

/// One cluster, while its table is made.
pub(super) struct Draft<'a, 'k, 's> {
    pub(super) alias: &'a str,
    /// The keys that count, by name; those that were dealt with are out.
    pub(super) properties: BTreeMap<String, KeyId>,
    pub(super) keys: &'a mut Keys<'k>,
    pub(super) secrets: &'a mut Secrets<'s>,
    pub(super) written: Written,
}

/// The table of a cluster, by its alias and its name in the TOML; its keys are marked.
pub(super) fn table(
    (alias, name): (&str, &str),
    setup: &Setup,
    keys: &mut Keys<'_>,
    secrets: &mut Secrets<'_>,
) -> Written {
    let roles = Roles {
        reads: setup.is_source(alias),
        writes: setup.is_target(alias),
    };
    let mut properties = BTreeMap::new();
    let cluster = setup.clusters.get(alias);
    for (name, set) in cluster.iter().flat_map(|cluster| &cluster.properties) {
        if let Some(key) = choose(name, set, roles, keys) {
            properties.insert(name.clone(), key);
        }
    }
    let mut draft = Draft {
        alias: name,
        properties,
        keys,
        secrets,
        written: Vec::new(),
    };
    for name in PLAIN {
        draft.take(name);
    }
    security::add(&mut draft);
    if !draft.written.iter().any(|(name, _)| *name == PLAIN[0]) {
        draft.ask(PLAIN[0], "bootstrap.servers");
    }
    draft.written
}

/// Marks the keys of a cluster that no flow is about.
pub(super) fn unused(cluster: &Cluster, keys: &mut Keys<'_>) {
    for property in cluster.properties.values().flatten() {
        keys.mark(
            property.key,
            Finding::not_needed("no flow that is on reads or writes this cluster"),
        );
    }
}

#[derive(Clone, Copy)]
struct Roles {
    reads: bool,
    writes: bool,
}

/// The key that counts for `name`, if it goes into the table.
fn choose(name: &str, set: &[Property], roles: Roles, keys: &mut Keys<'_>) -> Option<KeyId> {
    let used = |property: &Property| match property.role {
        Role::Consumer => roles.reads,
        Role::Producer => roles.writes,
        Role::Common => true,
        Role::Helper => false,
    };
    let mut set = set.to_vec();
    set.sort_by_key(|property| (!used(property), property.rank, property.key));
    let takes = PLAIN.contains(&name) || security::takes(name);
    let first = set.first().copied();
    let first = first.filter(|first| takes && used(first));
    for property in set {
        match first {
            Some(first) if first.key == property.key => {}
            Some(first) => other(keys, name, property, first),
            None if takes => {
                let text = "a property of clients that move no records, which strait does not have";
                keys.mark(property.key, Finding::not_needed(text));
            }
            None => keys.mark(property.key, client_keys::finding(name)),
        }
    }
    first.map(|first| first.key)
}

/// A key beside the one that counts: MirrorMaker 2 too has one of them only, unless they are for clients of two kinds, or
/// for two connectors.
fn other(keys: &mut Keys<'_>, name: &str, property: Property, first: Property) {
    let [value, taken] = [property, first].map(|property| keys.value(property.key));
    let equal = value == taken;
    let two = property.role == first.role && property.rank == first.rank;
    if two && name == "bootstrap.servers" && !share_a_server(value, taken) {
        let text = format!(
            "{} has other addresses: two clusters have one alias",
            keys.name(first.key)
        );
        return keys.mark(property.key, Finding::refused(text));
    }
    let one_kind = property.role != Role::Helper
        && (property.role == first.role || first.role == Role::Common);
    if equal || name == "bootstrap.servers" || !two && (one_kind || property.role == Role::Common) {
        return displaced(keys, property.key, first.key);
    }
    let text = format!(
        "strait has one set of properties for a cluster; {} was taken",
        keys.name(first.key)
    );
    keys.mark(property.key, Finding::not_supported(text));
}

fn share_a_server(one: &str, other: &str) -> bool {
    let mut servers = one.split(',').map(str::trim);
    servers.any(|server| other.split(',').any(|other| other.trim() == server))
}

impl Draft<'_, '_, '_> {
    /// The key that counts for `name`, to be marked.
    pub(super) fn remove(&mut self, name: &str) -> Option<KeyId> {
        self.properties.remove(name)
    }

    /// The value of `name`, which stays.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(|key| self.keys.value(*key))
    }

    /// Writes `value` under `name`.
    pub(super) fn write(&mut self, name: &'static str, value: impl Into<String>) {
        self.written.push((name, value.into()));
    }

    /// Takes the property `name`, which is no secret, over.
    pub(super) fn take(&mut self, name: &'static str) {
        let Some(key) = self.remove(name) else {
            return;
        };
        let value = self.keys.value(key);
        let text = self.secrets.text(value, Slot::new(self.alias, name, name));
        let refused = match name {
            // Where it is not written itself, it is seen when it is filled in.
            _ if refers(value) => None,
            "bootstrap.servers" if addresses(value).is_none() => {
                let text = "HOST:PORT is wanted, several with commas between";
                Some(Finding::refused(text))
            }
            // Java's names are not librdkafka's.
            _ if name.contains("store.") => None,
            name => check_property(name, value)
                .err()
                .map(Finding::not_supported),
        };
        if let Some(finding) = refused {
            return self.keys.mark(key, finding);
        }
        self.write(name, text);
        let finding = match self.keys.name(key).ends_with(name) {
            true => Finding::taken(),
            false => Finding::renamed(name),
        };
        self.keys.mark(key, finding);
    }

    /// Takes a property that is a secret over; as a variable at most.
    pub(super) fn take_secret(&mut self, name: &'static str, what: &str) {
        let Some(key) = self.remove(name) else {
            return;
        };
        let slot = Slot::new(self.alias, name, what);
        let text = self.secrets.secret(self.keys.value(key), slot);
        self.keys
            .mark(key, Finding::renamed(format!("{name} = \"{text}\"")));
        self.write(name, text);
    }

    /// Writes a variable to set under `name`.
    pub(super) fn ask(&mut self, name: &'static str, what: &str) -> String {
        let reference = self.secrets.variable(Slot::new(self.alias, name, what));
        self.write(name, reference.clone());
        reference
    }

    /// Marks the property `name`, if it is there.
    pub(super) fn mark(&mut self, name: &str, finding: Finding) {
        if let Some(key) = self.remove(name) {
            self.keys.mark(key, finding);
        }
    }
}
