//! The workers of one flow: started behind their barrier, refused, stopped, drained.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;
use wire::TopicPartition;

use super::{
    Flow,
    launch::Judged,
    membership::Assignment,
    plan::{Known, Unit, is_absence},
    start::Verdict,
    status::Watched,
};
use crate::{
    base::ids::Route,
    checkpoint::{
        Checkpoint, CheckpointStore, Stored, codec,
        committer::{Committer, Template},
    },
    sink::Sink,
    source::Source,
    telemetry::{self, WorkerEvents},
    worker::{
        Advice, Exactness, Lag, Lease, Progress, Settings, Stop, StopReason, Throttles, Worker,
        WorkerState, reconcile::Reconciler,
    },
};

/// How long workers may take for their last answers when their partitions go to another process.
const HAND_OVER: Duration = Duration::from_secs(3);
/// For the commit after that.
const LAST_COMMIT: Duration = Duration::from_secs(2);
/// Workers keep the drain's deadline themselves; this is for those that do not.
const GRACE: Duration = Duration::from_secs(1);

/// Units that run here, or were refused.
pub(super) struct Workers<'a> {
    pub(super) flow: &'a Flow,
    /// For first checkpoints; the rest is the committer's.
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) committer: Arc<Committer>,
    pub(super) source: Arc<dyn Source>,
    pub(super) sink: Arc<dyn Sink>,
    /// What sealed batches need of the target, if they are written.
    pub(super) sealing: Option<Sealing>,
    pub(super) lease: Arc<dyn Lease>,
    /// Whether other processes may have a unit before and after this one: every start is then behind a
    /// commit, which shows that the unit is this process's and begins its lease.
    pub(super) shared: bool,
    pub(super) throttles: Throttles,
    pub(super) units: BTreeMap<Route, Entry>,
}

/// What sealed batches need of the target.
#[derive(Debug)]
pub(super) struct Sealing {
    /// Reads it after a doubt.
    pub(super) reconciler: Arc<dyn Reconciler>,
    /// Its `producer.id.expiration.ms`, if it is known.
    pub(super) expiration: Option<Duration>,
}

/// The target of a unit that was refused ends before its checkpoint.
pub(super) struct Lost {
    /// Who it is in the offset map.
    unit: u64,
    /// Where it ends.
    held: i64,
}

/// A unit that was started, or refused to.
pub(super) struct Entry {
    unit: Unit,
    worker: Option<Worker>,
    /// Stopped by the plan, or refused before it had a worker.
    stopped: bool,
    vanished: bool,
}

impl Entry {
    fn at_work(&self) -> bool {
        self.worker
            .as_ref()
            .is_some_and(|worker| !worker.is_finished())
    }

    fn wants_verdict(&self) -> bool {
        let worker = self.worker.as_ref().filter(|worker| worker.is_finished());
        let state = worker.map(|worker| worker.state.borrow().clone());
        !self.stopped && matches!(state, Some(WorkerState::Retrying { .. }))
    }
}

