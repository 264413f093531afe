//! Committed offsets of groups follow on the target, exactly.
//!
//! Every few seconds the flow's leader looks at the groups of the source, [`translate`]s what they committed for partitions
//! that the flow copies, and commits that on the target under strait's mark, where nobody else did ([`decide`]). Groups
//! with members there are left alone: their coordinator refuses such commits, whoever sees them late.

mod count;
mod decide;
mod report;
pub mod resume;
mod translate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use decide::{Decision, Leave, Place, decide};
pub use decide::{mark, marked};
use host::Clock;
use report::Report;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
pub use translate::Unit;
use translate::{Told, Translator};
use wire::{
    Isolation, TopicPartition,
    client::{Client, CommittedOffset, GroupOffsets, ListedGroup, OffsetSpec},
    error::{ApiError, ClientError},
};

use crate::{
    checkpoint::offset_map::{MapError, OffsetMap, View},
    config::{FlowConfig, NamePattern},
    flow::status::Board,
    status::Groups,
    telemetry,
    worker::Lease,
};

/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(3);
/// Groups that are asked for at a time.
const CHUNK: usize = 100;
/// Groups that one flow syncs; more are told and left out.
const MAX_GROUPS: usize = 20_000;
/// Offsets of one commit (EXACTNESS 8).
const MAX_ENTRIES: usize = 1_000;
/// An offset is written again after so long though it did not change: groups without members lose old commits.
const RENEW: Duration = Duration::from_secs(24 * 3600);
/// Offsets that are remembered as written.
const MAX_WRITTEN: usize = 500_000;
/// What kind of group ListGroups calls one that has no committed offsets (KIP-932).
const SHARE: &str = "share";
/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_MEMBER_EPOCH, STALE_MEMBER_EPOCH: what a
/// coordinator answers to a commit by nobody where the group has members.
const HAS_MEMBERS: [i16; 5] = [25, 22, 27, 110, 113];

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
                self.settings.board.groups(Some(groups));
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

    /// What groups committed, by group and target partition.
    async fn translate(
        &mut self,
        round: &mut Round,
        committed: &BTreeMap<String, GroupOffsets>,
    ) -> Result<BTreeMap<String, BTreeMap<TopicPartition, Place>>, RoundError> {
        let mut asked: BTreeMap<&TopicPartition, BTreeSet<i64>> = BTreeMap::new();
        for (partition, committed) in committed.values().flatten() {
            if round.copied.contains_key(partition) {
                asked.entry(partition).or_default().insert(committed.offset);
            }
        }
        let targets = asked
            .keys()
            .map(|partition| round.copied[*partition].target.clone());
        self.learn_extents(round, targets.collect()).await?;
        let mut told = BTreeMap::new();
        for (partition, offsets) in &asked {
            let unit = &round.copied[*partition];
            let ladder = round.view.ladder(&unit.target);
            let answers = self.translator.translate(unit, ladder, offsets).await;
            told.insert(*partition, answers.map_err(RoundError::Source)?);
        }
        let mut wanted: BTreeMap<String, BTreeMap<TopicPartition, Place>> = BTreeMap::new();
        for (group, offsets) in committed {
            for (partition, committed) in offsets {
                let Some(answer) = told.get(partition).map(|told| told[&committed.offset]) else {
                    continue;
                };
                let places = wanted.entry(group.clone()).or_default();
                let target = &round.copied[partition].target;
                let extent = round.extents.get(target).copied();
                if let Some(target_offset) = self.settle(answer, extent) {
                    let place = Place {
                        source_offset: committed.offset,
                        target_offset,
                    };
                    places.insert(target.clone(), place);
                }
            }
        }
        Ok(wanted)
    }

    /// The offset to write for an answer, within what the target holds.
    fn settle(&mut self, told: Told, extent: Option<(i64, i64)>) -> Option<i64> {
        let (answer, (start, end)) = match (told, extent) {
            (Told::Answer(answer), Some(extent)) => (answer, extent),
            (Told::Unknown, _) => {
                self.report.unknown();
                return None;
            }
            (Told::Waits, _) | (_, None) => {
                self.report.waits();
                return None;
            }
        };
        // It lost its end, and the map is not cut yet (EXACTNESS 10).
        if answer.high > end {
            self.report.waits();
            return None;
        }
        if !answer.is_exact() && answer.high > start {
            self.report.inexact();
        }
        // Before its first record there is nothing to read.
        Some(answer.low.max(start))
    }

    async fn learn_extents(
        &self,
        round: &mut Round,
        targets: BTreeSet<TopicPartition>,
    ) -> Result<(), RoundError> {
        let new: Vec<_> = targets
            .into_iter()
            .filter(|target| !round.extents.contains_key(target))
            .collect();
        let mut both = Vec::new();
        for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
            let wanted: Vec<_> = new.iter().map(|target| (target.clone(), spec)).collect();
            let listed = self
                .settings
                .target
                .list_offsets(&wanted, Isolation::ReadUncommitted);
            both.push(listed.await.map_err(RoundError::Target)?);
        }
        let ends = both.pop().unwrap_or_default();
        let starts = both.pop().unwrap_or_default();
        for ((target, start), (_, end)) in starts.into_iter().zip(ends) {
            if let (Ok(start), Ok(end)) = (start, end) {
                round.extents.insert(target, (start.offset, end.offset));
            }
        }
        Ok(())
    }

    /// Decides on a group and commits; `found` is what it has on the target, none if nothing is to be written.
    async fn write(
        &mut self,
        round: &Round,
        group: &str,
        places: &BTreeMap<TopicPartition, Place>,
        found: Option<GroupOffsets>,
    ) -> Result<(), RoundError> {
        let state = round.states.get(group).map_or("", String::as_str);
        let now = self.settings.clock.monotonic();
        let key = |partition: &TopicPartition| (group.to_owned(), partition.clone());
        let mut ours = found.clone().unwrap_or_default();
        ours.retain(|partition, _| round.targets.contains(partition));
        let renew = |partition: &TopicPartition| {
            let written = self.written.get(&key(partition));
            found.is_some() && written.is_none_or(|(_, at)| now.saturating_sub(*at) >= RENEW)
        };
        // What was not asked for is as it was written.
        let places_to_write = if found.is_some() {
            places
        } else {
            &BTreeMap::new()
        };
        match decide(&self.settings.flow, state, places_to_write, &ours, renew) {
            Decision::Leave(leave) => self.leave(group, &leave),
            Decision::Write(writes) => {
                let left = self.commit(group, &writes).await?;
                match left {
                    Some(leave) => self.leave(group, &leave),
                    None => self.report.synced(!places.is_empty()),
                }
            }
        }
        Ok(())
    }

    /// Commits under the lease; why not, if the target refused.
    async fn commit(
        &mut self,
        group: &str,
        writes: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Option<Leave>, RoundError> {
        for some in writes.chunks(MAX_ENTRIES) {
            if !self.settings.lease.may_write() {
                return Ok(None);
            }
            let now = self.settings.clock.monotonic();
            let outcomes = self.settings.target.commit_group_offsets(group, some).await;
            let outcomes: BTreeMap<_, _> =
                outcomes.map_err(RoundError::Target)?.into_iter().collect();
            let mut count = 0;
            for (partition, committed) in some {
                match outcomes.get(partition) {
                    Some(Ok(())) => {
                        let source_offset = marked(&committed.metadata, &self.settings.flow);
                        let place = Place {
                            source_offset: source_offset.unwrap_or(-1),
                            target_offset: committed.offset,
                        };
                        let key = (group.to_owned(), partition.clone());
                        self.written.insert(key, (place, now));
                        count += 1;
                    }
                    Some(Err(error)) if HAS_MEMBERS.contains(&error.code) => {
                        return Ok(Some(Leave::Active));
                    }
                    Some(Err(error)) if is_refusal(error) => {
                        return Ok(Some(Leave::Refused(format!("{partition}: {error}"))));
                    }
                    // Again in the next round.
                    Some(Err(_)) | None => self.report.waits(),
                }
            }
            telemetry::group_offsets(&self.settings.flow, count);
        }
        Ok(None)
    }

    /// Not touched, and looked at anew in the next round.
    fn leave(&mut self, group: &str, leave: &Leave) {
        let Settings { flow, file, .. } = &self.settings;
        self.report
            .left(group, leave.code(), leave.text(group, file, flow));
        let first = TopicPartition::new("", i32::MIN);
        let from = (group.to_owned(), first);
        let of_group = self
            .written
            .range(from..)
            .take_while(|((name, _), _)| name == group);
        let keys: Vec<_> = of_group.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.written.remove(&key);
        }
    }
}

/// TOPIC_, GROUP_AUTHORIZATION_FAILED, INVALID_GROUP_ID, OFFSET_METADATA_TOO_LARGE, GROUP_ID_NOT_FOUND,
/// INCONSISTENT_GROUP_PROTOCOL: no later try mends that.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.code, 29 | 30 | 24 | 12 | 69 | 23)
}
