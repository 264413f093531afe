//! Whether strait may do on both sides what the flow takes.

use std::collections::BTreeMap;

use wire::{
    client::{Operation, Rights},
    error::ApiError,
};

use super::{FlowReport, Note, facts::Facts, note};
use crate::{
    checkpoint::offset_map,
    cluster::guarantee::TOPIC,
    config::{AclMode, FlowConfig, OnDelete, OnRecreate, Require, Transport},
    flow::{
        sync::rules::{self, acls::Acls, quotas::Quotas, users::Users},
        topics::{examples::literal, writers::GROUPS},
    },
    survey::Survey,
};

/// How rights on all groups are written.
const ALL_GROUPS: &str = "*";

/// One side of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The cluster that is read.
    Source,
    /// The cluster that is written to.
    Target,
}

/// What a right is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The topic of that name.
    Topic(String),
    /// The group of that name.
    Group(String),
    /// The cluster itself.
    Cluster,
}

/// What one resource is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where.
    pub end: End,
    /// What.
    pub resource: Resource,
    /// Without these the flow does not run.
    pub required: Vec<Operation>,
    /// Without these it does with less.
    pub optional: Vec<Operation>,
    /// What it then lacks.
    pub otherwise: &'static str,
}

/// What a flow lacks without optional rights on a topic of the target.
const OF_TARGET: &str = "without DescribeConfigs its limits are not known (Kafka's defaults are taken), without Read \
                         verify cannot read it, without AlterConfigs its source's configs do not follow, without Delete \
                         it stays when its source is deleted or made anew";

/// What brokers tell of one resource; none: they do not tell.
pub type Told = Result<Option<Rights>, String>;

/// All that `flow` takes.
pub fn needs(flow: &FlowConfig, survey: &Survey) -> Vec<Need> {
    use Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, Read, Write};
    let sealed = flow.transport != Transport::Librdkafka;
    let mut needs = Vec::new();
    let mut need = |end, resource, required: Vec<_>, optional: Vec<_>, otherwise| {
        needs.push(Need {
            end,
            resource,
            required,
            optional,
            otherwise,
        });
    };
    for topic in &survey.topics {
        let there = topic
            .existing
            .as_ref()
            .map(|existing| existing.partitions.len());
        // A new topic gets the configs of its source.
        let (mut required, mut optional) = (vec![Read], vec![]);
        let list = if there.is_none() {
            &mut required
        } else {
            &mut optional
        };
        list.push(DescribeConfigs);
        let name = Resource::Topic(topic.source.clone());
        need(
            End::Source,
            name,
            required,
            optional,
            "its compression is not known: lz4 is taken where batches are made anew",
        );
        // What was written is read back.
        let (mut required, mut optional) = (vec![Write], vec![DescribeConfigs]);
        let list = if sealed { &mut required } else { &mut optional };
        list.push(Read);
        optional.extend(topic.config.configs.follow.then_some(AlterConfigs));
        let deletes = topic.config.on_delete == OnDelete::Delete
            || topic.config.on_recreate == OnRecreate::Recreate;
        optional.extend(deletes.then_some(Delete));
        match there {
            None => required.push(Create),
            Some(count) if count < topic.partitions.len() => required.push(Alter),
            Some(_) => {}
        }
        let name = Resource::Topic(topic.target.clone());
        need(End::Target, name, required, optional, OF_TARGET);
    }
    let control = Resource::Topic(format!("{}.control", survey.group));
    let mut required = vec![Read, Write];
    required.extend((!survey.control_exists).then_some(Create));
    need(End::Target, control, required, vec![], "");
    let group = Resource::Group(survey.group.clone());
    need(End::Target, group, vec![Read], vec![], "");
    // Stands for all groups of flows: a right on the prefix is one on this name.
    let flows = Resource::Group(GROUPS.to_owned());
    need(
        End::Source,
        flows,
        vec![],
        vec![Describe],
        "another flow that copies topics back would not be noticed",
    );
    needs.extend(sealed.then(|| of_probe(flow, survey)));
    needs.extend(of_map(flow, survey));
    needs.extend(of_rules(flow));
    needs.extend(of_groups(flow, survey));
    needs.extend(survey.mm2_topics.iter().map(of_mm2_topic));
    needs
}

