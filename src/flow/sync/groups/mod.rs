//! Committed offsets of groups follow on the target, exactly.
//!
//! Every few seconds the flow's leader looks at the groups of the source, [`translate`]s what they committed for partitions
//! that the flow copies, and commits that on the target under strait's mark, where nobody else did ([`decide`]). Groups
//! with members there are left alone: their coordinator refuses such commits, whoever sees them late.

pub mod back;
mod commit;
mod count;
mod decide;
mod ends;
mod extents;
mod gone;
mod places;
mod report;
pub mod resume;
mod translate;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use commit::Due;
use decide::{Leave, Place, has_members};
pub use decide::{mark, marked};
use ends::Ends;
use extents::Extents;
use host::Clock;
use report::Report;
use tokio::sync::watch;
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
use written::{Known, Written};

/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(3);
/// Groups that are asked for at a time.
const CHUNK: usize = 100;
/// Groups that one flow syncs; more are told and left out.
const MAX_GROUPS: usize = 20_000;
/// Groups that are looked at on the target and written together, right before the commit.
const TOGETHER: usize = 10;
/// Rounds in which each group is looked at on the target, though nothing changed on the source: a minute's.
const TURNS: usize = 20;
/// A transaction is about to change what is asked for.
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
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
    /// The group of its checkpoints.
    pub checkpoints: String,
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
    ends: Ends,
    extents: Extents,
    written: Written,
    /// The group that was looked at last in its turn.
    last: String,
    /// Groups that are gone from the source and have strait's offsets on the target, and which was looked at last for that.
    gone: BTreeSet<String>,
    last_gone: String,
    report: Report,
    /// Whether this process led the flow in the last round.
    leads: bool,
    /// What was copied in the last round.
    copied: Arc<Copied>,
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
    /// Groups that are looked at on the target whatever is known of them.
    in_turn: BTreeSet<String>,
}

