//! Looks at each partition, compares it if need be, and drafts its checkpoint. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use wire::TopicPartition;

use super::{
    Outcome,
    rows::place,
    step::{Step, step, without},
};
use crate::{
    checkpoint::{Stored, codec},
    cluster::read::ReadError,
    flow::{
        Flow,
        adjust::{AdjustError, first},
        apply::{StepError, topic_configs},
        boot::Booted,
        handover::compare::{Comparison, Overlap},
        launch::{Found, config},
        plan::{Plan, Unit},
    },
    mm2::offsets::Position,
};

/// Partitions that are compared at a time.
const COMPARED: usize = 4;

/// One partition, judged.
pub(super) struct Draft {
    pub(super) unit: Unit,
    pub(super) outcome: Outcome,
    pub(super) recognised: Option<u64>,
    pub(super) text: String,
    /// Where it goes on, and the checkpoint that says so.
    pub(super) commit: Option<(i64, Stored)>,
}

impl Flow {
    /// All units of `plan`.
    pub(super) async fn judge_all(
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
                    None => comparison.since_the_first().await,
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
}
