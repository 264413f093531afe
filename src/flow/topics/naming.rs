//! Source topic name to target topic name, and back. One-to-one within a flow.

use crate::config;

/// Longest topic name in bytes (`org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`).
const MAX_NAME: usize = 249;

/// The naming of one flow: what goes before and behind the source's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    before: String,
    behind: String,
}

/// Why a topic cannot have a name on the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// Kafka's limit.
    #[error("the target topic \"{0}\" would have a name of more than {MAX_NAME} characters")]
    TooLong(String),
    /// The names of brokers and of strait itself.
    #[error("the target topic \"{0}\" would have a name that is kept for internal topics")]
    Reserved(String),
}

impl Naming {
    /// `rule` for the source cluster with this alias.
    pub fn new(rule: &config::Naming, source_alias: &str) -> Self {
        let template = match rule {
            config::Naming::Identity => "{topic}",
            config::Naming::Prefix => "{source}.{topic}",
            config::Naming::Template(template) => template,
        };
        let (before, behind) = template.split_once("{topic}").unwrap_or((template, ""));
        let fill = |part: &str| part.replace("{source}", source_alias);
        Self {
            before: fill(before),
            behind: fill(behind),
        }
    }

    /// The name on the target.
    ///
    /// # Errors
    /// If no topic can have it.
    pub fn target(&self, source_topic: &str) -> Result<String, NamingError> {
        let Self { before, behind } = self;
        let name = format!("{before}{source_topic}{behind}");
        if name.len() > MAX_NAME {
            return Err(NamingError::TooLong(name));
        }
        if name.starts_with("__") || name.starts_with("strait.") {
            return Err(NamingError::Reserved(name));
        }
        Ok(name)
    }

    /// How the names on the target begin of topics whose names begin so.
    pub fn target_prefix(&self, source_prefix: &str) -> String {
        format!("{}{source_prefix}", self.before)
    }

    /// The name on the source of what is called `target_topic` on the target; none if this naming gives
    /// no topic that name.
    pub fn source<'a>(&self, target_topic: &'a str) -> Option<&'a str> {
        let topic = target_topic.strip_prefix(&self.before)?;
        topic
            .strip_suffix(&self.behind)
            .filter(|topic| !topic.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Naming {
        Naming::new(&config::Naming::Template(text.to_owned()), "east")
    }

    #[test]
    fn names_follow_the_rule() {
        let name = |naming: Naming| naming.target("orders").unwrap();
        assert_eq!(
            name(Naming::new(&config::Naming::Identity, "east")),
            "orders"
        );
        assert_eq!(
            name(Naming::new(&config::Naming::Prefix, "east")),
            "east.orders"
        );
        assert_eq!(
            name(template("{source}-{topic}.from_{source}")),
            "east-orders.from_east"
        );
    }

    #[test]
    fn foreign_names_have_no_source() {
        let naming = template("a.{topic}.b");
        assert_eq!(naming.source("a.orders.b"), Some("orders"));
        for foreign in ["orders", "a.orders", "orders.b", "a..b", "a.b"] {
            assert_eq!(naming.source(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let long = "x".repeat(MAX_NAME - 1);
        assert!(template("{topic}y").target(&long).is_ok());
        assert!(matches!(
            template("{topic}yy").target(&long),
            Err(NamingError::TooLong(_))
        ));
        for rule in ["__{topic}", "strait.{topic}"] {
            assert!(matches!(
                template(rule).target("x"),
                Err(NamingError::Reserved(_))
            ));
        }
    }

    proptest! {
        #[test]
        fn every_name_leads_back(topic in "[a-zA-Z0-9._-]{1,60}", rule in 0usize..4) {
            let rules = ["{topic}", "p.{source}.{topic}", "{topic}.s", "x{topic}{source}"];
            let naming = template(rules[rule]);
            if let Ok(target) = naming.target(&topic) {
                prop_assert_eq!(naming.source(&target), Some(topic.as_str()));
            }
        }
    }
}
