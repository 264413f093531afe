//! Whether a flow could run: what it would replicate, and what is missing.
//!
//! [`facts`] asks both clusters, beyond what the survey asks; the other modules look at the answers, one subject each,
//! and ask nothing. Nothing is written to either cluster, save for the probe of a target ([`guarantee`]), which tells
//! nothing else than what it does, and only where nothing says that it is the wrong one.

pub mod brokers;
pub mod codes;
mod cycles;
pub mod facts;
mod guarantee;
mod memory;
mod partitions;
pub mod plan;
pub mod rights;
pub mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use facts::Facts;
use host::Host;
use serde::Serialize;
use wire::TopicPartition;

use super::{
    Partition, Side, Survey, Topic,
    collect::{Pair, Unreachable},
};
use crate::{
    config::{Config, FlowConfig, OnExisting, Transport},
    flow::{provides::unprobed, topics::cycles::Web},
    status::Provides,
};

/// What `strait check` found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing keeps the flows from running.
    pub ready: bool,
    /// By flow, in the order of the configuration.
    pub flows: Vec<FlowReport>,
}

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowReport {
    /// Its name.
    pub name: String,
    /// The side that is read.
    pub source: SideReport,
    /// The side that is written to.
    pub target: SideReport,
    /// What the flow provides.
    #[serde(flatten)]
    pub provides: Provides,
    /// How long the target's leaders remember producers, if they tell.
    #[serde(skip)]
    expiration: Option<Duration>,
    /// What would be replicated.
    pub topics: Vec<TopicReport>,
    /// What it would change about the target's topics, and what differs there and stays so.
    pub plan: Vec<plan::Step>,
    /// What keeps the flow, or some of it, from running.
    pub problems: Vec<Note>,
    /// What an operator should know.
    pub warnings: Vec<Note>,
    /// What was looked at and is well.
    pub passed: Vec<Note>,
}

/// One cluster.
#[derive(Clone, Debug, Serialize)]
pub struct SideReport {
    /// Its alias.
    pub cluster: String,
    /// Its id; none if the flow's clusters could not both be asked.
    pub cluster_id: Option<String>,
    /// How many brokers it has now.
    pub brokers: Option<usize>,
}

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicReport {
    /// Name on the source.
    pub source: String,
    /// Name on the target.
    pub target: String,
    /// Whether the target has it already.
    pub target_exists: bool,
    /// Partitions of the source.
    pub partitions: usize,
    /// Records on the source, counted by offsets.
    pub records: i64,
    /// Bytes on the disks of the source's leaders; none if not all are known.
    pub bytes: Option<i64>,
    /// Records still to copy, counted by offsets.
    pub lag: i64,
    /// Partitions that have a checkpoint.
    pub checkpoints: usize,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// From the closed list of [`codes`], for scripts.
    pub code: &'static str,
    /// For people; names cluster, topic, partition and offset where known.
    pub message: String,
    /// A command that mends it, where there is one.
    pub fix: Option<String>,
}

/// Asks both clusters of every flow.
pub async fn run(host: &Host, config: &Config) -> Report {
    let pairs = config.flows.iter();
    let pairs: Vec<_> = pairs.map(|flow| Pair::new(host, config, flow)).collect();
    let mut flows = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        flows.push(look(pair, pair.flow).await);
    }
    let mut report = Report::new(&config.flows, flows);
    report.probe(host, &pairs).await;
    report
}

