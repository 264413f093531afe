//! Committed offsets of groups follow on the target, exactly.
//!
//! Every few seconds the flow's leader looks at the groups of the source, [`translate`]s what they committed for partitions
//! that the flow copies, and commits that on the target under strait's mark, where nobody else did ([`decide`]). Groups
//! with members there are left alone: their coordinator refuses such commits, whoever sees them late.

mod commit;
mod count;
mod decide;
mod places;
mod report;
pub mod resume;
mod translate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use commit::RENEW;
use decide::{Leave, Place};
pub use decide::{mark, marked};
use host::Clock;
use report::Report;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use translate::Translator;
pub use translate::Unit;
use wire::{
    Isolation, TopicPartition,
    client::{Client, GroupOffsets, ListedGroup},
    error::ClientError,
};

use crate::{
    checkpoint::offset_map::{MapError, OffsetMap, View},
    config::{FlowConfig, NamePattern},
    flow::{
        status::Board,
        sync::internal_topics::{Translated, Translations},
    },
    status::Groups,
    worker::Lease,
};

/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(3);
/// Groups that are asked for at a time.
const CHUNK: usize = 100;
/// Groups that one flow syncs; more are told and left out.
const MAX_GROUPS: usize = 20_000;
/// Offsets that are remembered as written.
const MAX_WRITTEN: usize = 500_000;
/// What kind of group ListGroups calls one that has no committed offsets (KIP-932).
const SHARE: &str = "share";

/// What the flow copies, by source partition.
pub type Copied = BTreeMap<TopicPartition, Unit>;

/// Which groups a flow syncs.
#[derive(Clone, Debug)]
pub struct GroupSelection {
    wanted: Vec<NamePattern>,
    excluded: Vec<NamePattern>,
}

impl GroupSelection {
    /// As `flow` asks.
    pub fn new(flow: &FlowConfig) -> Self {
        Self {
            wanted: flow.groups.clone(),
            excluded: flow.groups_exclude.clone(),
        }
    }

    /// Whether the offsets of `group` follow; never those of a flow's own group.
    pub fn selects(&self, group: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|p| p.matches(group));
        !group.starts_with("strait.") && any(&self.wanted) && !any(&self.excluded)
    }
}

/// What the job needs.
#[derive(Debug)]
pub struct Settings {
    /// The flow's name.
    pub flow: String,
    /// The configuration's file, for the command that helps.
    pub file: String,
    /// Which groups.
    pub selection: GroupSelection,
    /// What the flow reads of transactions.
    pub isolation: Isolation,
    /// The side that is read.
    pub source: Client,
    /// The side that is written to.
    pub target: Client,
    /// Which offset is which.
    pub map: Arc<OffsetMap>,
    /// Asked before each commit.
    pub lease: Arc<dyn Lease>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Told what became of it.
    pub board: Arc<Board>,
    /// Told where groups are on the target, if somebody wants to know.
    pub translations: Option<Arc<Translations>>,
    /// Whether their offsets are committed there.
    pub commits: bool,
    /// What the flow copies, while this process leads it.
    pub copied: watch::Receiver<Option<Arc<Copied>>>,
}

/// The job.
#[derive(Debug)]
pub struct GroupSync {
    settings: Settings,
    translator: Translator,
    /// What was written, and when.
    written: BTreeMap<(String, TopicPartition), (Place, Duration)>,
    report: Report,
    failing: bool,
}

/// A round could not be finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("source: {0}")]
    Source(ClientError),
    #[error("target: {0}")]
    Target(ClientError),
    #[error(transparent)]
    Map(#[from] MapError),
}

/// One round's own.
struct Round {
    copied: Arc<Copied>,
    targets: BTreeSet<TopicPartition>,
    view: Arc<View>,
    /// Groups on the target: what state they are in.
    states: BTreeMap<String, String>,
    /// First offsets and ends of target partitions.
    extents: BTreeMap<TopicPartition, (i64, i64)>,
}

impl GroupSync {
    /// Not begun.
    pub fn new(settings: Settings) -> Self {
        let translator = Translator::new(settings.source.clone(), settings.isolation);
        Self {
            translator,
            written: BTreeMap::new(),
            report: Report::default(),
            failing: false,
            settings,
        }
    }

