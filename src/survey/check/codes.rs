//! The closed list of codes in `strait check --json`; `docs/CHECK.md` explains them.

/// What keeps a flow, or some of it, from running.
pub const PROBLEMS: &[&str] = &[
    "broker_unreachable",
    "checkpoint_missing",
    "checkpoint_unknown_version",
    "control_topic",
    "cycle",
    "foreign_cluster",
    "guarantee",
    "min_insync_replicas",
    "missing_right",
    "name",
    "offset_out_of_range",
    "offsets",
    "replication_factor",
    "same_cluster",
    "shared_target",
    "source_topic_recreated",
    "swapped",
    "target_topic_missing",
    "target_topic_recreated",
    "target_topic_refused",
    "target_truncated",
    "unreachable",
];

/// What an operator should know.
pub const WARNINGS: &[&str] = &[
    "at_least_once",
    "bytes_unknown",
    "config_left_out",
    "configs_differ",
    "configs_unknown",
    "cycle_at_rest",
    "expiration_unknown",
    "fewer_partitions",
    "groups_unreadable",
    "merged_target",
    "more_partitions",
    "no_topics",
    "not_applied",
    "one_cluster",
    "optional_right",
    "record_size",
    "replicas_differ",
    "rights_unknown",
    "rule_idle",
    "stopped",
    "timestamp_limit",
    "timestamp_type",
    "topic_missing",
];

/// What was looked at and is well.
pub const PASSED: &[&str] = &[
    "brokers",
    "cycles",
    "guarantee",
    "rights",
    "settings",
    "start",
];

/// Whether `code` is in one of the lists.
pub fn is_known(code: &str) -> bool {
    [PROBLEMS, WARNINGS, PASSED]
        .iter()
        .any(|list| list.contains(&code))
}
