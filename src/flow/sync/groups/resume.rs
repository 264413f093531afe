//! A group that was left alone follows its source again.
//!
//! What it has on the target keeps its offsets and gets strait's mark; the flow's leader finds that in its next round and
//! goes on as with any other. Nobody has to tell it, and it does not matter whether it runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wire::client::CommittedOffset;

use super::{
    commit::{HAS_MEMBERS, MAX_ENTRIES},
    mark, marked,
};
use crate::{
    checkpoint::control_topic::ControlTopic,
    flow::{Flow, adjust::AdjustError},
};

/// Stands in a mark for a source offset that nobody translated.
pub(super) const UNTRANSLATED: i64 = -1;

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// The group.
    pub group: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Its partitions on the target that follow the source from now on.
    pub partitions: Vec<Partition>,
}

/// One partition of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Topic on the target.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// What was committed there by somebody else.
    pub target_offset: i64,
}

/// Gives `group` back to `flow`, unless it is a dry run.
///
/// # Errors
/// If the target does not answer, the group has members there, or nothing of it is in the way.
pub async fn resume(flow: &Flow, group: &str, dry_run: bool) -> Result<Resumed, AdjustError> {
    let client = flow.target.client();
    let unavailable = |error: &dyn ToString| {
        let alias = flow.target.alias();
        AdjustError::Unavailable(format!("cluster {alias}: {}", error.to_string()))
    };
    let control = ControlTopic::new(client.clone(), &flow.config.name);
    let records = control.read().await.map_err(|error| unavailable(&error))?;
    let topics: BTreeSet<_> = records
        .topics
        .values()
        .map(|record| record.target_topic.as_str())
        .collect();
    let asked = BTreeMap::from([(group.to_owned(), None)]);
    let held = client.offsets_of_groups(&asked).await;
    let held = held.map_err(|error| unavailable(&error))?;
    let found = match held.into_iter().next() {
        Some((_, Ok(found))) => found,
        Some((_, Err(error))) => {
            let text = format!("group {group} cannot be read: {error}");
            return Err(AdjustError::Refused(text));
        }
        None => return Err(unavailable(&"no answer for the group")),
    };
    let name = &flow.config.name;
    let theirs = found.into_iter().filter(|(partition, found)| {
        topics.contains(partition.topic.as_str()) && marked(&found.metadata, name).is_none()
    });
    let commits: Vec<_> = theirs
        .map(|(partition, found)| {
            let metadata = mark(name, UNTRANSLATED);
            (partition, CommittedOffset { metadata, ..found })
        })
        .collect();
    if commits.is_empty() {
        let target = flow.target.alias();
        return Err(AdjustError::Unknown(format!(
            "group {group} has no offsets on {target} that are in the way of flow {name}"
        )));
    }
    for some in commits.chunks(MAX_ENTRIES).filter(|_| !dry_run) {
        let outcomes = client.commit_group_offsets(group, some).await;
        for (partition, outcome) in outcomes.map_err(|error| unavailable(&error))? {
            outcome.map_err(|error| match HAS_MEMBERS.contains(&error.code) {
                true => AdjustError::Refused(format!(
                    "group {group} has members on {}: stop its consumers there first",
                    flow.target.alias()
                )),
                false => AdjustError::Refused(format!("group {group}, {partition}: {error}")),
            })?;
        }
    }
    let partitions = commits.into_iter().map(|(partition, found)| Partition {
        topic: partition.topic,
        partition: partition.partition,
        target_offset: found.offset,
    });
    Ok(Resumed {
        group: group.to_owned(),
        dry_run,
        partitions: partitions.collect(),
    })
}
