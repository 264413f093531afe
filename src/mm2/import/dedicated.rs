//! `mm2.properties`, of MirrorMaker 2 on its own (`MirrorMakerConfig`).

use std::collections::BTreeMap;

use super::{
    client_keys::is_common,
    connector::{self, rank},
    flow_keys,
    report::{Finding, KeyId, Keys},
    setup::{Flow, Kept, OF_THE_FLOW, Property, Role, Setup},
};
use crate::flow::handover::MirrorMaker;

/// What worker settings at the top of the file begin with, to be taken (`MirrorMakerConfig.workerConfig`).
const WORKER_AT_THE_TOP: [&str; 8] = [
    "offset.storage",
    "config.storage",
    "status.storage",
    "key.converter",
    "value.converter",
    "header.converter",
    "task",
    "worker",
];

/// What the file says; none: it names no clusters.
pub(super) fn setup(pairs: &BTreeMap<String, String>, keys: &mut Keys<'_>) -> Option<Setup> {
    let mut reader = Reader::new(pairs)?;
    for (name, value) in pairs {
        let key = keys.add(0, name, value);
        reader.place(name, value, key, keys);
    }
    let Reader {
        mut setup, flows, ..
    } = reader;
    setup.flows = flows;
    Some(setup)
}

struct Reader {
    setup: Setup,
    /// Aliases, the longest first.
    clusters: Vec<String>,
    flows: Vec<Flow>,
}

