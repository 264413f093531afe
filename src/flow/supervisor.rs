//! The loop of one flow: snapshot, plan, apply; and the end of it: drain, last commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wire::{TopicPartition, client::TopicDescription};

use super::{
    Flow, FlowError,
    adjust::Job,
    apply::StepError,
    boot::{Booted, Cancelled},
    carriers::Carriers,
    cycles::Cycles,
    membership::{
        Group, GroupSettings, Membership, Solo, Standing, View, name::Name, orphans::Orphans,
    },
    plan::{Plan, Rules, Snapshot, Trouble},
    status::Phase,
    sync::{configs::AllFollowed, groups::Copied},
    targets::Targets,
    topics::retire::Absences,
    workers::Workers,
};
use crate::{
    base::backoff::Backoff,
    checkpoint::{
        committer::{self, Committer},
        offset_map::Anchors,
    },
    config::Assignment,
    telemetry::{self, Retry},
    worker::Throttles,
};

/// Between two looks at both clusters.
const PERIOD: Duration = Duration::from_secs(2);
/// After a plan whose outcome the next one builds on.
const SHORT: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Units that are looked at and started together: of many thousand, some run while others are looked at, and a round that is
/// broken off, as the group shares out more, loses little.
const START: usize = 1_000;
/// For the last commit, beyond the drain. With the drain's default and a member's leaving this is less than the half minute that
/// container platforms wait before they kill.
const LAST_COMMIT: Duration = Duration::from_secs(4);

/// A flow whose sides were found to be the right ones.
pub(super) struct Supervisor<'a> {
    pub(super) flow: &'a Flow,
    pub(super) booted: Booted,
    pub(super) rules: Rules,
    pub(super) membership: Arc<dyn Membership>,
    pub(super) orphans: Orphans,
    /// When to look for them again, on the clock's monotonic time.
    pub(super) next_look: Duration,
    /// Whether this process led in the last round.
    pub(super) leads: bool,
    pub(super) committer: Arc<Committer>,
    pub(super) workers: Workers<'a>,
    cycles: Cycles<'a>,
    /// What the flow copies, told to its syncs while this process leads.
    pub(super) copied: watch::Sender<Option<Arc<Copied>>>,
    /// Whose configs follow, told to its job for configs while this process leads.
    pub(super) followed: watch::Sender<Option<Arc<AllFollowed>>>,
    /// Target partitions whose checkpoints do not count: they were reset and did not start since.
    pub(super) anew: BTreeSet<TopicPartition>,
    /// The target's topics, between rounds.
    targets: Targets,
    /// Since when topics are gone from the source.
    pub(super) absences: Absences,
    /// Whether rules that hold for no topic were told.
    told_idle_rules: bool,
    /// What operators ask for.
    jobs: Option<mpsc::Receiver<Job>>,
}

