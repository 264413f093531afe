//! From strait to MirrorMaker 2: checkpoints become its positions.
//!
//! Written as Kafka Connect writes them, under the very key that is there if there is one: MirrorMaker 2 finds them when it
//! starts. It seeks behind the offset that it finds (`MirrorSourceTask.initializeConsumer`), so that is the one before the
//! next of the checkpoint, a record or not.

mod rows;

use std::{collections::BTreeMap, iter};

use bytes::Bytes;
use serde::Serialize;
use wire::{
    TopicPartition,
    client::{NewTopic, TopicDescription},
    record::{BatchBuilder, Codec},
};

use self::rows::rows;
use super::{
    MirrorMaker, NEW_TOPIC,
    connect::{Left, connector},
};
use crate::{
    flow::{
        Flow,
        adjust::AdjustError,
        apply::{StepError, topic_configs},
        launch::config,
        membership::Assignment,
        plan::Rules,
    },
    mm2::offsets::{Position, key, place, value},
};

/// What MirrorMaker 2 on its own calls its connector.
const CONNECTOR: &str = "MirrorSourceConnector";
const TOPIC_ALREADY_EXISTS: i16 = 36;
/// Of one batch, well below the smallest usual limit of a topic.
const BATCH_BYTES: usize = 256 << 10;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// For whom.
    pub mirror: MirrorMaker,
    /// Partitions of the offsets topic, if it has to be made.
    pub partitions: i32,
    /// Its replicas, likewise.
    pub replication_factor: i16,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What was, or would be, written.
#[derive(Clone, Debug, Serialize)]
pub struct Export {
    /// The flow.
    pub flow: String,
    /// The connector that is to go on.
    pub connector: String,
    /// Where its positions are.
    pub offsets_topic: String,
    /// Whether that had to be made.
    pub creates_topic: bool,
    /// Nothing was done.
    pub dry_run: bool,
    /// All partitions of which the flow has a checkpoint, or MirrorMaker 2 a position.
    pub partitions: Vec<Partition>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    /// Topic on the source.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The last record that MirrorMaker 2 said it copied.
    pub before: Option<i64>,
    /// What it finds now: the last offset that is on the target.
    pub mirror_offset: Option<i64>,
    /// Whether that was, or would be, written.
    pub written: bool,
    /// Whether the target may hold more: then MirrorMaker 2 copies that again.
    pub more: bool,
    /// For people.
    pub text: String,
}

/// Writes the flow's checkpoints as MirrorMaker 2's positions, unless it is a dry run.
///
/// # Errors
/// If it cannot be done, or MirrorMaker 2 or the flow runs.
pub async fn export(flow: &Flow, request: &Request) -> Result<Export, AdjustError> {
    let booted = flow.inspect().await?;
    let mirror = &request.mirror;
    let mut notes = flow.nobody_copies(mirror, request.dry_run).await?;
    let topic = flow.offsets_topic(mirror).await?;
    let left = match &topic {
        Some(topic) => {
            flow.is_compacted(topic).await?;
            Some(flow.left_by(mirror, topic).await?)
        }
        None => None,
    };
    let connector = chosen(mirror, left.as_ref())?;
    let positions = left
        .as_ref()
        .map(|left| left.positions.of(&connector))
        .unwrap_or_default();
    let rules = Rules::new(&flow.config);
    let snapshot = flow.snapshot(&rules, iter::empty()).await?;
    let plan = rules.plan(
        &snapshot,
        &booted.records,
        &Assignment::All,
        &BTreeMap::new(),
        false,
    );
    let stored = booted.store.load().await.map_err(StepError::from)?;
    let partitions = rows(&plan.start, stored.into_iter().collect(), &positions);
    let more = partitions.iter().filter(|row| row.more).count();
    if more > 0 {
        notes.push(format!(
            "strait was not stopped cleanly, or the checkpoint was just made, in {more} partitions: what is on the target behind their \
             checkpoints MirrorMaker 2 copies again; run strait once and stop it to avoid that"
        ));
    }
    let export = Export {
        flow: flow.config.name.clone(),
        connector,
        offsets_topic: mirror.offsets_topic.clone(),
        creates_topic: topic.is_none(),
        dry_run: request.dry_run,
        partitions,
        notes,
    };
    if !request.dry_run {
        let count = left.map_or(request.partitions, |left| left.partitions);
        flow.write_positions(request, &export, &positions, count)
            .await?;
    }
    Ok(export)
}

