//! MirrorMaker 2's configuration, in the forms that it is written in, as strait's.
//!
//! 1. A reader (`dedicated`, `connect`, `strimzi`) finds out whose each key is: it comes to clusters and flows
//!    (`setup`), ordered as MirrorMaker 2 orders what says the same twice.
//! 2. `client` and `flow` make a table of each, and mark every key with what became of it (`report`).
//! 3. What was made is loaded as strait would load it, with something in place of all that it refers to.
//!
//! Where MirrorMaker 2 and strait differ, the TOML does what MirrorMaker 2 does if strait can, and a note says so if not.
//! Whatever would copy other topics, or to other names, is refused. Pure: no file is read here.

mod bearer;
mod client;
mod client_keys;
mod configs;
mod connect;
mod connector;
mod dedicated;
mod flow;
mod flow_keys;
mod formats;
mod groups;
mod internal;
mod pattern;
mod properties;
mod report;
mod secrets;
mod security;
mod setup;
mod strimzi;
mod strimzi_security;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

pub use report::{Fill, Line, Positions, Report, Verdict};

use self::{
    flow::Notes,
    report::Keys,
    secrets::Secrets,
    setup::{Flow, Setup},
};
use crate::{
    config::{Config, ConfigError, check_name},
    flow::topics::cycles::Web,
};

/// One file of the input.
#[derive(Clone, Debug)]
pub struct Input {
    /// For messages.
    pub name: String,
    /// As read.
    pub bytes: Vec<u8>,
}

/// What is written in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `mm2.properties`.
    Properties,
    /// JSON of connectors, as Kafka Connect takes and tells them.
    Connect,
    /// Strimzi's `KafkaMirrorMaker2`, in YAML or JSON.
    Strimzi,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Import {
    /// A configuration that strait loads once the variables are set; none: something was refused.
    pub toml: Option<String>,
    /// What became of each key.
    pub report: Report,
}

/// Why nothing came of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// The input is not what it should be.
    #[error("{file}: {reason}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No flow is on.
    #[error("no flow: {0}")]
    NoFlow(String),
    /// What was made does not load: a defect of this program.
    #[error("strait does not load what was made of it, which is a defect: {0}")]
    Defect(ConfigError),
}

impl ImportError {
    fn unreadable(input: &Input, reason: impl Into<String>) -> Self {
        Self::Unreadable {
            file: input.name.clone(),
            reason: reason.into(),
        }
    }
}

/// Makes strait's configuration of MirrorMaker 2's.
///
/// # Errors
/// If the input cannot be read, or has no flow.
pub fn import(inputs: &[Input], format: Option<Format>) -> Result<Import, ImportError> {
    let files: Vec<_> = inputs.iter().map(|input| input.name.clone()).collect();
    let mut keys = Keys::new(&files);
    let setup = read(inputs, format, &mut keys)?;
    write(setup, keys, &files)
}

fn read(
    inputs: &[Input],
    format: Option<Format>,
    keys: &mut Keys<'_>,
) -> Result<Setup, ImportError> {
    let first = inputs
        .first()
        .ok_or_else(|| ImportError::NoFlow("no file".to_owned()))?;
    let setup = match format.unwrap_or_else(|| formats::of(&first.bytes)) {
        Format::Properties => formats::properties(inputs, keys)?,
        Format::Connect => connect::setup(&formats::json(inputs)?, keys)?,
        Format::Strimzi => strimzi::setup(&formats::documents(inputs)?, keys)?,
    };
    match setup.flows.is_empty() {
        true => Err(ImportError::NoFlow(
            "no SOURCE->TARGET.enabled = true, no MirrorSourceConnector that is on, no mirror with sourceConnector".to_owned(),
        )),
        false => Ok(setup),
    }
}

