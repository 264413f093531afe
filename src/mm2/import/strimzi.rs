//! Strimzi's `KafkaMirrorMaker2`: `v1` (`target` and `mirrors[].source`) and `v1beta2` (`clusters` by alias).
//!
//! Read as Strimzi's operator does (`KafkaMirrorMaker2Connectors`): `tls` and `authentication` become client properties that
//! refer to Kubernetes' secrets, `config` of a cluster becomes `source.cluster.*` or `target.cluster.*`, and every mirror
//! becomes up to three connectors. What is outside of `spec` is not told of.

use serde_json::{Map, Value};

use super::{
    ImportError,
    connect::text,
    connector::{self, rank},
    flow_keys,
    report::{Finding, KeyId, Keys},
    setup::{Flow, Kept, Property, Role, Setup},
};

/// Keys of `spec` that are read here.
const READ: [&str; 3] = ["clusters", "mirrors", "target"];
const PODS: &str = "is about Strimzi's pods; strait's are in examples/kubernetes/sidecar.yaml";

/// What the documents say.
pub(super) fn setup(files: &[Vec<Value>], keys: &mut Keys<'_>) -> Result<Setup, ImportError> {
    let mut setup = Setup::default();
    for (file, documents) in files.iter().enumerate() {
        let mut mirrors = Vec::new();
        documents
            .iter()
            .for_each(|document| collect(document, &mut mirrors));
        if mirrors.is_empty() {
            return Err(keys.unreadable(file, "no KafkaMirrorMaker2"));
        }
        let several = mirrors.len() > 1;
        for mirror in mirrors {
            let metadata = |name: &str| mirror["metadata"][name].as_str().unwrap_or_default();
            let resource = Resource {
                file,
                namespace: metadata("namespace"),
                path: match several {
                    true => format!("{}: spec", metadata("name")),
                    false => "spec".to_owned(),
                },
            };
            let Some(spec) = mirror["spec"].as_object() else {
                return Err(keys.unreadable(file, "a KafkaMirrorMaker2 without `spec`"));
            };
            resource.read(spec, &mut setup, keys);
        }
    }
    Ok(setup)
}

/// Resources of the kind, in lists too.
fn collect<'a>(document: &'a Value, mirrors: &mut Vec<&'a Value>) {
    if document["kind"] == "KafkaMirrorMaker2" {
        mirrors.push(document);
    }
    let items = document["items"].as_array();
    items
        .into_iter()
        .flatten()
        .for_each(|item| collect(item, mirrors));
}

struct Resource<'a> {
    file: usize,
    namespace: &'a str,
    /// Of its `spec`, in names of keys.
    path: String,
}

