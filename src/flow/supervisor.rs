//! The loop of one flow: snapshot, plan, apply; and the end of it: drain, last commit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wire::TopicPartition;

use super::{
    Flow, FlowError,
    apply::StepError,
    boot::{Booted, Cancelled},
    launch::Judged,
    membership::{Membership, Solo},
    plan::{Known, Plan, Rules, Snapshot, Trouble, Unit, is_absence},
    start::Verdict,
    status::{Phase, Watched},
    topics::{naming::Naming, selection::Selection},
};
use crate::{
    base::{backoff::Backoff, ids::Route},
    checkpoint::{Checkpoint, Stored, codec, committer::Committer},
    sink::{Sink, librdkafka as librdkafka_sink},
    source::{Source, librdkafka as librdkafka_source},
    telemetry::{self, Outage, WorkerEvents},
    worker::{Progress, Settings, Stop, Worker, WorkerState},
};

/// Between two looks at both clusters.
const PERIOD: Duration = Duration::from_secs(2);
/// After a plan whose outcome the next one builds on.
const SHORT: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// For the last commit, beyond the drain.
const LAST_COMMIT: Duration = Duration::from_secs(10);
/// Workers keep the drain's deadline themselves; this is for those that do not.
const GRACE: Duration = Duration::from_secs(1);

/// A flow whose sides were found to be the right ones.
struct Supervisor<'a> {
    flow: &'a Flow,
    booted: Booted,
    rules: Rules,
    membership: Arc<dyn Membership>,
    committer: Arc<Committer>,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    units: BTreeMap<Route, Entry>,
    gauges: BTreeMap<(String, String), u64>,
}

/// A unit that was started, or refused to.
struct Entry {
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
}

impl Flow {
    /// Replicates until `stop`, then drains and commits.
    ///
    /// # Errors
    /// If it cannot run at all; a worker that stops is no error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FlowError> {
        let booted = match self.boot(&stop).await {
            Ok(booted) => booted,
            Err(Cancelled) => {
                self.board.enter(Phase::Ended);
                return Ok(());
            }
        };
        let outcome = match booted {
            Ok(booted) => self.supervise(booted, &stop).await,
            Err(error) => Err(error),
        };
        self.board.enter(Phase::Ended);
        outcome
    }

    async fn supervise(&self, booted: Booted, stop: &CancellationToken) -> Result<(), FlowError> {
        let mut supervisor = Supervisor::new(self, booted)?;
        let stop_commits = CancellationToken::new();
        let commits = supervisor.start_commits(stop_commits.clone());
        let outcome = supervisor.rounds(stop).await;
        self.board.enter(Phase::Draining);
        supervisor.drain().await;
        stop_commits.cancel();
        if let Err(error) = commits.await {
            tracing::error!(flow = %self.config.name, %error, "the committer failed");
        }
        supervisor.last_commit().await;
        supervisor.membership.leave().await;
        outcome
    }
}

impl<'a> Supervisor<'a> {
    fn new(flow: &'a Flow, booted: Booted) -> Result<Self, FlowError> {
        let config = &flow.config;
        let source = librdkafka_source::LibrdkafkaSource::start(librdkafka_source::Settings {
            properties: flow.source.properties(),
            client: flow.source.client().clone(),
            flow: config.name.clone(),
            cluster: config.source.clone(),
            isolation: config.isolation,
            budget: flow.budget.clone(),
        });
        let source = source.map_err(|error| FlowError::Source {
            alias: config.source.clone(),
            reason: format!("{error:#}"),
        })?;
        let sink = librdkafka_sink::LibrdkafkaSink::new(librdkafka_sink::Settings {
            properties: flow.target.properties(),
            flow: config.name.clone(),
            cluster: config.target.clone(),
            budget: flow.budget.total(),
        });
        let membership = Solo::new(Arc::clone(&booted.store));
        let committer = Committer::new(&config.name, membership.checkpoints(), flow.host.clone());
        Ok(Self {
            flow,
            rules: Rules {
                source: config.source.clone(),
                target: config.target.clone(),
                selection: Selection::new(config),
                naming: Naming::new(&config.naming, &config.source),
            },
            booted,
            membership: Arc::new(membership),
            committer: Arc::new(committer),
            source: Arc::new(source),
            sink: Arc::new(sink),
            units: BTreeMap::new(),
            gauges: BTreeMap::new(),
        })
    }

