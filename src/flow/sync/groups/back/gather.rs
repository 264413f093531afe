//! What is known of the flow, of both sides, before any group is looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use uuid::Uuid;
use wire::{Isolation, TopicPartition, client::OffsetSpec, error::ClientError};

use super::{
    super::{Copied, Unit},
    answer::{Known, Reader, Told},
    reverse::Reverse,
    source::held,
};
use crate::{
    checkpoint::{
        Checkpoint, codec,
        control_topic::{ControlRecords, TopicRecord},
        offset_map::{End, Ladder, OffsetMap, View, name},
    },
    flow::{
        Flow,
        adjust::AdjustError,
        apply::StepError,
        boot::Booted,
        plan::{Rules, Snapshot, SourceTopic},
        start::Extent,
    },
};

/// The flow as it is.
pub(super) struct Gathered<'a> {
    flow: &'a Flow,
    booted: Booted,
    snapshot: Snapshot,
    /// What the flow remembers, by topic on the target.
    records: BTreeMap<String, TopicRecord>,
    /// What it copies, by target partition.
    units: BTreeMap<TopicPartition, Unit>,
    view: Arc<View>,
    checkpoints: BTreeMap<TopicPartition, Checkpoint>,
    reverse: Reverse,
}

/// What one target partition is to the flow.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// By target offset, or why there is none.
    pub(super) told: BTreeMap<i64, Result<Told, String>>,
    pub(super) began_late_at: Option<i64>,
    pub(super) is_unsettled: bool,
}

impl<'a> Gathered<'a> {
    pub(super) async fn new(flow: &'a Flow) -> Result<Self, AdjustError> {
        let booted = flow.inspect().await?;
        // Before the map: what a checkpoint covers was in the map before it.
        let stored = booted.store.load().await.map_err(StepError::from)?;
        let decoded = stored
            .into_iter()
            .filter_map(|(partition, stored)| Some((partition, codec::decode(&stored).ok()?)));
        let checkpoints = decoded.collect();
        let view = flow.map_as_it_is().await?;
        let rules = Rules::new(&flow.config);
        let snapshot = flow.snapshot(&rules, std::iter::empty()).await?;
        let copied = flow
            .copied(&booted, &snapshot, &Copied::new())
            .into_values();
        let reverse = Reverse::read(flow.source.client(), &booted.target_id, &booted.source_id);
        let reverse = reverse
            .await
            .map_err(|error| on(flow.source.alias(), &error))?;
        Ok(Self {
            flow,
            units: copied.map(|unit| (unit.target.clone(), unit)).collect(),
            records: by_target(&booted.records, &snapshot),
            booted,
            snapshot,
            view,
            checkpoints,
            reverse,
        })
    }

    /// What the topic `target` on the target is a copy of.
    pub(super) fn record(&self, target: &str) -> Option<&TopicRecord> {
        self.records.get(target)
    }

    /// The flow that brings back what is behind `target_offset` in `target`.
    pub(super) fn reverse(&self, target: &TopicPartition, target_offset: i64) -> Option<&str> {
        let record = self.record(&target.topic)?;
        let topic = record.target_topic_id.unwrap_or(Uuid::nil());
        let source = TopicPartition::new(&record.source_topic, target.partition);
        self.reverse.of(topic, &source, target_offset)
    }

    /// What target offsets of partitions are on the source.
    pub(super) async fn answers(
        &self,
        asked: BTreeMap<TopicPartition, BTreeSet<i64>>,
    ) -> Result<BTreeMap<TopicPartition, Answers>, AdjustError> {
        let known = asked.keys().filter_map(|target| self.units.get(target));
        let sources: Vec<_> = known.map(|unit| unit.source.clone()).collect();
        let source = self.flow.source.alias();
        let extents = self.extents(&sources).await;
        let extents = extents.map_err(|error| on(source, &error))?;
        let mut answers = BTreeMap::new();
        for (target, offsets) in asked {
            let answer = match self.unit(&target) {
                Ok(unit) => {
                    let extent = extents.get(&unit.source).copied();
                    let told = self.of_unit(unit, extent, &offsets).await;
                    told.map_err(|error| on(source, &error))?
                }
                Err(reason) => Answers::none(&offsets, &reason),
            };
            answers.insert(target, answer);
        }
        Ok(answers)
    }

