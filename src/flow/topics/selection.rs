//! Which topics of the source a flow replicates.

use super::naming::Naming;
use crate::{
    config::{FlowConfig, NamePattern},
    mm2::internal::Names,
};

/// The topics of one flow.
#[derive(Clone, Debug)]
pub struct Selection {
    wanted: Vec<NamePattern>,
    excluded: Vec<NamePattern>,
    /// What MirrorMaker 2 keeps for itself.
    internal: Names,
    /// Those whose copies would have the names of topics that the flow itself keeps on the target.
    in_the_way: Vec<String>,
}

impl Selection {
    /// As `flow` asks.
    pub fn new(flow: &FlowConfig) -> Self {
        let internal = Names::new(&flow.naming);
        Self {
            wanted: flow.topics.clone(),
            excluded: flow.exclude.clone(),
            in_the_way: in_the_way(flow, &internal),
            internal,
        }
    }

    /// Whether the topic is replicated. `internal`: the cluster says that it is its own.
    pub fn selects(&self, topic: &str, internal: bool) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|p| p.matches(topic));
        let own = internal || is_internal(topic) || self.internal.are_of(topic);
        let is_free = !own && self.in_the_way.iter().all(|name| name != topic);
        is_free && any(&self.wanted) && !any(&self.excluded)
    }
}

fn in_the_way(flow: &FlowConfig, names: &Names) -> Vec<String> {
    let (mm2, source) = (&flow.mm2, &flow.source);
    let kept = [
        (mm2.heartbeats.is_some(), names.heartbeats()),
        (mm2.heartbeats.is_some(), names.heartbeats_of(source)),
        (mm2.checkpoints, names.checkpoints(source)),
        (mm2.offset_syncs, names.offset_syncs(source)),
    ];
    let naming = Naming::new(&flow.naming, source);
    let kept = kept.iter().filter(|(is_kept, _)| *is_kept);
    kept.filter_map(|(_, name)| naming.source(name).map(str::to_owned))
        .collect()
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
            internal: Names::new(&crate::config::Naming::Identity),
            in_the_way: Vec::new(),
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

    /// One source topic whose copy would be what the flow itself keeps there; only while it does.
    #[test]
    fn copies_do_not_meet_what_the_flow_keeps() {
        let selects = |naming: &str, more: &str, topic: &str| {
            let text = format!(
                "[clusters.east]\nbootstrap.servers = \"e:1\"\n[clusters.west]\nbootstrap.servers = \"w:1\"\n\
                 [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\".*\"]\nnaming = \"{naming}\"\n{more}\n"
            );
            let sources = crate::config::Sources {
                variable: &|_| None,
                file: &|_| Err(std::io::ErrorKind::NotFound.into()),
            };
            let config = crate::config::Config::parse(&text, &sources).unwrap();
            Selection::new(&config.flows[0]).selects(topic, false)
        };
        let (beats, points) = ("mm2_heartbeats = true", "mm2_checkpoints = true");
        for (naming, more, topic, selected) in [
            ("identity", "", "east.heartbeats", true),
            ("identity", beats, "east.heartbeats", false),
            ("identity", beats, "north.heartbeats", true),
            ("prefix", beats, "east.heartbeats", true),
            ("prefix", points, "checkpoints.internal", false),
            ("prefix", beats, "checkpoints.internal", true),
            ("{source}-{topic}", "", "north-checkpoints-internal", false),
            (
                "{source}-{topic}",
                "",
                "mm2-offset-syncs-north-internal",
                false,
            ),
            ("{source}-{topic}", "", "north-orders", true),
        ] {
            let found = selects(naming, more, topic);
            assert_eq!(found, selected, "{naming} {more} {topic}");
        }
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
