//! Looks at groups on the target and writes what was decided on, a few at a time, so that hardly anything lies between the
//! look and the commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::task::JoinSet;
use wire::{
    TopicPartition,
    client::{Client, CommittedOffset, GroupOffsets},
    error::{ApiError, ClientError},
};

use super::{
    GroupSync, Round, RoundError, Settings, UNSTABLE_OFFSET_COMMIT,
    decide::{Decision, Leave, Place, decide, has_members},
};
use crate::{telemetry, worker::Lease};

/// Offsets of one commit (EXACTNESS 8).
pub(super) const MAX_ENTRIES: usize = 1_000;
/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_MEMBER_EPOCH, STALE_MEMBER_EPOCH: what a
/// coordinator answers to a commit by nobody where the group has members.
pub(super) const HAS_MEMBERS: [i16; 5] = [25, 22, 27, 110, 113];

/// A group that is to be written.
pub(super) struct Due {
    pub(super) group: String,
    pub(super) places: BTreeMap<TopicPartition, Place>,
    /// Also what did not change.
    pub(super) renew: bool,
}

pub(super) type Writes = Vec<(TopicPartition, CommittedOffset)>;

impl GroupSync {
    /// Those of these groups that are not on the target as they should be; others are told.
    pub(super) async fn changed(
        &mut self,
        round: &Round,
        groups: Vec<Due>,
    ) -> Result<Vec<Due>, RoundError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let groups = groups.into_iter().map(|due| (due.group.clone(), due));
        let mut groups: BTreeMap<String, Due> = groups.collect();
        self.leave_active(round, &mut groups);
        let asked = groups.keys().map(|group| (group.clone(), None)).collect();
        let held = self.held(asked, &mut groups).await?;
        let wanted = self.decide(round, &groups, &held);
        let mut changed = Vec::new();
        for (group, due) in groups {
            match wanted.get(&group) {
                Some(writes) if !writes.is_empty() => changed.push(due),
                Some(_) => self.report.synced(!due.places.is_empty()),
                None => {}
            }
        }
        Ok(changed)
    }

    /// Takes those that have members on the target out of `groups`.
    fn leave_active(&mut self, round: &Round, groups: &mut BTreeMap<String, Due>) {
        groups.retain(|group, _| {
            let active = has_members(round.state(group));
            if active {
                self.leave(group, &Leave::Active);
            }
            !active
        });
    }

    /// Looks at these groups once more, decides, and commits.
    pub(super) async fn write(&mut self, round: &Round, due: Vec<Due>) -> Result<(), RoundError> {
        let mut due: BTreeMap<String, Due> = due
            .into_iter()
            .map(|due| (due.group.clone(), due))
            .collect();
        self.leave_active(round, &mut due);
        let asked = due.keys().map(|group| (group.clone(), None)).collect();
        let mut held = self.held(asked, &mut due).await?;
        let mut wanted = self.decide(round, &due, &held);
        // What is in a transaction that is open is told only of partitions that are named, if nothing was committed there.
        let named = wanted.iter().filter(|(_, writes)| !writes.is_empty());
        let named = named.map(|(group, writes)| {
            let partitions = writes.iter().map(|(partition, _)| partition.clone());
            (group.clone(), Some(partitions.collect()))
        });
        let named: BTreeMap<_, _> = named.collect();
        if !named.is_empty() {
            for (group, found) in self.held(named, &mut due).await? {
                held.entry(group).or_default().extend(found);
            }
            wanted = self.decide(round, &due, &held);
        }
        let outside = Arc::new(self.outside(&wanted).await?);
        let mut commits = JoinSet::new();
        for (group, writes) in wanted {
            let (client, lease) = (
                self.settings.target.clone(),
                Arc::clone(&self.settings.lease),
            );
            let outside = Arc::clone(&outside);
            commits.spawn(async move {
                let outcome = commit(&client, &*lease, &group, &writes, &outside).await;
                (group, writes, outcome)
            });
        }
        while let Some(done) = commits.join_next().await {
            let (group, writes, outcome) =
                done.expect("a commit does not panic and is not aborted");
            let Some(due) = due.remove(&group) else {
                continue;
            };
            self.note(due, &writes, outcome)?;
        }
        Ok(())
    }

    /// What groups have on the target: all of it, or what is named. Takes those that cannot be told out of `due`.
    async fn held(
        &mut self,
        asked: BTreeMap<String, Option<BTreeSet<TopicPartition>>>,
        due: &mut BTreeMap<String, Due>,
    ) -> Result<BTreeMap<String, GroupOffsets>, RoundError> {
        let found = self.settings.target.offsets_of_groups(&asked).await;
        let mut held = BTreeMap::new();
        for (group, found) in found.map_err(RoundError::Target)? {
            match found {
                Ok(found) => drop(held.insert(group, found)),
                Err(error) => {
                    due.remove(&group);
                    self.not_told(&group, &error, "");
                }
            }
        }
        Ok(held)
    }

    /// What to commit for groups of `due`; those that are to be left alone are not among them.
    fn decide(
        &mut self,
        round: &Round,
        due: &BTreeMap<String, Due>,
        held: &BTreeMap<String, GroupOffsets>,
    ) -> BTreeMap<String, Writes> {
        let mut wanted = BTreeMap::new();
        for (group, Due { places, renew, .. }) in due {
            let mut found = held.get(group).cloned().unwrap_or_default();
            found.retain(|partition, _| round.targets.contains(partition));
            match decide(&self.settings.flow, places, &found, *renew) {
                Decision::Leave(leave) => self.leave(group, &leave),
                Decision::Write(writes) => drop(wanted.insert(group.clone(), writes)),
            }
        }
        wanted
    }

    /// Remembers what became of a group's commits.
    fn note(&mut self, due: Due, writes: &Writes, outcome: Outcome) -> Result<(), RoundError> {
        let Due {
            group,
            places,
            renew,
        } = due;
        match outcome {
            Outcome::Done(failed) => {
                let count = (writes.len() - failed.len()) as u64;
                telemetry::group_offsets(&self.settings.flow, count);
                self.report.waiting(failed.len());
                let there = places
                    .iter()
                    .filter(|(partition, _)| !failed.contains(partition));
                let now = self.settings.clock.monotonic();
                let renewed = (renew && failed.is_empty()).then_some(now);
                self.written.has(&group, there, renewed);
                self.report.synced(!places.is_empty());
                Ok(())
            }
            Outcome::Left(leave) => {
                self.leave(&group, &leave);
                Ok(())
            }
            Outcome::Lost(error) => Err(RoundError::Target(error)),
            // Somebody else leads now.
            Outcome::NotAllowed => Ok(()),
        }
    }

    /// A group whose offsets are not told: while a transaction is about to change them that is waited for.
    pub(super) fn not_told(&mut self, group: &str, error: &ApiError, side: &str) {
        if error.code == UNSTABLE_OFFSET_COMMIT {
            self.written.forget(group);
            self.report.waiting(1);
        } else {
            self.leave(group, &Leave::Refused(format!("{side}{error}")));
        }
    }

    /// Not touched, and looked at anew in the next round.
    pub(super) fn leave(&mut self, group: &str, leave: &Leave) {
        let Settings { flow, file, .. } = &self.settings;
        self.report
            .left(group, leave.code(), leave.text(group, file, flow));
        self.written.forget(group);
    }
}