/// The TOML of a setup, tried.
fn write(mut setup: Setup, mut keys: Keys<'_>, files: &[String]) -> Result<Import, ImportError> {
    let providers = std::mem::take(&mut setup.providers);
    let mut secrets = Secrets::new(&providers);
    let names = names(&setup);
    let mut toml = text::begin(files);
    for (alias, name) in &names {
        let table = client::table((alias, name), &setup, &mut keys, &mut secrets);
        toml.push_str(&text::cluster(name, &table));
    }
    for (alias, cluster) in &setup.clusters {
        if !names.contains_key(alias) {
            client::unused(cluster, &mut keys);
        }
    }
    let mut notes = always(&names);
    name_apart(&mut setup.flows);
    let mut positions = Vec::new();
    for mut flow in setup.flows {
        let sides =
            [&flow.source, &flow.target].map(|alias| names.get(alias).map_or("", String::as_str));
        let name = flow.name.clone();
        let kept = std::mem::take(&mut flow.kept);
        positions.push(Positions {
            flow: name
                .clone()
                .unwrap_or_else(|| format!("{}-to-{}", sides[0], sides[1])),
            source: sides[0].to_owned(),
            source_alias: flow.source.clone(),
            connector: kept.connector,
            offsets_topic: kept.offsets_topic,
            group: kept.group,
        });
        let table = flow::table(flow, &mut keys, &mut notes);
        toml.push_str(&text::flow(sides, name.as_deref(), &table));
    }
    let mut report = Report {
        keys: keys.lines(),
        fill: secrets.fill(),
        positions,
        notes: Vec::new(),
    };
    let refused = report.of(Verdict::Refused).next().is_some();
    if !refused {
        let config = secrets.filled(|sources| Config::parse(&toml, sources));
        let config = config.map_err(ImportError::Defect)?;
        if let Some(cycle) = Web::new(&config.flows, str::to_owned).by_pattern() {
            notes.insert((
                0,
                format!(
                    "`strait run` will refuse this: records would go round in a cycle: {cycle}"
                ),
            ));
        }
    }
    report.notes = notes.into_iter().map(|(_, note)| note).collect();
    let toml = (!refused).then_some(toml);
    Ok(Import { toml, report })
}

/// Names in the TOML of the clusters that flows are between, by alias: strait is stricter about them.
fn names(setup: &Setup) -> BTreeMap<String, String> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let aliases = setup
        .flows
        .iter()
        .flat_map(|flow| [&flow.source, &flow.target]);
    for alias in aliases {
        if names.contains_key(alias) {
            continue;
        }
        let name = legal(alias, |name| names.values().any(|other| other == name));
        names.insert(alias.clone(), name);
    }
    names
}

/// Takes the names away from flows that their clusters tell apart; the others' are made legal.
fn name_apart(flows: &mut [Flow]) {
    let pairs: Vec<_> = flows
        .iter()
        .map(|flow| (flow.source.clone(), flow.target.clone()))
        .collect();
    let mut used = BTreeSet::new();
    for (index, flow) in flows.iter_mut().enumerate() {
        let name = flow.name.take();
        if pairs.iter().filter(|pair| **pair == pairs[index]).count() == 1 {
            continue;
        }
        let name = legal(&name.unwrap_or_default(), |name| used.contains(name));
        used.insert(name.clone());
        flow.name = Some(name);
    }
}

/// A name as strait's are, made of another, that is not `taken`.
fn legal(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(190).map(legal).collect();
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let mut names = iter::once(name.clone()).chain(numbered);
    names
        .find(|name| check_name(name).is_ok() && !taken(name))
        .unwrap_or(name)
}

/// What is to be said in any case.
fn always(names: &BTreeMap<String, String>) -> Notes {
    let mut notes = Notes::new();
    let text = "Stop MirrorMaker 2, then `strait checkpoint takeover` has strait go on where it stopped (docs/COMING_FROM_MM2.md); \
                without that a partition whose target topic has records already stops (on_existing). Never run both into the \
                same topics";
    notes.insert((1, text.to_owned()));
    let text = "Where wanted records are gone from the source, MirrorMaker 2 goes on without a word; strait stops the partition, \
                unless on_gap = \"earliest\"";
    notes.insert((3, text.to_owned()));
    for (alias, name) in names.iter().filter(|(alias, name)| alias != name) {
        notes.insert((2, format!("The cluster {alias} is called {name}: strait's names have letters, digits, `.`, `_`, `-`")));
    }
    notes
}