impl Resource<'_> {
    fn read(&self, spec: &Map<String, Value>, setup: &mut Setup, keys: &mut Keys<'_>) {
        let first = setup.flows.len();
        let mut mirrors = Vec::new();
        for (index, mirror) in list(spec, "mirrors").enumerate() {
            let alias = |side: &str, cluster: &Value| {
                let old = mirror[format!("{side}Cluster")].as_str();
                old.or(cluster["alias"].as_str()).unwrap_or(side).to_owned()
            };
            let target = spec.get("target").unwrap_or(&Value::Null);
            let mut flow = Flow::new(
                &alias("source", &mirror["source"]),
                &alias("target", target),
            );
            flow.kept = kept(spec, &flow);
            flow.checkpoints = mirror["checkpointConnector"].is_object();
            flow.heartbeats = mirror["heartbeatConnector"].is_object();
            let runs = mirror["sourceConnector"].is_object();
            mirrors.push((format!("{}.mirrors[{index}]", self.path), mirror, runs));
            setup.flows.push(flow);
        }
        // Taken out while other parts of the setup are filled.
        let mut flows = setup.flows.split_off(first);
        if let Some(target) = spec.get("target").and_then(Value::as_object) {
            self.cluster(
                &format!("{}.target", self.path),
                target,
                &mut flows,
                setup,
                keys,
            );
        }
        for (index, cluster) in list(spec, "clusters").enumerate() {
            let path = format!("{}.clusters[{index}]", self.path);
            let cluster = cluster.as_object();
            cluster
                .into_iter()
                .for_each(|cluster| self.cluster(&path, cluster, &mut flows, setup, keys));
        }
        for (index, (path, mirror, runs)) in mirrors.iter().enumerate() {
            if let Some(source) = mirror["source"].as_object() {
                self.cluster(&format!("{path}.source"), source, &mut flows, setup, keys);
            }
            self.mirror(path, mirror, *runs, &mut flows[index], setup, keys);
        }
        let mut runs = mirrors.iter().map(|(_, _, runs)| *runs);
        flows.retain(|_| runs.next().unwrap_or(false));
        setup.flows.extend(flows);
        for (name, value) in spec
            .iter()
            .filter(|(name, _)| !READ.contains(&name.as_str()))
        {
            let key = keys.add(self.file, format!("{}.{name}", self.path), text(value));
            keys.mark(
                key,
                match name.as_str() {
                    "rack" => Finding::not_supported(
                        "set client.rack of the source cluster to where strait runs",
                    ),
                    "metricsConfig" => Finding::not_needed(super::client_keys::METRICS),
                    "replicas" => {
                        Finding::not_needed("processes that run the same file share its flows")
                    }
                    _ => Finding::not_needed(PODS),
                },
            );
        }
    }

    /// One mirror: its patterns, then its connectors.
    fn mirror(
        &self,
        path: &str,
        mirror: &Value,
        runs: bool,
        flow: &mut Flow,
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) {
        let mirror = mirror.as_object();
        let patterns = |name: &str| match name {
            "topicsPattern" => Some("topics"),
            "topicsExcludePattern" => Some("topics.exclude"),
            "topicsBlacklistPattern" => Some("topics.blacklist"),
            "groupsPattern" => Some("groups"),
            "groupsExcludePattern" => Some("groups.exclude"),
            "groupsBlacklistPattern" => Some("groups.blacklist"),
            _ => None,
        };
        let off = Finding::not_needed("a mirror without sourceConnector copies nothing");
        // They count before what the connectors' own configurations say, so they come first.
        let mut rest = Vec::new();
        for (name, value) in mirror
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "source")
        {
            let path = format!("{path}.{name}");
            if value.is_object() {
                rest.push((name, value, path));
                continue;
            }
            let key = keys.add(self.file, path, text(value));
            match patterns(name) {
                _ if !runs => keys.mark(key, off.clone()),
                Some(setting) => flow.set(setting, rank::OWN, key),
                None if name == "sourceCluster" => keys.mark(key, Finding::renamed("source")),
                None if name == "targetCluster" => keys.mark(key, Finding::renamed("target")),
                None => keys.mark(key, Finding::not_supported("Strimzi does not know it")),
            }
        }
        for (name, connector, path) in rest {
            for (inner, value) in connector.as_object().into_iter().flatten() {
                if inner != "config" {
                    let key = keys.add(self.file, format!("{path}.{inner}"), text(value));
                    keys.mark(key, of_a_connector(inner, value));
                    continue;
                }
                for (setting, value) in value.as_object().into_iter().flatten() {
                    let key = keys.add(self.file, format!("{path}.config.{setting}"), text(value));
                    match name.as_str() {
                        _ if !runs => keys.mark(key, off.clone()),
                        "sourceConnector" => {
                            connector::place(setup, keys, flow, setting, key, rank::CONNECT)
                        }
                        _ => connector::place_beside(keys, Some(&mut *flow), setting, key),
                    }
                }
            }
        }
    }

    /// What is said of one cluster.
    fn cluster(
        &self,
        path: &str,
        cluster: &Map<String, Value>,
        flows: &mut [Flow],
        setup: &mut Setup,
        keys: &mut Keys<'_>,
    ) {
        let side = if path.ends_with("target") {
            "target"
        } else {
            "source"
        };
        let alias = cluster
            .get("alias")
            .and_then(Value::as_str)
            .unwrap_or(side)
            .to_owned();
        let add = |keys: &mut Keys<'_>, name: &str, value: &Value| {
            keys.add(self.file, format!("{path}.{name}"), text(value))
        };
        for (name, value) in cluster {
            match name.as_str() {
                "alias" => {
                    let key = add(keys, name, value);
                    keys.mark(key, Finding::renamed("[clusters.ALIAS]"));
                }
                "bootstrapServers" => {
                    let key = add(keys, name, value);
                    common(setup, &alias, "bootstrap.servers", key);
                }
                "tls" | "authentication" => {}
                "config" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        let key = add(keys, &format!("config.{name}"), value);
                        of_config(setup, keys, flows, &alias, name, key);
                    }
                }
                _ => {
                    let key = add(keys, name, value);
                    let text = "strait's positions are the committed offsets of group strait.FLOW on the target";
                    keys.mark(key, Finding::not_needed(text));
                }
            }
        }
        let secured = super::strimzi_security::Secured {
            file: self.file,
            namespace: self.namespace,
            path,
            alias: &alias,
        };
        secured.read(cluster, setup, keys);
    }
}

