//! Which rules the flow created on the target: the topic `strait.<flow>.acls` there.
//!
//! One partition, compacted. A rule has no place for a mark of who made it, and only what strait made may it remove.
//! Keys and values are text:
//!
//! ```text
//! ["topic","literal","orders","User:ann","*","Read","allow"]  {"version":1,"created_ms":N}
//! ```
//!
//! A record is written before its rule is created, and taken back after the rule was removed: between the two it may be
//! about a rule that is not there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wire::client::{Acl, AclPattern, AclResource, Client, Operation};

use crate::checkpoint::own_topic::{OwnTopic, TopicError};

/// Of one flow, and rules that are looked at in one cluster.
pub(super) const MAX_ACLS: usize = 100_000;
const VERSION: u32 = 1;

/// The topic of one flow.
#[derive(Clone, Debug)]
pub(super) struct Created {
    topic: OwnTopic,
}

#[derive(Serialize, Deserialize)]
struct Value {
    version: u32,
    created_ms: i64,
}

/// What the topic of `flow` is called.
pub fn name(flow: &str) -> String {
    format!("strait.{flow}.acls")
}

/// Whether a topic is one of those, whichever flow's.
pub(super) fn is_one(topic: &str) -> bool {
    topic.starts_with("strait.") && topic.ends_with(".acls")
}

impl Created {
    /// The topic of that name on the cluster behind `client`.
    pub(super) fn new(client: Client, name: String) -> Self {
        Self {
            topic: OwnTopic::new(client, name),
        }
    }

    /// Makes it, with so many replicas, if it is not there.
    ///
    /// # Errors
    /// If the cluster does not answer or refuses.
    pub(super) async fn create(&self, replication_factor: i16) -> Result<(), TopicError> {
        self.topic.create(replication_factor, &[]).await
    }

    /// All of it.
    ///
    /// # Errors
    /// If the cluster does not answer or refuses, or it holds what this version does not understand.
    pub(super) async fn read(&self) -> Result<BTreeSet<Acl>, TopicError> {
        let (start, end) = self.topic.extent().await?;
        let mut acls = BTreeSet::new();
        let read = self.topic.read(start, end, |record| {
            let acl = parse(record.key.as_deref())?;
            match record.value.as_deref() {
                None => {
                    acls.remove(&acl);
                }
                Some(value) => {
                    let value: Value =
                        serde_json::from_slice(value).map_err(|error| error.to_string())?;
                    if value.version != VERSION {
                        return Err(format!("version {} is not known", value.version));
                    }
                    acls.insert(acl);
                }
            }
            match acls.len() > MAX_ACLS {
                true => Err(format!("it is about more than {MAX_ACLS} rules")),
                false => Ok(()),
            }
        });
        read.await?;
        Ok(acls)
    }

    /// Remembers that these are about to be created.
    ///
    /// # Errors
    /// If the target does not acknowledge; some may be written.
    pub(super) async fn remember<'a>(
        &self,
        acls: impl Iterator<Item = &'a Acl>,
        now_ms: i64,
    ) -> Result<(), TopicError> {
        let value = Value {
            version: VERSION,
            created_ms: now_ms,
        };
        let value = serde_json::to_string(&value).expect("plain data");
        let records = acls.map(|acl| (key(acl), Some(value.clone())));
        self.topic.write(records, now_ms).await
    }

    /// Forgets those that are gone.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(super) async fn forget<'a>(
        &self,
        acls: impl Iterator<Item = &'a Acl>,
        now_ms: i64,
    ) -> Result<(), TopicError> {
        self.topic
            .write(acls.map(|acl| (key(acl), None)), now_ms)
            .await
    }
}

type Key = (String, String, String, String, String, String, String);

fn key(acl: &Acl) -> String {
    let parts = (
        resource(acl.resource),
        pattern(acl.pattern),
        &acl.name,
        &acl.principal,
        &acl.host,
        acl.operation.to_string(),
        permission(acl.allows),
    );
    serde_json::to_string(&parts).expect("plain data")
}

fn parse(key: Option<&[u8]>) -> Result<Acl, String> {
    let key = key.ok_or("a record without key")?;
    let parsed: Result<Key, _> = serde_json::from_slice(key);
    let (of, how, name, principal, host, what, may) = parsed.map_err(|error| error.to_string())?;
    let unknown = |word: &str| format!("{word:?} is not known");
    let resources = [AclResource::Topic, AclResource::Group];
    let patterns = [AclPattern::Literal, AclPattern::Prefixed];
    Ok(Acl {
        resource: find(resources, |one| resource(*one) == of).ok_or_else(|| unknown(&of))?,
        pattern: find(patterns, |one| pattern(*one) == how).ok_or_else(|| unknown(&how))?,
        name,
        principal,
        host,
        operation: find(Operation::EACH, |one| one.to_string() == what)
            .ok_or_else(|| unknown(&what))?,
        allows: find([true, false], |one| permission(*one) == may).ok_or_else(|| unknown(&may))?,
    })
}

fn find<T>(all: impl IntoIterator<Item = T>, is: impl Fn(&T) -> bool) -> Option<T> {
    all.into_iter().find(is)
}

/// As the key, and people, are told.
pub(super) fn resource(resource: AclResource) -> &'static str {
    match resource {
        AclResource::Topic => "topic",
        AclResource::Group => "group",
    }
}

fn pattern(pattern: AclPattern) -> &'static str {
    match pattern {
        AclPattern::Literal => "literal",
        AclPattern::Prefixed => "prefixed",
    }
}

/// As the key, and people, are told.
pub(super) fn permission(allows: bool) -> &'static str {
    if allows { "allow" } else { "deny" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_leads_back(
            name in "[a-z.\"*é]{1,9}", principal in "User:[^\n]{0,9}", host in "[*0-9.]{1,9}",
            operation in 0..Operation::EACH.len(), bits in 0u8..8,
        ) {
            let is = |bit: u8| bits & bit != 0;
            let acl = Acl {
                resource: if is(1) { AclResource::Topic } else { AclResource::Group },
                pattern: if is(2) { AclPattern::Literal } else { AclPattern::Prefixed },
                name, principal, host,
                operation: Operation::EACH[operation],
                allows: is(4),
            };
            prop_assert_eq!(parse(Some(key(&acl).as_bytes())), Ok(acl));
        }

        #[test]
        fn hostile_keys_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(parse(Some(&bytes)).is_err());
        }
    }

    #[test]
    fn a_key_is_text_that_people_read() {
        let acl = parse(Some(
            br#"["topic","literal","orders","User:ann","*","Read","allow"]"#,
        ));
        assert_eq!(acl.map(|acl| acl.name), Ok("orders".to_owned()));
        for wrong in [
            &br#"["topic","literal","orders","User:ann","*","Read"]"#[..],
            br#"["cluster","literal","orders","User:ann","*","Read","allow"]"#,
            br#"["topic","literal","orders","User:ann","*","Fly","allow"]"#,
        ] {
            assert!(parse(Some(wrong)).is_err());
        }
        assert!(parse(None).is_err());
    }
}
