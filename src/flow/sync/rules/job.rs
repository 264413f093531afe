//! The job that makes rules of one kind follow.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use host::Clock;
use tokio::sync::watch;
use wire::{client::Client, error::ClientError};

use super::{
    super::groups::Copied,
    Changes, Kind, Listed,
    memory::{MAX_RULES, Memory},
    report::Report,
    topic_name,
};
use crate::{checkpoint::own_topic::TopicError, flow::status::Board, worker::Lease};

/// Between two rounds: all rules of both clusters are read in each. Tests would wait for most of their time.
pub(crate) const PERIOD: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Rules in one request.
const CHUNK: usize = 500;
const SECURITY_DISABLED: i16 = 54;
const SOURCE: &str = "source";
const TARGET: &str = "target";

/// What the job needs.
#[derive(Debug)]
pub struct Settings {
    /// The flow's name.
    pub flow: String,
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
pub struct Follower<K: Kind> {
    kind: K,
    memory: Memory,
    /// What was created, as long as this process leads.
    created: Option<BTreeSet<K::Rule>>,
    report: Report<K::Rule>,
    settings: Settings,
}

/// A round could not be finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the {0}: {1}")]
    Client(&'static str, ClientError),
    #[error("the {0} has no authorizer (SECURITY_DISABLED)")]
    NoAuthorizer(&'static str),
    #[error("the target: {0}")]
    Created(#[from] TopicError),
    #[error("which of them are copies themselves is not known: the source: {0}")]
    Copies(TopicError),
    #[error("the {0} has more than {MAX_RULES}")]
    TooMany(&'static str),
    #[error("this process may not write to the target now")]
    Lease,
    #[error(
        "the source has none left for what the flow copies; the {0} that strait created on the target stay: if they are to go, \
         delete them there"
    )]
    AllGone(usize),
}

impl<K: Kind> Follower<K> {
    /// Not begun.
    pub fn new(kind: K, settings: Settings) -> Self {
        let topic = topic_name::<K>(&settings.flow);
        Self {
            kind,
            memory: Memory::new(settings.target.clone(), topic),
            created: None,
            report: Report::new(K::NAME),
            settings,
        }
    }

    /// Looks again and again.
    pub async fn run(mut self) {
        let mut copied = self.settings.copied.clone();
        loop {
            self.round().await;
            let leads = self.settings.copied.borrow().is_some();
            tokio::select! {
                biased;
                // Who leads from now on need not wait.
                changed = copied.changed(), if !leads => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.settings.clock.sleep(PERIOD) => {}
            }
        }
    }

    /// Cancel-safe: what is done is found on the target the next time.
    async fn round(&mut self) {
        let copied = self.settings.copied.borrow().clone();
        let Some(copied) = copied else {
            self.created = None;
            K::tell(&self.settings.board, None);
            return;
        };
        let outcome = self.look(&copied).await;
        let flow = &self.settings.flow;
        let told = match outcome {
            Ok(()) => self.report.finish(flow),
            Err(error) => self.report.failed(flow, error.to_string()),
        };
        K::tell(&self.settings.board, Some(told));
    }

    async fn look(&mut self, copied: &Copied) -> Result<(), RoundError> {
        let Settings { source, target, .. } = &self.settings;
        let mut of_source = list::<K>(source, SOURCE).await?;
        let copies = copies::<K>(source).await?;
        of_source.rules.retain(|rule| !copies.contains(rule));
        let there = list::<K>(target, TARGET).await?;
        let mut created = match self.created.take() {
            Some(created) => created,
            None => {
                self.memory.create(self.settings.replication_factor).await?;
                self.memory.read().await?
            }
        };
        let wanted = self.kind.wanted(&of_source.rules, copied);
        let there = there.rules.into_iter().collect();
        let changes = self.kind.changes(&wanted.rules, &there, &created);
        let applied = match wanted.rules.is_empty() && !changes.remove.is_empty() {
            true => Err(RoundError::AllGone(changes.remove.len())),
            false => {
                let left = wanted.left_out.into_iter();
                let left = left.chain(changes.left_out.iter().cloned());
                let follow = wanted.rules.len() - changes.left_out.len();
                self.report.begin(follow, of_source.unknown, left.collect());
                self.apply(&changes, &mut created).await
            }
        };
        self.created = Some(created);
        applied
    }

    async fn apply(
        &mut self,
        changes: &Changes<K::Rule>,
        created: &mut BTreeSet<K::Rule>,
    ) -> Result<(), RoundError> {
        let failed = |error| RoundError::Client(TARGET, error);
        for some in changes.create.chunks(CHUNK) {
            self.check_lease()?;
            let now_ms = self.settings.clock.wall_ms();
            self.memory.remember(some, now_ms).await?;
            created.extend(some.iter().cloned());
            self.check_lease()?;
            let outcomes = self.kind.create(&self.settings.target, some).await;
            let outcomes = outcomes.map_err(failed)?;
            let refused = self.report.created(&self.settings.flow, some, &outcomes);
            self.forget(&refused, created).await?;
        }
        for some in changes.remove.chunks(CHUNK) {
            self.check_lease()?;
            let outcomes = K::remove(&self.settings.target, some).await;
            let outcomes = outcomes.map_err(failed)?;
            let removed = self.report.removed(&self.settings.flow, some, &outcomes);
            self.forget(&removed, created).await?;
        }
        self.forget(&changes.forget, created).await
    }

    async fn forget(
        &self,
        rules: &[K::Rule],
        created: &mut BTreeSet<K::Rule>,
    ) -> Result<(), RoundError> {
        if rules.is_empty() {
            return Ok(());
        }
        self.check_lease()?;
        let now_ms = self.settings.clock.wall_ms();
        self.memory.forget(rules, now_ms).await?;
        for rule in rules {
            created.remove(rule);
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
async fn copies<K: Kind>(source: &Client) -> Result<BTreeSet<K::Rule>, RoundError> {
    let end = format!(".{}", K::NAME);
    let topics = source.topics(None).await;
    let topics = topics.map_err(|error| RoundError::Client(SOURCE, error))?;
    let names = topics.into_iter().map(|topic| topic.name);
    let mut copies = BTreeSet::new();
    for name in names.filter(|name| name.starts_with("strait.") && name.ends_with(&end)) {
        let created = Memory::new(source.clone(), name).read().await;
        copies.extend(created.map_err(RoundError::Copies)?);
    }
    Ok(copies)
}

async fn list<K: Kind>(client: &Client, side: &'static str) -> Result<Listed<K::Rule>, RoundError> {
    let listed = K::list(client)
        .await
        .map_err(|error| match error.api_error() {
            Some(api) if api.code == SECURITY_DISABLED => RoundError::NoAuthorizer(side),
            _ => RoundError::Client(side, error),
        })?;
    match listed.rules.len() > MAX_RULES {
        true => Err(RoundError::TooMany(side)),
        false => Ok(listed),
    }
}
