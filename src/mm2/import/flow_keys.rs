//! What becomes of settings that are not in a flow's table: features that strait has not, and what it does without.

use super::{client_keys::METRICS, report::Finding};

/// What MirrorMaker 2 does unless told otherwise, and strait not, or not yet.
pub(super) struct Feature {
    /// The setting that switches it.
    pub(super) key: &'static str,
    /// MirrorMaker 2's default.
    pub(super) default: bool,
    /// What is to be done instead.
    pub(super) instead: &'static str,
}

/// All of them.
pub(super) const FEATURES: [Feature; 1] = [Feature {
    key: "heartbeats.replication.enabled",
    default: true,
    instead: "strait makes SOURCE.heartbeats itself (mm2_heartbeats); those of clusters behind the source it copies only \
                  where `topics` matches them",
}];

const GROUPS: &str = "selects consumer groups where there is no source connector: nothing is copied between these clusters";
const OF_GROUPS: &str = "strait looks at groups every few seconds";
const INTERNAL: &str = "is about MirrorMaker 2's own topics, where there is no source connector: nothing is copied between \
                        these clusters";
const OFFSET_SYNCS: &str = "strait knows every offset (docs/GUARANTEES.md), not one of some";
const CONFIGS: &str = "is about the configs of topics where there is no source connector: nothing is copied between these clusters";
const CODE: &str = "strait runs no code of others";
const CONNECT: &str = "is about Connect, which strait runs without";
const BYTES: &str = "strait copies bytes as they are";
const SELF: &str = "what MirrorMaker 2 has by default";

/// What is to be said of the setting `name` of a connector or worker.
pub(super) fn finding(name: &str, value: &str) -> Finding {
    if let Some(feature) = FEATURES.iter().find(|feature| feature.key == name) {
        return match value.to_lowercase().as_str() {
            "true" => Finding::not_supported(feature.instead),
            "false" => Finding::not_needed("strait does not do it"),
            _ => Finding::not_supported("neither true nor false: MirrorMaker 2 refuses it too"),
        };
    }
    classes(name, value)
        .or_else(|| settings(name, value))
        .or_else(|| worker(name))
        .unwrap_or_else(|| {
            Finding::not_supported(
                "neither strait nor MirrorMaker 2 (4.1) knows it: is it misspelt?",
            )
        })
}

/// Settings that name Java classes.
fn classes(name: &str, value: &str) -> Option<Finding> {
    let class = value.rsplit('.').next().unwrap_or(value);
    let finding = match (name, class) {
        ("topic.filter.class", "DefaultTopicFilter")
        | ("group.filter.class", "DefaultGroupFilter")
        | ("config.property.filter.class", "DefaultConfigPropertyFilter")
        | ("forwarding.admin.class", "ForwardingAdmin")
        | ("transforms" | "predicates", "") => Finding::not_needed(SELF),
        ("topic.filter.class", _) => Finding::refused(
            "what it selects cannot be told: say it by `topics` and `topics.exclude`, without this key",
        ),
        ("transforms", _) => Finding::refused(
            "strait copies records as they are; without the transformations they would be others, or go to other topics",
        ),
        ("forwarding.admin.class", _) => Finding::not_supported(
            "strait creates topics by Kafka's own calls; or create them beforehand",
        ),
        ("config.property.filter.class", _) => Finding::not_supported(
            "which configs it selects cannot be told: say it by `exclude` under [flows.configs]",
        ),
        ("group.filter.class", _) => Finding::not_needed(GROUPS),
        ("key.converter" | "value.converter", "ByteArrayConverter")
        | ("header.converter", "ByteArrayConverter" | "SimpleHeaderConverter") => {
            Finding::not_needed(BYTES)
        }
        ("key.converter" | "value.converter" | "header.converter", _) => Finding::not_supported(
            format!("{BYTES}: what this converter would change stays as it is"),
        ),
        ("metric.reporters", _) => Finding::not_needed(METRICS),
        _ => return None,
    };
    Some(finding)
}

/// Settings of the three connectors.
fn settings(name: &str, value: &str) -> Option<Finding> {
    let finding = match name {
        "refresh.topics.enabled" if value.eq_ignore_ascii_case("false") => Finding::not_supported(
            "strait always follows new topics that `topics` matches: name the topics one by one",
        ),
        "refresh.topics.enabled" | "refresh.topics.interval.seconds" => {
            Finding::not_needed("strait follows new topics and partitions within seconds")
        }
        "groups" | "groups.exclude" | "groups.blacklist" | "sync.group.offsets.enabled" => {
            Finding::not_needed(GROUPS)
        }
        "refresh.groups.enabled"
        | "refresh.groups.interval.seconds"
        | "emit.checkpoints.interval.seconds"
        | "sync.group.offsets.interval.seconds" => Finding::not_needed(OF_GROUPS),
        "checkpoints.topic.replication.factor"
        | "emit.checkpoints.enabled"
        | "emit.heartbeats.enabled"
        | "emit.heartbeats.interval.seconds"
        | "emit.offset-syncs.enabled"
        | "heartbeats.topic.replication.factor"
        | "offset-syncs.topic.location"
        | "offset-syncs.topic.replication.factor"
        | "replication.policy.internal.topic.separator.enabled" => Finding::not_needed(INTERNAL),
        "offset.lag.max" => Finding::not_needed(OFFSET_SYNCS),
        "sync.topic.acls.interval.seconds" => {
            Finding::not_needed("strait looks at ACLs every ten seconds")
        }
        "sync.topic.configs.enabled"
        | "sync.topic.configs.interval.seconds"
        | "config.properties.exclude"
        | "config.properties.blacklist"
        | "use.defaults.from" => Finding::not_needed(CONFIGS),
        "consumer.poll.timeout.ms" | "admin.timeout.ms" => {
            Finding::not_needed("strait's clients have their own patience")
        }
        "metric.names.formats" | "add.source.alias.to.metrics" => Finding::not_needed(METRICS),
        "use.incremental.alter.configs" => {
            Finding::not_needed("strait always changes single configs")
        }
        _ if name.starts_with("transforms.")
            || name.starts_with("predicates.")
            || name == "predicates" =>
        {
            Finding::not_supported("is about `transforms`, which strait does not have")
        }
        _ => return None,
    };
    Some(finding)
}

