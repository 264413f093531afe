//! From MirrorMaker 2 to strait: its positions become checkpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    time::Duration,
};

use serde::Serialize;
use tokio::task::JoinSet;
use wire::TopicPartition;

use super::{
    MirrorMaker,
    compare::{Comparison, Overlap},
    connect::connector,
    judge::{Step, step, without},
};
use crate::{
    checkpoint::{
        LastRecord, Stored, codec,
        control_topic::{FlowRecord, TopicKey, TopicRecord},
    },
    cluster::read::ReadError,
    flow::{
        Flow,
        adjust::{AdjustError, first},
        apply::{StepError, topic_configs},
        boot::Booted,
        launch::{Found, config},
        membership::Assignment,
        plan::{Plan, Rules, Snapshot, SourceTopic, Unit},
    },
    mm2::offsets::Position,
};

/// Partitions that are compared at a time.
const COMPARED: usize = 4;
/// Brokers hear of a new topic one after the other.
const NEW_TOPIC: Duration = Duration::from_millis(250);

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
    let mut notes: Vec<_> = flow
        .it_rests(mirror, request.dry_run)
        .await?
        .into_iter()
        .collect();
    if !request.dry_run {
        flow.nobody_runs_it().await?;
    }
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

/// One partition, judged.
struct Draft {
    unit: Unit,
    outcome: Outcome,
    recognised: Option<u64>,
    text: String,
    /// Where it goes on, and the checkpoint that says so.
    commit: Option<(i64, Stored)>,
}

/// Where one goes on: the offset, the last record that is on the target, and how many were recognised.
struct Place {
    to: i64,
    last: Option<LastRecord>,
    recognised: Option<u64>,
    text: String,
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

    async fn judge_all(
        &self,
        booted: &Booted,
        plan: &Plan,
        positions: &BTreeMap<TopicPartition, Position>,
        force: bool,
    ) -> Result<Vec<Draft>, AdjustError> {
        let first_run = booted.records.flow.is_none();
        let (found, troubles) = self.gather(booted, &plan.start).await?;
        if let Some(trouble) = troubles.into_iter().next() {
            return Err(AdjustError::Unavailable(trouble.text));
        }
        let targets: Vec<_> = found
            .iter()
            .map(|one| one.unit.route.target.clone())
            .collect();
        self.nothing_is_undecided(&targets).await?;
        let append_times = self.append_times(&targets).await?;
        let steps = found.into_iter().map(|found| {
            let source = &found.unit.route.source;
            let position = positions.get(source).and_then(|position| position.offset);
            let config = self.config.topic(&source.topic);
            let step = step(position, &found.evidence, config, force);
            (found, step)
        });
        let (mut drafts, mut waiting) = (Vec::new(), steps.collect::<Vec<_>>().into_iter());
        loop {
            let some: Vec<_> = waiting.by_ref().take(COMPARED).collect();
            if some.is_empty() {
                return Ok(drafts);
            }
            let overlaps = self.overlaps(&some, &append_times).await?;
            for ((found, step), overlap) in some.into_iter().zip(overlaps) {
                let draft = self.draft_of((booted, first_run), found, step, overlap);
                drafts.push(draft.await?);
            }
        }
    }

