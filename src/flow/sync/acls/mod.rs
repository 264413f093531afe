//! Rules about topics and groups (ACLs) follow on the target.
//!
//! Every ten seconds the flow's leader reads the rules of both sides, decides which the target is to have ([`wanted`]), and
//! creates what is missing. Rules that other flows created on the source are left out. What it created it remembers ([`created`]) before it does, and only that does it ever remove.

mod created;
mod report;
#[cfg(test)]
mod tests;
mod wanted;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub use created::name as topic_name;
use created::{Created, MAX_ACLS, is_one};
use host::Clock;
use report::Report;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
pub use wanted::{Changes, Scope, Wanted};
use wire::{
    client::{Acl, AclResource, Client},
    error::ClientError,
};

use super::groups::{Copied, GroupSelection};
use crate::{
    checkpoint::own_topic::TopicError,
    config::FlowConfig,
    flow::{
        status::Board,
        topics::{naming::Naming, selection::Selection},
    },
    worker::Lease,
};

/// Between two rounds: all rules of both clusters are read in each.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);
/// Rules in one request.
const CHUNK: usize = 500;
const SECURITY_DISABLED: i16 = 54;
const SOURCE: &str = "source";
const TARGET: &str = "target";

/// What the job needs.
#[derive(Debug)]
pub struct Settings {
    /// The flow.
    pub config: FlowConfig,
    /// The side that is read.
    pub source: Client,
    /// The side that is written to.
    pub target: Client,
    /// Of the topic for what was created, if it has to be made.
    pub replication_factor: i16,
    /// Asked before each write.
    pub lease: Arc<dyn Lease>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Told what became of it.
    pub board: Arc<Board>,
    /// What the flow copies, while this process leads it.
    pub copied: watch::Receiver<Option<Arc<Copied>>>,
}

/// The job.
#[derive(Debug)]
pub struct AclSync {
    selection: Selection,
    naming: Naming,
    groups: GroupSelection,
    memory: Created,
    /// What was created, as long as this process leads.
    created: Option<BTreeSet<Acl>>,
    report: Report,
    settings: Settings,
}