    /// Looks again and again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let round = async {
                self.round().await;
                self.settings.clock.sleep(PERIOD).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Cancel-safe: what is written is found there the next time.
    async fn round(&mut self) {
        let copied = self.settings.copied.borrow_and_update().clone();
        let Some(copied) = copied else {
            self.written.clear();
            self.report = Report::default();
            self.settings.board.groups(None);
            return;
        };
        let looked = self.look(copied).await;
        let flow = &self.settings.flow;
        match looked {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%flow, "group offsets are synced again");
                }
                let groups = self.report.finish(flow);
                let commits = self.settings.commits;
                self.settings.board.groups(commits.then_some(groups));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%flow, %error, "group offsets cannot be synced now");
                }
                self.settings
                    .board
                    .groups(Some(Groups::off(error.to_string())));
            }
        }
    }

    async fn look(&mut self, copied: Arc<Copied>) -> Result<(), RoundError> {
        self.translator.begin();
        self.report.begin();
        if self.written.len() > MAX_WRITTEN {
            self.written.clear();
        }
        let Settings {
            source,
            target,
            map,
            ..
        } = &self.settings;
        let view = map.refresh().await?;
        let listed = source.list_groups().await.map_err(RoundError::Source)?;
        let states = target.list_groups().await.map_err(RoundError::Target)?;
        let groups = self.select(listed);
        let mut round = Round {
            targets: copied.values().map(|unit| unit.target.clone()).collect(),
            copied,
            view,
            states: states
                .into_iter()
                .map(|group| (group.group, group.state))
                .collect(),
            extents: BTreeMap::new(),
        };
        let groups: Vec<String> = groups.into_iter().collect();
        for some in groups.chunks(CHUNK) {
            self.sync(&mut round, some.iter().cloned().collect())
                .await?;
        }
        Ok(())
    }

    /// The names of those to sync.
    fn select(&mut self, listed: Vec<ListedGroup>) -> BTreeSet<String> {
        let mut groups = BTreeSet::new();
        for group in listed {
            if !self.settings.selection.selects(&group.group) {
                continue;
            }
            if group.kind.eq_ignore_ascii_case(SHARE) || group.protocol_type == SHARE {
                self.leave(&group.group, &Leave::Share);
            } else if groups.len() < MAX_GROUPS {
                groups.insert(group.group);
            } else {
                let reason = format!("a flow syncs at most {MAX_GROUPS} groups");
                self.leave(&group.group, &Leave::Refused(reason));
            }
        }
        groups
    }

    async fn sync(
        &mut self,
        round: &mut Round,
        groups: BTreeSet<String>,
    ) -> Result<(), RoundError> {
        let found = self.settings.source.offsets_of_groups(&groups).await;
        let mut committed = BTreeMap::new();
        for (group, offsets) in found.map_err(RoundError::Source)? {
            match offsets {
                Ok(offsets) => drop(committed.insert(group, offsets)),
                Err(error) => {
                    self.leave(&group, &Leave::Refused(format!("on the source: {error}")))
                }
            }
        }
        let wanted = self.translate(round, &committed).await?;
        self.tell(round, &committed, &wanted);
        if !self.settings.commits {
            return Ok(());
        }
        let now = self.settings.clock.monotonic();
        let changed: BTreeSet<String> = wanted
            .iter()
            .filter(|(group, places)| {
                places.iter().any(|(partition, place)| {
                    let key = ((*group).clone(), partition.clone());
                    let written = self.written.get(&key);
                    written
                        .is_none_or(|(last, at)| last != place || now.saturating_sub(*at) >= RENEW)
                })
            })
            .map(|(group, _)| group.clone())
            .collect();
        let held = self.settings.target.offsets_of_groups(&changed).await;
        let mut held: BTreeMap<_, _> = held.map_err(RoundError::Target)?.into_iter().collect();
        for (group, places) in wanted {
            let found = match held.remove(&group) {
                None => None,
                Some(Ok(found)) => Some(found),
                Some(Err(error)) => {
                    self.leave(&group, &Leave::Refused(error.to_string()));
                    continue;
                }
            };
            self.write(round, &group, &places, found).await?;
        }
        Ok(())
    }

    /// Hands over where groups are, whether or not that may be committed for them.
    fn tell(
        &self,
        round: &Round,
        committed: &BTreeMap<String, GroupOffsets>,
        wanted: &BTreeMap<String, BTreeMap<TopicPartition, Place>>,
    ) {
        let Some(translations) = &self.settings.translations else {
            return;
        };
        for (group, offsets) in committed {
            let Some(places) = wanted.get(group) else {
                continue;
            };
            for (source, committed) in offsets {
                let target = round.copied.get(source).map(|unit| &unit.target);
                let Some((target, place)) = target.and_then(|it| places.get_key_value(it)) else {
                    continue;
                };
                let translated = Translated {
                    source_offset: place.source_offset,
                    target_offset: place.target_offset,
                    metadata: committed.metadata.clone(),
                };
                translations.tell(group, target, translated);
            }
        }
    }
}