impl Flow {
    /// Replicates until `stop`, then drains and commits.
    ///
    /// # Errors
    /// If it cannot run at all; a worker that stops is no error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FlowError> {
        let clients = [&self.source, &self.target].map(|cluster| cluster.client().clone());
        self.board.asks(clients);
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
        let syncs = supervisor.start_syncs(stop);
        let outcome = supervisor.rounds(stop).await;
        supervisor.copied.send_replace(None);
        self.board.enter(Phase::Draining);
        supervisor.drain().await;
        stop_commits.cancel();
        for sync in syncs {
            sync.abort();
        }
        // Without its place in the group there is nobody left to commit for.
        let placeless = matches!(
            outcome,
            Err(FlowError::Fenced { .. } | FlowError::Group { .. })
        );
        supervisor.last_commit(commits, !placeless).await;
        supervisor.membership.leave().await;
        outcome
    }

    fn membership(&self, booted: &Booted) -> Arc<dyn Membership> {
        let config = &self.config;
        if config.assignment == Assignment::Solo {
            return Arc::new(Solo::new(Arc::clone(&booted.store)));
        }
        let (instance, folder) = (config.instance.as_deref(), self.state_dir.as_deref());
        let name = Name::choose(&self.host, &config.name, instance, folder);
        tracing::info!(flow = %config.name, member = name.as_str(), "joining the flow's group");
        Arc::new(Group::start(GroupSettings {
            client: self.target.client().clone(),
            flow: config.name.clone(),
            group: config.group(),
            control: booted.control.partition().clone(),
            name,
            rules: Rules::new(config).fingerprint(),
            clock: Arc::clone(&self.host.clock),
        }))
    }

    /// Both sides as they are now.
    pub(super) async fn snapshot(
        &self,
        rules: &Rules,
        more_targets: impl Iterator<Item = String>,
    ) -> Result<Snapshot, StepError> {
        let mut snapshot = self.selected(rules).await?;
        let wanted = snapshot.topics.iter().map(|topic| topic.target.clone());
        let names: BTreeSet<_> = wanted.chain(more_targets).collect();
        let names: Vec<_> = names.into_iter().collect();
        if !names.is_empty() {
            let found = self.target.client().topics(Some(&names)).await;
            let found = found.map_err(StepError::on(&self.target))?;
            snapshot.target = found
                .into_iter()
                .map(|topic| (topic.name.clone(), topic))
                .collect();
        }
        Ok(snapshot)
    }

    /// The source as it is now.
    async fn selected(&self, rules: &Rules) -> Result<Snapshot, StepError> {
        let all = self.source.client().topics(None).await;
        Ok(rules.select(all.map_err(StepError::on(&self.source))?))
    }
}

impl<'a> Supervisor<'a> {
    fn new(flow: &'a Flow, booted: Booted) -> Result<Self, FlowError> {
        let config = &flow.config;
        let membership = flow.membership(&booted);
        let Carriers {
            source,
            sink,
            sealing,
        } = flow.carriers(&booted, membership.lease())?;
        let committer = Committer::new(
            &config.name,
            &config.target,
            membership.checkpoints(),
            flow.host.clone(),
            committer::bound(flow.budget.total()),
        );
        let committer = Arc::new(match &booted.map {
            Some(map) => committer.with_map(Arc::clone(map) as Arc<dyn Anchors>),
            None => committer,
        });
        flow.board
            .commits(Arc::clone(&committer), membership.lease());
        let workers = Workers {
            flow,
            store: membership.checkpoints(),
            committer: Arc::clone(&committer),
            source,
            sink,
            sealing,
            lease: membership.lease(),
            shared: config.assignment == Assignment::Shared,
            throttles: Throttles::new(Arc::clone(&flow.host.clock), config.rate),
            units: BTreeMap::new(),
        };
        Ok(Self {
            flow,
            rules: Rules::new(config),
            anew: BTreeSet::new(),
            jobs: flow.desk.open(),
            copied: watch::Sender::new(None),
            followed: watch::Sender::new(None),
            targets: Targets::default(),
            absences: Absences::default(),
            told_idle_rules: false,
            cycles: Cycles::new(flow, [&booted.source_id, &booted.target_id]),
            booted,
            membership,
            orphans: Orphans::default(),
            next_look: Duration::ZERO,
            leads: config.assignment == Assignment::Solo,
            committer,
            workers,
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
        let mut changes = self.membership.view();
        loop {
            changes.mark_unchanged();
            let view = self.settle().await?;
            let (source, target) = (outages.source.attempt(), outages.target.attempt());
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = changes.changed() => continue,
                round = self.round(&view) => round,
            };
            let pause = match round {
                Ok(leads_on) => {
                    outages.source.succeeded(source);
                    outages.target.succeeded(target);
                    flow.board.enter(self.phase(&view));
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
                    telemetry::retried(&flow.config.name, cluster, Retry::Metadata);
                    if cluster == flow.target.alias() {
                        // Every round asks the source first.
                        outages.source.succeeded(source);
                    }
                    let cluster = cluster.clone();
                    flow.board.enter(Phase::Waiting { cluster, reason });
                    backoff.delay(&*flow.host.random)
                }
            };
            let job = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = changes.changed() => continue,
                Some(job) = next(&mut self.jobs) => job,
                () = flow.host.clock.sleep(pause) => continue,
            };
            self.serve(job).await;
        }
    }

