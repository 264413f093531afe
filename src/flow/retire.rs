//! What a round does for topics whose sources are gone: by policy, deletes them from the target.
//!
//! Records that nobody else has go with it, so every step asks once more: whether these still are the right clusters,
//! whether the source says by the topic's name that it has none, whether the topic on the target is the one that was
//! copied to, and whether all that it holds came from this flow. What is not sure is not done, and told.

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    client::{OffsetSpec, TopicDescription},
    error::ApiError,
};

use super::{
    apply::StepError,
    plan::{Snapshot, Trouble},
    supervisor::Supervisor,
};
use crate::checkpoint::{
    codec,
    control_topic::{TopicKey, TopicRecord},
};

/// Topics that are deleted in one round.
const MOST: usize = 20;
const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

impl Supervisor<'_> {
    /// Remembers what is gone, and deletes what has been for long enough.
    pub(super) async fn retire(
        &mut self,
        snapshot: &Snapshot,
        leader: bool,
    ) -> Result<Vec<Trouble>, StepError> {
        if !leader {
            self.gone.forget();
            return Ok(Vec::new());
        }
        let (flow, clock) = (self.flow, &self.flow.host.clock);
        let now = (clock.monotonic(), clock.wall_ms());
        let (config, records) = (&flow.config, &self.booted.records);
        let plan = self
            .rules
            .retirement(config, snapshot, records, &mut self.gone, now);
        flow.bind(&mut self.booted, &plan.mark).await?;
        let mut troubles = plan.troubles;
        let due: Vec<_> = plan.due.into_iter().take(MOST).collect();
        if due.is_empty() {
            return Ok(troubles);
        }
        if let Some(trouble) = self.other_clusters(&due[0].1).await? {
            troubles.push(trouble);
            return Ok(troubles);
        }
        let names: Vec<_> = due.iter().map(|(_, r)| r.source_topic.clone()).collect();
        let asked = flow.source.client().topics(Some(&names)).await;
        let asked = asked.map_err(StepError::on(&flow.source))?;
        let asked: BTreeMap<_, _> = asked.into_iter().map(|t| (t.name, t.error)).collect();
        for (key, record) in due {
            let refusal = match asked.get(&record.source_topic) {
                Some(Some(error)) if error.code == UNKNOWN_TOPIC => {
                    self.retire_one(snapshot, &key, &record).await?
                }
                Some(Some(error)) => Some(format!("{} does not say: {error}", flow.source.alias())),
                Some(None) => Some(format!("{} has it after all", flow.source.alias())),
                None => Some(format!("{} does not say", flow.source.alias())),
            };
            troubles.extend(refusal.map(|reason| self.not_deleted(&record, &reason)));
        }
        Ok(troubles)
    }

    /// Whether an address leads to another cluster than it did at the start.
    async fn other_clusters(&self, record: &TopicRecord) -> Result<Option<Trouble>, StepError> {
        for (cluster, id) in [
            (&self.flow.source, &self.booted.source_id),
            (&self.flow.target, &self.booted.target_id),
        ] {
            let found = cluster.id().await.map_err(StepError::on(cluster))?;
            if found != *id {
                let reason = format!("{} is cluster {found} now, and was {id}", cluster.alias());
                return Ok(Some(self.not_deleted(record, &reason)));
            }
        }
        Ok(None)
    }

    fn not_deleted(&self, record: &TopicRecord, reason: &str) -> Trouble {
        Trouble {
            topic: record.source_topic.clone(),
            code: "deletion_refused",
            text: format!(
                "{} is not deleted from {} (on_delete): {reason}",
                record.target_topic,
                self.flow.target.alias()
            ),
        }
    }

    /// Deletes a topic whose source is gone, and what is known of it; why not, if it may not be.
    async fn retire_one(
        &mut self,
        snapshot: &Snapshot,
        key: &TopicKey,
        record: &TopicRecord,
    ) -> Result<Option<String>, StepError> {
        let flow = self.flow;
        let found = snapshot.target.get(&record.target_topic);
        if let Some(bound) = record.target_topic_id {
            let there = match found.map(|found| (found, &found.error)) {
                Some((_, Some(error))) if error.code == UNKNOWN_TOPIC => false,
                Some((_, Some(error))) => return Ok(Some(error.to_string())),
                Some((found, None)) if found.id != bound => {
                    return Ok(Some("it is not the topic that was copied to".to_owned()));
                }
                Some((found, None)) => {
                    if let Some(reason) = self.others_wrote(found).await? {
                        return Ok(Some(reason));
                    }
                    true
                }
                None => return Ok(Some(format!("{} does not say", flow.target.alias()))),
            };
            if bound.is_nil() {
                return Ok(Some(
                    "its brokers know topics by their names only".to_owned(),
                ));
            }
            if !self.membership.lease().may_write() {
                return Ok(Some("this process may not write at the moment".to_owned()));
            }
            if there && let Err(error) = self.delete(bound, record).await? {
                return Ok(Some(error.to_string()));
            }
        }
        self.forget(key, record, found).await?;
        Ok(None)
    }

    /// What is on the target is this flow's: partitions end where its checkpoints say. A topic to which others write
    /// lives on without its source.
    async fn others_wrote(&self, found: &TopicDescription) -> Result<Option<String>, StepError> {
        let flow = self.flow;
        let indexes = found.partitions.iter().map(|partition| partition.index);
        let wanted = indexes.map(|index| TopicPartition::new(&found.name, index));
        let wanted: Vec<_> = wanted.map(|one| (one, OffsetSpec::Latest)).collect();
        let ends = flow
            .target
            .client()
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await;
        let stored: BTreeMap<_, _> = self.booted.store.load().await?.into_iter().collect();
        for (partition, end) in ends.map_err(StepError::on(&flow.target))? {
            let end = match end {
                Ok(end) => end.offset,
                Err(error) => return Ok(Some(format!("{partition}: {error}"))),
            };
            let checkpoint = stored.get(&partition).map(codec::decode);
            let ours = match checkpoint {
                Some(Ok(known)) if known.target_topic == found.id => known.target_offset,
                _ => 0,
            };
            if end > ours {
                return Ok(Some(format!(
                    "{partition} ends at offset {end}, and what this flow wrote at {ours}: others write to it; delete it \
                     by hand, or set on_delete = \"ignore\" for it"
                )));
            }
        }
        Ok(None)
    }

    async fn delete(
        &self,
        id: Uuid,
        record: &TopicRecord,
    ) -> Result<Result<(), ApiError>, StepError> {
        let flow = self.flow;
        let deleted = flow.target.client().delete_topics_by_id(&[id]).await;
        let deleted = deleted.map_err(StepError::on(&flow.target))?;
        let outcome = deleted
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, outcome)| outcome);
        match outcome {
            Err(error) if error.code != UNKNOWN_TOPIC_ID => return Ok(Err(error)),
            _ => {}
        }
        let (cluster, topic) = (flow.target.alias(), &record.target_topic);
        tracing::warn!(
            flow = %flow.config.name, %cluster, %topic, %id, source_topic = %record.source_topic,
            "deleted a topic: its source was deleted (on_delete)"
        );
        Ok(Ok(()))
    }

    /// Forgets a topic that is on neither side. Where the group keeps its checkpoints for now, so does the control topic
    /// that they do not count.
    async fn forget(
        &mut self,
        key: &TopicKey,
        record: &TopicRecord,
        found: Option<&TopicDescription>,
    ) -> Result<(), StepError> {
        let flow = self.flow;
        let stored = self.booted.store.load().await?.into_iter();
        let of_it = stored.filter(|(partition, _)| partition.topic == record.target_topic);
        let left: Vec<_> = of_it.map(|(partition, _)| partition).collect();
        if let Err(error) = flow.forget(&left).await {
            tracing::debug!(flow = %flow.config.name, %error, "checkpoints of a deleted topic stay in the group for now");
            if found.is_some() && record.target_topic_id.is_some() {
                flow.bind(&mut self.booted, &[(key.clone(), record.unbound())])
                    .await?;
            }
            return Ok(());
        }
        let now = flow.host.clock.wall_ms();
        self.booted
            .control
            .forget(std::slice::from_ref(key), now)
            .await?;
        self.booted.records.topics.remove(key);
        Ok(())
    }
}
