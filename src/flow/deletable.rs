//! Whether a topic may be deleted from the target for what became of its source, and its deletion.
//!
//! Records that nobody else has go with it, so each question is asked once more right before: whether these still are
//! the right clusters, what the source says to the topic's name, whether the topic on the target is the one that was
//! copied to, whether all that it holds came from this flow, and whether another flow writes to it. What is not sure is
//! not done.

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::{
    Isolation, TopicPartition,
    client::{NewTopic, OffsetSpec, TopicDescription},
    error::ApiError,
};

use super::{
    Flow,
    apply::{StepError, TOPIC_ALREADY_EXISTS},
    boot::Booted,
    topics::{
        retire::{Gone, not_only_ours},
        writers::Writers,
    },
};
use crate::checkpoint::{
    Checkpoint, Stored, codec,
    control_topic::{TopicKey, TopicRecord},
};

const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// What a target topic is now.
#[derive(Debug)]
pub(super) enum Standing {
    /// All of it came from this flow.
    Ours,
    /// It is not there any more.
    Missing,
    /// It is not there any more, and another topic has its name.
    Another,
    /// It is to stay, for this reason.
    Stays(String),
}

/// What the source says to the names of topics: their ids.
pub(super) type Named = BTreeMap<String, Result<Uuid, ApiError>>;

impl Flow {
    /// Which address leads to another cluster than it did at the start.
    pub(super) async fn other_cluster(&self, booted: &Booted) -> Result<Option<String>, StepError> {
        for (cluster, id) in [
            (&self.source, &booted.source_id),
            (&self.target, &booted.target_id),
        ] {
            let found = cluster.id().await.map_err(StepError::on(cluster))?;
            if found != *id {
                let alias = cluster.alias();
                return Ok(Some(format!(
                    "{alias} is cluster {found} now, and was {id}"
                )));
            }
        }
        Ok(None)
    }

    /// Asks the source for topics by their names.
    pub(super) async fn named(&self, gone: &[Gone]) -> Result<Named, StepError> {
        let names = gone.iter().map(|gone| gone.record.source_topic.clone());
        let names: Vec<_> = names.collect();
        let asked = self.source.client().topics(Some(&names)).await;
        let asked = asked.map_err(StepError::on(&self.source))?;
        let answers = asked.into_iter().map(|topic| {
            let id = topic.error.map_or(Ok(topic.id), Err);
            (topic.name, id)
        });
        Ok(answers.collect())
    }

    /// Why a topic may not be gone after all.
    pub(super) fn not_gone(&self, named: &Named, gone: &Gone) -> Option<String> {
        let alias = self.source.alias();
        match (named.get(&gone.record.source_topic), &gone.heir) {
            (Some(Err(error)), None) if error.code == UNKNOWN_TOPIC => None,
            (Some(Ok(id)), Some(heir)) if *heir == TopicKey::Id(*id) => None,
            (Some(Ok(_)), None) => Some(format!("{alias} has it after all")),
            (Some(Ok(_)), Some(_)) => Some(format!("{alias} has yet another topic of its name")),
            (Some(Err(error)), _) => Some(format!("{alias} does not say: {error}")),
            (None, _) => Some(format!("{alias} does not say")),
        }
    }

    /// What became of the target topic with id `bound` to which a topic was copied that is gone.
    pub(super) async fn standing(
        &self,
        booted: &Booted,
        gone: &Gone,
        bound: Uuid,
    ) -> Result<Standing, StepError> {
        let name = std::slice::from_ref(&gone.record.target_topic);
        let found = self.target.client().topics(Some(name)).await;
        let found = found
            .map_err(StepError::on(&self.target))?
            .into_iter()
            .next();
        let stays = |reason: &str| Ok(Standing::Stays(reason.to_owned()));
        match found {
            None => stays(&format!("{} does not say", self.target.alias())),
            Some(found) => match &found.error {
                Some(error) if error.code == UNKNOWN_TOPIC => match self.is_free(&name[0]).await? {
                    true => Ok(Standing::Missing),
                    false => stays("the target's brokers do not agree whether it is there"),
                },
                Some(error) => stays(&error.to_string()),
                None if found.id != bound => Ok(Standing::Another),
                None if bound.is_nil() => stays("its brokers know topics by their names only"),
                None => {
                    let not_ours = self.others_wrote(booted, &found, gone).await?;
                    Ok(not_ours.map_or(Standing::Ours, Standing::Stays))
                }
            },
        }
    }