async fn look(pair: &Pair<'_>, flow: &FlowConfig) -> FlowReport {
    let (source, target) = match pair.sides().await {
        (Ok(source), Ok(target)) => (source, target),
        (source, target) => {
            let errors: Vec<_> = source.err().into_iter().chain(target.err()).collect();
            return FlowReport::unreachable(flow, &errors);
        }
    };
    let brokers = facts::dial(pair).await;
    let mut report = match pair.survey(source, target).await {
        Ok(mut survey) => {
            pair.measure(&mut survey).await;
            pair.find_groups(&mut survey).await;
            let facts = Facts::ask(pair, flow, &survey).await;
            let mut report = FlowReport::new(&survey);
            report.look_at_expiration(&facts);
            report.look_at_rights(&rights::needs(flow, &survey), &facts);
            report.look_at_absent(&facts.absent, &facts.bootstrap[&rights::End::Source]);
            report.look_at_memory(&survey, &facts);
            report.look_at_cycles(&survey, &facts.writers, &facts.origins);
            report.look_at_settings(&survey, &facts.settings);
            report.look_at_rules(flow, &survey);
            report.make_plan(flow, &survey, &facts);
            report
        }
        Err(error) => FlowReport::unreachable(flow, &[error]),
    };
    report.look_at_brokers(&brokers);
    report
}

impl Report {
    /// A report on `flows`, configured as `configs`; also looks for what only all of them together show.
    pub fn new(configs: &[FlowConfig], mut flows: Vec<FlowReport>) -> Self {
        look_at_shared_targets(configs, &mut flows);
        tell_aliases(&mut flows);
        let ids: BTreeMap<_, _> = flows.iter().flat_map(FlowReport::clusters).collect();
        let cluster = |alias: &str| ids.get(alias).cloned().unwrap_or_else(|| alias.to_owned());
        cycles::refuse(&mut flows, &Web::new(configs, cluster));
        Self {
            ready: flows.iter().all(|flow| flow.problems.is_empty()),
            flows,
        }
    }
}

/// Two flows that write to one topic mix their records in its partitions: a mistake, unless all of them append.
fn look_at_shared_targets(configs: &[FlowConfig], flows: &mut [FlowReport]) {
    let appends = |flow: &str, topic: &TopicReport| {
        let config = configs.iter().find(|config| config.name == flow);
        config.is_some_and(|config| config.topic(&topic.source).on_existing == OnExisting::Append)
    };
    let mut writers: BTreeMap<(Option<String>, String), (String, bool)> = BTreeMap::new();
    for flow in flows {
        for topic in &flow.topics {
            let place = (flow.target.cluster_id.clone(), topic.target.clone());
            let appending = appends(&flow.name, topic);
            let Some((other, other_appends)) = writers.get(&place) else {
                writers.insert(place, (flow.name.clone(), appending));
                continue;
            };
            let message = format!("flow {other} writes to {} as well", topic.target);
            if appending && *other_appends {
                flow.warnings.push(note("merged_target", message));
            } else {
                flow.problems.push(note("shared_target", message));
            }
        }
    }
}

/// Two aliases may stand for one cluster, but are often a mistake.
fn tell_aliases(flows: &mut [FlowReport]) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for flow in flows {
        for (alias, id) in flow.clusters() {
            let first = seen.entry(id.clone()).or_insert_with(|| alias.clone());
            if *first != alias && told.insert(alias.clone()) {
                let message = format!("{alias} and {first} are one cluster ({id})");
                flow.warnings.push(note("one_cluster", message));
            }
        }
    }
}

impl FlowReport {
    /// A flow whose clusters could not both be asked.
    fn unreachable(flow: &FlowConfig, errors: &[Unreachable]) -> Self {
        let side = |alias: &String| SideReport {
            cluster: alias.to_owned(),
            cluster_id: None,
            brokers: None,
        };
        let mut report = Self::empty(
            &flow.name,
            flow.transport,
            [&flow.source, &flow.target].map(side),
        );
        for error in errors {
            report.problem("unreachable", error.to_string());
        }
        report
    }