    async fn of_unit(
        &self,
        unit: &Unit,
        extent: Option<Extent>,
        offsets: &BTreeSet<i64>,
    ) -> Result<Answers, ClientError> {
        let alias = self.flow.source.alias();
        let Some(extent) = extent else {
            return Ok(Answers::none(
                offsets,
                &format!("{alias} does not tell what it holds of it"),
            ));
        };
        let checkpoint = self.checkpoints.get(&unit.target);
        let checkpoint =
            checkpoint.filter(|known| unit.topics == [known.source_topic, known.target_topic]);
        let source = self.flow.source.client();
        let Some(held) = held(source, &unit.source, checkpoint, extent).await? else {
            let reason = format!(
                "{alias} does not hold what was copied last, and nothing tells since where: its log changed"
            );
            return Ok(Answers::none(offsets, &reason));
        };
        let nothing = Ladder::default();
        let ladder = self.view.ladder(&unit.target).unwrap_or(&nothing);
        let mut anchors = ladder.anchors(unit.in_map);
        let mut is_lost = ladder.lost_end(unit.in_map).is_some();
        if let Some(end) = checkpoint.map(End::of).filter(|_| !is_lost) {
            anchors = end.close(unit.in_map, anchors);
            is_lost = end.lost_end().is_some();
        }
        let known = Known {
            unit,
            anchors,
            is_lost,
            held,
        };
        let reader = Reader {
            source,
            isolation: self.flow.config.isolation,
        };
        let told = reader.answers(&known, offsets).await?;
        Ok(Answers {
            told: told
                .into_iter()
                .map(|(offset, told)| (offset, Ok(told)))
                .collect(),
            began_late_at: known.began_late_at(),
            is_unsettled: checkpoint.is_some_and(|known| !known.settled),
        })
    }

    /// The unit that writes `target`, or why there is none.
    fn unit(&self, target: &TopicPartition) -> Result<&Unit, String> {
        if let Some(unit) = self.units.get(target) {
            return Ok(unit);
        }
        let (source, to) = (self.flow.source.alias(), self.flow.target.alias());
        let Some(record) = self.record(&target.topic) else {
            return Err(format!("the flow copied nothing to topic {}", target.topic));
        };
        let name = &record.source_topic;
        let topic = self
            .snapshot
            .topics
            .iter()
            .find(|topic| topic.name == *name);
        let Some(topic) = topic else {
            return Err(format!(
                "{source} has no topic {name}, or the flow leaves it out"
            ));
        };
        if !self.booted.records.topics.contains_key(&topic.key()) {
            return Err(format!(
                "topic {name} on {source} was made anew since it was copied: there is no place in it for what was read"
            ));
        }
        if self.snapshot.bound(topic, &self.booted.records).is_none() {
            return Err(format!(
                "topic {} on {to} is not the one that was copied to",
                target.topic
            ));
        }
        Err(format!(
            "{source} has no partition {} of {name}",
            target.partition
        ))
    }

    async fn extents(
        &self,
        sources: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Extent>, ClientError> {
        let client = self.flow.source.client();
        let mut both = Vec::new();
        for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
            let wanted: Vec<_> = sources
                .iter()
                .map(|source| (source.clone(), spec))
                .collect();
            both.push(
                client
                    .list_offsets(&wanted, Isolation::ReadUncommitted)
                    .await?,
            );
        }
        let ends = both.pop().unwrap_or_default();
        let starts = both.pop().unwrap_or_default();
        let both = starts.into_iter().zip(ends);
        let both = both.filter_map(|((source, start), (_, end))| {
            let (start, end) = (start.ok()?.offset, end.ok()?.offset);
            Some((source, Extent { start, end }))
        });
        Ok(both.collect())
    }
}

/// By topic on the target; of several that were written to one, that which the source has now.
fn by_target(records: &ControlRecords, snapshot: &Snapshot) -> BTreeMap<String, TopicRecord> {
    let now: BTreeSet<_> = snapshot.topics.iter().map(SourceTopic::key).collect();
    let (now, before): (Vec<_>, Vec<_>) = records
        .topics
        .iter()
        .partition(|(key, _)| now.contains(key));
    let all = before.into_iter().chain(now);
    all.map(|(_, record)| (record.target_topic.clone(), record.clone()))
        .collect()
}

impl Answers {
    fn none(offsets: &BTreeSet<i64>, reason: &str) -> Self {
        let told = offsets
            .iter()
            .map(|offset| (*offset, Err(reason.to_owned())));
        Self {
            told: told.collect(),
            ..Self::default()
        }
    }
}

impl Flow {
    async fn map_as_it_is(&self) -> Result<Arc<View>, AdjustError> {
        let map = OffsetMap::new(self.target.client().clone(), &self.config.name, -1);
        match map.look().await {
            Ok(Some(view)) => Ok(view),
            Ok(None) => Err(AdjustError::Refused(format!(
                "there is no topic {} on {}: without the offset map the places of groups are not known. `strait run` makes \
                 it anew, from what the checkpoints still tell: the ends of the copy, and some places before them. Set \
                 groups that are elsewhere by hand, as to a time (kafka-consumer-groups.sh --reset-offsets --to-datetime)",
                name(&self.config.name),
                self.target.alias()
            ))),
            Err(error) => Err(AdjustError::Unavailable(error.to_string())),
        }
    }
}

/// A cluster does not answer.
pub(super) fn on(alias: &str, error: &dyn ToString) -> AdjustError {
    AdjustError::Unavailable(format!("cluster {alias}: {}", error.to_string()))
}
