//! Commits how far the workers of one flow are.
//!
//! Workers publish their acknowledged prefix as the latest value and never wait for the committer; it
//! commits what changed, every interval, and as soon as so many bytes were acknowledged since the last commit
//! ([`bound`]). So a checkpoint is never ahead of acknowledged data, and neither an interval nor more than
//! about these bytes behind it (EXACTNESS 8). What failed is tried again with the then latest value. A checkpoint that does
//! not change is committed again once a day: groups without members lose old commits, even while strait
//! runs (EXACTNESS 8). A unit whose target is gone or another one is not committed for any more;
//! where it lost its end, the offset map is cut there.
//!
//! Where the flow keeps an offset map, what it lacks is written and acknowledged before the checkpoints that cover it. A map that
//! cannot be read or written holds them up for a minute at most, and not at all if another try would not help: they go on without
//! it and say so, and what comes later is in the map again, with a wider step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use host::Host;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::TopicPartition;

use super::{
    Checkpoint, CheckpointStore, NO_LOSS, Stopped, StoreError, Stored, codec,
    offset_map::{Anchors, Entry, MapError, Tip},
};
use crate::{
    base::{backoff::Backoff, meter::Meter},
    telemetry::{self, Retry},
    worker::{Progress, StopReason, WorkerState, wrap},
};

/// After this, a checkpoint is committed again though nothing changed. Brokers keep commits for a week
/// unless set otherwise (`offsets.retention.minutes`).
const REFRESH: Duration = Duration::from_secs(24 * 3600);
/// Longest pause between tries that fail: what is acknowledged meanwhile is repeated after a crash.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// The least [`bound`]: commits shall stay rare beside the data.
const MIN_BOUND: u64 = 4 << 20;

/// Bytes of records that a flow may have acknowledged without a commit: half of `[limits] memory`, so that a
/// crash repeats no more of them than of what is in flight anyway, and at least 4 MiB.
pub fn bound(memory: usize) -> u64 {
    (memory as u64 / 2).max(MIN_BOUND)
}

/// For so long checkpoints wait for an offset map that may be written later; from then on it is tried as often.
const MAP_PATIENCE: Duration = Duration::from_secs(60);

/// The map cannot be written; times are on the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct MapFailure {
    since: Duration,
    tried: Duration,
    /// Checkpoints go on without it.
    given_up: bool,
}

/// The committer of one flow.
#[derive(Debug)]
pub struct Committer {
    flow: String,
    cluster: String,
    store: Arc<dyn CheckpointStore>,
    map: Option<Arc<dyn Anchors>>,
    map_fails: Mutex<Option<MapFailure>>,
    host: Host,
    units: Mutex<BTreeMap<TopicPartition, Box<Unit>>>,
    acknowledged: Meter,
    /// Held while commits are on their way: one after the other, so that an older one never comes last.
    busy: tokio::sync::Mutex<()>,
    /// When the last commit began that left nothing out, in milliseconds of the monotonic clock.
    complete: AtomicU64,
}

/// Where a unit starts.
#[derive(Debug)]
pub struct Template {
    /// Who it is, and its checkpoint there; what changes with progress is filled in.
    pub checkpoint: Checkpoint,
    /// Whether the group holds exactly that.
    pub known: bool,
    /// Told the source offset of each committed checkpoint.
    pub told: watch::Sender<i64>,
    /// Who it is in the offset map; none: it adds nothing there.
    pub unit: Option<u64>,
    /// Whether the map was read since the unit came here.
    pub map_read: bool,
}

/// One unit, by its target partition.
#[derive(Debug)]
struct Unit {
    template: Checkpoint,
    told: watch::Sender<i64>,
    progress: watch::Receiver<Progress>,
    state: watch::Receiver<WorkerState>,
    stopped: Option<Stopped>,
    committed: Option<(Checkpoint, Duration)>,
    mapping: Mapping,
}

/// What a unit adds to the offset map.
#[derive(Debug)]
enum Mapping {
    /// Nothing: there is no map, or the unit is not copied here.
    Nothing,
    /// Nothing yet: what others wrote about it was not read since it came here, and what it adds goes behind that.
    Unread(u64),
    /// What is behind this end.
    Known(Tip),
}

/// A checkpoint to commit, and what the offset map has to hold before.
#[derive(Debug)]
struct Due {
    /// None: its target is gone or another one.
    checkpoint: Option<Checkpoint>,
    progress: Progress,
    entries: Vec<Entry>,
}

/// Checkpoints that could not be committed.
#[derive(Debug, thiserror::Error)]
#[error("{count} checkpoints were not committed, {partition} among them: {first}")]
pub struct CommitError {
    /// How many.
    pub count: usize,
    /// One of them.
    pub partition: TopicPartition,
    /// Why not.
    pub first: Failure,
}

