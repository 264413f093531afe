//! What a request comes to: evidence from both clusters, and the writes that carry it out.

use std::collections::BTreeMap;

use wire::{TopicPartition, client::OffsetSpec};

use super::{Action, AdjustError, Change, Changes, Position, Request, To};
use crate::{
    checkpoint::{
        Checkpoint, Stored, codec,
        control_topic::{TopicKey, TopicRecord},
    },
    config::OnExisting,
    flow::{
        Flow,
        apply::StepError,
        boot::Booted,
        launch::Found,
        membership::Assignment,
        plan::{Plan, Rules, Snapshot, SourceTopic, Unit, is_another},
        start::{Extent, Identity},
    },
    worker::Progress,
};

/// Nothing is written yet.
#[derive(Debug)]
pub(in crate::flow) struct Draft {
    pub(in crate::flow) changes: Changes,
    /// Checkpoints to write.
    pub(in crate::flow) commits: Vec<(TopicPartition, Stored)>,
    /// Checkpoints to forget.
    pub(in crate::flow) forgotten: Vec<TopicPartition>,
    /// The topic's record, if it is to be bound to another target topic.
    pub(in crate::flow) unbind: Option<(TopicKey, TopicRecord)>,
}

impl From<StepError> for AdjustError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Fatal(error) => Self::Refused(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl Flow {
    /// What `request` comes to. `at_rest`: nothing writes what it is about, so that records behind a checkpoint are in
    /// doubt.
    pub(in crate::flow) async fn draft(
        &self,
        booted: &Booted,
        rules: &Rules,
        snapshot: &Snapshot,
        request: &Request,
        at_rest: bool,
    ) -> Result<Draft, AdjustError> {
        let topic = self.topic_of(snapshot, request)?;
        let records = &booted.records;
        let known = BTreeMap::new();
        let plan = rules.plan(snapshot, records, &Assignment::All, &known, false);
        match request.action {
            Action::Set(to) => {
                self.draft_set(booted, &plan, topic, request, (to, at_rest))
                    .await
            }
            Action::Reset => {
                let mut draft = self.draft_reset(booted, snapshot, topic, request).await?;
                if self.config.topic(&topic.name).on_existing == OnExisting::Append {
                    self.append(booted, &plan, &mut draft).await?;
                }
                Ok(draft)
            }
        }
    }

    fn topic_of<'a>(
        &self,
        snapshot: &'a Snapshot,
        request: &Request,
    ) -> Result<&'a SourceTopic, AdjustError> {
        let (flow, source) = (&self.config.name, self.source.alias());
        let mut topics = snapshot.topics.iter();
        let Some(topic) = topics.find(|topic| topic.name == request.topic) else {
            let name = &request.topic;
            return Err(AdjustError::Unknown(format!(
                "flow {flow} selects no topic {name} on {source}"
            )));
        };
        match request.partition {
            Some(partition) if !(0..topic.partitions).contains(&partition) => {
                let (name, count) = (&topic.name, topic.partitions);
                Err(AdjustError::Unknown(format!(
                    "{name} has {count} partitions on {source}, from 0"
                )))
            }
            _ => Ok(topic),
        }
    }

    async fn draft_set(
        &self,
        booted: &Booted,
        plan: &Plan,
        topic: &SourceTopic,
        request: &Request,
        (to, at_rest): (To, bool),
    ) -> Result<Draft, AdjustError> {
        let wanted = |unit: &&Unit| {
            let partition = &unit.route.source;
            partition.topic == topic.name && request.is_about(partition.partition)
        };
        let units: Vec<_> = plan.start.iter().filter(wanted).cloned().collect();
        if units.is_empty() {
            let mut refused = plan.refuse.iter().filter(|(unit, _)| wanted(&unit));
            let why = match refused.next() {
                Some((_, stop)) => format!("{}; `reset` it", stop.text),
                None => format!(
                    "{} is not on {} yet, or not known to this flow: run it first",
                    topic.target,
                    self.target.alias()
                ),
            };
            return Err(AdjustError::Refused(why));
        }
        let places = self.places(&units, to).await?;
        let (found, troubles) = self.gather(booted, &units).await?;
        if let Some(trouble) = troubles.into_iter().next() {
            return Err(AdjustError::Unavailable(trouble.text));
        }
        let mut draft = self.empty_draft(request);
        for Found { unit, mut evidence } in found {
            let identity = self.identity(booted, &unit);
            let decoded = evidence.stored.as_ref().map(codec::decode);
            let known = decoded.and_then(Result::ok);
            if let Some(known) = &known {
                same_topics(&identity, known)?;
            }
            let place = places[&unit.route.source];
            let to = within(&identity, place, evidence.source)?;
            evidence.remembered = self.remembered(&identity, known.as_ref()).await?;
            let start = identity.jump(known.as_ref(), to, &evidence);
            let stored = codec::encode(&first(&identity, &start));
            let before = evidence.stored.as_ref().map(position);
            let mut meaning = meaning(known.as_ref().map(|known| known.source_offset), to);
            if at_rest {
                meaning += &self
                    .doubt(&identity, known.as_ref(), to, evidence.target)
                    .await?;
            }
            draft.add(&unit, before, Some(position(&stored)), meaning);
            draft.commits.push((unit.route.target.clone(), stored));
        }
        Ok(draft)
    }

    /// What going on at `to` may double: behind the checkpoint `known` the target may hold records that it does not tell
    /// of, as after a crash, and which of the source's they are shows only to who goes on where the checkpoint is.
    async fn doubt(
        &self,
        identity: &Identity,
        known: Option<&Checkpoint>,
        to: i64,
        target: Extent,
    ) -> Result<String, StepError> {
        let Some(known) = known.filter(|known| known.source_offset != to) else {
            return Ok(String::new());
        };
        let trace = self.trace(identity, Some(known), target).await;
        match trace.map_err(StepError::on(&self.target))? {
            false => Ok(String::new()),
            true => Ok(format!(
                "; at offsets {} to {} the target holds records of this flow that no checkpoint tells of, as after a \
                 crash: those of them that the source has at offset {to} or behind it are there twice then",
                known.target_offset,
                target.end - 1
            )),
        }
    }

    /// Where `to` is in each partition; -1: no record is as young.
    async fn places(
        &self,
        units: &[Unit],
        to: To,
    ) -> Result<BTreeMap<TopicPartition, i64>, AdjustError> {
        let spec = match to {
            To::Offset(offset) => {
                let places = units.iter().map(|unit| (unit.route.source.clone(), offset));
                return Ok(places.collect());
            }
            To::Earliest => OffsetSpec::Earliest,
            To::Latest => OffsetSpec::Latest,
            To::Time(ms) => OffsetSpec::Timestamp(ms),
        };
        let partitions: Vec<_> = units.iter().map(|unit| unit.route.source.clone()).collect();
        let mut places = self.source_places(&partitions, spec).await?;
        if places.values().any(|offset| *offset < 0) {
            let ends = self.source_places(&partitions, OffsetSpec::Latest).await?;
            for (partition, place) in &mut places {
                if *place < 0 {
                    *place = ends[partition];
                }
            }
        }
        Ok(places)
    }

    async fn source_places(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, i64>, AdjustError> {
        let wanted: Vec<_> = partitions.iter().cloned().map(|one| (one, spec)).collect();
        Ok(self.source_offsets(&wanted).await?)
    }

    async fn draft_reset(
        &self,
        booted: &Booted,
        snapshot: &Snapshot,
        topic: &SourceTopic,
        request: &Request,
    ) -> Result<Draft, AdjustError> {
        let stored = booted.store.load().await.map_err(StepError::from)?;
        let stored: BTreeMap<_, _> = stored.into_iter().collect();
        let mut draft = self.empty_draft(request);
        for index in (0..topic.partitions).filter(|index| request.is_about(*index)) {
            let target = TopicPartition::new(&topic.target, index);
            let before = stored.get(&target).map(position);
            if before.is_some() {
                draft.forgotten.push(target);
            }
            draft.changes.changes.push(Change {
                topic: topic.name.clone(),
                partition: index,
                target_topic: topic.target.clone(),
                before,
                after: None,
                meaning: "starts as a new partition".to_owned(),
            });
        }
        draft.unbind = self.unbind(booted, snapshot, topic)?;
        if draft.unbind.is_some() && request.partition.is_some() {
            return Err(AdjustError::Refused(format!(
                "{} is not the topic that was copied to any more: reset all partitions of {}",
                topic.target, topic.name
            )));
        }
        if draft.unbind.is_some() {
            draft.changes.notes.push(format!(
                "{} on {} is taken as it is, or created if it is not there",
                topic.target,
                self.target.alias()
            ));
        }
        Ok(draft)
    }

    /// Partitions that are to be written behind what the target holds: their new starts are written instead of
    /// forgotten, for a lost checkpoint beside records of this flow must not look the same.
    async fn append(
        &self,
        booted: &Booted,
        plan: &Plan,
        draft: &mut Draft,
    ) -> Result<(), AdjustError> {
        let mut changes: BTreeMap<_, _> = draft
            .changes
            .changes
            .iter_mut()
            .map(|change| {
                (
                    TopicPartition::new(&change.target_topic, change.partition),
                    change,
                )
            })
            .collect();
        let units = plan
            .start
            .iter()
            .filter(|unit| changes.contains_key(&unit.route.target));
        let units: Vec<_> = units.cloned().collect();
        let (found, troubles) = self.gather(booted, &units).await?;
        if let Some(trouble) = troubles.into_iter().next() {
            return Err(AdjustError::Unavailable(trouble.text));
        }
        for Found { unit, mut evidence } in found {
            if evidence.target.end == 0 {
                continue;
            }
            let identity = self.identity(booted, &unit);
            let known = evidence
                .stored
                .take()
                .and_then(|stored| codec::decode(&stored).ok());
            evidence.remembered = self.remembered(&identity, known.as_ref()).await?;
            let start = identity.append(&evidence, known.as_ref());
            let stored = codec::encode(&first(&identity, &start));
            if let Some(change) = changes.get_mut(&unit.route.target) {
                change.after = Some(position(&stored));
                change.meaning =
                    "starts as a new partition, behind what the target holds".to_owned();
            }
            draft
                .forgotten
                .retain(|target| *target != unit.route.target);
            draft.commits.push((unit.route.target, stored));
        }
        Ok(())
    }

    /// The record of a topic whose target is gone or another one, without that target.
    fn unbind(
        &self,
        booted: &Booted,
        snapshot: &Snapshot,
        topic: &SourceTopic,
    ) -> Result<Option<(TopicKey, TopicRecord)>, AdjustError> {
        let Some(record) = booted.records.topics.get(&topic.key()) else {
            return Ok(None);
        };
        let Some(bound) = record.target_topic_id else {
            return Ok(None);
        };
        let another = is_another(snapshot.target.get(&topic.target), bound);
        let another = another.ok_or_else(|| {
            AdjustError::Unavailable(format!(
                "the target topic {} cannot be described on {} now",
                topic.target,
                self.target.alias()
            ))
        })?;
        Ok(another.then(|| (topic.key(), record.unbound())))
    }

    fn empty_draft(&self, request: &Request) -> Draft {
        Draft {
            changes: Changes {
                flow: self.config.name.clone(),
                dry_run: request.dry_run,
                changes: Vec::new(),
                notes: Vec::new(),
            },
            commits: Vec::new(),
            forgotten: Vec::new(),
            unbind: None,
        }
    }
}

