//! Which topics of the source a flow replicates.

use crate::config::{FlowConfig, NamePattern};

/// The topics of one flow.
#[derive(Clone, Debug)]
pub struct Selection {
    wanted: Vec<NamePattern>,
    excluded: Vec<NamePattern>,
}

impl Selection {
    /// As `flow` asks.
    pub fn new(flow: &FlowConfig) -> Self {
        Self {
            wanted: flow.topics.clone(),
            excluded: flow.exclude.clone(),
        }
    }

    /// Whether the topic is replicated. `internal`: the cluster says that it is its own.
    pub fn selects(&self, topic: &str, internal: bool) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|p| p.matches(topic));
        !internal && !is_internal(topic) && any(&self.wanted) && !any(&self.excluded)
    }
}

/// Topics that brokers, strait and MirrorMaker 2 keep for themselves; replicating them would mix one
/// cluster's state into another's (MirrorMaker's: `DefaultReplicationPolicy.isMM2InternalTopic`, KIP-1074).
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__")
        || topic.starts_with("strait.")
        || topic == "heartbeats"
        || topic.ends_with(".checkpoints.internal")
        || (topic.starts_with("mm2") && topic.ends_with(".internal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(wanted: &[&str], excluded: &[&str]) -> Selection {
        let compile = |texts: &[&str]| {
            let patterns = texts.iter().map(|text| NamePattern::new(text).unwrap());
            patterns.collect()
        };
        Selection {
            wanted: compile(wanted),
            excluded: compile(excluded),
        }
    }

    #[test]
    fn names_match_as_a_whole_and_exclusion_wins() {
        let selection = selection(&["orders", "pay.*"], &[".*\\.tmp"]);
        for (topic, selected) in [
            ("orders", true),
            ("orders2", false),
            ("my-orders", false),
            ("payments", true),
            ("payments.tmp", false),
        ] {
            assert_eq!(selection.selects(topic, false), selected, "{topic}");
        }
        assert!(!selection.selects("orders", true));
    }

    #[test]
    fn internal_topics_are_left_out_whatever_is_wanted() {
        let all = selection(&[".*"], &[]);
        for topic in [
            "__consumer_offsets",
            "__transaction_state",
            "strait.east-to-west.control",
            "strait.probe",
            "heartbeats",
            "east.checkpoints.internal",
            "mm2-offset-syncs.west.internal",
            "mm2.offset-syncs.west.internal",
            "mm2-configs.east.internal",
        ] {
            assert!(!all.selects(topic, false), "{topic}");
        }
        for topic in [
            "_schemas",
            "mm2-orders",
            "orders.internal",
            "straits",
            "iot.heartbeats",
        ] {
            assert!(all.selects(topic, false), "{topic}");
        }
    }
}
