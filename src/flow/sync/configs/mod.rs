//! Configs of topics follow on the target.
//!
//! The flow's leader looks at each topic in turn ([`ring`]), asks both sides for its configs, decides what is to be
//! changed ([`Wishes`], [`memory`]) and changes that on the target ([`alter`]). What strait was told to leave alone is
//! not touched; of the rest, what somebody changed on the target is set back, and that is told.

pub(in crate::flow) mod alter;
mod memory;
mod report;
mod ring;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use alter::{Altered, Step, alter};
use host::Clock;
use memory::Memory;
use report::Report;
use ring::Ring;
use tokio::sync::watch;
use wire::{
    client::{Client, ConfigEntry},
    error::{ApiError, ClientError},
};

use crate::{
    config::ConfigRules,
    flow::{status::Board, topics::configs::Wishes},
    telemetry,
    worker::Lease,
};

/// Between two looks, each at some of the topics.
const PERIOD: Duration = Duration::from_secs(1);

/// A topic whose configs follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its name on the target.
    pub target: String,
    /// How many replicas its partitions have there, of those the fewest; 0: not known.
    pub replicas: usize,
    /// How many it was to have; -1: the target's default.
    pub replication_factor: i16,
    /// What is to follow.
    pub rules: Arc<ConfigRules>,
}

/// All of them, by name on the source.
pub type AllFollowed = BTreeMap<String, Followed>;

/// What the job needs.
#[derive(Debug)]
pub struct Settings {
    /// The flow's name.
    pub flow: String,
    /// The side that is read, and its alias.
    pub source: (Client, String),
    /// The side that is written to, and its alias.
    pub target: (Client, String),
    /// Asked before each change.
    pub lease: Arc<dyn Lease>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Told what became of it.
    pub board: Arc<Board>,
    /// What follows, while this process leads the flow.
    pub followed: watch::Receiver<Option<Arc<AllFollowed>>>,
}

/// The job.
#[derive(Debug)]
pub struct ConfigSync {
    settings: Settings,
    ring: Ring<Memory>,
    report: Report,
    failing: bool,
}

/// A look could not be finished.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster}: {error}")]
struct LookError {
    cluster: String,
    error: ClientError,
}

type Described = BTreeMap<String, Result<Vec<ConfigEntry>, ApiError>>;

impl ConfigSync {
    /// Not begun.
    pub fn new(settings: Settings) -> Self {
        Self {
            report: Report::new(&settings.flow, &settings.target.1),
            ring: Ring::new(),
            failing: false,
            settings,
        }
    }

    /// Looks again and again.
    pub async fn run(mut self) {
        loop {
            self.round().await;
            self.settings.clock.sleep(PERIOD).await;
        }
    }

    /// Cancel-safe: what is changed is found there the next time.
    async fn round(&mut self) {
        let (followed, changed) = {
            let told = self.settings.followed.borrow_and_update();
            (told.clone(), told.has_changed())
        };
        let Some(followed) = followed else {
            self.ring = Ring::new();
            self.report.forget();
            self.settings.board.configs(None);
            return;
        };
        if changed {
            let follow = followed.iter().filter(|(_, topic)| topic.rules.follow);
            self.ring.keep(follow.map(|(name, _)| name));
            self.report.keep(&followed);
        }
        let interval = |name: &str| followed[name].rules.interval;
        let due = self.ring.next(self.settings.clock.monotonic(), interval);
        if due.is_empty() && !changed {
            return;
        }
        let looked = self.look(&followed, &due).await;
        let flow = &self.settings.flow;
        match looked {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%flow, "configs of topics follow again");
                }
                self.settings.board.configs(Some(self.report.finish()));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%flow, %error, "configs of topics cannot follow now");
                }
                let off = self.report.off(error.to_string());
                self.settings.board.configs(Some(off));
            }
        }
    }

    async fn look(&mut self, followed: &AllFollowed, due: &[String]) -> Result<(), LookError> {
        if due.is_empty() {
            return Ok(());
        }
        let Settings { source, target, .. } = &self.settings;
        let sources = describe(source, due.to_vec()).await?;
        let names = due.iter().filter_map(|name| followed.get(name));
        let mut targets = describe(target, names.map(|t| t.target.clone()).collect()).await?;
        let now = self.settings.clock.monotonic();
        let (mut wishes, mut steps) = (BTreeMap::new(), BTreeMap::new());
        for (name, configs) in sources {
            let (Some(topic), Some(memory)) = (followed.get(&name), self.ring.get_mut(&name))
            else {
                continue;
            };
            let there = targets.remove(&topic.target);
            match (configs, there) {
                (Ok(configs), Some(Ok(there))) => {
                    let wished = Wishes::new(&topic.rules, &configs, topic.replicas);
                    let todo = memory.steps(wished.changes(&there), now);
                    steps.insert(topic.target.clone(), todo);
                    wishes.insert(name, wished);
                }
                (Err(error), _) => self.report.unreadable(&name, &name, &source.1, &error),
                (_, Some(Err(error))) => {
                    self.report
                        .unreadable(&name, &topic.target, &target.1, &error);
                }
                (_, None) => {}
            }
        }
        let lease = &*self.settings.lease;
        let altered = alter(&target.0, lease, steps).await;
        let mut altered = altered.map_err(|error| LookError {
            cluster: target.1.clone(),
            error,
        })?;
        for (name, wished) in wishes {
            let told = altered.remove(&followed[&name].target).unwrap_or_default();
            self.note(&name, &followed[&name].target, &wished, told, now);
        }
        Ok(())
    }

    /// Takes note of what became of one topic.
    fn note(&mut self, name: &str, target: &str, wished: &Wishes, told: Altered, now: Duration) {
        let Some(memory) = self.ring.get_mut(name) else {
            return;
        };
        for Step { change, sets_back } in &told.done {
            telemetry::config_changed(&self.settings.flow, *sets_back);
            self.report.changed(target, change, *sets_back);
        }
        for (step, reason) in told.refused {
            memory.leave(step.change, "config_refused", reason, now);
        }
        if told.failed.is_some() || told.unasked {
            memory.unsure();
        } else {
            memory.agreed(wished);
        }
        self.report
            .looked(name, target, wished, memory.left(), told.failed.as_ref());
    }
}

async fn describe(
    (client, alias): &(Client, String),
    names: Vec<String>,
) -> Result<Described, LookError> {
    let names: BTreeSet<_> = names.into_iter().collect();
    let names: Vec<_> = names.into_iter().collect();
    let described = client.describe_topic_configs(&names).await;
    let described = described.map_err(|error| LookError {
        cluster: alias.clone(),
        error,
    })?;
    Ok(described.into_iter().collect())
}