    fn start_commits(&self, stop: CancellationToken) -> JoinHandle<()> {
        let committer = Arc::clone(&self.committer);
        let interval = self.flow.config.checkpoint_interval;
        tokio::spawn(async move { committer.run(interval, stop).await })
    }

    /// Goes round until `stop`.
    async fn rounds(&mut self, stop: &CancellationToken) -> Result<(), FlowError> {
        let flow = self.flow;
        let outage = |alias| (Outage::new(&flow.config.name, alias), alias);
        let outages = [flow.source.alias(), flow.target.alias()].map(outage);
        let mut backoff = Backoff::new(PERIOD / 4, LAST_PAUSE);
        loop {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                round = self.round() => round,
            };
            let pause = match round {
                Ok(leads_on) => {
                    outages.iter().for_each(|(outage, _)| outage.ends());
                    flow.board.enter(Phase::Running);
                    backoff.reset();
                    if leads_on { SHORT } else { PERIOD }
                }
                Err(StepError::Fatal(error)) => return Err(error),
                Err(error) => {
                    let cluster = match &error {
                        StepError::Client { cluster, .. } | StepError::Offset { cluster, .. } => {
                            cluster
                        }
                        StepError::Control(_) | StepError::Store(_) | StepError::Fatal(_) => {
                            &flow.config.target
                        }
                    };
                    let reason = error.to_string();
                    let named = outages.iter().filter(|(_, alias)| alias == cluster);
                    named.for_each(|(outage, _)| outage.begins(&reason));
                    let cluster = cluster.clone();
                    flow.board.enter(Phase::Waiting { cluster, reason });
                    backoff.delay(&*flow.host.random)
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = flow.host.clock.sleep(pause) => {}
            }
        }
    }

    /// One round; whether the next should follow at once. Cancel-safe: what is written is read again at
    /// the next start.
    async fn round(&mut self) -> Result<bool, StepError> {
        let flow = self.flow;
        let snapshot = self.snapshot().await?;
        if self.booted.records.flow.is_none() && self.membership.is_leader() {
            let known = &self.booted.records.topics;
            let new = snapshot
                .topics
                .iter()
                .filter(|topic| !known.contains_key(&topic.key()));
            let new: Vec<_> = new.cloned().collect();
            flow.remember(&mut self.booted, &new).await?;
        }
        let assignment = self.membership.assignment().borrow().clone();
        let leader = self.membership.is_leader();
        let known = self.known();
        let records = &self.booted.records;
        let mut plan = self
            .rules
            .plan(&snapshot, records, &assignment, &known, leader);
        let leads_on = plan.leads_on();
        self.stop(std::mem::take(&mut plan.stop)).await;
        for route in &plan.vanished {
            self.units
                .entry(route.clone())
                .and_modify(|entry| entry.vanished = true);
        }
        for (unit, stop) in &plan.refuse {
            self.refuse(unit, None, stop.clone());
        }
        let troubles = match self.apply(&plan).await {
            Ok(troubles) => troubles,
            Err(error) => {
                self.tell(plan.troubles);
                return Err(error);
            }
        };
        plan.troubles.extend(troubles);
        let refused = !plan.troubles.is_empty();
        self.tell(plan.troubles);
        telemetry::workers(&flow.config.name, &mut self.gauges, &flow.board.states());
        // What was refused is refused again: no hurry.
        Ok(leads_on && !refused)
    }

