//! `[[flows]]`.

use std::{collections::BTreeMap, time::Duration};

use wire::{Isolation, security::Secret};

use super::{
    keys::{as_written, one_of, only, parsed, refused, required},
    mm2::Mm2Keys,
    rule::{self, TopicKeys, pattern, rate},
    tree::{Node, Table},
    units,
};
use crate::config::{
    AclMode, Assignment, ClusterConfig, FlowConfig, NamePattern, Naming, Require, TopicConfig,
    Transport,
    error::{ConfigError, Place, did_you_mean},
    flow::check_name,
};

as_written! {
    /// One `[[flows]]` table.
    FlowFile {
        name, source, target, topics, exclude, naming, start, isolation, transport, assignment,
        replication_factor, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate, configs,
        checkpoint_interval, require, instance, source_commits, group_offsets, groups, groups_exclude,
        acls, quotas, scram_users, mm2_checkpoints, mm2_heartbeats, mm2_heartbeats_interval, mm2_offset_syncs,
        mm2_replication_factor, rate_bytes, rate_records, rules,
    }
}

/// One flow from its table.
pub(super) fn flow(
    table: Table,
    clusters: &BTreeMap<String, ClusterConfig>,
) -> Result<FlowConfig, ConfigError> {
    let place = table.place.clone();
    #[rustfmt::skip] // one line per meaning
    let FlowFile {
        name, source, target, topics, exclude, naming, start, isolation,
        replication_factor, checkpoint_interval,
        transport, assignment, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate, configs,
        require, instance, source_commits,
        group_offsets, groups, groups_exclude, acls, quotas, scram_users, mm2_checkpoints, mm2_heartbeats, mm2_heartbeats_interval,
        mm2_offset_syncs, mm2_replication_factor, rate_bytes, rate_records, rules,
    } = FlowFile::read(table)?;

    only(source_commits, &["false"], &["true"], "")?;
    #[rustfmt::skip] // one line per meaning
    let defaults = TopicKeys {
        start, replication_factor, on_gap, on_poison, on_existing, on_delete, delete_grace, on_recreate, configs,
    }.over(&TopicConfig::default())?;

    #[rustfmt::skip] // one line per meaning
    let mm2 = Mm2Keys {
        mm2_checkpoints, mm2_heartbeats, mm2_heartbeats_interval, mm2_offset_syncs, mm2_replication_factor,
    }.read()?;

    let source = alias(required(source, &place, "source")?, clusters)?;
    let target_text = required(target, &place, "target")?;
    let target_place = target_text.place().clone();
    let target = alias(target_text, clusters)?;
    if source == target {
        let reason = "source and target are the same cluster";
        return Err(ConfigError::at(&target_place, reason));
    }
    let transport = self::transport(transport, [&clusters[&source], &clusters[&target]])?;
    let require = required_guarantee(require, transport)?;
    let topics_place = topics.as_ref().map_or(&place, Node::place).clone();
    let topics = patterns(Some(required(topics, &place, "topics")?))?;
    if topics.is_empty() {
        let reason = "no topic; write [\".*\"] for all";
        return Err(ConfigError::at(&topics_place, reason));
    }
    Ok(FlowConfig {
        name: flow_name(name, &place, &source, &target)?,
        source,
        target,
        topics,
        exclude: patterns(exclude)?,
        naming: parsed(naming, Naming::Identity, Naming::parse)?,
        isolation: parsed(isolation, Isolation::ReadCommitted, parse_isolation)?,
        transport,
        require,
        checkpoint_interval: parsed(checkpoint_interval, Duration::from_secs(1), parse_interval)?,
        assignment: parsed(assignment, Assignment::Shared, parse_assignment)?,
        instance: parsed(instance, None, parse_instance)?,
        group_offsets: parsed(group_offsets, true, parse_switch)?,
        groups: group_patterns(groups, ".*")?,
        groups_exclude: group_patterns(groups_exclude, "console-consumer-.*")?,
        acls: parsed(acls, AclMode::Off, parse_acls)?,
        quotas: parsed(quotas, false, parse_switch)?,
        scram_users: scram_users.map(passwords).transpose()?,
        mm2,
        rate: rate(rate_bytes, rate_records)?,
        rules: rule::rules(rules, &defaults)?,
        defaults,
    })
}