/// A round could not be finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the {0}: {1}")]
    Client(&'static str, ClientError),
    #[error("the {0} has no authorizer, so it has no rules (SECURITY_DISABLED)")]
    NoAuthorizer(&'static str),
    #[error("the target: {0}")]
    Created(#[from] TopicError),
    #[error("which rules of the source are copies themselves is not known: the source: {0}")]
    Copies(TopicError),
    #[error("the {0} has more than {MAX_ACLS} rules about topics and groups")]
    TooMany(&'static str),
    #[error("this process may not write to the target now")]
    Lease,
    #[error(
        "the source has no rule left for what the flow copies; the {0} that strait created on the target stay: if they are to \
         go, delete them there"
    )]
    AllGone(usize),
}

impl AclSync {
    /// Not begun.
    pub fn new(settings: Settings) -> Self {
        let config = &settings.config;
        Self {
            selection: Selection::new(config),
            naming: Naming::new(&config.naming, &config.source),
            groups: GroupSelection::new(config),
            memory: Created::new(settings.target.clone(), topic_name(&config.name)),
            created: None,
            report: Report::default(),
            settings,
        }
    }

    /// Looks again and again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut copied = self.settings.copied.clone();
        let clock = Arc::clone(&self.settings.clock);
        loop {
            let round = async {
                self.round().await;
                let leads = self.created.is_some();
                tokio::select! {
                    biased;
                    // Who leads from now on need not wait.
                    changed = copied.changed(), if !leads => {
                        if changed.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                    () = clock.sleep(PERIOD) => {}
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Cancel-safe: what is done is found on the target the next time.
    async fn round(&mut self) {
        let copied = self.settings.copied.borrow().clone();
        let Some(copied) = copied else {
            self.created = None;
            self.settings.board.acls(None);
            return;
        };
        let outcome = self.look(&copied).await;
        let flow = &self.settings.config.name;
        let told = match outcome {
            Ok(()) => self.report.finish(flow),
            Err(error) => self.report.failed(flow, error.to_string()),
        };
        self.settings.board.acls(Some(told));
    }

    async fn look(&mut self, copied: &Copied) -> Result<(), RoundError> {
        let Settings { source, target, .. } = &self.settings;
        let (mut of_source, unknown) = rules(source, SOURCE).await?;
        let copies = copies(source).await?;
        of_source.retain(|acl| !copies.contains(acl));
        let (there, _) = rules(target, TARGET).await?;
        let mut created = match self.created.take() {
            Some(created) => created,
            None => {
                self.memory.create(self.settings.replication_factor).await?;
                self.memory.read().await?
            }
        };
        let topics = copied.keys().map(|partition| partition.topic.as_str());
        let scope = Scope {
            mode: self.settings.config.acls,
            selection: &self.selection,
            topics: &topics.collect(),
            naming: &self.naming,
            groups: &self.groups,
        };
        let wanted = scope.wanted(&of_source);
        let changes = Changes::new(&wanted.acls, &there.iter().cloned().collect(), &created);
        let applied = match wanted.acls.is_empty() && !changes.remove.is_empty() {
            true => Err(RoundError::AllGone(changes.remove.len())),
            false => {
                self.report.begin(&wanted, unknown);
                self.apply(&changes, &mut created).await
            }
        };
        self.created = Some(created);
        applied
    }

    async fn apply(
        &mut self,
        changes: &Changes,
        created: &mut BTreeSet<Acl>,
    ) -> Result<(), RoundError> {
        for some in changes.create.chunks(CHUNK) {
            let now_ms = self.settings.clock.wall_ms();
            self.check_lease()?;
            self.memory.remember(some.iter(), now_ms).await?;
            created.extend(some.iter().cloned());
            self.check_lease()?;
            let outcomes = self.settings.target.create_acls(some).await;
            let outcomes = outcomes.map_err(|error| RoundError::Client(TARGET, error))?;
            let refused = self
                .report
                .created(&self.settings.config.name, some, &outcomes);
            self.forget(&refused, created).await?;
        }
        for some in changes.remove.chunks(CHUNK) {
            self.check_lease()?;
            let outcomes = self.settings.target.delete_acls(some).await;
            let outcomes = outcomes.map_err(|error| RoundError::Client(TARGET, error))?;
            let removed = self
                .report
                .removed(&self.settings.config.name, some, &outcomes);
            self.forget(&removed, created).await?;
        }
        self.forget(&changes.forget, created).await
    }

    async fn forget(&self, acls: &[Acl], created: &mut BTreeSet<Acl>) -> Result<(), RoundError> {
        if acls.is_empty() {
            return Ok(());
        }
        self.check_lease()?;
        let now_ms = self.settings.clock.wall_ms();
        self.memory.forget(acls.iter(), now_ms).await?;
        for acl in acls {
            created.remove(acl);
        }
        Ok(())
    }

    fn check_lease(&self) -> Result<(), RoundError> {
        match self.settings.lease.may_write() {
            true => Ok(()),
            false => Err(RoundError::Lease),
        }
    }
}

/// Rules of the source that are there because another flow created them. They are not copied on: of two flows between two
/// clusters each would make anew what is removed on the other side.
async fn copies(source: &Client) -> Result<BTreeSet<Acl>, RoundError> {
    let topics = source.topics(None).await;
    let topics = topics.map_err(|error| RoundError::Client(SOURCE, error))?;
    let mut copies = BTreeSet::new();
    for topic in topics.into_iter().filter(|topic| is_one(&topic.name)) {
        let created = Created::new(source.clone(), topic.name).read().await;
        copies.extend(created.map_err(RoundError::Copies)?);
    }
    Ok(copies)
}

/// All rules about topics and groups, and how many there are that are not understood.
async fn rules(client: &Client, side: &'static str) -> Result<(Vec<Acl>, usize), RoundError> {
    let failed = |error: ClientError| match error.api_error() {
        Some(api) if api.code == SECURITY_DISABLED => RoundError::NoAuthorizer(side),
        _ => RoundError::Client(side, error),
    };
    let mut all = client
        .describe_acls(AclResource::Topic)
        .await
        .map_err(failed)?;
    let groups = client
        .describe_acls(AclResource::Group)
        .await
        .map_err(failed)?;
    all.acls.extend(groups.acls);
    match all.acls.len() > MAX_ACLS {
        true => Err(RoundError::TooMany(side)),
        false => Ok((all.acls, all.unknown + groups.unknown)),
    }
}