    async fn snapshot(&self) -> Result<Snapshot, StepError> {
        let flow = self.flow;
        let all = flow.source.client().topics(None).await;
        let mut snapshot = self.rules.select(all.map_err(StepError::on(&flow.source))?);
        let names: Vec<_> = snapshot
            .topics
            .iter()
            .map(|topic| topic.target.clone())
            .collect();
        if !names.is_empty() {
            let found = flow.target.client().topics(Some(&names)).await;
            let found = found.map_err(StepError::on(&flow.target))?;
            snapshot.target = found
                .into_iter()
                .map(|topic| (topic.name.clone(), topic))
                .collect();
        }
        Ok(snapshot)
    }

    fn known(&mut self) -> BTreeMap<Route, Known> {
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
                // One that still drains must end before another one of the unit begins.
                vanished: entry.vanished && !entry.at_work(),
            };
            (route.clone(), known)
        });
        known.collect()
    }

    async fn stop(&mut self, stops: Vec<(Route, Option<Stop>)>) {
        for (route, stop) in stops {
            let Some(entry) = self.units.get_mut(&route) else {
                continue;
            };
            let Some(worker) = &mut entry.worker else {
                continue;
            };
            worker.stop();
            let Some(mut stop) = stop else {
                worker.ended().await;
                if let Err(error) = self.committer.commit().await {
                    tracing::warn!(flow = %self.flow.config.name, %error, "gave a partition up");
                }
                self.committer.forget(&route.target);
                self.flow.board.take(&route);
                self.units.remove(&route);
                continue;
            };
            entry.stopped = true;
            entry.vanished = is_absence(&stop);
            stop.source_offset = worker.progress.borrow().source_offset;
            let events = self.flow.events(&route);
            events.stopped(stop.reason.code(), stop.source_offset, &stop.text);
            let (_, state) = watch::channel(WorkerState::Stopped(stop));
            self.committer.watch_state(&route.target, state.clone());
            let watched = Watched {
                progress: worker.progress.clone(),
                state,
                source_end: Some(worker.source_end.clone()),
            };
            self.flow.board.put(route, watched);
        }
    }

    /// What is left of the plan, in its order.
    async fn apply(&mut self, plan: &Plan) -> Result<Vec<Trouble>, StepError> {
        let flow = self.flow;
        if !plan.remember.is_empty() {
            flow.remember(&mut self.booted, &plan.remember).await?;
        }
        let mut troubles = flow.create(&plan.create, self.booted.replicas).await?;
        troubles.extend(flow.grow(&plan.grow).await?);
        flow.bind(&mut self.booted, &plan.bind).await?;
        if !plan.start.is_empty() {
            let (judged, unseen) = flow.judge(&self.booted, &plan.start).await?;
            troubles.extend(unseen);
            self.launch(judged).await;
        }
        Ok(troubles)
    }

    /// Starts what may start, behind its barrier; the rest is stopped from the beginning.
    async fn launch(&mut self, judged: Vec<Judged>) {
        let mut barriers: Vec<(TopicPartition, Stored)> = Vec::new();
        for one in &judged {
            if let Verdict::Run {
                start,
                barrier: true,
            } = &one.verdict
            {
                let checkpoint = one.identity.checkpoint(start);
                barriers.push((one.unit.route.target.clone(), codec::encode(&checkpoint)));
            }
        }
        let outcomes = self.booted.store.commit(&barriers).await;
        let failed: BTreeMap<_, _> = outcomes
            .into_iter()
            .filter_map(|(p, outcome)| Some((p, outcome.err()?)))
            .collect();
        if let Some((partition, error)) = failed.first_key_value() {
            let (flow, count) = (&self.flow.config.name, failed.len());
            tracing::warn!(%flow, %partition, count, %error, "workers wait: no first checkpoint");
        }
        for one in judged {
            match &one.verdict {
                Verdict::Stop(stop) => self.refuse(&one.unit, one.stored.as_ref(), stop.clone()),
                Verdict::Run { .. } if failed.contains_key(&one.unit.route.target) => {}
                Verdict::Run { start, barrier } => self.spawn(&one, start.clone(), *barrier),
            }
        }
    }

    fn spawn(&mut self, judged: &Judged, start: Progress, barrier: bool) {
        let (flow, route) = (self.flow, &judged.unit.route);
        let checkpoint = judged.identity.checkpoint(&start);
        let worker = Worker::spawn(Settings {
            route: route.clone(),
            start,
            codec: judged.codec,
            max_batch_bytes: judged.max_batch_bytes,
            drain_timeout: flow.drain_timeout,
            source: Arc::clone(&self.source),
            sink: Arc::clone(&self.sink),
            host: flow.host.clone(),
            events: flow.events(route),
        });
        let committed = barrier || judged.stored.as_ref() == Some(&checkpoint);
        let (progress, state) = (worker.progress.clone(), worker.state.clone());
        self.committer
            .watch(route.target.clone(), checkpoint, committed, progress, state);
        let watched = Watched {
            progress: worker.progress.clone(),
            state: worker.state.clone(),
            source_end: Some(worker.source_end.clone()),
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

    /// `stored` is the unit's checkpoint, if it has one.
    fn refuse(&mut self, unit: &Unit, stored: Option<&Checkpoint>, stop: Stop) {
        let (flow, route) = (self.flow, &unit.route);
        flow.events(route)
            .stopped(stop.reason.code(), stop.source_offset, &stop.text);
        let start = stored.map_or(Progress::start(stop.source_offset, 0), Progress::from);
        let vanished = is_absence(&stop);
        let (_, progress) = watch::channel(start);
        let (_, state) = watch::channel(WorkerState::Stopped(stop));
        // Only what is a checkpoint already gets the reason added; nothing else may become one.
        if let Some(checkpoint) = stored {
            let (progress, state) = (progress.clone(), state.clone());
            self.committer.watch(
                route.target.clone(),
                checkpoint.clone(),
                true,
                progress,
                state,
            );
        }
        let watched = Watched {
            progress,
            state,
            source_end: None,
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

    fn tell(&self, troubles: Vec<Trouble>) {
        let flow = &self.flow.config.name;
        for Trouble { topic, code, text } in self.flow.board.troubles(troubles) {
            tracing::warn!(%flow, %topic, code, "{text}");
        }
    }

    /// Stops all workers and waits for their last answers; names those that are late.
    async fn drain(&mut self) {
        let workers = self
            .units
            .values_mut()
            .filter_map(|entry| entry.worker.as_mut());
        let mut workers: Vec<_> = workers.filter(|worker| !worker.is_finished()).collect();
        workers.iter().for_each(|worker| worker.stop());
        let clock = &self.flow.host.clock;
        let deadline = clock.sleep(self.flow.drain_timeout + GRACE);
        tokio::pin!(deadline);
        for worker in &mut workers {
            tokio::select! {
                biased;
                () = worker.ended() => {}
                () = &mut deadline => break,
            }
        }
        for worker in workers.iter().filter(|worker| !worker.is_finished()) {
            let (flow, source) = (&self.flow.config.name, &worker.route.source);
            tracing::warn!(%flow, partition = %source, "the worker was late for the stop");
        }
    }

    async fn last_commit(&self) {
        let flow = &self.flow.config.name;
        let commit = tokio::select! {
            biased;
            commit = self.committer.commit() => commit.map_err(|error| error.to_string()),
            () = self.flow.host.clock.sleep(LAST_COMMIT) => Err("no answer".to_owned()),
        };
        match commit {
            Ok(()) => tracing::info!(%flow, "stopped; all checkpoints are committed"),
            Err(error) => tracing::warn!(
                %flow, %error,
                "stopped without the last checkpoints: what came after them is copied again"
            ),
        }
    }
}

impl Flow {
    fn events(&self, route: &Route) -> WorkerEvents {
        WorkerEvents::new(&self.config.name, route, self.partition_metrics)
    }
}