impl GroupSync {
    /// Not begun.
    pub fn new(settings: Settings) -> Self {
        let translator = Translator::new(settings.source.clone(), settings.isolation);
        Self {
            translator,
            ends: Ends::default(),
            extents: Extents::default(),
            written: Written::default(),
            last: String::new(),
            gone: BTreeSet::new(),
            last_gone: String::new(),
            report: Report::default(),
            leads: false,
            copied: Arc::default(),
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

    /// Cancel-safe: what is written is found there the next time.
    async fn round(&mut self) {
        let copied = self.settings.copied.borrow_and_update().clone();
        let Some(copied) = copied else {
            self.written.clear();
            self.report = Report::default();
            self.settings.board.groups(None);
            self.leads = false;
            return;
        };
        if !std::mem::replace(&mut self.leads, true) {
            let reason = "the offset map and the groups are looked at for the first time";
            let board = &self.settings.board;
            board.groups(Some(Groups::off(reason.to_owned())));
        }
        self.forget_others(&copied);
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

    /// Offsets of a target topic that was deleted are gone with it, whatever has its name now.
    fn forget_others(&mut self, copied: &Arc<Copied>) {
        let before = std::mem::replace(&mut self.copied, Arc::clone(copied));
        if Arc::ptr_eq(&before, copied) {
            return;
        }
        for (source, unit) in before.iter() {
            if copied.get(source) != Some(unit) {
                self.written.forget_partition(&unit.target);
            }
        }
    }

    async fn look(&mut self, copied: Arc<Copied>) -> Result<(), RoundError> {
        self.translator.begin();
        self.report.begin();
        let Settings {
            source,
            target,
            map,
            ..
        } = &self.settings;
        // Before the map: what a checkpoint covers was in the map before it.
        let now = self.settings.clock.monotonic();
        self.extents.begin(now);
        let ends = self
            .ends
            .read(target, &self.settings.checkpoints, &copied, now);
        ends.await.map_err(RoundError::Target)?;
        let view = map.refresh().await?;
        let listed = source.list_groups().await.map_err(RoundError::Source)?;
        let states = target.list_groups().await.map_err(RoundError::Target)?;
        let on_source: BTreeSet<String> = listed.iter().map(|one| one.group.clone()).collect();
        let groups = self.select(listed);
        self.written.retain(&groups);
        let groups: Vec<String> = groups.into_iter().collect();
        let most = groups.len().div_ceil(TURNS).max(CHUNK);
        let (turn, last) = in_turn(&groups, &self.last, most);
        self.last = last;
        let round = Round {
            targets: copied.values().map(|unit| unit.target.clone()).collect(),
            copied,
            view,
            states: states
                .into_iter()
                .map(|group| (group.group, group.state))
                .collect(),
            in_turn: turn,
        };
        for some in groups.chunks(CHUNK) {
            self.sync(&round, some.iter().cloned().collect()).await?;
        }
        self.look_for_gone(&round, &on_source).await?;
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

    async fn sync(&mut self, round: &Round, groups: BTreeSet<String>) -> Result<(), RoundError> {
        let asked = groups.into_iter().map(|group| (group, None)).collect();
        let found = self.settings.source.offsets_of_groups(&asked).await;
        let mut committed = BTreeMap::new();
        for (group, offsets) in found.map_err(RoundError::Source)? {
            match offsets {
                Ok(offsets) => drop(committed.insert(group, offsets)),
                Err(error) => self.not_told(&group, &error, "on the source: "),
            }
        }
        let wanted = self.translate(round, &committed).await?;
        self.tell(round, &committed, &wanted);
        if !self.settings.commits {
            return Ok(());
        }
        let (mut due, mut in_turn) = (Vec::new(), Vec::new());
        for (group, places) in wanted {
            let known = self
                .written
                .of(&group, &places, self.settings.clock.monotonic());
            let renew = known == Known::Renew;
            let one = Due {
                places,
                renew,
                group,
            };
            match self.when(round, &one.group, known) {
                // Nothing is to be written.
                _ if one.places.is_empty() => self.report.synced(false),
                When::Now => due.push(one),
                When::IfChanged => in_turn.push(one),
                When::Later => self.report.synced(true),
            }
        }
        due.extend(self.changed(round, in_turn).await?);
        while !due.is_empty() {
            let behind = due.split_off(due.len().min(TOGETHER));
            self.write(round, std::mem::replace(&mut due, behind))
                .await?;
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

    /// When a group is to be looked at, of which so much is known.
    fn when(&self, round: &Round, group: &str, known: Known) -> When {
        // Gone from the target, with all its offsets; or members came.
        let state = round.states.get(group);
        let moved = state.is_none_or(|state| has_members(state));
        let its_turn = round.in_turn.contains(group);
        match known {
            _ if self.report.was_left(group) => When::IfChanged,
            Known::Differs | Known::Renew => When::Now,
            Known::Same if moved => When::Now,
            Known::Same | Known::TooMany if its_turn => When::IfChanged,
            Known::Same | Known::TooMany => When::Later,
        }
    }
}

/// When a group is looked at.
enum When {
    /// Right before it is written.
    Now,
    /// First with many others, whether there is something to write.
    IfChanged,
    /// In another round.
    Later,
}

impl Round {
    /// What state a group is in on the target; empty: not known.
    fn state(&self, group: &str) -> &str {
        self.states.get(group).map_or("", String::as_str)
    }
}

/// The next ones of `groups`, which are in order, behind `last`, and the last of them.
fn in_turn(groups: &[String], last: &str, most: usize) -> (BTreeSet<String>, String) {
    let count = groups.len().min(most);
    let from = groups.partition_point(|group| group.as_str() <= last);
    let turn: Vec<_> = groups[from..].iter().chain(groups).take(count).collect();
    let last = turn.last().map_or(String::new(), |last| (*last).clone());
    (turn.into_iter().cloned().collect(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_its_turn() {
        for count in [0usize, 1, 99, 100, 101, 250, 5_000] {
            let groups: Vec<String> = (0..count).map(|n| format!("g{n:05}")).collect();
            let (mut last, mut seen) = ("g00042".to_owned(), BTreeSet::new());
            for _ in 0..TURNS {
                let most = count.div_ceil(TURNS).max(CHUNK);
                let (turn, next) = in_turn(&groups, &last, most);
                assert!(turn.len() <= most);
                seen.extend(turn);
                last = next;
            }
            assert_eq!(seen.len(), count);
        }
    }
}