/// Why a checkpoint was not committed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The group did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The offset map did not take what has to be there before.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl Committer {
    /// Of `flow`, whose target has the alias `cluster`; commits at the latest when `bound` bytes were acknowledged.
    pub fn new(
        flow: &str,
        cluster: &str,
        store: Arc<dyn CheckpointStore>,
        host: Host,
        bound: u64,
    ) -> Self {
        Self {
            flow: flow.to_owned(),
            cluster: cluster.to_owned(),
            store,
            map: None,
            map_fails: Mutex::default(),
            complete: AtomicU64::new(ms(host.clock.monotonic())),
            host,
            units: Mutex::default(),
            acknowledged: Meter::new(bound),
            busy: tokio::sync::Mutex::default(),
        }
    }

    /// The same, which writes `map` before its checkpoints.
    #[must_use]
    pub fn with_map(self, map: Arc<dyn Anchors>) -> Self {
        Self {
            map: Some(map),
            ..self
        }
    }

    /// How old the oldest progress may be that is acknowledged and not committed.
    pub fn age(&self) -> Duration {
        let complete = Duration::from_millis(self.complete.load(Ordering::Relaxed));
        self.host.clock.monotonic().saturating_sub(complete)
    }

    /// Where workers count what they publish as acknowledged.
    pub fn acknowledged(&self) -> Meter {
        self.acknowledged.clone()
    }

    /// Commits for `target` from now on.
    pub fn watch(
        &self,
        target: TopicPartition,
        template: Template,
        progress: watch::Receiver<Progress>,
        state: watch::Receiver<WorkerState>,
    ) {
        let now = self.host.clock.monotonic();
        let Template {
            checkpoint,
            known,
            told,
            unit,
            map_read,
        } = template;
        let mapping = match (self.map.as_ref(), unit) {
            (Some(map), Some(unit)) if map_read => {
                Mapping::Known(Tip::new(unit, map.ladder(&target).as_ref(), &checkpoint))
            }
            (Some(_), Some(unit)) => Mapping::Unread(unit),
            _ => Mapping::Nothing,
        };
        if known {
            told.send_replace(checkpoint.source_offset);
        }
        let unit = Unit {
            stopped: checkpoint.stopped.clone(),
            committed: known.then(|| (checkpoint.clone(), now)),
            template: checkpoint,
            told,
            progress,
            state,
            mapping,
        };
        self.units().insert(target, Box::new(unit));
    }

    /// Looks at another state from now on: `target`'s unit was stopped by somebody else than its worker.
    pub fn watch_state(&self, target: &TopicPartition, state: watch::Receiver<WorkerState>) {
        if let Some(unit) = self.units().get_mut(target) {
            unit.state = state;
        }
    }

    /// Commits for `target` no more.
    pub fn forget(&self, target: &TopicPartition) {
        self.units().remove(target);
    }

    /// Waits until no commit is on its way: nothing is written any more for what was forgotten before.
    pub async fn idle(&self) {
        drop(self.busy.lock().await);
    }

    /// Commits what changed, once.
    ///
    /// # Errors
    /// If not all of it could be committed; the rest is.
    pub async fn commit(&self) -> Result<(), CommitError> {
        let _busy = self.busy.lock().await;
        let (now, wall) = (self.host.clock.monotonic(), self.host.clock.wall_ms());
        // Before the progress is read: what is published meanwhile counts for the next commit.
        self.acknowledged.empty();
        let unread = self.read_map().await;
        let mut due = BTreeMap::new();
        let mut failed = Vec::new();
        let without_map = self.rests();
        for (target, unit) in self.units().iter_mut() {
            let Some(due_now) = unit.due(now, wall, without_map) else {
                continue;
            };
            match (&unit.mapping, &unread) {
                (Mapping::Unread(_), Err(error)) => {
                    failed.push((target.clone(), error.clone().into()));
                }
                _ => drop(due.insert(target.clone(), due_now)),
            }
        }
        if due.is_empty() && failed.is_empty() {
            self.complete.store(ms(now), Ordering::Relaxed);
            return Ok(());
        }
        let count = due.len() + failed.len();
        failed.extend(self.write_map(&mut due, wall).await);
        let entries = due.iter().filter_map(|(target, due)| {
            let checkpoint = due.checkpoint.as_ref()?;
            Some((target.clone(), codec::encode(checkpoint)))
        });
        let entries: Vec<(TopicPartition, Stored)> = entries.collect();
        let outcomes = match entries.is_empty() {
            true => Vec::new(),
            false => self.store.commit(&entries).await,
        };
        let mut units = self.units();
        for (target, outcome) in outcomes {
            match (outcome, due.remove(&target), units.get_mut(&target)) {
                (
                    Ok(()),
                    Some(Due {
                        checkpoint: Some(checkpoint),
                        ..
                    }),
                    Some(unit),
                ) => {
                    unit.told.send_replace(checkpoint.source_offset);
                    unit.committed = Some((checkpoint, now));
                }
                (Ok(()), ..) => {}
                (Err(error), ..) => failed.push((target, error.into())),
            }
        }
        telemetry::committed(&self.flow, count - failed.len());
        let count = failed.len();
        match failed.into_iter().next() {
            None => {
                self.complete.store(ms(now), Ordering::Relaxed);
                Ok(())
            }
            Some((partition, first)) => {
                telemetry::retried(&self.flow, &self.cluster, Retry::Commit);
                Err(CommitError {
                    count,
                    partition,
                    first,
                })
            }
        }
    }

    /// Reads the map if units came here since it was read last.
    ///
    /// # Errors
    /// If it cannot be read, and checkpoints wait for that.
    async fn read_map(&self) -> Result<(), MapError> {
        let is_unread = |unit: &Unit| matches!(unit.mapping, Mapping::Unread(_));
        let wanted = self.units().values().any(|unit| is_unread(unit));
        let Some(map) = self.map.as_ref().filter(|_| wanted && !self.rests()) else {
            return Ok(());
        };
        if let Err(error) = map.read().await {
            return if self.give_up(&error) {
                Ok(())
            } else {
                Err(error)
            };
        }
        self.map_fails().take();
        for (target, unit) in self.units().iter_mut() {
            if let Mapping::Unread(id) = unit.mapping {
                let tip = Tip::new(id, map.ladder(target).as_ref(), &unit.template);
                unit.mapping = Mapping::Known(tip);
            }
        }
        Ok(())
    }

    /// Whether the map was given up, and is not tried again yet.
    fn rests(&self) -> bool {
        let now = self.host.clock.monotonic();
        let failure = *self.map_fails();
        failure.is_some_and(|it| it.given_up && now.saturating_sub(it.tried) < MAP_PATIENCE)
    }

    /// Whether checkpoints go on without the map, which could not be read or written now.
    fn give_up(&self, error: &MapError) -> bool {
        let now = self.host.clock.monotonic();
        let mut failure = self.map_fails();
        let failure = failure.get_or_insert(MapFailure {
            since: now,
            tried: now,
            given_up: false,
        });
        failure.tried = now;
        let give_up = !error.is_passing() || now.saturating_sub(failure.since) >= MAP_PATIENCE;
        if give_up && !std::mem::replace(&mut failure.given_up, true) {
            tracing::warn!(
                flow = %self.flow, %error,
                "checkpoints go on without the offset map: offsets of groups may stay behind"
            );
        }
        give_up
    }

    fn map_fails(&self) -> MutexGuard<'_, Option<MapFailure>> {
        self.map_fails
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the offset map lacks, and takes out of `due` what has to wait because that failed.
    async fn write_map(
        &self,
        due: &mut BTreeMap<TopicPartition, Due>,
        wall_ms: i64,
    ) -> Vec<(TopicPartition, Failure)> {
        let lacks = due.iter().flat_map(|(target, due)| {
            due.entries
                .iter()
                .map(|entry| (target.clone(), entry.clone()))
        });
        let lacks: Vec<(TopicPartition, Entry)> = lacks.collect();
        let map = self.map.as_ref();
        let Some(map) = map.filter(|_| !lacks.is_empty() && !self.rests()) else {
            return Vec::new();
        };
        let error = match map.write(&lacks, wall_ms).await {
            Ok(()) => {
                if self.map_fails().take().is_some() {
                    tracing::info!(flow = %self.flow, "the offset map is written again");
                }
                let mut units = self.units();
                for (target, due) in due.iter_mut().filter(|(_, due)| !due.entries.is_empty()) {
                    if let Some(Mapping::Known(tip)) =
                        units.get_mut(target).map(|unit| &mut unit.mapping)
                    {
                        tip.wrote(&due.entries, &due.progress);
                    }
                    if let Some(checkpoint) = &mut due.checkpoint {
                        checkpoint.unmapped = None;
                    }
                }
                return Vec::new();
            }
            Err(error) => error,
        };
        if matches!(error, MapError::Lost { .. }) {
            for unit in self.units().values_mut() {
                if let Mapping::Known(tip) = &mut unit.mapping {
                    tip.anew();
                }
            }
        }
        if self.give_up(&error) {
            return Vec::new();
        }
        let waiting = due.extract_if(.., |_, due| !due.entries.is_empty());
        waiting
            .map(|(target, _)| (target, error.clone().into()))
            .collect()
    }

    /// Commits every `interval`, and when enough was acknowledged, until `stop`; the last commit is the
    /// caller's.
    pub async fn run(&self, interval: Duration, stop: CancellationToken) {
        let clock = &self.host.clock;
        let mut backoff = Backoff::new(interval.min(LAST_PAUSE), LAST_PAUSE);
        let mut failing = false;
        let mut pause = interval;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // While commits fail, more data makes them no better.
                () = self.acknowledged.full(), if !failing => {}
                () = clock.sleep(pause) => {}
            }
            let outcome = self.commit().await;
            let flow = &self.flow;
            match outcome {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(%flow, "checkpoints are committed again");
                    }
                    pause = interval;
                    backoff.reset();
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%flow, %error, "cannot commit checkpoints, trying again");
                    }
                    pause = backoff.delay(&*self.host.random);
                }
            }
        }
    }

    fn units(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Box<Unit>>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Unit {
    /// What to commit now, if there is something.
    fn due(&mut self, now: Duration, wall_ms: i64, without_map: bool) -> Option<Due> {
        // The state before the progress: once it says stopped, the progress is the last.
        let (stop, ended) = match &*self.state.borrow() {
            WorkerState::Stopped(stop) => (Some(stop.clone()), false),
            state => (None, *state == WorkerState::Ended),
        };
        let reason = stop.as_ref().map(|stop| stop.reason);
        let progress = self.progress.borrow().clone();
        let entries = match (&self.mapping, reason) {
            // Nobody goes on there until an operator says so, and what that will be is not known.
            (
                Mapping::Known(tip),
                Some(StopReason::TargetTopicRecreated | StopReason::TargetTruncated),
            ) => tip.lost(&progress),
            (Mapping::Known(tip), _) => tip.next(&self.template, &progress),
            (Mapping::Nothing | Mapping::Unread(_), _) => Vec::new(),
        };
        if let Some(StopReason::TargetTopicMissing | StopReason::TargetTopicRecreated) = reason {
            let cut = reason == Some(StopReason::TargetTopicRecreated) && !entries.is_empty();
            return (cut && !without_map).then_some(Due {
                checkpoint: None,
                progress,
                entries,
            });
        }
        let now_stopped = stop
            .as_ref()
            .map(|stop| (stop.reason.code(), stop.source_offset));
        let known = self.stopped.as_ref();
        if now_stopped != known.map(|known| (known.reason.as_str(), known.source_offset)) {
            self.stopped = stop.map(|stop| Stopped {
                reason: stop.reason.code().to_owned(),
                source_offset: stop.source_offset,
                since_ms: wall_ms,
            });
        }
        let settled = ended && progress.settled;
        let unmapped = self.unmapped(&entries, &progress);
        if let Some((committed, at)) = &self.committed
            && (entries.is_empty() || without_map)
            && committed.unmapped == unmapped
            && committed.source_offset == progress.source_offset
            && committed.target_offset == progress.target_offset
            && committed.stopped == self.stopped
            && committed.settled == settled
            && now.saturating_sub(*at) < REFRESH
        {
            return None;
        }
        let checkpoint = Checkpoint {
            source_offset: progress.source_offset,
            target_offset: progress.target_offset,
            last_record: progress.last_record,
            sequence: wrap(progress.sequence),
            producer: progress.producer,
            anchors: progress.anchors.clone(),
            stopped: self.stopped.clone(),
            settled,
            unmapped,
            ..self.template.clone()
        };
        Some(Due {
            checkpoint: Some(checkpoint),
            progress,
            entries,
        })
    }

    /// What the checkpoint says that the map lacks, if these entries are not written.
    fn unmapped(&self, entries: &[Entry], progress: &Progress) -> Option<i64> {
        let start = &self.template;
        let losses = match &self.mapping {
            Mapping::Known(_) if entries.is_empty() => return None,
            Mapping::Known(tip) => tip.untold(progress),
            Mapping::Unread(_) => progress.losses,
            // It did not move since the map told all of it.
            Mapping::Nothing
                if progress.losses.is_none()
                    && start.source_offset == progress.source_offset
                    && start.target_offset == progress.target_offset =>
            {
                return start.unmapped;
            }
            Mapping::Nothing => progress.losses,
        };
        let lost = losses.map_or(NO_LOSS, |losses| losses.target_offset);
        Some(start.unmapped.map_or(lost, |before| before.min(lost)))
    }
}

#[cfg(test)]
mod tests;