    /// What `survey` says about its flow.
    pub fn new(survey: &Survey) -> Self {
        let mut report = Self::empty(
            &survey.flow,
            survey.transport,
            [&survey.source, &survey.target].map(side),
        );
        report.topics = survey
            .topics
            .iter()
            .map(|topic| row(survey, topic))
            .collect();
        if survey.source.cluster_id == survey.target.cluster_id {
            report.problem(
                "same_cluster",
                format!(
                    "{} and {} are one cluster ({})",
                    survey.source.alias, survey.target.alias, survey.source.cluster_id
                ),
            );
        }
        if survey.topics.is_empty() && survey.troubles.is_empty() {
            let source = &survey.source.alias;
            report.warn(
                "no_topics",
                format!("no topic of {source} matches `topics`"),
            );
        }
        if let Some(reason) = &survey.sizes_unknown {
            let source = &survey.source.alias;
            let message = format!("{source} does not tell how large its topics are: {reason}");
            report.warn("bytes_unknown", message);
        }
        for trouble in &survey.troubles {
            report.problem(trouble.code, format!("{}: {}", trouble.topic, trouble.text));
        }
        let before = report.found();
        for topic in &survey.topics {
            report.look_at_topic(survey, topic);
        }
        if report.found() == before && !survey.topics.is_empty() {
            report.pass(
                "start",
                "every topic has a place to start or to go on".to_owned(),
            );
        }
        report
    }

    fn look_at_rules(&mut self, flow: &FlowConfig, survey: &Survey) {
        for rule in flow.idle_rules(&survey.seen) {
            let rule = rule.topics.text();
            let message = format!(
                "the rule match = \"{rule}\" holds for no topic: none matches it, or rules before it come first"
            );
            self.warn("rule_idle", message);
        }
    }

    fn empty(name: &str, transport: Transport, [source, target]: [SideReport; 2]) -> Self {
        Self {
            name: name.to_owned(),
            source,
            target,
            provides: unprobed(transport, "not probed: see the problems"),
            expiration: None,
            topics: Vec::new(),
            plan: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            passed: Vec::new(),
        }
    }

    /// Alias and id of its clusters, where known.
    fn clusters(&self) -> Vec<(String, String)> {
        let sides = [&self.source, &self.target].into_iter();
        let known = sides.filter_map(|side| Some((side.cluster.clone(), side.cluster_id.clone()?)));
        known.collect()
    }

    fn problem(&mut self, code: &'static str, message: String) {
        self.problems.push(note(code, message));
    }

    /// What `strait check --apply` could not do.
    pub fn not_applied(&mut self, reason: String) {
        self.warn("not_applied", reason);
    }

    fn warn(&mut self, code: &'static str, message: String) {
        self.warnings.push(note(code, message));
    }

    fn pass(&mut self, code: &'static str, message: String) {
        self.passed.push(note(code, message));
    }

    /// How much was found so far that is not well.
    fn found(&self) -> usize {
        self.problems.len() + self.warnings.len()
    }
}

fn note(code: &'static str, message: String) -> Note {
    debug_assert!(codes::is_known(code), "{code} is in the closed list");
    let fix = None;
    Note { code, message, fix }
}

fn side(side: &Side) -> SideReport {
    SideReport {
        cluster: side.alias.clone(),
        cluster_id: Some(side.cluster_id.clone()),
        brokers: Some(side.brokers),
    }
}

fn row(survey: &Survey, topic: &Topic) -> TopicReport {
    let partitions = &topic.partitions;
    let known = |partition: &&Partition| matches!(partition.checkpoint(), Some(Ok(_)));
    TopicReport {
        source: topic.source.clone(),
        target: topic.target.clone(),
        target_exists: topic.existing.is_some(),
        partitions: partitions.len(),
        records: partitions.iter().filter_map(Partition::records).sum(),
        bytes: partitions
            .iter()
            .map(|partition| {
                let partition = TopicPartition::new(&topic.source, partition.index);
                survey.sizes.get(&partition).copied()
            })
            .sum(),
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag(topic.config.start))
            .sum(),
        checkpoints: partitions.iter().filter(known).count(),
    }
}
