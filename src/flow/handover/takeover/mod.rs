//! From MirrorMaker 2 to strait: its positions become checkpoints.

mod draft;
mod rows;
mod step;

use std::{collections::BTreeMap, iter};

use serde::Serialize;
use wire::TopicPartition;

use self::{
    draft::Draft,
    rows::{others, rows},
};
use super::{MirrorMaker, NEW_TOPIC, connect::connector};
use crate::{
    checkpoint::control_topic::{FlowRecord, TopicKey, TopicRecord},
    flow::{
        Flow,
        adjust::AdjustError,
        boot::Booted,
        membership::Assignment,
        plan::{Rules, Snapshot, SourceTopic},
    },
    mm2::offsets::Position,
};

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose positions.
    pub mirror: MirrorMaker,
    /// Checkpoints that the flow has already do not count.
    pub force: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What was, or would be, done.
#[derive(Clone, Debug, Serialize)]
pub struct Takeover {
    /// The flow.
    pub flow: String,
    /// The connector whose positions were read; none: there are none.
    pub connector: Option<String>,
    /// Where they were read.
    pub offsets_topic: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// All partitions that the flow selects.
    pub partitions: Vec<Partition>,
    /// Positions in partitions that it does not select, or that are gone from the source.
    pub others: Vec<Other>,
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
    /// Topic on the target.
    pub target_topic: String,
    /// The last record that MirrorMaker 2 says it copied.
    pub mirror_offset: Option<i64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Where strait goes on in the source, if it was taken over.
    pub source_offset: Option<i64>,
    /// Records behind MirrorMaker 2's position that are on the target already, and are not copied again; none where that
    /// cannot be told.
    pub recognised: Option<u64>,
    /// For people.
    pub text: String,
}

/// What became of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// strait goes on where MirrorMaker 2 stopped.
    TakenOver,
    /// It had a checkpoint of strait's already, which stays.
    Kept,
    /// It starts as a new one.
    New,
    /// An operator has to see to it.
    Left,
}

/// A position that is of no use to the flow.
#[derive(Clone, Debug, Serialize)]
pub struct Other {
    /// Topic on the source.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The last record that MirrorMaker 2 says it copied.
    pub mirror_offset: i64,
    /// Why it is of no use.
    pub text: String,
}

impl Takeover {
    /// Whether no partition is left to an operator.
    pub fn is_complete(&self) -> bool {
        let mut outcomes = self.partitions.iter().map(|one| one.outcome);
        outcomes.all(|outcome| outcome != Outcome::Left)
    }
}

/// Makes checkpoints of MirrorMaker 2's positions, unless it is a dry run.
///
/// # Errors
/// If it cannot be done, or MirrorMaker 2 or the flow runs.
pub async fn takeover(flow: &Flow, request: &Request) -> Result<Takeover, AdjustError> {
    let mut booted = flow.inspect().await?;
    if booted.source_id == booted.target_id {
        let (source, target) = (flow.source.alias(), flow.target.alias());
        return Err(AdjustError::Refused(format!(
            "{source} and {target} are one cluster (id {})",
            booted.target_id
        )));
    }
    let mirror = &request.mirror;
    let mut notes = flow.nobody_copies(mirror, request.dry_run).await?;
    let (connector, mut positions) = flow.positions(mirror).await?;
    if connector.is_none() {
        let (topic, source) = (&mirror.offsets_topic, &mirror.source);
        notes.push(format!(
            "{topic} has no positions in {source}: MirrorMaker 2 stopped before it wrote any"
        ));
    }
    let rules = Rules::new(&flow.config);
    let snapshot = flow.snapshot(&rules, iter::empty()).await?;
    let seen = flow.see(&mut booted, &snapshot).await?;
    let plan = rules.plan(
        &snapshot,
        &booted.records,
        &Assignment::All,
        &BTreeMap::new(),
        false,
    );
    let drafts = flow
        .judge_all(&booted, &plan, &positions, request.force)
        .await?;
    let partitions = rows(&snapshot, &plan, &drafts, &mut positions);
    if !request.dry_run {
        flow.carry_over(&booted, &seen, drafts).await?;
    }
    Ok(Takeover {
        flow: flow.config.name.clone(),
        connector,
        offsets_topic: mirror.offsets_topic.clone(),
        dry_run: request.dry_run,
        partitions,
        others: others(&snapshot, positions),
        notes,
    })
}