    /// Ends what runs elsewhere now, and says so. Not cancel-safe.
    async fn settle(&mut self) -> Result<View, FlowError> {
        let view = self.membership.hold();
        self.workers.give_up(&view.assignment).await;
        self.membership.settled(&view.assignment);
        let Standing::Over { fenced, reason } = view.standing else {
            return Ok(view);
        };
        let group = self.flow.config.group();
        Err(match self.membership.name() {
            Some(name) if fenced => FlowError::Fenced {
                name: name.to_owned(),
                group,
                reason,
            },
            _ => FlowError::Group {
                group,
                alias: self.flow.config.target.clone(),
                reason,
            },
        })
    }

    fn phase(&self, view: &View) -> Phase {
        match view.standing {
            Standing::Member => Phase::Running,
            Standing::Joining | Standing::Over { .. } => Phase::Waiting {
                cluster: self.flow.config.target.clone(),
                reason: format!("joining group {}", self.flow.config.group()),
            },
        }
    }

    /// One round; whether the next should follow at once. Cancel-safe: what is written is read again at
    /// the next start.
    async fn round(&mut self, view: &View) -> Result<bool, StepError> {
        if let Some(partition) = self.workers.taken_over() {
            return Err(StepError::Fatal(FlowError::TakenOver {
                partition: partition.clone(),
                alias: self.flow.config.target.clone(),
            }));
        }
        let mut snapshot = self.snapshot().await?;
        let leads_on = self.step(view, &mut snapshot).await;
        self.targets.keep(snapshot.target);
        leads_on
    }

    /// What is to be done about what both sides hold; whether the next round should follow at once.
    async fn step(&mut self, view: &View, snapshot: &mut Snapshot) -> Result<bool, StepError> {
        let flow = self.flow;
        // Before cycles are cut: the lists of all members are to be the same.
        self.membership.share(self.shared_topics(snapshot));
        if view.standing != Standing::Member {
            return Ok(false);
        }
        self.workers.reap().await;
        self.cycles.cut(snapshot).await;
        let leader = self.lead(view, snapshot).await?;
        self.tell_idle_rules(snapshot, leader);
        self.tell_syncs(snapshot, leader);
        if self.booted.records.flow.is_none() && leader {
            let known = &self.booted.records.topics;
            let new = snapshot
                .topics
                .iter()
                .filter(|topic| !known.contains_key(&topic.key()));
            let new: Vec<_> = new.cloned().collect();
            flow.remember(&mut self.booted, &new).await?;
        }
        if leader {
            flow.record_provides(&mut self.booted).await?;
            let moved = self.cycles.moved(&self.booted.records);
            flow.record_ways(&mut self.booted, moved).await?;
        }
        let known = self.workers.known();
        let records = &self.booted.records;
        let mut plan = self
            .rules
            .plan(snapshot, records, &view.assignment, &known, leader);
        plan.troubles
            .extend(self.look_for_orphans(snapshot, leader).await);
        let leads_on = plan.leads_on();
        self.workers.stop(std::mem::take(&mut plan.stop));
        self.workers.vanished(&plan.vanished);
        for (unit, stop) in &plan.refuse {
            self.workers.refuse(unit, None, stop.clone(), None);
        }
        let troubles = match self.apply(&plan).await {
            Ok(troubles) => troubles,
            Err(error) => {
                self.tell(plan.troubles);
                return Err(error);
            }
        };
        let refused = !troubles.is_empty();
        plan.troubles.extend(troubles);
        match self.retire(snapshot, leader).await {
            Ok(troubles) => plan.troubles.extend(troubles),
            Err(error) => {
                self.tell(plan.troubles);
                return Err(error);
            }
        }
        self.tell(plan.troubles);
        // What was refused is refused again: no hurry.
        Ok(leads_on && !refused)
    }