/// A client property of the cluster.
pub(super) fn common(setup: &mut Setup, alias: &str, name: &str, key: KeyId) {
    let (role, rank) = (Role::Common, rank::CONNECT);
    setup.property(alias, name, Property { role, rank, key });
}

/// `config` of a cluster: of Connect's workers, and of all connectors' clients.
fn of_config(
    setup: &mut Setup,
    keys: &mut Keys<'_>,
    flows: &mut [Flow],
    alias: &str,
    name: &str,
    key: KeyId,
) {
    if name == "exactly.once.source.support" {
        let mut flows = flows
            .iter_mut()
            .filter(|flow| flow.target == alias)
            .peekable();
        if flows.peek().is_none() {
            keys.mark(
                key,
                Finding::not_needed("a setting of the cluster that Connect is on"),
            );
        }
        return flows.for_each(|flow| flow.set(name, rank::CLUSTER, key));
    }
    if let Some(property) = name.strip_prefix("producer.") {
        let (role, rank) = (Role::Producer, rank::CLUSTER_CLIENT);
        return setup.property(alias, property, Property { role, rank, key });
    }
    match flow_keys::worker(name) {
        Some(finding) => keys.mark(key, finding),
        None => connector::of_a_cluster(setup, keys, alias, name, key, rank::CONNECT),
    }
}

/// Of a connector, beside its `config`.
fn of_a_connector(name: &str, value: &Value) -> Finding {
    match (name, value) {
        ("pause", Value::Bool(true)) => Finding::not_supported(
            "the flow runs when strait does: leave it out while it is to rest",
        ),
        ("state", Value::String(state)) if state != "running" => Finding::not_supported(
            "the flow runs when strait does: leave it out while it is to rest",
        ),
        ("tasksMax", _) => flow_keys::finding("tasks.max", ""),
        ("autoRestart", _) => Finding::not_needed("strait tries again by itself what may pass"),
        _ => Finding::not_needed("is about Connect, which strait runs without"),
    }
}

/// Where Connect keeps positions: in `v1` said of the target, in `v1beta2` among its settings, with the operator's own as
/// defaults (`KafkaMirrorMaker2Cluster`).
fn kept(spec: &Map<String, Value>, flow: &Flow) -> Kept {
    let worker = spec.get("connectCluster").and_then(Value::as_str);
    let worker = worker.unwrap_or(&flow.target);
    let cluster = list(spec, "clusters").find(|cluster| cluster["alias"] == worker);
    let said = |new: &str, old: &str, usual: &str| {
        let new = spec.get("target").map(|target| &target[new]);
        let old = cluster.map(|cluster| &cluster["config"][old]);
        let said = new.and_then(Value::as_str).or(old.and_then(Value::as_str));
        Some(said.unwrap_or(usual).to_owned())
    };
    Kept {
        connector: Some(format!(
            "{}->{}.MirrorSourceConnector",
            flow.source, flow.target
        )),
        offsets_topic: said(
            "offsetStorageTopic",
            "offset.storage.topic",
            "mirrormaker2-cluster-offsets",
        ),
        group: said("groupId", "group.id", "mirrormaker2-cluster"),
    }
}

fn list<'a>(spec: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
