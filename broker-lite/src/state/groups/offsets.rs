//! The coordinator's side of committed offsets: who may commit, fetch and delete them.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use wire::TopicPartition;

use super::{
    Groups, Inner, failed,
    group::{CONSUMER, Group, GroupState},
    image::GroupEntry,
};
use crate::state::offsets::{Committed, GroupOffsets, OffsetEntry};

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    pub(crate) group: &'a str,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// -1 from those who are not members.
    pub(crate) generation: i32,
    /// Set for TxnOffsetCommit: the offsets wait for the end of this producer's transaction.
    pub(crate) producer_id: Option<i64>,
    /// What a member of a group that is not there is told; it differs by version.
    pub(crate) unknown_group: ResponseError,
}

/// One offset to commit.
#[derive(Clone, Debug)]
pub(crate) struct NewOffset {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    /// -1 if unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// What OffsetFetch says of one partition: `None` is no commit.
pub(crate) type Fetched = (TopicPartition, Result<Option<Committed>, ResponseError>);

impl Groups {
    /// OffsetCommit and TxnOffsetCommit: one result per offset, in order. `exists` is asked while
    /// the groups are locked, so that no commit slips past the deletion of its topic.
    pub(crate) fn commit(
        &self,
        by: &Committer<'_>,
        offsets: Vec<NewOffset>,
        exists: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<Result<(), ResponseError>> {
        let mut inner = self.inner();
        let known: Vec<bool> = offsets.iter().map(|o| exists(&o.partition)).collect();
        let unknown = Err(ResponseError::UnknownTopicOrPartition);
        if !known.contains(&true) {
            return vec![unknown; offsets.len()];
        }
        let allowed = self.accept_commit(&mut inner, by);
        let too_large = |o: &NewOffset| {
            // Java counts UTF-16 units.
            o.metadata.encode_utf16().count() > self.settings.offset_metadata_max_bytes
        };
        let check = |(o, known): (&NewOffset, bool)| match (known, &allowed) {
            (false, _) => unknown,
            (true, Err(error)) => Err(*error),
            (true, Ok(())) if too_large(o) => Err(ResponseError::OffsetMetadataTooLarge),
            (true, Ok(())) => Ok(()),
        };
        let results: Vec<_> = offsets.iter().zip(known).map(check).collect();
        let accepted = offsets
            .into_iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok());
        let accepted = accepted.map(|(offset, _)| offset).collect();
        match inner.write_commit(by, accepted, self.host.clock.wall_ms()) {
            Ok(()) => results,
            Err(error) => {
                let failed = failed(&error);
                let results = results.into_iter().map(|r| r.and(Err(failed)));
                results.collect()
            }
        }
    }

    /// Checks the committer. A commit from no member makes a group without members.
    fn accept_commit(&self, inner: &mut Inner, by: &Committer<'_>) -> Result<(), ResponseError> {
        if !inner.groups.contains_key(by.group) {
            if by.generation >= 0 {
                return Err(by.unknown_group);
            }
            inner
                .groups
                .insert(by.group.to_owned(), Group::new(by.group));
        }
        let Some(group) = inner.groups.get_mut(by.group) else {
            return Ok(());
        };
        let transactional = by.producer_id.is_some();
        group.validate_commit(by.member_id, by.instance_id, by.generation, transactional)?;
        let rests = matches!(
            group.state,
            GroupState::Stable | GroupState::PreparingRebalance
        );
        if !transactional && rests {
            group.heard_of(by.member_id, &self.moment());
        }
        Ok(())
    }

