//! What a flow tells about itself: read by HTTP, by the live table of `demo`, by tests.
//!
//! The board holds the workers' own channels, so what it shows is always the latest.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use super::plan::Trouble;
use crate::{
    base::ids::Route,
    config::FlowConfig,
    worker::{Progress, WorkerState},
};

/// What the librdkafka path provides, and why not more (EXACTNESS 15).
const GUARANTEE: (&str, &str) = (
    "at-least-once",
    "librdkafka writes without sequence continuity: what was not checkpointed is repeated after a crash",
);

/// The status of one flow, kept current by its supervisor.
#[derive(Debug)]
pub struct Board {
    name: String,
    source: String,
    target: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    member: Option<String>,
    leader: bool,
    units: BTreeMap<Route, Watched>,
    troubles: Vec<Trouble>,
}

/// The channels of one unit.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) state: watch::Receiver<WorkerState>,
    /// None for a unit that never ran.
    pub(super) source_end: Option<watch::Receiver<i64>>,
}

/// What a flow is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Before the first try to reach both clusters.
    Starting,
    /// One of them does not answer, or does not take what must be written first.
    Waiting {
        /// Which, by alias.
        cluster: String,
        /// What it said.
        reason: String,
    },
    /// Both sides were reached and looked at; workers run as the plan says.
    Running,
    /// Workers wait for their last answers.
    Draining,
    /// Over.
    Ended,
}

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowStatus {
    /// Its name.
    pub name: String,
    /// Alias of the side that is read.
    pub source: String,
    /// Alias of the side that is written to.
    pub target: String,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: Phase,
    /// What this process is called among those of the flow; none if it runs alone.
    pub member: Option<String>,
    /// Whether it creates topics and keeps the control topic.
    pub leader: bool,
    /// What it provides here and now.
    pub guarantee: &'static str,
    /// Why not more.
    pub guarantee_reason: &'static str,
    /// Source records that are not acknowledged by the target yet, where known.
    pub lag: i64,
    /// Records acknowledged since this process began.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Units that stopped and wait for a person.
    pub stopped: usize,
    /// By source topic and partition.
    pub partitions: Vec<PartitionStatus>,
    /// Topics that are not, or not wholly, replicated.
    pub troubles: Vec<Trouble>,
}

/// One unit.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Topic on the source.
    pub topic: String,
    /// Partition, on both sides.
    pub partition: i32,
    /// Topic on the target.
    pub target_topic: String,
    /// The source offset to read next.
    pub source_offset: i64,
    /// The target offset after the last acknowledged record.
    pub target_offset: i64,
    /// Where the source ended when it was last heard of.
    pub source_end: Option<i64>,
    /// Records between the two, counted by offsets.
    pub lag: Option<i64>,
    /// What its worker does.
    pub state: &'static str,
    /// Why it stopped: a code from the closed list.
    pub reason: Option<&'static str>,
    /// In words.
    pub text: Option<String>,
}

impl Board {
    /// Of a flow that has not begun.
    pub fn new(flow: &FlowConfig) -> Self {
        Self {
            name: flow.name.clone(),
            source: flow.source.clone(),
            target: flow.target.clone(),
            inner: Mutex::new(Inner {
                phase: Phase::Starting,
                member: None,
                leader: false,
                units: BTreeMap::new(),
                troubles: Vec::new(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.inner().phase = phase;
    }

    pub(super) fn is(&self, member: Option<&str>, leader: bool) {
        let mut inner = self.inner();
        inner.member = member.map(str::to_owned);
        inner.leader = leader;
    }

    pub(super) fn put(&self, route: Route, unit: Watched) {
        self.inner().units.insert(route, unit);
    }

    pub(super) fn take(&self, route: &Route) {
        self.inner().units.remove(route);
    }

    /// Replaces the troubles; those that are new.
    pub(super) fn troubles(&self, mut now: Vec<Trouble>) -> Vec<Trouble> {
        now.sort();
        now.dedup();
        let mut inner = self.inner();
        let new = now
            .iter()
            .filter(|trouble| !inner.troubles.contains(trouble))
            .cloned()
            .collect();
        inner.troubles = now;
        new
    }

    /// The states of all units.
    pub fn states(&self) -> Vec<WorkerState> {
        self.inner()
            .units
            .values()
            .map(|unit| unit.state.borrow().clone())
            .collect()
    }

    /// What the flow is doing.
    pub fn phase(&self) -> Phase {
        self.inner().phase.clone()
    }

    /// All there is to tell.
    pub fn status(&self) -> FlowStatus {
        let inner = self.inner();
        let partitions: Vec<_> = inner
            .units
            .iter()
            .map(|(route, unit)| unit.status(route))
            .collect();
        let progress = inner.units.values().map(|unit| unit.progress.borrow());
        let (records, bytes) = progress.fold((0, 0), |(records, bytes), progress| {
            (records + progress.records, bytes + progress.bytes)
        });
        FlowStatus {
            name: self.name.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            phase: inner.phase.clone(),
            member: inner.member.clone(),
            leader: inner.leader,
            guarantee: GUARANTEE.0,
            guarantee_reason: GUARANTEE.1,
            lag: partitions
                .iter()
                .filter_map(|partition| partition.lag)
                .sum(),
            records,
            bytes,
            stopped: partitions
                .iter()
                .filter(|partition| partition.reason.is_some())
                .count(),
            partitions,
            troubles: inner.troubles.clone(),
        }
    }
}

impl Watched {
    fn status(&self, route: &Route) -> PartitionStatus {
        let progress = self.progress.borrow();
        let state = self.state.borrow();
        let end = self
            .source_end
            .as_ref()
            .map(|end| *end.borrow())
            .filter(|end| *end >= 0);
        PartitionStatus {
            topic: route.source.topic.clone(),
            partition: route.source.partition,
            target_topic: route.target.topic.clone(),
            source_offset: progress.source_offset,
            target_offset: progress.target_offset,
            source_end: end,
            lag: end.map(|end| (end - progress.source_offset).max(0)),
            state: state.name(),
            reason: state.reason(),
            text: state.text().map(str::to_owned),
        }
    }
}
