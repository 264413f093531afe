//! The connectors of MirrorMaker 2 on Kafka Connect, in JSON: as they are posted (`{"name":..,"config":{..}}`), a bare
//! configuration, an array of either, or what `GET /connectors?expand=info` answers.

use serde_json::{Map, Value};

use super::{
    ImportError,
    connector::{self, rank},
    flow_keys,
    report::{Finding, KeyId, Keys},
    setup::{Flow, Setup},
};

/// One connector.
struct Connector {
    name: String,
    /// Simple name of its class.
    class: String,
    config: Vec<(String, KeyId)>,
}

/// What the files say.
pub(super) fn setup(files: &[Value], keys: &mut Keys<'_>) -> Result<Setup, ImportError> {
    let mut found = Vec::new();
    for (file, value) in files.iter().enumerate() {
        let before = found.len();
        collect(file, "", value, &mut found);
        if found.len() == before {
            return Err(keys.unreadable(
                file,
                "no connector: {\"name\": ..., \"config\": {...}} is wanted",
            ));
        }
    }
    let several = found.len() > 1;
    let connectors: Vec<_> = found
        .into_iter()
        .map(|found| found.read(several, keys))
        .collect();
    let mut setup = Setup::default();
    let (sources, others): (Vec<_>, Vec<_>) = connectors
        .into_iter()
        .partition(|connector| connector.class == "MirrorSourceConnector");
    for connector in &sources {
        source(connector, &others, &mut setup, keys);
    }
    for connector in others {
        beside(connector, &mut setup, keys);
    }
    Ok(setup)
}

/// A connector in the JSON.
struct Found<'a> {
    file: usize,
    name: String,
    config: &'a Map<String, Value>,
    /// What is beside `config`.
    rest: Vec<(&'a String, &'a Value)>,
}

fn collect<'a>(file: usize, name: &str, value: &'a Value, found: &mut Vec<Found<'a>>) {
    match value {
        Value::Array(values) => values
            .iter()
            .for_each(|value| collect(file, name, value, found)),
        Value::Object(object) => {
            let config = object.get("config").and_then(Value::as_object);
            let bare = object.contains_key("connector.class");
            let name_of = |map: &Map<String, Value>| {
                map.get("name").and_then(Value::as_str).map(str::to_owned)
            };
            if let Some(config) = config.or(bare.then_some(object)) {
                let rest = object.iter().filter(|(key, _)| !bare && *key != "config");
                found.push(Found {
                    file,
                    name: name_of(object)
                        .or_else(|| name_of(config))
                        .unwrap_or_else(|| name.to_owned()),
                    config,
                    rest: rest.collect(),
                });
            } else {
                // By name, with what is known of each.
                for (name, value) in object {
                    collect(file, name, value.get("info").unwrap_or(&Value::Null), found);
                }
            }
        }
        _ => {}
    }
}

impl Found<'_> {
    /// With its keys; their names tell the connector where there are several.
    fn read(self, several: bool, keys: &mut Keys<'_>) -> Connector {
        let shown = |key: &str| match several {
            true => format!("{}: {key}", self.name),
            false => key.to_owned(),
        };
        for (key, value) in self.rest {
            let key = keys.add(self.file, shown(key), text(value));
            keys.mark(
                key,
                Finding::not_needed("is about Connect, which strait runs without"),
            );
        }
        let class = self
            .config
            .get("connector.class")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Connector {
            class: class.rsplit('.').next().unwrap_or_default().to_owned(),
            config: self
                .config
                .iter()
                .map(|(name, value)| {
                    // Its name is told of once.
                    let name_too = if name == "name" && several {
                        "config.name"
                    } else {
                        name
                    };
                    (
                        name.clone(),
                        keys.add(self.file, shown(name_too), text(value)),
                    )
                })
                .collect(),
            name: self.name,
        }
    }
}

/// A value as Connect takes it: all are texts.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

impl Connector {
    fn value(&self, name: &str, keys: &Keys<'_>) -> Option<String> {
        let key = self.config.iter().find(|(key, _)| key == name)?;
        Some(keys.value(key.1).to_owned())
    }

    /// Aliases of its clusters (`MirrorConnectorConfig`: both have defaults).
    fn pair(&self, keys: &Keys<'_>) -> (String, String) {
        let alias = |side: &str| {
            let written = self.value(&format!("{side}.cluster.alias"), keys);
            written.unwrap_or_else(|| side.to_owned())
        };
        (alias("source"), alias("target"))
    }

    fn is_on(&self, keys: &Keys<'_>) -> bool {
        let enabled = self.value("enabled", keys);
        enabled.is_none_or(|enabled| !enabled.eq_ignore_ascii_case("false"))
    }
}

fn source(connector: &Connector, others: &[Connector], setup: &mut Setup, keys: &mut Keys<'_>) {
    if !connector.is_on(keys) {
        for (_, key) in &connector.config {
            keys.mark(*key, Finding::not_needed("the connector is off"));
        }
        return;
    }
    let (source, target) = connector.pair(keys);
    let mut flow = Flow::new(&source, &target);
    let runs = |class: &str| {
        let mut others = others
            .iter()
            .filter(|other| other.class == class && other.is_on(keys));
        others.any(|other| other.pair(keys) == (source.clone(), target.clone()))
    };
    flow.checkpoints = runs("MirrorCheckpointConnector");
    flow.heartbeats = runs("MirrorHeartbeatConnector");
    flow.name = Some(connector.name.clone());
    flow.kept.connector = Some(connector.name.clone());
    // Its own counts before the worker's, which is not in the connectors' configuration (KIP-618).
    flow.kept.offsets_topic = connector.value("offsets.storage.topic", keys);
    for (name, key) in &connector.config {
        match name.as_str() {
            "source.cluster.alias" => {
                keys.mark(*key, Finding::renamed("source, and [clusters.ALIAS]"))
            }
            "target.cluster.alias" => {
                keys.mark(*key, Finding::renamed("target, and [clusters.ALIAS]"))
            }
            name => connector::place(setup, keys, &mut flow, name, *key, rank::CONNECT),
        }
    }
    setup.flows.push(flow);
}

/// A connector that is none of records.
fn beside(connector: Connector, setup: &mut Setup, keys: &mut Keys<'_>) {
    let pair = connector.pair(keys);
    let ours = ["MirrorCheckpointConnector", "MirrorHeartbeatConnector"]
        .contains(&connector.class.as_str());
    for (name, key) in connector.config {
        if !ours {
            keys.mark(
                key,
                Finding::not_needed(
                    "no connector of MirrorMaker 2's, so nothing that strait replaces",
                ),
            );
            continue;
        }
        let mut flows = setup.flows.iter_mut();
        let flow = flows.find(|flow| (&flow.source, &flow.target) == (&pair.0, &pair.1));
        match flow_keys::worker(&name) {
            Some(finding) => keys.mark(key, finding),
            None => connector::place_beside(keys, flow, &name, key),
        }
    }
}