    /// Once: a topic that comes later is no news.
    fn tell_idle_rules(&mut self, snapshot: &Snapshot, leader: bool) {
        if !leader || std::mem::replace(&mut self.told_idle_rules, true) {
            return;
        }
        let config = &self.flow.config;
        for rule in config.idle_rules(&snapshot.seen) {
            let (flow, rule) = (&config.name, rule.topics.text());
            tracing::warn!(%flow, %rule, "a rule holds for no topic: none matches it, or rules before it come first");
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, StepError> {
        let flow = self.flow;
        let mut snapshot = flow.selected(&self.rules).await?;
        let wanted = snapshot.topics.iter().map(|topic| (&topic.target, topic));
        let wanted: BTreeMap<_, _> = wanted.collect();
        let records = &self.booted.records;
        let rests = |found: &TopicDescription| {
            found.error.is_none()
                && wanted.get(&found.name).is_none_or(|topic| {
                    let bound = records.topics.get(&topic.key());
                    bound.and_then(|record| record.target_topic_id) == Some(found.id)
                        && topic.partitions == found.partition_count()
                })
        };
        // Also those whose source is gone: their partitions keep their owners, who say so.
        let names = wanted.keys().map(|name| (*name).clone());
        let names: BTreeSet<_> = names.chain(self.recorded_targets()).collect();
        let asked = self.targets.asked(&names, rests);
        let found = match asked.is_empty() {
            true => Vec::new(),
            false => flow
                .target
                .client()
                .topics(Some(&asked))
                .await
                .map_err(StepError::on(&flow.target))?,
        };
        snapshot.target = self.targets.with(&names, found);
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
        for some in plan.start.chunks(START) {
            let (judged, unseen) = flow.judge(&self.booted, some, &self.anew).await?;
            troubles.extend(unseen);
            let map_read = self.read_map().await;
            // Behind its first checkpoint the old one counts no more.
            for target in self.workers.launch(judged, map_read).await {
                self.anew.remove(&target);
            }
        }
        Ok(troubles)
    }

    fn tell(&self, troubles: Vec<Trouble>) {
        let flow = &self.flow.config.name;
        for Trouble { topic, code, text } in self.flow.board.troubles(troubles) {
            tracing::warn!(%flow, %topic, code, "{text}");
        }
    }

    /// Ends all workers; those whose partitions go to another process meanwhile are given less time.
    async fn drain(&mut self) {
        let mut changes = self.membership.view();
        loop {
            changes.mark_unchanged();
            if self.settle().await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = self.workers.drain() => return,
            }
        }
    }

    /// Waits for the commit that is on its way, and commits what is left if `wanted`; both within [`LAST_COMMIT`].
    async fn last_commit(&self, mut commits: JoinHandle<()>, wanted: bool) {
        let flow = &self.flow.config.name;
        let commit = async {
            if let Err(error) = (&mut commits).await {
                tracing::error!(%flow, %error, "the committer failed");
            }
            match wanted {
                true => self
                    .committer
                    .commit()
                    .await
                    .map_err(|error| error.to_string()),
                false => Ok(()),
            }
        };
        let commit = tokio::select! {
            biased;
            commit = commit => commit,
            () = self.flow.host.clock.sleep(LAST_COMMIT) => Err("no answer".to_owned()),
        };
        commits.abort();
        match commit {
            Ok(()) if wanted => tracing::info!(%flow, "stopped; all checkpoints are committed"),
            Ok(()) => {}
            Err(error) => tracing::warn!(
                %flow, %error,
                "stopped without the last checkpoints: what came after them is copied again"
            ),
        }
    }
}

/// The next request; never, if somebody else serves them.
async fn next(jobs: &mut Option<mpsc::Receiver<Job>>) -> Option<Job> {
    match jobs {
        Some(jobs) => jobs.recv().await,
        None => std::future::pending().await,
    }
}