impl Reader {
    fn new(pairs: &BTreeMap<String, String>) -> Option<Self> {
        let clusters = pairs
            .get("clusters")?
            .split(',')
            .map(|alias| alias.trim().to_owned());
        let mut clusters: Vec<_> = clusters.filter(|alias| !alias.is_empty()).collect();
        let mut flows = Vec::new();
        for source in &clusters {
            for target in clusters.iter().filter(|target| *target != source) {
                let enabled = pairs.get(&format!("{source}->{target}.enabled"));
                if enabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
                    let mut flow = Flow::new(source, target);
                    flow.kept = kept(source, target, pairs);
                    flows.push(flow);
                }
            }
        }
        clusters.sort_by_key(|alias| std::cmp::Reverse(alias.len()));
        clusters.dedup();
        Some(Self {
            setup: Setup::default(),
            clusters,
            flows,
        })
    }

    fn place(&mut self, name: &str, value: &str, key: KeyId, keys: &mut Keys<'_>) {
        if let Some((source, rest)) = name.split_once("->") {
            return self.of_a_pair(source, rest, key, keys);
        }
        let clusters = self.clusters.iter();
        let mut found = clusters.filter_map(|alias| {
            Some((alias, name.strip_prefix(alias.as_str())?.strip_prefix('.')?))
        });
        if let Some((alias, name)) = found.next() {
            let (alias, name) = (alias.clone(), name.to_owned());
            return self.of_a_cluster(&alias, &name, key, keys);
        }
        self.at_the_top(name, value, key, keys);
    }

    /// `A->B.x`.
    fn of_a_pair(&mut self, source: &str, rest: &str, key: KeyId, keys: &mut Keys<'_>) {
        let clusters = self.clusters.iter();
        let mut found = clusters.filter_map(|alias| {
            Some((alias, rest.strip_prefix(alias.as_str())?.strip_prefix('.')?))
        });
        let known = found
            .next()
            .filter(|_| self.clusters.iter().any(|alias| alias == source));
        let Some((target, name)) = known else {
            let text = "MirrorMaker 2 ignores this here too: no such pair of `clusters`";
            return keys.mark(key, Finding::not_needed(text));
        };
        let is_it = |flow: &&mut Flow| flow.source == source && flow.target == *target;
        let Some(flow) = self.flows.iter_mut().find(is_it) else {
            let finding = match keys.value(key).to_lowercase().as_str() {
                "true" | "false" => Finding::not_needed("a flow that is off is left out"),
                _ if name == "enabled" => {
                    Finding::not_supported("neither true nor false: MirrorMaker 2 refuses it too")
                }
                _ => Finding::not_needed("the flow is off"),
            };
            return keys.mark(key, finding);
        };
        if let "source.cluster.alias" | "target.cluster.alias" = name {
            let text = "strait has one name for a cluster: the alias in `clusters`";
            return keys.mark(key, Finding::not_supported(text));
        }
        connector::place(&mut self.setup, keys, flow, name, key, rank::LAST);
    }

    /// `A.x`.
    fn of_a_cluster(&mut self, alias: &str, name: &str, key: KeyId, keys: &mut Keys<'_>) {
        for (beginning, role) in [
            ("consumer.", Role::Consumer),
            ("producer.", Role::Producer),
            ("admin.", Role::Helper),
        ] {
            let Some(property) = name.strip_prefix(beginning) else {
                continue;
            };
            if role == Role::Consumer && OF_THE_FLOW.contains(&property) {
                let setting = format!("consumer.{property}");
                return self.of_flows(&setting, rank::CLUSTER_CLIENT, key, keys, |flow| {
                    flow.source == alias
                });
            }
            let rank = rank::CLUSTER_CLIENT;
            return self
                .setup
                .property(alias, property, Property { role, rank, key });
        }
        if name == "exactly.once.source.support" {
            return self.of_flows(name, rank::CLUSTER, key, keys, |flow| flow.target == alias);
        }
        match flow_keys::worker(name) {
            Some(finding) => keys.mark(key, finding),
            None if flow_keys::is_of_a_connector(name) => {
                let text = format!(
                    "MirrorMaker 2 ignores this here too: it counts as SOURCE->TARGET.{name}"
                );
                keys.mark(key, Finding::not_needed(text));
            }
            None => connector::of_a_cluster(&mut self.setup, keys, alias, name, key, rank::CLUSTER),
        }
    }

    /// A setting of some flows.
    fn of_flows(
        &mut self,
        name: &str,
        rank: u8,
        key: KeyId,
        keys: &mut Keys<'_>,
        of: impl Fn(&Flow) -> bool,
    ) {
        let mut some = false;
        for flow in self.flows.iter_mut().filter(|flow| of(flow)) {
            flow.set(name, rank, key);
            some = true;
        }
        if !some {
            keys.mark(key, Finding::not_needed("no flow that is on is concerned"));
        }
    }

    /// What is of no pair and no cluster.
    fn at_the_top(&mut self, name: &str, value: &str, key: KeyId, keys: &mut Keys<'_>) {
        if let Some(provider) = name
            .strip_prefix("config.providers.")
            .and_then(|name| name.strip_suffix(".class"))
        {
            self.setup
                .providers
                .insert(provider.to_owned(), value.trim().to_owned());
        }
        if name == "clusters" {
            return keys.mark(
                key,
                Finding::renamed("[clusters.ALIAS] of those that flows are between"),
            );
        }
        if name == "config.providers" || name.starts_with("config.providers.") {
            let text =
                "strait reads ${NAME} and ${file:PATH}; other references became variables to set";
            return keys.mark(key, Finding::not_needed(text));
        }
        if is_common(name) {
            let (role, rank) = (Role::Common, rank::TOP);
            for alias in &self.clusters {
                self.setup
                    .property(alias, name, Property { role, rank, key });
            }
            return;
        }
        if flow_keys::is_of_a_connector(name) {
            return self.of_flows(name, rank::TOP, key, keys, |_| true);
        }
        let worker = flow_keys::worker(name);
        let taken = WORKER_AT_THE_TOP
            .iter()
            .any(|beginning| name.starts_with(beginning));
        let of_the_file = name == "dedicated.mode.enable.internal.rest"
            || name.starts_with("rest.")
            || name == "listeners";
        match worker {
            Some(finding) if taken || of_the_file => keys.mark(key, finding),
            Some(_) => ignored(keys, key, &format!(": it counts as TARGET.{name}")),
            None if name.starts_with("consumer.")
                || name.starts_with("producer.")
                || name.starts_with("admin.") =>
            {
                ignored(keys, key, &format!(": it counts as CLUSTER.{name}"));
            }
            None if name == "use.defaults.from" => {
                ignored(keys, key, ": it counts as SOURCE->TARGET.use.defaults.from")
            }
            None => ignored(keys, key, ""),
        }
    }
}

/// What its worker is called and where it keeps its positions; of the latter what is at the top of the file counts first
/// (`MirrorMakerConfig.workerConfig`).
fn kept(source: &str, target: &str, pairs: &BTreeMap<String, String>) -> Kept {
    const TOPIC: &str = "offset.storage.topic";
    let usual = MirrorMaker::dedicated(source);
    let topic = pairs
        .get(TOPIC)
        .or_else(|| pairs.get(&format!("{target}.{TOPIC}")));
    let group = pairs.get(&format!("{target}.group.id"));
    let said = |value: Option<&String>, usual| value.map_or(usual, |value| value.trim().to_owned());
    Kept {
        connector: None,
        offsets_topic: Some(said(topic, usual.offsets_topic)),
        group: Some(said(group, usual.group)),
    }
}

fn ignored(keys: &mut Keys<'_>, key: KeyId, but: &str) {
    keys.mark(
        key,
        Finding::not_needed(format!("MirrorMaker 2 ignores this here too{but}")),
    );
}
