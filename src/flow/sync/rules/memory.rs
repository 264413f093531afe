//! Which rules a flow created on its target: the topics `strait.<flow>.acls` and `strait.<flow>.quotas` there.
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
use wire::client::Client;

use super::Rule;
use crate::checkpoint::own_topic::{OwnTopic, TopicError};

/// Of one flow, and rules that are looked at in one cluster.
pub(super) const MAX_RULES: usize = 100_000;
const VERSION: u32 = 1;

/// One such topic.
#[derive(Clone, Debug)]
pub(super) struct Memory(OwnTopic);

#[derive(Serialize, Deserialize)]
struct Value {
    version: u32,
    created_ms: i64,
}

impl Memory {
    /// The topic of that name on the cluster behind `client`.
    pub(super) fn new(client: Client, name: String) -> Self {
        Self(OwnTopic::new(client, name))
    }

    /// Makes it, with so many replicas, if it is not there.
    ///
    /// # Errors
    /// If the cluster does not answer or refuses.
    pub(super) async fn create(&self, replication_factor: i16) -> Result<(), TopicError> {
        self.0.create(replication_factor, &[]).await
    }

    /// All of it.
    ///
    /// # Errors
    /// If the cluster does not answer or refuses, or it holds what this version does not understand.
    pub(super) async fn read<R: Rule>(&self) -> Result<BTreeSet<R>, TopicError> {
        let (start, end) = self.0.extent().await?;
        let mut rules = BTreeSet::new();
        let read = self.0.read(start, end, |record| {
            let rule = R::parse(record.key.as_deref().ok_or("a record without key")?)?;
            match record.value.as_deref() {
                None => {
                    rules.remove(&rule);
                }
                Some(value) => {
                    let value: Value =
                        serde_json::from_slice(value).map_err(|error| error.to_string())?;
                    if value.version != VERSION {
                        return Err(format!("version {} is not known", value.version));
                    }
                    rules.insert(rule);
                }
            }
            match rules.len() > MAX_RULES {
                true => Err(format!("it is about more than {MAX_RULES} rules")),
                false => Ok(()),
            }
        });
        read.await?;
        Ok(rules)
    }

    /// Remembers that these are about to be created.
    ///
    /// # Errors
    /// If the target does not acknowledge; some may be written.
    pub(super) async fn remember<R: Rule>(
        &self,
        rules: &[R],
        now_ms: i64,
    ) -> Result<(), TopicError> {
        let value = Value {
            version: VERSION,
            created_ms: now_ms,
        };
        let value = serde_json::to_string(&value).expect("plain data");
        let records = rules.iter().map(|rule| (rule.key(), Some(value.clone())));
        self.0.write(records, now_ms).await
    }

    /// Forgets those that are gone.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(super) async fn forget<R: Rule>(&self, rules: &[R], now_ms: i64) -> Result<(), TopicError> {
        let records = rules.iter().map(|rule| (rule.key(), None::<String>));
        self.0.write(records, now_ms).await
    }
}