fn flow_name(
    name: Option<Node>,
    place: &Place,
    source: &str,
    target: &str,
) -> Result<String, ConfigError> {
    let (name, place) = match name {
        None => (format!("{source}-to-{target}"), place.clone()),
        Some(node) => {
            let text = node.text()?;
            (text.value, text.place)
        }
    };
    check_name(&name).map_err(|reason| ConfigError::at(&place, reason))?;
    Ok(name)
}

fn alias(node: Node, clusters: &BTreeMap<String, ClusterConfig>) -> Result<String, ConfigError> {
    let text = node.text()?;
    if clusters.contains_key(&text.value) {
        return Ok(text.value);
    }
    let hint = did_you_mean(&text.value, clusters.keys().map(String::as_str));
    let reason = format!("no such cluster under [clusters]{hint}");
    Err(refused(&text, &reason))
}

fn patterns(node: Option<Node>) -> Result<Vec<NamePattern>, ConfigError> {
    let Some(node) = node else {
        return Ok(Vec::new());
    };
    node.list()?
        .into_iter()
        .map(|node| pattern(&node.text()?))
        .collect()
}

/// Patterns of groups; `default` if the file names none.
fn group_patterns(node: Option<Node>, default: &str) -> Result<Vec<NamePattern>, ConfigError> {
    match node {
        Some(node) => patterns(Some(node)),
        None => {
            let default = NamePattern::new(default);
            Ok(vec![default.expect("the default is a regular expression")])
        }
    }
}

pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    one_of(text, &[("true", true), ("false", false)])
}

/// Passwords by user, which are not to be seen where the file is.
fn passwords(node: Node) -> Result<BTreeMap<String, Secret>, ConfigError> {
    let entries = node.table()?.entries.into_iter();
    entries
        .map(|entry| Ok((entry.name, Secret::new(entry.node.text()?.value))))
        .collect()
}

fn parse_acls(text: &str) -> Result<AclMode, String> {
    let words = [
        ("off", AclMode::Off),
        ("read", AclMode::Read),
        ("complete", AclMode::Complete),
    ];
    one_of(text, &words)
}

fn parse_isolation(text: &str) -> Result<Isolation, String> {
    one_of(
        text,
        &[
            ("read_committed", Isolation::ReadCommitted),
            ("read_uncommitted", Isolation::ReadUncommitted),
        ],
    )
}

fn parse_assignment(text: &str) -> Result<Assignment, String> {
    one_of(
        text,
        &[("shared", Assignment::Shared), ("solo", Assignment::Solo)],
    )
}

/// `transport`, where a cluster may leave no choice.
fn transport(node: Option<Node>, clusters: [&ClusterConfig; 2]) -> Result<Transport, ConfigError> {
    let mut clusters = clusters.into_iter();
    let only_ours = clusters.find_map(|cluster| Some((&cluster.alias, cluster.needs_wire()?)));
    let Some(node) = node else {
        return Ok(only_ours.map_or(Transport::Auto, |_| Transport::Wire));
    };
    let text = node.text()?;
    let asked = Transport::parse(&text.value).map_err(|reason| refused(&text, &reason))?;
    match (asked, only_ours) {
        (Transport::Auto, Some(_)) => Ok(Transport::Wire),
        (Transport::Librdkafka, Some((cluster, knows))) => {
            let reason = format!(
                "librdkafka, as it is built in, knows {knows}, which cluster {cluster} needs; take \"auto\" or \"wire\""
            );
            Err(refused(&text, &reason))
        }
        (asked, _) => Ok(asked),
    }
}

/// `require`, which librdkafka cannot serve: it writes without sequence continuity.
fn required_guarantee(node: Option<Node>, transport: Transport) -> Result<Require, ConfigError> {
    let words = [
        ("any", Require::Any),
        ("exactly-once", Require::ExactlyOnce),
    ];
    let Some(node) = node else {
        return Ok(Require::Any);
    };
    let text = node.text()?;
    let require = one_of(&text.value, &words).map_err(|reason| refused(&text, &reason))?;
    if (require, transport) == (Require::ExactlyOnce, Transport::Librdkafka) {
        let reason = "cannot be had with transport = \"librdkafka\"; \"auto\" and \"wire\" can";
        return Err(refused(&text, reason));
    }
    Ok(require)
}

fn parse_instance(text: &str) -> Result<Option<String>, String> {
    check_name(text)?;
    Ok(Some(text.to_owned()))
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&interval) {
        return Ok(interval);
    }
    Err("10 ms to 1 h is wanted".into())
}