/// The connector that is named, or is alone there, or has the name that it has by itself.
fn chosen(mirror: &MirrorMaker, left: Option<&Left>) -> Result<String, AdjustError> {
    if let Some(name) = &mirror.connector {
        return Ok(name.clone());
    }
    let found = match left {
        Some(left) => connector(mirror, &left.positions)?,
        None => None,
    };
    Ok(found.unwrap_or_else(|| CONNECTOR.to_owned()))
}

impl Flow {
    /// Kafka Connect does not start on another (`KafkaOffsetBackingStore`), for good reasons.
    async fn is_compacted(&self, topic: &TopicDescription) -> Result<(), AdjustError> {
        let names = std::slice::from_ref(&topic.name);
        let configs = topic_configs(&self.target, names).await?;
        match config(&configs, &topic.name, "cleanup.policy") {
            None | Some("compact") => Ok(()),
            Some(policy) => Err(AdjustError::Refused(format!(
                "topic {} on {} has cleanup.policy = {policy}; Kafka Connect wants compact",
                topic.name,
                self.target.alias()
            ))),
        }
    }

    async fn write_positions(
        &self,
        request: &Request,
        export: &Export,
        positions: &BTreeMap<TopicPartition, Position>,
        count: i32,
    ) -> Result<(), AdjustError> {
        if export.creates_topic {
            self.make_offsets_topic(request).await?;
        }
        // Younger than what is there, whatever the clocks say: of two spellings of a key the younger counts.
        let youngest = positions
            .values()
            .map(|position| position.timestamp + 1)
            .max();
        let now = self.host.clock.wall_ms().max(youngest.unwrap_or(0));
        let mut batches: BTreeMap<i32, Vec<(Bytes, Vec<u8>)>> = BTreeMap::new();
        for row in export.partitions.iter().filter(|row| row.written) {
            let Some(offset) = row.mirror_offset else {
                continue;
            };
            let source = TopicPartition::new(&row.topic, row.partition);
            let (key, partition) = match positions.get(&source) {
                Some(position) => (position.key.clone(), position.partition),
                None => {
                    let key = key(&export.connector, &request.mirror.source, &source);
                    let partition = place(&key, count);
                    (key.into(), partition)
                }
            };
            batches
                .entry(partition)
                .or_default()
                .push((key, value(offset)));
        }
        for (partition, records) in batches {
            let partition = TopicPartition::new(&export.offsets_topic, partition);
            let mut batch = BatchBuilder::new(Codec::None);
            for (key, value) in records {
                batch.push(now, Some(&key), Some(&value), &[]);
                if batch.plain_len() >= BATCH_BYTES {
                    let full = std::mem::replace(&mut batch, BatchBuilder::new(Codec::None));
                    self.write_batch(&partition, full).await?;
                }
            }
            if batch.count() > 0 {
                self.write_batch(&partition, batch).await?;
            }
        }
        Ok(())
    }

    async fn write_batch(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), AdjustError> {
        let bytes = batch.build(0).map_err(|error| self.unavailable(&error))?;
        let produced = self.target.client().produce(partition, bytes).await;
        produced
            .map(drop)
            .map_err(|error| self.unavailable(&format!("{partition}: {error}")))
    }

    /// As Kafka Connect makes it.
    async fn make_offsets_topic(&self, request: &Request) -> Result<(), AdjustError> {
        let topic = NewTopic {
            name: request.mirror.offsets_topic.clone(),
            partitions: request.partitions,
            replication_factor: request.replication_factor,
            configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        };
        let outcomes = self.target.client().create_topics(&[topic], false).await;
        for (name, outcome) in outcomes.map_err(|error| self.unavailable(&error))? {
            match outcome {
                Err(error) if error.code != TOPIC_ALREADY_EXISTS => {
                    return Err(AdjustError::Refused(format!(
                        "{} does not make topic {name}: {error}",
                        self.target.alias()
                    )));
                }
                // Made by another hand a moment ago: it may have another number of partitions.
                Err(_) => {
                    return Err(
                        self.unavailable(&format!("topic {name} has just been made: try again"))
                    );
                }
                Ok(()) => {}
            }
        }
        self.host.clock.sleep(NEW_TOPIC).await;
        Ok(())
    }
}