    /// Whether the target's controller knows no topic of this name: what another broker says may be from before, and a
    /// topic that is forgotten while it is there would be taken for that of its heir.
    async fn is_free(&self, name: &str) -> Result<bool, StepError> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: 1,
            replication_factor: -1,
            configs: Vec::new(),
        };
        let asked = self.target.client().create_topics(&[topic], true).await;
        let asked = asked.map_err(StepError::on(&self.target))?;
        let is_there = |outcome: &Result<(), ApiError>| matches!(outcome, Err(error) if error.code == TOPIC_ALREADY_EXISTS);
        Ok(!asked.iter().any(|(_, outcome)| is_there(outcome)))
    }

    /// Who has, or may have, records in a topic of the target that this flow did not copy there.
    async fn others_wrote(
        &self,
        booted: &Booted,
        found: &TopicDescription,
        gone: &Gone,
    ) -> Result<Option<String>, StepError> {
        let indexes = found.partitions.iter().map(|partition| partition.index);
        let wanted = indexes.map(|index| TopicPartition::new(&found.name, index));
        let wanted: Vec<_> = wanted.map(|one| (one, OffsetSpec::Latest)).collect();
        let client = self.target.client();
        let ends = client.list_offsets(&wanted, Isolation::ReadUncommitted);
        let ends = ends.await.map_err(StepError::on(&self.target))?;
        let stored: BTreeMap<_, _> = booted.store.load().await?.into_iter().collect();
        for (partition, end) in ends {
            let end = match end {
                Ok(end) => end.offset,
                Err(error) => return Ok(Some(format!("{partition}: {error}"))),
            };
            let known = stored.get(&partition).map(codec::decode);
            let known = known.and_then(Result::ok);
            if let Some(reason) = not_only_ours(end, found.id, known.as_ref(), gone.heir.as_ref()) {
                let policy = policy(gone);
                return Ok(Some(format!(
                    "{partition} {reason}; delete it by hand, or set another {policy} for it"
                )));
            }
        }
        let writers = Writers::read(client, &booted.target_id).await;
        let writers = writers.map_err(StepError::on(&self.target))?;
        let other = writers.other_into(&self.config.group(), &found.name, found.id);
        Ok(other.map(|group| {
            format!("group {group} has checkpoints for it: another flow writes to it, or did")
        }))
    }

    /// Deletes the target topic with id `id`.
    pub(super) async fn delete(
        &self,
        id: Uuid,
        gone: &Gone,
    ) -> Result<Result<(), ApiError>, StepError> {
        let deleted = self.target.client().delete_topics_by_id(&[id]).await;
        let deleted = deleted.map_err(StepError::on(&self.target))?;
        let outcome = deleted.into_iter().next();
        match outcome.map_or(Ok(()), |(_, outcome)| outcome) {
            Err(error) if error.code != UNKNOWN_TOPIC_ID => return Ok(Err(error)),
            _ => {}
        }
        let TopicRecord {
            source_topic,
            target_topic: topic,
            ..
        } = &gone.record;
        let (flow, cluster, policy) = (&self.config.name, self.target.alias(), policy(gone));
        let reason = match gone.heir {
            None => "deleted",
            Some(_) => "made anew",
        };
        tracing::warn!(
            %flow, %cluster, %topic, %id, %source_topic,
            "deleted a topic: its source was {reason} ({policy})"
        );
        Ok(Ok(()))
    }
}

/// The key that asks for a deletion.
pub(super) fn policy(gone: &Gone) -> &'static str {
    match gone.heir {
        None => "on_delete",
        Some(_) => "on_recreate",
    }
}

/// Whether the topic that has the name of one that is gone is copied to its target already, behind it: there is a
/// checkpoint before the first record is.
pub(super) fn has_begun(stored: &[(TopicPartition, Stored)], gone: &Gone) -> bool {
    let Gone { record, heir, .. } = gone;
    stored.iter().any(|(partition, stored)| {
        let known = codec::decode(stored).ok();
        partition.topic == record.target_topic
            && known.is_some_and(|known| {
                Some(known.target_topic) == record.target_topic_id
                    && *heir == Some(TopicKey::Id(known.source_topic))
            })
    })
}

/// Whether a checkpoint is about a target topic of `record`, the present one or one that was given up.
pub(super) fn is_about(record: &TopicRecord, known: &Checkpoint) -> bool {
    let id = known.target_topic;
    record.target_topic_id == Some(id) || record.given_up.contains(&id)
}