    /// The committed offsets of `group`: those of `partitions`, or all. With `stable`, a partition
    /// whose offset an open transaction is about to change is refused.
    pub(crate) fn fetch(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Vec<Fetched> {
        let inner = self.inner();
        let kept = inner.offsets.of_group(group);
        let all: Vec<TopicPartition>;
        let wanted = match partitions {
            Some(partitions) => partitions,
            None => {
                all = kept.into_iter().flat_map(list).collect();
                &all
            }
        };
        let one = |partition: &TopicPartition| {
            if stable && inner.offsets.is_unstable(group, partition) {
                return (partition.clone(), Err(ResponseError::UnstableOffsetCommit));
            }
            let topic = kept.and_then(|topics| topics.get(&partition.topic));
            let found = topic.and_then(|p| p.get(&partition.partition)).cloned();
            (partition.clone(), Ok(found))
        };
        wanted.iter().map(one).collect()
    }

    /// OffsetDelete: one result per partition, or one error for all.
    pub(crate) fn delete_offsets(
        &self,
        name: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let mut inner = self.inner();
        let group = inner
            .groups
            .get(name)
            .ok_or(ResponseError::GroupIdNotFound)?;
        let is_consumer = group.protocol_type.as_deref() == Some(CONSUMER);
        if group.state != GroupState::Empty && !is_consumer {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut removed: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        let mut results = Vec::new();
        for TopicPartition { topic, partition } in partitions {
            if group.is_subscribed_to(topic) {
                results.push(Err(ResponseError::GroupSubscribedToTopic));
            } else {
                removed.entry(topic.clone()).or_default().push(*partition);
                results.push(Ok(()));
            }
        }
        if !removed.is_empty() {
            let group = name.to_owned();
            let entry = OffsetEntry::Remove {
                group,
                partitions: removed,
            };
            inner.change(entry).map_err(|error| failed(&error))?;
        }
        Ok(results)
    }

    /// Makes the offsets of a transaction count, or drops them. Fine if there are none.
    pub(crate) fn end_transaction(&self, producer_id: i64, commit: bool) -> std::io::Result<()> {
        let mut inner = self.inner();
        if inner.offsets.has_pending(producer_id) {
            inner.change(OffsetEntry::End {
                producer_id,
                commit,
            })?;
        }
        Ok(())
    }

    /// Drops all offsets of a deleted topic, so that one of the same name starts without any. To be
    /// called once the topic can no longer be found.
    pub(crate) fn forget_topic(&self, topic: &str) -> std::io::Result<()> {
        let mut inner = self.inner();
        if inner.offsets.has_topic(topic) {
            let topic = topic.to_owned();
            inner.change(OffsetEntry::RemoveTopic { topic })?;
        }
        Ok(())
    }
}

impl Inner {
    fn write_commit(
        &mut self,
        by: &Committer<'_>,
        accepted: Vec<NewOffset>,
        now_ms: i64,
    ) -> std::io::Result<()> {
        if accepted.is_empty() {
            return Ok(());
        }
        let mut offsets = GroupOffsets::new();
        let order = self.offsets.next_order();
        for new in accepted {
            let committed = Committed {
                offset: new.offset,
                leader_epoch: new.leader_epoch,
                metadata: new.metadata,
                at_ms: now_ms,
                order,
            };
            let TopicPartition { topic, partition } = new.partition;
            offsets
                .entry(topic)
                .or_default()
                .insert(partition, committed);
        }
        let (group, producer_id) = (by.group.to_owned(), by.producer_id);
        self.change(OffsetEntry::Commit {
            group,
            producer_id,
            offsets,
        })
    }

    /// Writes a change, then makes it.
    fn change(&mut self, entry: OffsetEntry) -> std::io::Result<()> {
        let entry = GroupEntry::Offsets(entry);
        self.entries.append(&entry)?;
        if let GroupEntry::Offsets(entry) = entry {
            self.offsets.apply(entry);
        }
        self.compact();
        Ok(())
    }
}

fn list(topics: &GroupOffsets) -> Vec<TopicPartition> {
    let each = topics.iter().flat_map(|(topic, partitions)| {
        partitions
            .keys()
            .map(move |&partition| TopicPartition::new(topic.clone(), partition))
    });
    each.collect()
}
