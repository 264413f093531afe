//! What the topics are called (`org.apache.kafka.connect.mirror.DefaultReplicationPolicy`, and
//! `IdentityReplicationPolicy`, which calls these the same).

use crate::config::Naming;

/// The separator of MirrorMaker 2's policies unless they are told another.
const SEPARATOR: &str = ".";
const HEARTBEATS: &str = "heartbeats";

/// The names under one separator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    separator: String,
}

impl Names {
    /// As clients have them that find the copies by `naming`: with the text between source and topic as their
    /// separator, where there is such a text.
    pub fn new(naming: &Naming) -> Self {
        let separator = match naming {
            Naming::Identity | Naming::Prefix => None,
            Naming::Template(template) => template
                .strip_prefix("{source}")
                .and_then(|rest| rest.strip_suffix("{topic}"))
                .filter(|between| !between.is_empty() && !between.contains('{')),
        };
        Self {
            separator: separator.unwrap_or(SEPARATOR).to_owned(),
        }
    }

    /// Where the flows into a cluster give signs of life.
    pub fn heartbeats(&self) -> String {
        HEARTBEATS.to_owned()
    }

    /// What the copy of the heartbeats of `source` is called: by it clients see that they are behind `source`.
    pub fn heartbeats_of(&self, source: &str) -> String {
        format!("{source}{}{HEARTBEATS}", self.separator)
    }

    /// Where groups of `source` go on.
    pub fn checkpoints(&self, source: &str) -> String {
        let separator = &self.separator;
        format!("{source}{separator}checkpoints{separator}internal")
    }

    /// Which record of `source` is which one here: the name of the topic on the flow's target
    /// (`offset-syncs.topic.location = target`, KIP-716).
    pub fn offset_syncs(&self, source: &str) -> String {
        let separator = &self.separator;
        format!("mm2-offset-syncs{separator}{source}{separator}internal")
    }

    /// Whether a topic is one of MirrorMaker 2's own (`isMM2InternalTopic`, KIP-1074), or where flows into its cluster give
    /// signs of life.
    pub fn are_of(&self, topic: &str) -> bool {
        let separator = &self.separator;
        topic == HEARTBEATS
            || topic.ends_with(&format!("{separator}checkpoints{separator}internal"))
            || (topic.starts_with("mm2") && topic.ends_with(&format!("{separator}internal")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(template: &str) -> Names {
        Names::new(&Naming::Template(template.to_owned()))
    }

    /// What `DefaultReplicationPolicy` and `IdentityReplicationPolicy` of 4.1.1 say.
    #[test]
    fn names_are_those_of_the_java_policies() {
        let all = |names: Names| {
            let each = [
                names.heartbeats_of("A"),
                names.checkpoints("A"),
                names.offset_syncs("A"),
            ];
            each.join(" ")
        };
        let usual = "A.heartbeats A.checkpoints.internal mm2-offset-syncs.A.internal";
        let dash = "A-heartbeats A-checkpoints-internal mm2-offset-syncs-A-internal";
        let long = "A__heartbeats A__checkpoints__internal mm2-offset-syncs__A__internal";
        for (naming, wanted) in [
            (Names::new(&Naming::Identity), usual),
            (Names::new(&Naming::Prefix), usual),
            (names("{source}-{topic}"), dash),
            (names("{source}__{topic}"), long),
            (names("{source}{topic}"), usual),
            (names("dr.{topic}"), usual),
            (names("{source}-{source}-{topic}"), usual),
            (names("{source}-{topic}-x"), usual),
        ] {
            assert_eq!(all(naming), wanted);
        }
    }

    #[test]
    fn internal_topics_are_those_of_the_java_policies() {
        let (dot, dash) = (Names::new(&Naming::Prefix), names("{source}-{topic}"));
        for (topic, by_dot, by_dash) in [
            ("heartbeats", true, true),
            ("A.heartbeats", false, false),
            ("A.checkpoints.internal", true, false),
            ("A-checkpoints-internal", false, true),
            ("mm2-offset-syncs.A.internal", true, false),
            ("mm2-offset-syncs-A-internal", false, true),
            ("mm2x.internal", true, false),
            ("mm2x-internal", false, true),
            ("x-internal", false, false),
        ] {
            assert_eq!(dot.are_of(topic), by_dot, "{topic}");
            assert_eq!(dash.are_of(topic), by_dash, "{topic}");
        }
    }
}
