//! Writes what was decided on.

use std::{collections::BTreeMap, time::Duration};

use wire::{
    TopicPartition,
    client::{CommittedOffset, GroupOffsets},
    error::{ApiError, ClientError},
};

use super::{
    GroupSync, Round, RoundError, Settings,
    decide::{Decision, Leave, Place, decide, marked},
};
use crate::telemetry;

/// Offsets of one commit (EXACTNESS 8).
pub(super) const MAX_ENTRIES: usize = 1_000;
/// An offset is written again after so long though it did not change: groups without members lose old commits.
pub(super) const RENEW: Duration = Duration::from_secs(24 * 3600);
/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_MEMBER_EPOCH, STALE_MEMBER_EPOCH: what a
/// coordinator answers to a commit by nobody where the group has members.
pub(super) const HAS_MEMBERS: [i16; 5] = [25, 22, 27, 110, 113];

impl GroupSync {
    /// Decides on a group and commits; `found` is what it has on the target, none if nothing is to be written.
    pub(super) async fn write(
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
                let left = self.commit(group, places, &writes).await?;
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
        places: &BTreeMap<TopicPartition, Place>,
        writes: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Option<Leave>, RoundError> {
        for some in writes.chunks(MAX_ENTRIES) {
            if !self.settings.lease.may_write() {
                return Ok(None);
            }
            let now = self.settings.clock.monotonic();
            let outcomes = self.settings.target.commit_group_offsets(group, some).await;
            let outcomes: BTreeMap<_, _> = match outcomes {
                Ok(outcomes) => outcomes.into_iter().collect(),
                // Its coordinator; those of other groups may answer.
                Err(ClientError::Api { error, .. }) => {
                    return Ok(Some(Leave::Refused(error.to_string())));
                }
                Err(error) => return Err(RoundError::Target(error)),
            };
            let mut count = 0;
            for (partition, committed) in some {
                match outcomes.get(partition) {
                    Some(Ok(())) => {
                        let source_offset = marked(&committed.metadata, &self.settings.flow);
                        let place = Place {
                            source_offset: source_offset.unwrap_or(-1),
                            target_offset: committed.offset,
                            only_behind: places.get(partition).and_then(|p| p.only_behind),
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
    pub(super) fn leave(&mut self, group: &str, leave: &Leave) {
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