/// Settings of Connect: of any connector, and of its workers.
pub(super) fn worker(name: &str) -> Option<Finding> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let finding = match name {
        "tasks.max" | "tasks.max.enforce" => Finding::not_needed(
            "strait has no tasks: every partition goes by itself, and processes that run the same file share them",
        ),
        "name" | "connector.class" | "config.action.reload" => Finding::not_needed(CONNECT),
        "exactly.once.source.support" | "exactly.once.support" => Finding::not_needed(
            "strait writes exactly once where the target passes its probe (docs/GUARANTEES.md)",
        ),
        "errors.tolerance" => {
            Finding::not_needed("strait stops the partition, and its neighbours go on")
        }
        "plugin.path" | "plugin.discovery" => Finding::not_needed(CODE),
        "metric.reporters" | "auto.include.jmx.reporter" => Finding::not_needed(METRICS),
        _ if starts(&["metrics."]) => Finding::not_needed(METRICS),
        _ if starts(&[
            "offset.storage.",
            "config.storage.",
            "status.storage.",
            "offsets.storage.topic",
        ]) =>
        {
            Finding::not_needed(
                "strait's positions are the committed offsets of group strait.FLOW on the target",
            )
        }
        _ if starts(&["offset.flush."]) => {
            Finding::not_needed("strait writes checkpoints every second (`checkpoint_interval`)")
        }
        _ if starts(&["errors."]) => {
            Finding::not_needed("strait logs what it skips or stops at, and tries again by itself")
        }
        _ if starts(&["topic.creation."]) => {
            Finding::not_needed("strait creates topics as it finds them on the source")
        }
        _ if starts(&["key.converter.", "value.converter.", "header.converter."]) => {
            Finding::not_needed(BYTES)
        }
        _ if WORKER.contains(&name) || starts(&WORKER_BEGINNINGS) => Finding::not_needed(CONNECT),
        _ => return None,
    };
    Some(finding)
}

/// Worker settings by name (`DistributedConfig`, `WorkerConfig`), besides those above.
const WORKER: [&str; 18] = [
    "access.control.allow.methods",
    "access.control.allow.origin",
    "client.id",
    "connect.protocol",
    "connector.client.config.override.policy",
    "connector.plugin.version",
    "dedicated.mode.enable.internal.rest",
    "group.id",
    "heartbeat.interval.ms",
    "listeners",
    "rebalance.timeout.ms",
    "response.http.headers.config",
    "scheduled.rebalance.max.delay.ms",
    "session.timeout.ms",
    "topic.tracking.allow.reset",
    "topic.tracking.enable",
    "transaction.boundary",
    "transaction.boundary.interval.ms",
];

const WORKER_BEGINNINGS: [&str; 8] = [
    "admin.listeners",
    "config.providers",
    "inter.worker.",
    "key.converter",
    "rest.",
    "task.",
    "value.converter",
    "worker.",
];

/// Whether a name is one of MirrorMaker 2's connectors' or Connect's connectors', and so has a default at the top of
/// a properties file (`MirrorMakerConfig.allConfigNames`, and the prefix `replication.policy`).
pub(super) fn is_of_a_connector(name: &str) -> bool {
    let of_all = matches!(
        name,
        "enabled"
            | "topics"
            | "replication.factor"
            | "transforms"
            | "predicates"
            | "errors.tolerance"
            | "tasks.max"
            | "tasks.max.enforce"
            | "name"
            | "connector.class"
            | "connector.plugin.version"
            | "config.action.reload"
            | "source.cluster.alias"
            | "target.cluster.alias"
            | "metric.reporters"
            | "header.converter"
            | "key.converter"
            | "value.converter"
            | "topics.exclude"
            | "topics.blacklist"
            | "sync.topic.acls.enabled"
    );
    let of_mirrors = |name| settings(name, "").is_some() || classes(name, "").is_some();
    let here_only = matches!(name, "use.defaults.from")
        || name.contains("transforms.")
        || name.contains("predicates.");
    let feature = FEATURES.iter().any(|feature| feature.key == name);
    let errors = name.starts_with("errors.") || name.starts_with("replication.policy");
    (of_all || feature || errors || of_mirrors(name)) && !here_only
}