/// What the offsets of groups take: a right on each of those that are there, or on all where none is seen.
fn of_groups(flow: &FlowConfig, survey: &Survey) -> Vec<Need> {
    let need = |end, group: &str, operation, otherwise| Need {
        end,
        resource: Resource::Group(group.to_owned()),
        required: vec![],
        optional: vec![operation],
        otherwise,
    };
    if !flow.group_offsets && !flow.mm2.checkpoints {
        return Vec::new();
    }
    if survey.groups.is_empty() {
        let named = flow.groups.first();
        let named = named.and_then(|pattern| literal(pattern.text()));
        let group = named.unwrap_or_else(|| ALL_GROUPS.to_owned());
        let otherwise =
            "no offsets of groups are synced, or only those of groups that are not there now";
        return vec![need(End::Source, &group, Operation::Describe, otherwise)];
    }
    // Their offsets are read anyway; what is to be told of them is in a topic.
    let groups = survey.groups.iter().filter(|_| flow.group_offsets);
    let otherwise = "its offsets are not synced";
    groups
        .map(|group| need(End::Target, group, Operation::Read, otherwise))
        .collect()
}

/// What a topic for MirrorMaker 2's clients takes, without which a flow runs.
fn of_mm2_topic((name, exists): &(String, bool)) -> Need {
    let mut optional = vec![Operation::Write];
    optional.extend((!exists).then_some(Operation::Create));
    Need {
        end: End::Target,
        resource: Resource::Topic(name.clone()),
        required: vec![],
        optional,
        otherwise: "it is not kept for MirrorMaker 2's clients",
    }
}

/// What the offset map takes, which a flow runs without.
fn of_map(flow: &FlowConfig, survey: &Survey) -> Option<Need> {
    let mut optional = vec![Operation::Read, Operation::Write];
    optional.extend((!survey.map_exists).then_some(Operation::Create));
    flow.keeps_map().then(|| Need {
        end: End::Target,
        resource: Resource::Topic(offset_map::name(&flow.name)),
        required: vec![],
        optional,
        otherwise: "offsets of groups are not synced",
    })
}

/// What rules that follow take, without which a flow runs.
fn of_rules(flow: &FlowConfig) -> Vec<Need> {
    use Operation::{Alter, AlterConfigs, Create, Describe, DescribeConfigs, Read, Write};
    let mut needs = Vec::new();
    let mut need = |otherwise, topic: String, read, write| {
        for (end, resource, optional) in [
            (End::Source, Resource::Cluster, vec![read]),
            (End::Target, Resource::Cluster, vec![read, write]),
            (
                End::Target,
                Resource::Topic(topic),
                vec![Read, Write, Create],
            ),
        ] {
            needs.push(Need {
                end,
                resource,
                required: vec![],
                optional,
                otherwise,
            });
        }
    };
    if flow.acls != AclMode::Off {
        let topic = rules::topic_name::<Acls>(&flow.name);
        need("ACLs do not follow", topic, Describe, Alter);
    }
    if flow.scram_users.is_some() {
        let topic = rules::topic_name::<Users>(&flow.name);
        need("users do not follow", topic, Describe, Alter);
    }
    if flow.quotas {
        let topic = rules::topic_name::<Quotas>(&flow.name);
        need("quotas do not follow", topic, DescribeConfigs, AlterConfigs);
    }
    needs
}

/// What the probe of the target takes, which a flow runs without unless it insists on the guarantee.
fn of_probe(flow: &FlowConfig, survey: &Survey) -> Need {
    let mut operations = vec![Operation::Read, Operation::Write];
    operations.extend((!survey.probe_exists).then_some(Operation::Create));
    let (required, optional) = match flow.require {
        Require::ExactlyOnce => (operations, vec![]),
        Require::Any => (vec![], operations),
    };
    Need {
        end: End::Target,
        resource: Resource::Topic(TOPIC.to_owned()),
        required,
        optional,
        otherwise: "the target is not probed, so the guarantee is at-least-once",
    }
}

