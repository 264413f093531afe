//! What a flow tells about itself: read by HTTP, by the live table of `demo`, by tests.
//!
//! The board holds the workers' own channels, so what it shows is always the latest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::Clock;
use tokio::sync::watch;
use wire::client::{Client, Connections};

use super::{plan::Trouble, provides::unprobed};
pub use crate::status::{FlowStatus, PartitionStatus, Phase};
use crate::{
    base::ids::Route,
    checkpoint::committer::Committer,
    config::FlowConfig,
    status::{Configs, Follows, Groups, Provides, Sums},
    worker::{Lag, Lease, Progress, WorkerState},
};

/// The status of one flow, kept current by its supervisor.
#[derive(Debug)]
pub struct Board {
    name: String,
    source: String,
    target: String,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    provides: Provides,
    member: Option<String>,
    leader: bool,
    units: BTreeMap<Route, Watched>,
    troubles: Vec<Trouble>,
    groups: Option<Groups>,
    acls: Option<Follows>,
    quotas: Option<Follows>,
    users: Option<Follows>,
    configs: Option<Configs>,
    committing: Option<Committing>,
    /// Of source and target.
    clients: Option<[Client; 2]>,
}

/// What is asked for ages.
#[derive(Debug)]
struct Committing {
    committer: Arc<Committer>,
    lease: Arc<dyn Lease>,
}

/// The channels of one unit.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) state: watch::Receiver<WorkerState>,
    /// None for a unit that never ran.
    pub(super) source_end: Option<watch::Receiver<i64>>,
    pub(super) lag: Lag,
}

impl Board {
    /// Of a flow that has not begun.
    pub fn new(flow: &FlowConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: flow.name.clone(),
            source: flow.source.clone(),
            target: flow.target.clone(),
            clock,
            inner: Mutex::new(Inner {
                phase: Phase::Starting,
                provides: unprobed(flow.transport, "not probed yet"),
                member: None,
                leader: false,
                units: BTreeMap::new(),
                troubles: Vec::new(),
                groups: None,
                acls: None,
                quotas: None,
                users: None,
                configs: None,
                committing: None,
                clients: None,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.inner().phase = phase;
    }

    pub(super) fn provides(&self, provides: Provides) {
        self.inner().provides = provides;
    }

    /// What became of the groups' offsets in the last round; none: another process looks after them.
    pub(super) fn groups(&self, groups: Option<Groups>) {
        self.inner().groups = groups;
    }

    /// What became of rules (ACLs) in the last round; none: another process looks after them, or nobody.
    pub(super) fn acls(&self, acls: Option<Follows>) {
        self.inner().acls = acls;
    }

    /// What became of quotas in the last round; likewise.
    pub(super) fn quotas(&self, quotas: Option<Follows>) {
        self.inner().quotas = quotas;
    }

    /// What became of users in the last round; likewise.
    pub(super) fn users(&self, users: Option<Follows>) {
        self.inner().users = users;
    }

    /// How topics' configs follow; none: another process looks after them.
    pub(super) fn configs(&self, configs: Option<Configs>) {
        self.inner().configs = configs;
    }

    pub(super) fn is(&self, member: Option<&str>, leader: bool) {
        let mut inner = self.inner();
        inner.member = member.map(str::to_owned);
        inner.leader = leader;
    }

    pub(super) fn commits(&self, committer: Arc<Committer>, lease: Arc<dyn Lease>) {
        self.inner().committing = Some(Committing { committer, lease });
    }

    pub(super) fn asks(&self, clients: [Client; 2]) {
        self.inner().clients = Some(clients);
    }

    /// How often source and target were connected to.
    pub fn connections(&self) -> [Connections; 2] {
        let clients = self.inner().clients.clone();
        clients.map_or_else(Default::default, |clients| {
            clients.map(|client| client.connections())
        })
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
            .filter(|trouble| inner.troubles.binary_search(trouble).is_err())
            .cloned()
            .collect();
        inner.troubles = now;
        new
    }

    /// What the flow is doing.
    pub fn phase(&self) -> Phase {
        self.inner().phase.clone()
    }

    /// All there is to tell.
    pub fn status(&self) -> FlowStatus {
        let inner = self.inner();
        let now = self.clock.wall_ms();
        let partitions: Vec<_> = inner
            .units
            .iter()
            .map(|(route, unit)| unit.status(route, now))
            .collect();
        let progress = inner.units.values().map(|unit| unit.progress.borrow());
        let (records, bytes) = progress.fold((0, 0), |(records, bytes), progress| {
            (records + progress.records, bytes + progress.bytes)
        });
        let sums = Sums::of(&partitions);
        let committing = inner.committing.as_ref();
        FlowStatus {
            name: self.name.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            phase: Some(inner.phase.clone()),
            member: inner.member.clone(),
            leader: Some(inner.leader),
            provides: inner.provides.clone(),
            lag: sums.lag,
            lag_ms: sums.lag_ms,
            checkpoint_age_ms: committing.map(|commits| ms(commits.committer.age())),
            lease_age_ms: committing.and_then(|commits| commits.lease.age()).map(ms),
            members: None,
            records: Some(records),
            bytes: Some(bytes),
            stopped: sums.stopped,
            partitions,
            groups: inner.groups.clone(),
            acls: inner.acls.clone(),
            quotas: inner.quotas.clone(),
            users: inner.users.clone(),
            configs: inner.configs.clone(),
            troubles: inner.troubles.iter().map(Into::into).collect(),
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Watched {
    fn status(&self, route: &Route, now: i64) -> PartitionStatus {
        let progress = self.progress.borrow();
        let state = self.state.borrow();
        let end = self
            .source_end
            .as_ref()
            .map(|end| *end.borrow())
            .filter(|end| *end >= 0);
        let stopped_offset = match &*state {
            WorkerState::Stopped(stop) => Some(stop.source_offset),
            _ => None,
        };
        PartitionStatus {
            topic: route.source.topic.clone(),
            partition: route.source.partition,
            target_topic: route.target.topic.clone(),
            source_offset: Some(progress.source_offset),
            target_offset: Some(progress.target_offset),
            source_end: end,
            lag: end.map(|end| (end - progress.source_offset).max(0)),
            lag_ms: Some(self.lag.ms(now)),
            held_ms: self.lag.held_ms(now),
            records: Some(progress.records),
            bytes: Some(progress.bytes),
            owner: None,
            state: Some(state.name().to_owned()),
            reason: state.reason().map(str::to_owned),
            text: state.text().map(str::to_owned),
            stopped_offset,
            stopped_since_ms: None,
            unknown: None,
        }
    }
}