/// What became of a group's commits.
enum Outcome {
    /// All are there but these, which are tried again in the next round.
    Done(BTreeSet<TopicPartition>),
    Left(Leave),
    Lost(ClientError),
    NotAllowed,
}

/// Commits under the lease what is not `outside` of what the target holds.
async fn commit(
    client: &Client,
    lease: &dyn Lease,
    group: &str,
    writes: &Writes,
    outside: &BTreeSet<(TopicPartition, i64)>,
) -> Outcome {
    let is_outside = |(partition, committed): &(TopicPartition, CommittedOffset)| {
        outside.contains(&(partition.clone(), committed.offset))
    };
    let (out, within): (Writes, Writes) = writes.iter().cloned().partition(is_outside);
    let mut failed: BTreeSet<_> = out.into_iter().map(|(partition, _)| partition).collect();
    for some in within.chunks(MAX_ENTRIES) {
        if !lease.may_write() {
            return Outcome::NotAllowed;
        }
        let outcomes: BTreeMap<_, _> = match client.commit_group_offsets(group, some).await {
            Ok(outcomes) => outcomes.into_iter().collect(),
            // Its coordinator; those of other groups may answer.
            Err(ClientError::Api { error, .. }) => {
                return Outcome::Left(Leave::Refused(error.to_string()));
            }
            Err(error) => return Outcome::Lost(error),
        };
        for (partition, _) in some {
            match outcomes.get(partition) {
                Some(Ok(())) => {}
                Some(Err(error)) if HAS_MEMBERS.contains(&error.code) => {
                    return Outcome::Left(Leave::Active);
                }
                Some(Err(error)) if is_refusal(error) => {
                    return Outcome::Left(Leave::Refused(format!("{partition}: {error}")));
                }
                Some(Err(_)) | None => drop(failed.insert(partition.clone())),
            }
        }
    }
    Outcome::Done(failed)
}

/// TOPIC_, GROUP_AUTHORIZATION_FAILED, INVALID_GROUP_ID, OFFSET_METADATA_TOO_LARGE, GROUP_ID_NOT_FOUND,
/// INCONSISTENT_GROUP_PROTOCOL: no later try mends that.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.code, 29 | 30 | 24 | 12 | 69 | 23)
}
