//! The loop of one flow: snapshot, plan, apply; and the end of it: drain, last commit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Flow, FlowError,
    apply::StepError,
    boot::{Booted, Cancelled},
    carriers::Carriers,
    cycles::Cycles,
    membership::{Membership, Solo},
    plan::{Plan, Rules, Snapshot, Trouble},
    status::Phase,
    workers::Workers,
};
use crate::{
    base::backoff::Backoff,
    checkpoint::committer::{self, Committer},
    telemetry,
};

/// Between two looks at both clusters.
const PERIOD: Duration = Duration::from_secs(2);
/// After a plan whose outcome the next one builds on.
const SHORT: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// For the last commit, beyond the drain.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// A flow whose sides were found to be the right ones.
struct Supervisor<'a> {
    flow: &'a Flow,
    booted: Booted,
    rules: Rules,
    membership: Arc<dyn Membership>,
    committer: Arc<Committer>,
    workers: Workers<'a>,
    cycles: Cycles<'a>,
    gauges: BTreeMap<(String, String), u64>,
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
        supervisor.workers.drain().await;
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
        let Carriers {
            source,
            sink,
            sealing,
        } = flow.carriers(booted.expiration)?;
        let membership = Solo::new(Arc::clone(&booted.store));
        let committer = Committer::new(
            &config.name,
            membership.checkpoints(),
            flow.host.clone(),
            committer::bound(flow.budget.total()),
        );
        let committer = Arc::new(committer);
        let workers = Workers {
            flow,
            store: membership.checkpoints(),
            committer: Arc::clone(&committer),
            source,
            sink,
            sealing,
            units: BTreeMap::new(),
        };
        Ok(Self {
            flow,
            rules: Rules::new(config),
            cycles: Cycles::new(flow, [&booted.source_id, &booted.target_id]),
            booted,
            membership: Arc::new(membership),
            committer,
            workers,
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
        let outages = &flow.outages;
        let mut backoff = Backoff::new(PERIOD / 4, LAST_PAUSE);
        loop {
            let (source, target) = (outages.source.attempt(), outages.target.attempt());
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                round = self.round() => round,
            };
            let pause = match round {
                Ok(leads_on) => {
                    outages.source.succeeded(source);
                    outages.target.succeeded(target);
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
                    outages.of(cluster).begins(&reason);
                    if cluster == flow.target.alias() {
                        // Every round asks the source first.
                        outages.source.succeeded(source);
                    }
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
        let mut snapshot = self.snapshot().await?;
        self.cycles.cut(&mut snapshot).await;
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
        let known = self.workers.known();
        let records = &self.booted.records;
        let mut plan = self
            .rules
            .plan(&snapshot, records, &assignment, &known, leader);
        let leads_on = plan.leads_on();
        self.workers.stop(std::mem::take(&mut plan.stop)).await;
        self.workers.vanished(&plan.vanished);
        for (unit, stop) in &plan.refuse {
            self.workers.refuse(unit, None, stop.clone());
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
            self.workers.launch(judged).await;
        }
        Ok(troubles)
    }

    fn tell(&self, troubles: Vec<Trouble>) {
        let flow = &self.flow.config.name;
        for Trouble { topic, code, text } in self.flow.board.troubles(troubles) {
            tracing::warn!(%flow, %topic, code, "{text}");
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