impl FlowReport {
    pub(super) fn look_at_rights(&mut self, needs: &[Need], facts: &Facts) {
        let before = self.found();
        let mut untold: BTreeMap<End, String> = BTreeMap::new();
        for need in needs {
            let key = (need.end, need.resource.clone());
            let rights = match facts.rights.get(&key) {
                Some(Ok(Some(rights))) => *rights,
                Some(Ok(None)) | None => {
                    untold.insert(need.end, "its brokers do not tell".to_owned());
                    continue;
                }
                Some(Err(reason)) => {
                    untold.insert(need.end, reason.clone());
                    continue;
                }
            };
            let creates = need.end == End::Target && facts.creates_any;
            let lacks = |operation: &&Operation| {
                !(rights.allow(**operation) || creates && **operation == Operation::Create)
            };
            let side = match need.end {
                End::Source => &self.source.cluster,
                End::Target => &self.target.cluster,
            };
            let bootstrap = &facts.bootstrap[&need.end];
            let missing: Vec<_> = need.required.iter().filter(lacks).copied().collect();
            if !missing.is_empty() {
                let found = lacking("missing_right", need, &missing, side, bootstrap);
                self.problems.push(found);
            }
            let missing: Vec<_> = need.optional.iter().filter(lacks).copied().collect();
            if !missing.is_empty() {
                let mut found = lacking("optional_right", need, &missing, side, bootstrap);
                found.message.push_str(&format!(": {}", need.otherwise));
                self.warnings.push(found);
            }
        }
        for (end, reason) in untold {
            let side = match end {
                End::Source => &self.source.cluster,
                End::Target => &self.target.cluster,
            };
            let message = format!("what strait may do on {side} is not known: {reason}");
            self.warn("rights_unknown", message);
        }
        if self.found() == before {
            self.pass(
                "rights",
                "strait may do what the flow takes, on both sides".to_owned(),
            );
        }
    }

    /// Topics that the configuration names as they are, and that the source does not show.
    pub(super) fn look_at_absent(&mut self, absent: &[(String, ApiError)], bootstrap: &str) {
        const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
        for (topic, error) in absent {
            let source = &self.source.cluster;
            if error.code == TOPIC_AUTHORIZATION_FAILED {
                let need = Need {
                    end: End::Source,
                    resource: Resource::Topic(topic.clone()),
                    required: vec![Operation::Read, Operation::DescribeConfigs],
                    optional: vec![],
                    otherwise: "",
                };
                let found = lacking("missing_right", &need, &need.required, source, bootstrap);
                self.passed.retain(|passed| passed.code != "rights");
                self.problems.push(found);
            } else {
                self.warn(
                    "topic_missing",
                    format!("{source} has no topic {topic}: {error}"),
                );
            }
        }
    }
}

fn lacking(
    code: &'static str,
    need: &Need,
    missing: &[Operation],
    side: &str,
    bootstrap: &str,
) -> Note {
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let (kind, name) = match &need.resource {
        Resource::Topic(name) => ("topic", name.as_str()),
        Resource::Group(name) => ("group", name.as_str()),
        Resource::Cluster => ("cluster", ""),
    };
    let what = match name {
        GROUPS => format!("groups {name}*"),
        "" => format!("the {kind}"),
        ALL_GROUPS => "groups".to_owned(),
        _ => format!("{kind} {name}"),
    };
    let mut found = note(
        code,
        format!("missing: {} on {what} on {side}", names.join(", ")),
    );
    let operations: String = names
        .iter()
        .map(|name| format!(" --operation {name}"))
        .collect();
    let prefixed = match name.strip_prefix(GROUPS) {
        Some(_) => format!(" --{kind} {GROUPS} --resource-pattern-type prefixed"),
        None if name.is_empty() => format!(" --{kind}"),
        None if name == ALL_GROUPS => format!(" --{kind} '{name}'"),
        None => format!(" --{kind} {name}"),
    };
    found.fix = Some(format!(
        "kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal User:NAME{operations}{prefixed}"
    ));
    found
}