impl Request {
    /// Whether it is about this partition of its topic.
    pub(in crate::flow) fn is_about(&self, partition: i32) -> bool {
        self.partition.is_none_or(|wanted| wanted == partition)
    }
}

impl Draft {
    fn add(
        &mut self,
        unit: &Unit,
        before: Option<Position>,
        after: Option<Position>,
        meaning: String,
    ) {
        self.changes.changes.push(Change {
            topic: unit.route.source.topic.clone(),
            partition: unit.route.source.partition,
            target_topic: unit.route.target.topic.clone(),
            before,
            after,
            meaning,
        });
    }
}

/// The checkpoint with which a unit goes on at `start`, whose last worker has ended.
pub(in crate::flow) fn first(identity: &Identity, start: &Progress) -> Checkpoint {
    Checkpoint {
        settled: start.settled,
        ..identity.checkpoint(start)
    }
}

/// A checkpoint of other topics is not moved: where it lies says nothing about these.
fn same_topics(identity: &Identity, known: &Checkpoint) -> Result<(), AdjustError> {
    let (source, target) = (&identity.source, &identity.target);
    if known.source_topic == source.topic_id && known.target_topic == target.topic_id {
        return Ok(());
    }
    Err(AdjustError::Refused(format!(
        "the checkpoint of {} is about topics that were there before: `reset` it",
        identity.route.source
    )))
}

/// The offset, if the source has it or it is the next one to be written.
fn within(identity: &Identity, to: i64, source: Extent) -> Result<i64, AdjustError> {
    if (source.start..=source.end).contains(&to) {
        return Ok(to);
    }
    Err(AdjustError::Refused(format!(
        "{} on {} has offsets {} to {}, not {to}",
        identity.route.source, identity.source.alias, source.start, source.end
    )))
}

fn position(stored: &Stored) -> Position {
    let checkpoint = codec::decode(stored).ok();
    Position {
        source_offset: checkpoint.as_ref().map(|known| known.source_offset),
        target_offset: stored.offset,
        stopped: checkpoint
            .and_then(|known| known.stopped)
            .map(|stopped| stopped.reason),
    }
}

fn meaning(from: Option<i64>, to: i64) -> String {
    match from {
        None => "what the target holds stays, and records from there on are written behind it"
            .to_owned(),
        Some(from) if to > from => format!("offsets {from} to {} are not copied", to - 1),
        Some(from) if to < from => format!("offsets {to} to {} are copied again", from - 1),
        Some(_) => "goes on where it is; what the target holds behind that is compared".to_owned(),
    }
}