    /// Topics of the target that keep the times of their own appends. Where that cannot be read, Kafka's default.
    async fn append_times(
        &self,
        targets: &[TopicPartition],
    ) -> Result<BTreeSet<String>, StepError> {
        let names: BTreeSet<_> = targets.iter().map(|target| target.topic.clone()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let configs = topic_configs(&self.target, &names).await?;
        let times = |name: &String| {
            config(&configs, name, "message.timestamp.type") == Some("LogAppendTime")
        };
        Ok(names.into_iter().filter(times).collect())
    }

    /// Compares those that are to be, side by side.
    async fn overlaps(
        &self,
        some: &[(Found, Step)],
        append_times: &BTreeSet<String>,
    ) -> Result<Vec<Option<Overlap>>, AdjustError> {
        let mut overlaps = vec![None; some.len()];
        let mut comparing = JoinSet::new();
        for (at, (found, step)) in some.iter().enumerate() {
            let position = match step {
                Step::CompareBehind(position) => Some(*position),
                Step::CompareAll => None,
                _ => continue,
            };
            let (unit, evidence) = (&found.unit, &found.evidence);
            let comparison = Comparison {
                source: self.source.client().clone(),
                target: self.target.client().clone(),
                route: unit.route.clone(),
                extents: (evidence.source, evidence.target),
                isolation: self.config.isolation,
                timestamps: !append_times.contains(&unit.route.target.topic),
            };
            comparing.spawn(async move {
                let overlap = match position {
                    Some(position) => comparison.behind(position).await,
                    None => comparison.from_the_first().await,
                };
                (at, overlap)
            });
        }
        while let Some(done) = comparing.join_next().await {
            let (at, overlap) = done.expect("a comparison does not panic and is not aborted");
            let failed = |error: ReadError| AdjustError::Unavailable(error.to_string());
            overlaps[at] = Some(overlap.map_err(failed)?);
        }
        Ok(overlaps)
    }

    async fn draft_of(
        &self,
        (booted, first_run): (&Booted, bool),
        found: Found,
        step: Step,
        overlap: Option<Overlap>,
    ) -> Result<Draft, AdjustError> {
        let Found { unit, mut evidence } = found;
        let on_existing = self.config.topic(&unit.route.source.topic).on_existing;
        let (outcome, text) = match place(step, overlap, &without(on_existing, &evidence)) {
            Err(decided) => decided,
            Ok(place) => {
                let identity = self.identity(booted, &unit);
                let decoded = evidence.stored.as_ref().map(codec::decode);
                let known = decoded.and_then(Result::ok);
                evidence.remembered = self.remembered(&identity, known.as_ref()).await?;
                let mut start = identity.jump(known.as_ref(), place.to, &evidence);
                // By it a source that is another one since is known.
                start.last_record = place.last;
                // Of a flow that never ran nothing is on its way.
                start.settled |= first_run;
                return Ok(Draft {
                    unit,
                    outcome: Outcome::TakenOver,
                    recognised: place.recognised,
                    text: place.text,
                    commit: Some((place.to, codec::encode(&first(&identity, &start)))),
                });
            }
        };
        Ok(Draft {
            unit,
            outcome,
            recognised: None,
            text,
            commit: None,
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

/// Where a partition goes on, or what becomes of it instead. `without`: what becomes of it without a checkpoint.
fn place(step: Step, overlap: Option<Overlap>, without: &str) -> Result<Place, (Outcome, String)> {
    match (step, overlap) {
        (Step::Keep(text), _) => Err((Outcome::Kept, text)),
        (Step::New(text), _) => Err((Outcome::New, text)),
        (Step::Leave(text), _) => Err((Outcome::Left, text)),
        (Step::Go(to, text), _) => Ok(Place {
            to,
            last: None,
            recognised: None,
            text,
        }),
        (_, Some(Overlap::Known(count, last))) => Ok(Place {
            to: last.source_offset + 1,
            last: Some(last),
            recognised: Some(count),
            text: match count {
                0 => "goes on where MirrorMaker 2 stopped".to_owned(),
                _ => format!(
                    "goes on behind offset {}, the last one that is on the target",
                    last.source_offset
                ),
            },
        }),
        (Step::CompareBehind(position), Some(Overlap::Unknown(last, why))) => Ok(Place {
            to: position + 1,
            last,
            recognised: None,
            text: format!(
                "what MirrorMaker 2 copied behind offset {position} since it wrote that is copied again: {why}"
            ),
        }),
        (_, Some(Overlap::Unknown(_, why))) => Err((
            Outcome::Left,
            format!("MirrorMaker 2 left no position, and {why}; {without}"),
        )),
        (Step::CompareBehind(_) | Step::CompareAll, None) => {
            unreachable!("what is to be compared was compared")
        }
    }
}

/// All partitions that the flow selects; their positions are taken out of `positions`.
fn rows(
    snapshot: &Snapshot,
    plan: &Plan,
    drafts: &[Draft],
    positions: &mut BTreeMap<TopicPartition, Position>,
) -> Vec<Partition> {
    let drafts: BTreeMap<_, _> = drafts
        .iter()
        .map(|draft| (&draft.unit.route.source, draft))
        .collect();
    let refused: BTreeMap<_, _> = plan
        .refuse
        .iter()
        .map(|(unit, stop)| (&unit.route.source, &stop.text))
        .collect();
    let mut rows = Vec::new();
    for topic in &snapshot.topics {
        for index in 0..topic.partitions {
            let source = TopicPartition::new(&topic.name, index);
            let mirror_offset = positions
                .remove(&source)
                .and_then(|position| position.offset);
            let draft = drafts.get(&source);
            let (outcome, text) = match (draft, refused.get(&source), mirror_offset) {
                (Some(draft), ..) => (draft.outcome, draft.text.clone()),
                (None, Some(stop), _) => (
                    Outcome::Left,
                    format!("{stop}; `strait checkpoint reset` forgets that"),
                ),
                (None, None, None) => (
                    Outcome::New,
                    "is not on the target yet: it begins as a new one".to_owned(),
                ),
                (None, None, Some(offset)) => (
                    Outcome::Left,
                    format!(
                        "MirrorMaker 2 copied it up to offset {offset}, and it is not on the target: strait makes it, and copies it from \
                         its `start` on"
                    ),
                ),
            };
            rows.push(Partition {
                topic: topic.name.clone(),
                partition: index,
                target_topic: topic.target.clone(),
                mirror_offset,
                outcome,
                source_offset: draft.and_then(|draft| Some(draft.commit.as_ref()?.0)),
                recognised: draft.and_then(|draft| draft.recognised),
                text,
            });
        }
    }
    rows
}

/// What is left of the positions.
fn others(snapshot: &Snapshot, positions: BTreeMap<TopicPartition, Position>) -> Vec<Other> {
    let selected: BTreeSet<_> = snapshot.topics.iter().map(|topic| &topic.name).collect();
    let others = positions.into_iter().filter_map(|(source, position)| {
        let text = match selected.contains(&source.topic) {
            true => "the source has no such partition any more",
            false if snapshot.unclear.contains(&source.topic) => {
                "the source does not describe the topic now: try again"
            }
            false => "the flow does not select the topic, or it is gone from the source",
        };
        Some(Other {
            topic: source.topic,
            partition: source.partition,
            mirror_offset: position.offset?,
            text: text.to_owned(),
        })
    });
    others.collect()
}
