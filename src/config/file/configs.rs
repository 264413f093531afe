//! `[flows.configs]` and `[flows.rules.configs]`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    keys::{as_written, one_of, parsed, refused},
    rule::pattern,
    tree::{Node, Table},
    units,
};
use crate::config::{ConfigRules, DefaultsFrom, NamePattern, error::ConfigError};

as_written! {
    /// One such table.
    ConfigsFile { follow, interval, exclude, keep, set, defaults_from }
}

/// What the table says, and `defaults` where it says nothing.
pub(super) fn configs(
    node: Option<Node>,
    defaults: &Arc<ConfigRules>,
) -> Result<Arc<ConfigRules>, ConfigError> {
    let Some(node) = node else {
        return Ok(Arc::clone(defaults));
    };
    let ConfigsFile {
        follow,
        interval,
        exclude,
        keep,
        set,
        defaults_from,
    } = ConfigsFile::read(node.table()?)?;
    Ok(Arc::new(ConfigRules {
        follow: parsed(follow, defaults.follow, units::boolean)?,
        interval: parsed(interval, defaults.interval, parse_interval)?,
        exclude: patterns(exclude, &defaults.exclude)?,
        keep: patterns(keep, &defaults.keep)?,
        set: match set {
            Some(node) => values(node.table()?)?,
            None => defaults.set.clone(),
        },
        defaults_from: parsed(defaults_from, defaults.defaults_from, |text| {
            one_of(
                text,
                &[
                    ("target", DefaultsFrom::Target),
                    ("source", DefaultsFrom::Source),
                ],
            )
        })?,
    }))
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&interval) {
        return Ok(interval);
    }
    Err("1 s to 1 d is wanted".into())
}

fn patterns(node: Option<Node>, defaults: &[NamePattern]) -> Result<Vec<NamePattern>, ConfigError> {
    match node {
        None => Ok(defaults.to_vec()),
        Some(node) => {
            let nodes = node.list()?.into_iter();
            nodes.map(|node| pattern(&node.text()?)).collect()
        }
    }
}

/// Names may be quoted or dotted: both mean the same.
fn values(table: Table) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut values = BTreeMap::new();
    let mut nodes: Vec<_> = table
        .entries
        .into_iter()
        .map(|e| (e.name, e.node))
        .collect();
    while let Some((name, node)) = nodes.pop() {
        match node {
            Node::Table(table) => {
                let entries = table.entries.into_iter();
                nodes.extend(entries.map(|entry| (format!("{name}.{}", entry.name), entry.node)));
            }
            node => {
                let text = node.text()?;
                if values.contains_key(&name) {
                    return Err(refused(&text, "given twice"));
                }
                values.insert(name, text.value);
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused, with_flow};
    use crate::config::{ConfigRules, DefaultsFrom};

    fn rules(text: &str, topic: &str) -> ConfigRules {
        let flow = parse(&with_flow(text)).unwrap().flows.remove(0);
        ConfigRules::clone(&flow.topic(topic).configs)
    }

    #[test]
    fn a_rule_takes_from_its_flow_what_it_leaves_out() {
        let text = "[flows.configs]\nkeep = [\"retention\\\\..*\"]\nset.segment.bytes = 1048576\n\
                    set.\"retention.ms\" = \"1\"\n\
                    [[flows.rules]]\nmatch = \"a\"\n[flows.rules.configs]\nfollow = false\nset = {}\n\
                    [[flows.rules]]\nmatch = \"b\"\nconfigs = { defaults_from = \"source\", exclude = [] }";
        let defaults = rules(text, "other");
        assert!(defaults.follow && defaults.keeps("retention.ms") && !defaults.keeps("x"));
        let set: Vec<_> = defaults
            .set
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(set, ["retention.ms=1", "segment.bytes=1048576"]);
        assert_eq!(
            rules(text, "a"),
            ConfigRules {
                follow: false,
                set: Default::default(),
                ..defaults.clone()
            }
        );
        assert_eq!(
            rules(text, "b"),
            ConfigRules {
                defaults_from: DefaultsFrom::Source,
                exclude: Vec::new(),
                ..defaults
            }
        );
    }

    /// `DefaultConfigPropertyFilter` of Kafka 4.3.
    #[test]
    fn what_mirror_maker_excludes_is_excluded_save_the_least_in_sync() {
        let rules = rules("", "any");
        for name in [
            "follower.replication.throttled.replicas",
            "leader.replication.throttled.replicas",
            "message.timestamp.difference.max.ms",
            "message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
            "message.timestamp.type",
            "unclean.leader.election.enable",
        ] {
            assert!(rules.excludes(name), "{name}");
        }
        for name in [
            "min.insync.replicas",
            "retention.ms",
            "message.timestamp.type.x",
        ] {
            assert!(!rules.excludes(name), "{name}");
        }
    }

    #[test]
    fn what_is_written_wrong_is_refused() {
        let with = |line: &str| with_flow(&format!("[flows.configs]\n{line}"));
        refused(&with("folow = true"), &["unknown key", "follow"]);
        refused(&with("exclude = [\"a(\"]"), &["not a regular expression"]);
        refused(&with("keep = \"a\""), &["a list is wanted"]);
        refused(
            &with("defaults_from = \"both\""),
            &["\"target\" or \"source\""],
        );
        refused(&with("interval = \"10ms\""), &["1 s to 1 d"]);
        refused(&with("set = [\"a\"]"), &["a table is wanted"]);
    }
}