/// What the control topic does not tell yet.
struct Seen {
    topics: Vec<(TopicKey, TopicRecord)>,
    flow: Option<FlowRecord>,
}

impl Flow {
    /// The positions that count, by partition of the source.
    async fn positions(
        &self,
        mirror: &MirrorMaker,
    ) -> Result<(Option<String>, BTreeMap<TopicPartition, Position>), AdjustError> {
        let Some(topic) = self.offsets_topic(mirror).await? else {
            return Err(AdjustError::Unknown(format!(
                "{} has no topic {}: --offsets-topic says where MirrorMaker 2 keeps its positions (on Kafka Connect the \
                 worker's offset.storage.topic)",
                self.target.alias(),
                mirror.offsets_topic
            )));
        };
        let left = self.left_by(mirror, &topic).await?;
        let connector = connector(mirror, &left.positions)?;
        let positions = connector.as_ref().map(|name| left.positions.of(name));
        Ok((connector, positions.unwrap_or_default()))
    }

    /// Has `booted` know what a first run would record, and which topics of the target are there. Nothing is written.
    async fn see(&self, booted: &mut Booted, snapshot: &Snapshot) -> Result<Seen, AdjustError> {
        let known = &booted.records.topics;
        let is_new = |topic: &&SourceTopic| !known.contains_key(&topic.key());
        let new: Vec<_> = snapshot.topics.iter().filter(is_new).cloned().collect();
        let (records, flow) = self.first_seen(booted, &new).await?;
        let mut changed: BTreeMap<_, _> = records.into_iter().collect();
        for topic in &snapshot.topics {
            let found = snapshot.target.get(&topic.target);
            let Some(found) = found.filter(|found| found.error.is_none()) else {
                continue;
            };
            let key = topic.key();
            let record = changed
                .get(&key)
                .or_else(|| booted.records.topics.get(&key));
            if let Some(record) = record.filter(|record| record.target_topic_id.is_none()) {
                changed.insert(key, record.bound_to(found.id));
            }
        }
        booted.records.topics.extend(changed.clone());
        Ok(Seen {
            topics: changed.into_iter().collect(),
            // Nobody has probed the target for this flow yet.
            flow: flow.map(|flow| FlowRecord {
                provides: None,
                ..flow
            }),
        })
    }

    /// First what the topics are, then where their partitions go on (EXACTNESS 8).
    async fn carry_over(
        &self,
        booted: &Booted,
        seen: &Seen,
        drafts: Vec<Draft>,
    ) -> Result<(), AdjustError> {
        let unavailable = |error: &dyn ToString| AdjustError::Unavailable(error.to_string());
        let control = &booted.control;
        let found = control
            .replicas()
            .await
            .map_err(|error| unavailable(&error))?;
        if found.is_none() {
            let created = control
                .create(self.config.defaults.replication_factor)
                .await;
            created.map_err(|error| unavailable(&error))?;
            self.host.clock.sleep(NEW_TOPIC).await;
        }
        let now = self.host.clock.wall_ms();
        let written = control.write(&seen.topics, seen.flow.as_ref(), now).await;
        written.map_err(|error| unavailable(&error))?;
        let commits = drafts.into_iter().filter_map(|draft| {
            let (_, stored) = draft.commit?;
            Some((draft.unit.route.target, stored))
        });
        let commits: Vec<_> = commits.collect();
        for (partition, outcome) in booted.store.commit(&commits).await {
            outcome.map_err(|error| unavailable(&format!("{partition}: {error}")))?;
        }
        Ok(())
    }
}