impl Workers<'_> {
    /// What the next plan has to know. A worker that ended by itself, which none should, may start again.
    pub(super) fn known(&mut self) -> BTreeMap<Route, Known> {
        let known = self.units.iter_mut().map(|(route, entry)| {
            let running = entry.at_work() && !entry.stopped;
            let state = entry.worker.as_ref().map(|worker| worker.state.borrow().clone());
            let stopped = entry.stopped || matches!(state, Some(WorkerState::Stopped(_)));
            if !running && !stopped && !std::mem::replace(&mut entry.vanished, true) {
                tracing::error!(partition = %route.source, "a worker ended by itself; it starts again");
            }
            let known = Known {
                unit: entry.unit.clone(),
                running,
                drains: entry.stopped && entry.at_work(),
                // One that still drains must end before another one of the unit begins.
                vanished: entry.vanished && !entry.at_work(),
            };
            (route.clone(), known)
        });
        known.collect()
    }

    /// Their topic is gone: they may start when it is back.
    pub(super) fn vanished(&mut self, routes: &[Route]) {
        for route in routes {
            if let Some(entry) = self.units.get_mut(route) {
                entry.vanished = true;
            }
        }
    }

    /// Gives up all units that `assignment` does not hold. Units without a worker are the plan's to forget. Not
    /// cancel-safe.
    pub(super) async fn give_up(&mut self, assignment: &Assignment) {
        let lost = |(route, entry): &(&Route, &Entry)| {
            entry.worker.is_some() && !assignment.holds(&route.target)
        };
        let gone = self.units.iter().filter(lost);
        let gone: BTreeSet<Route> = gone.map(|(route, _)| route.clone()).collect();
        self.release(gone).await;
    }

    /// Lets units go: ends their workers, commits what they have acknowledged, forgets them; nothing is committed for
    /// them any more. What is unanswered then is in doubt and its next owner's matter. Not cancel-safe.
    pub(super) async fn release(&mut self, gone: BTreeSet<Route>) {
        if gone.is_empty() {
            return;
        }
        // Without a lease the next owner may be at work already, and a commit would be refused.
        let ours = self.lease.may_write();
        let patience = if ours { HAND_OVER } else { Duration::ZERO };
        let workers = self
            .units
            .iter_mut()
            .filter(|(route, _)| gone.contains(route));
        let workers = workers.filter_map(|(_, entry)| entry.worker.as_mut());
        let mut workers: Vec<_> = workers.filter(|worker| !worker.is_finished()).collect();
        workers.iter().for_each(|worker| worker.stop());
        if !ended(&mut workers, self.flow.host.clock.sleep(patience)).await {
            workers.iter().for_each(|worker| worker.abort());
            self.sink.recall().await;
            for worker in workers.iter_mut().filter(|worker| !worker.is_finished()) {
                worker.ended().await;
            }
        }
        if ours {
            let commit = tokio::select! {
                biased;
                commit = self.committer.commit() => commit.map_err(|error| error.to_string()),
                () = self.flow.host.clock.sleep(LAST_COMMIT) => Err("no answer".to_owned()),
            };
            if let Err(error) = commit {
                let flow = &self.flow.config.name;
                tracing::warn!(%flow, %error, "gave partitions up without their last checkpoints");
            }
        } else {
            // One that is on its way still must not come after the partitions have come back.
            tokio::select! {
                biased;
                () = self.committer.idle() => {}
                () = self.flow.host.clock.sleep(LAST_COMMIT) => {}
            }
        }
        for route in gone {
            self.forget(&route);
        }
    }

    /// Lets units go whose workers ended to have their start judged anew.
    pub(super) async fn reap(&mut self) {
        let ended = self.units.iter().filter(|(_, entry)| entry.wants_verdict());
        let ended = ended.map(|(route, _)| route.clone()).collect();
        self.release(ended).await;
    }

    /// A target partition that another process writes, where none shares the flow with this one.
    pub(super) fn taken_over(&self) -> Option<&TopicPartition> {
        let is_taken = |worker: &Worker| {
            let state = &*worker.state.borrow();
            matches!(state, WorkerState::Stopped(stop) if stop.reason == StopReason::TakenOver)
        };
        let mut units = self.units.iter().filter(|_| !self.shared);
        let taken = units.find(|(_, entry)| entry.worker.as_ref().is_some_and(is_taken));
        taken.map(|(route, _)| &route.target)
    }

    /// Whether a worker is at work here on the target topic with id `target`, or still waits for answers.
    pub(super) fn write_to(&self, target: Uuid) -> bool {
        let mut units = self.units.values();
        units.any(|entry| entry.unit.target_topic == target && entry.at_work())
    }

    /// What is known here of these source partitions.
    pub(super) fn routes(&self, wanted: impl Fn(&TopicPartition) -> bool) -> BTreeSet<Route> {
        let routes = self.units.keys().filter(|route| wanted(&route.source));
        routes.cloned().collect()
    }

    fn forget(&mut self, route: &Route) {
        self.committer.forget(&route.target);
        self.flow.board.take(route);
        self.units.remove(route);
    }

    /// Stops workers for a reason, or forgets units that are another process's: their workers were
    /// ended when they were given up.
    pub(super) fn stop(&mut self, stops: Vec<(Route, Option<Stop>)>) {
        for (route, stop) in stops {
            let Some(mut stop) = stop else {
                self.forget(&route);
                continue;
            };
            let Some(entry) = self.units.get_mut(&route) else {
                continue;
            };
            let Some(worker) = &mut entry.worker else {
                continue;
            };
            worker.stop();
            entry.stopped = true;
            entry.vanished = is_absence(&stop);
            let next = worker.progress.borrow().source_offset;
            stop.source_offset = next;
            let stop = stop.advised(&self.flow.advice(&route), next);
            self.flow.events(&route).stopped(&stop);
            let (_, state) = watch::channel(WorkerState::Stopped(stop));
            self.committer.watch_state(&route.target, state.clone());
            let watched = Watched {
                progress: worker.progress.clone(),
                state,
                source_end: Some(worker.source_end.clone()),
                lag: worker.lag.clone(),
            };
            self.flow.board.put(route, watched);
        }
    }

    /// Starts what may start, behind its barrier; the rest is stopped from the beginning.
    /// The target partitions of those that were started. `map_read`: whether the offset map was read since they were judged.
    pub(super) async fn launch(
        &mut self,
        judged: Vec<Judged>,
        map_read: bool,
    ) -> Vec<TopicPartition> {
        let mut barriers: Vec<(TopicPartition, Stored)> = Vec::new();
        for one in &judged {
            if let Verdict::Run { start, barrier, .. } = &one.verdict
                && (*barrier || self.shared || start.settled)
            {
                let checkpoint = one.identity.checkpoint(start);
                barriers.push((one.unit.route.target.clone(), codec::encode(&checkpoint)));
            }
        }
        let outcomes = self.store.commit(&barriers).await;
        let failed: BTreeMap<_, _> = outcomes
            .into_iter()
            .filter_map(|(p, outcome)| Some((p, outcome.err()?)))
            .collect();
        if let Some((partition, error)) = failed.first_key_value() {
            let (flow, count) = (&self.flow.config.name, failed.len());
            tracing::warn!(%flow, %partition, count, %error, "workers wait: no first checkpoint");
        }
        let mut started = Vec::new();
        let mut moved = 0;
        for one in judged {
            match &one.verdict {
                Verdict::Stop(stop) => {
                    let stored = one.stored.as_ref();
                    let lost = (stop.reason == StopReason::TargetTruncated).then_some(Lost {
                        unit: one.identity.in_map(),
                        held: one.target_end,
                    });
                    self.refuse(&one.unit, stored, stop.clone(), lost);
                }
                Verdict::Run { .. } if failed.contains_key(&one.unit.route.target) => {}
                Verdict::Run {
                    start,
                    barrier,
                    decision,
                } => {
                    if let Some(decision) = decision {
                        self.flow.events(&one.unit.route).decided(*decision);
                    }
                    self.spawn(&one, start.clone(), *barrier, map_read);
                    moved += usize::from(one.moves);
                    started.push(one.unit.route.target.clone());
                }
            }
        }
        if moved > 0 {
            telemetry::moved(&self.flow.config.name, moved, self.sealing.is_some());
        }
        started
    }

    fn spawn(&mut self, judged: &Judged, start: Progress, barrier: bool, map_read: bool) {
        let (flow, route) = (self.flow, &judged.unit.route);
        let topic = &route.source.topic;
        let checkpoint = judged.identity.checkpoint(&start);
        let (committed, committed_seen) = watch::channel(-1);
        let exactness = self.sealing.as_ref().map(|sealing| Exactness {
            reconciler: Arc::clone(&sealing.reconciler),
            expiration: sealing.expiration,
            committed: committed_seen,
        });
        let worker = Worker::spawn(Settings {
            route: route.clone(),
            source_topic: judged.unit.source_topic,
            start,
            limits: judged.limits,
            on_poison: judged.identity.config.on_poison,
            exactness,
            throttle: self.throttles.of(topic, flow.config.topic(topic).rate),
            drain_timeout: flow.drain_timeout,
            source: Arc::clone(&self.source),
            sink: Arc::clone(&self.sink),
            acknowledged: self.committer.acknowledged(),
            lease: Arc::clone(&self.lease),
            host: flow.host.clone(),
            events: flow.events(route),
            advice: flow.advice(route),
        });
        let known = barrier || self.shared || judged.stored.as_ref() == Some(&checkpoint);
        let (progress, state) = (worker.progress.clone(), worker.state.clone());
        self.committer.watch(
            route.target.clone(),
            Template {
                checkpoint,
                known,
                told: committed,
                unit: Some(judged.identity.in_map()),
                map_read,
            },
            progress,
            state,
        );
        let watched = Watched {
            progress: worker.progress.clone(),
            state: worker.state.clone(),
            source_end: Some(worker.source_end.clone()),
            lag: worker.lag.clone(),
        };
        flow.board.put(route.clone(), watched);
        let entry = Entry {
            unit: judged.unit.clone(),
            worker: Some(worker),
            stopped: false,
            vanished: false,
        };
        self.units.insert(route.clone(), entry);
    }

    /// `stored` is the unit's checkpoint, if it has one; `lost` where the target ends before it.
    pub(super) fn refuse(
        &mut self,
        unit: &Unit,
        stored: Option<&Checkpoint>,
        stop: Stop,
        lost: Option<Lost>,
    ) {
        let (flow, route) = (self.flow, &unit.route);
        let next = stored.map_or(-1, |checkpoint| checkpoint.source_offset);
        let stop = stop.advised(&flow.advice(route), next);
        flow.events(route).stopped(&stop);
        let mut start = stored.map_or(Progress::start(stop.source_offset, 0), Progress::from);
        if let Some(lost) = &lost {
            start.lose(lost.held);
        }
        let vanished = is_absence(&stop);
        let (_, progress) = watch::channel(start);
        let (_, state) = watch::channel(WorkerState::Stopped(stop));
        // Only what is a checkpoint already gets the reason added; nothing else may become one.
        if let Some(checkpoint) = stored {
            let (progress, state) = (progress.clone(), state.clone());
            let template = Template {
                checkpoint: checkpoint.clone(),
                known: true,
                told: watch::Sender::new(-1),
                unit: lost.map(|lost| lost.unit),
                map_read: false,
            };
            self.committer
                .watch(route.target.clone(), template, progress, state);
        }
        let watched = Watched {
            progress,
            state,
            source_end: None,
            lag: Lag::new(flow.host.clock.wall_ms()),
        };
        flow.board.put(route.clone(), watched);
        let entry = Entry {
            unit: unit.clone(),
            worker: None,
            stopped: true,
            vanished,
        };
        self.units.insert(route.clone(), entry);
    }

    /// Stops all workers and waits for their last answers; names those that are late.
    pub(super) async fn drain(&mut self) {
        let workers = self
            .units
            .values_mut()
            .filter_map(|entry| entry.worker.as_mut());
        let mut workers: Vec<_> = workers.filter(|worker| !worker.is_finished()).collect();
        workers.iter().for_each(|worker| worker.stop());
        let deadline = self.flow.host.clock.sleep(self.flow.drain_timeout + GRACE);
        ended(&mut workers, deadline).await;
        for worker in workers.iter().filter(|worker| !worker.is_finished()) {
            let (flow, source) = (&self.flow.config.name, &worker.route.source);
            tracing::warn!(%flow, partition = %source, "the worker was late for the stop");
        }
    }
}

/// Waits for all, until `deadline`; whether all have ended.
async fn ended(workers: &mut [&mut Worker], deadline: impl Future<Output = ()>) -> bool {
    tokio::pin!(deadline);
    for worker in workers {
        tokio::select! {
            biased;
            () = worker.ended() => {}
            () = &mut deadline => return false,
        }
    }
    true
}

impl Flow {
    fn advice(&self, route: &Route) -> Advice {
        Advice::new(&self.file, &self.config.name, &route.source)
    }

    fn events(&self, route: &Route) -> WorkerEvents {
        let config = &self.config;
        WorkerEvents::new(&config.name, [&config.source, &config.target], route)
    }
}
