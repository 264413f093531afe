//! One `[[flows]]` table.

use std::collections::BTreeSet;

use super::{
    configs::{self, Configs},
    flow_keys::{self, FEATURES},
    groups::{self, Groups},
    internal::{self, Internal},
    pattern,
    report::{Finding, KeyId, Keys},
    setup::Flow,
};

/// A table, as it is to be written.
#[derive(Default)]
pub(super) struct Table {
    pub(super) topics: Vec<String>,
    pub(super) exclude: Vec<String>,
    /// Whose offsets follow.
    pub(super) groups: Option<Groups>,
    /// Which of MirrorMaker 2's own topics are kept.
    pub(super) internal: Internal,
    /// Which configs of topics follow.
    pub(super) configs: Option<Configs>,
    /// Single values by key, in the order of `config/reference.toml`.
    pub(super) rest: Vec<(&'static str, String)>,
    /// -1: the target's default.
    pub(super) replication_factor: i16,
}

/// What is said once, whichever flows it is about.
pub(super) type Notes = BTreeSet<(u8, String)>;

/// Patterns that strait excludes anyway.
const ALWAYS: [&str; 3] = ["__.*", r"mm2.*\.internal", "heartbeats"];
/// MirrorMaker 2's default of `topics.exclude`, save those.
const REPLICA: &str = r".*\.replica";
/// Its default of `replication.factor`.
const FACTOR: i16 = 2;

/// The table of a flow between clusters that are called `source` and `target` in the TOML; its keys are marked.
pub(super) fn table(mut flow: Flow, keys: &mut Keys<'_>, notes: &mut Notes) -> Table {
    let mut table = Table::default();
    if let Some(enabled) = flow.take("enabled", keys) {
        keys.mark(enabled, Finding::taken());
    }
    topics(&mut flow, keys, &mut table);
    table.groups = groups::groups(&mut flow, keys, notes);
    table.internal = internal::internal(&mut flow, keys);
    naming(&mut flow, keys, &mut table, notes);
    choices(&mut flow, keys, &mut table, notes);
    replication_factor(&mut flow, keys, &mut table, notes);
    acls(&mut flow, keys, &mut table, notes);
    table.configs = Some(configs::configs(&mut flow, keys));
    rest(&mut flow, keys, notes);
    table
}

fn topics(flow: &mut Flow, keys: &mut Keys<'_>, table: &mut Table) {
    match flow.take("topics", keys) {
        None => table.topics.push(".*".to_owned()),
        Some(key) => {
            table.topics = patterns(keys, key);
            match table.topics.is_empty() {
                true => keys.mark(
                    key,
                    Finding::refused("matches no topic, so the flow would copy nothing"),
                ),
                false => keys.mark(key, Finding::taken()),
            }
        }
    }
    let old = flow.take("topics.blacklist", keys);
    match (flow.take("topics.exclude", keys), old) {
        (None, None) => table.exclude.push(REPLICA.to_owned()),
        (Some(key), old) => {
            if let Some(old) = old {
                super::setup::displaced(keys, old, key);
            }
            exclude(keys, key, table);
        }
        (None, Some(old)) => exclude(keys, old, table),
    }
}

fn exclude(keys: &mut Keys<'_>, key: KeyId, table: &mut Table) {
    table.exclude = patterns(keys, key);
    table
        .exclude
        .retain(|pattern| !ALWAYS.contains(&pattern.as_str()));
    keys.mark(key, Finding::renamed("exclude"));
}

/// The patterns of a list; one that strait does not have refuses the key.
pub(super) fn patterns(keys: &mut Keys<'_>, key: KeyId) -> Vec<String> {
    let text = keys.value(key).to_owned();
    let mut patterns = Vec::new();
    for java in pattern::list(&text) {
        match pattern::translate(java) {
            Ok(pattern) => patterns.push(pattern),
            Err(refusal) => {
                patterns.push(java.to_owned());
                keys.mark(key, Finding::refused(refusal.text(java)));
            }
        }
    }
    patterns
}

/// `naming`, and the topics that MirrorMaker 2 leaves out lest they go round in a cycle.
fn naming(flow: &mut Flow, keys: &mut Keys<'_>, table: &mut Table, notes: &mut Notes) {
    let separator_key = flow.take("replication.policy.separator", keys);
    let class = flow.take("replication.policy.class", keys);
    let name = class.map_or("DefaultReplicationPolicy", |key| keys.value(key));
    match name.rsplit('.').next().unwrap_or_default() {
        "DefaultReplicationPolicy" => {}
        "IdentityReplicationPolicy" => {
            table.rest.push(("naming", "identity".to_owned()));
            mark(keys, class, Finding::renamed("naming = \"identity\""));
            return mark(keys, separator_key, Finding::not_needed("names are kept"));
        }
        _ => {
            let text = "how it names topics cannot be told: name DefaultReplicationPolicy or IdentityReplicationPolicy, \
                        whichever gives the same names, or change `naming` of what is made of that";
            return mark(keys, class, Finding::refused(text));
        }
    }
    let separator = separator_key.map_or(".", |key| keys.value(key)).to_owned();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if separator.is_empty() || !separator.chars().all(legal) {
        return mark(
            keys,
            separator_key,
            Finding::refused("no text that names of topics may have between two parts"),
        );
    }
    let naming = match separator.as_str() {
        "." => "prefix".to_owned(),
        other => format!("{{source}}{other}{{topic}}"),
    };
    let renamed = Finding::renamed(format!("naming = \"{naming}\""));
    mark(keys, class, renamed.clone());
    mark(keys, separator_key, renamed);
    table.rest.push(("naming", naming));
    let [target, separator] = [&flow.target, &separator].map(|text| regex::escape(text));
    table
        .exclude
        .push(format!("(.*{separator})?{target}{separator}.+"));
    let text = "As MirrorMaker 2 does, so that nothing goes round in a cycle, the last pattern of `exclude` leaves out topics \
                whose names say that they came from the target";
    notes.insert((7, text.to_owned()));
}

fn mark(keys: &mut Keys<'_>, key: Option<KeyId>, finding: Finding) {
    if let Some(key) = key {
        keys.mark(key, finding);
    }
}

/// Keys of which one value or another is a key of strait's.
fn choices(flow: &mut Flow, keys: &mut Keys<'_>, table: &mut Table, notes: &mut Notes) {
    let ways: [(&str, &[&str], &'static str); 5] = [
        (
            "consumer.auto.offset.reset",
            &["earliest", "latest"],
            "start",
        ),
        (
            "consumer.isolation.level",
            &["read_committed", "read_uncommitted"],
            "isolation",
        ),
        ("errors.tolerance", &["all"], "on_poison"),
        ("exactly.once.source.support", &["enabled"], "require"),
        ("exactly.once.support", &["required"], "require"),
    ];
    let mut isolated = false;
    for (name, values, new) in ways {
        let Some(key) = flow.take(name, keys) else {
            continue;
        };
        isolated |= new == "isolation";
        let value = keys.value(key).to_lowercase();
        if !values.contains(&value.as_str()) {
            let finding = match new {
                "start" | "isolation" => {
                    Finding::not_supported(format!("strait has {} here", values.join(" and ")))
                }
                _ => flow_keys::finding(name, &value),
            };
            keys.mark(key, finding);
            continue;
        }
        let written = match new {
            "on_poison" => "skip",
            "require" => "exactly-once",
            _ => &value,
        };
        keys.mark(key, Finding::renamed(format!("{new} = \"{written}\"")));
        if !table.rest.iter().any(|(key, _)| *key == new) {
            table.rest.push((new, written.to_owned()));
        }
    }
    if !isolated {
        let text = "MirrorMaker 2 copies records of aborted transactions too, unless its consumer is told read_committed; \
                    strait does not, unless isolation = \"read_uncommitted\"";
        notes.insert((5, text.to_owned()));
    }
}

fn replication_factor(flow: &mut Flow, keys: &mut Keys<'_>, table: &mut Table, notes: &mut Notes) {
    table.replication_factor = FACTOR;
    let Some(key) = flow.take("replication.factor", keys) else {
        let text = "MirrorMaker 2 creates topics with replication factor 2, and so does this file; replication_factor = -1 \
                    takes the target's default";
        notes.insert((6, text.to_owned()));
        return;
    };
    match keys.value(key).parse() {
        Ok(factor @ (-1 | 1..)) => {
            table.replication_factor = factor;
            keys.mark(key, Finding::renamed("replication_factor"));
        }
        _ => keys.mark(
            key,
            Finding::refused("1 or more is wanted, or -1 for the target's default"),
        ),
    }
}

fn acls(flow: &mut Flow, keys: &mut Keys<'_>, table: &mut Table, notes: &mut Notes) {
    let key = flow.take("sync.topic.acls.enabled", keys);
    let finding = match key.map(|key| keys.value(key).to_lowercase()).as_deref() {
        None | Some("true") => {
            let text = "ACLs follow as with MirrorMaker 2 (Write on a copy is allowed to nobody, All becomes Read), and also \
                        those of prefixes and of groups; what strait created is removed when it goes on the source";
            notes.insert((4, text.to_owned()));
            table.rest.push(("acls", "read".to_owned()));
            Finding::renamed("acls = \"read\"")
        }
        Some("false") => Finding::not_needed("strait copies no ACLs unless it is told to"),
        Some(_) => Finding::not_supported("neither true nor false: MirrorMaker 2 refuses it too"),
    };
    mark(keys, key, finding);
}

/// What has no key in strait.
fn rest(flow: &mut Flow, keys: &mut Keys<'_>, notes: &mut Notes) {
    for feature in &FEATURES {
        if flow.peek(feature.key).is_none() && feature.default {
            notes.insert((
                4,
                format!(
                    "{} (MirrorMaker 2's {}, on by default)",
                    feature.instead, feature.key
                ),
            ));
        }
    }
    for name in flow.names() {
        let Some(key) = flow.take(&name, keys) else {
            continue;
        };
        let value = keys.value(key).to_owned();
        keys.mark(key, flow_keys::finding(&name, &value));
    }
}
