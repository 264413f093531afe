//! Commits made as a member, and the lease that they renew.
//!
//! A commit names the member's place, and its coordinator refuses one of another generation; whose the partitions are
//! it does not look (EXACTNESS 8). So each commit is for what is assigned here at that moment: another process gets
//! a partition only in a later generation, after this one gave it up, and what was sent before that is refused then.
//! What a partition's worker left behind is not committed either once the partition went away and came back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::{BoxFuture, Clock};
use wire::{
    TopicPartition,
    client::{Client, CommitOutcomes, CommittedOffset, member::Place},
    error::{ApiError, ClientError},
};

use super::{Shared, code};
use crate::{checkpoint::store::GroupOffsets, worker::Lease as _};

type Offsets = [(TopicPartition, CommittedOffset)];

/// Between two looks at the lease.
const LOOK: Duration = Duration::from_millis(50);
/// A lease that nothing else renewed for so long is renewed by repeating a commit.
const RENEW_AFTER: Duration = Duration::from_secs(2);
/// Between two tries of that.
const RENEW_PAUSE: Duration = Duration::from_millis(500);
/// How long a commit waits for a rebalance to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// What the flow's leader commits for the control topic.
const LEADER: &str = "strait/1 leader";
/// The member has a new place soon, or has it already.
const REBALANCING: [i16; 2] = [code::ILLEGAL_GENERATION, code::REBALANCE_IN_PROGRESS];

/// The commits of one member.
#[derive(Debug)]
pub(super) struct Commits {
    client: Client,
    group: String,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    committed: Mutex<Committed>,
    /// Held while a commit is on its way: one after the other, so that an older one never comes last.
    turn: tokio::sync::Mutex<()>,
}

/// The numbers of assignments: another one each time that a partition comes.
type Numbers = BTreeMap<TopicPartition, u64>;

/// What was committed last for what is assigned here.
type Committed = BTreeMap<TopicPartition, Last>;

#[derive(Debug)]
struct Last {
    offset: CommittedOffset,
    /// On the clock's monotonic time.
    sent: Duration,
    /// The number of the partition's assignment.
    assignment: u64,
}

/// The group's offsets: read as anybody does, written as the member.
#[derive(Debug)]
pub(super) struct MemberOffsets(pub(super) Arc<Commits>);

impl GroupOffsets for MemberOffsets {
    fn read<'a>(
        &'a self,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(TopicPartition, CommittedOffset)>, ClientError>> {
        Box::pin(self.0.client.group_offsets(group))
    }

    fn write<'a>(
        &'a self,
        _group: &'a str,
        offsets: &'a Offsets,
    ) -> BoxFuture<'a, Result<CommitOutcomes, ClientError>> {
        Box::pin(self.0.commit(offsets))
    }
}

impl Commits {
    pub(super) fn new(
        client: Client,
        group: String,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            group,
            shared,
            clock,
            committed: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Commits what is assigned here; the rest is refused.
    async fn commit(&self, offsets: &Offsets) -> Result<CommitOutcomes, ClientError> {
        let numbers = self.numbers(offsets);
        let _turn = self.turn.lock().await;
        self.commit_next(offsets.to_vec(), &numbers).await
    }

    /// Commits what is still assigned as it was when `numbers` were taken. While the group is between two generations, this
    /// waits a little for the next one.
    async fn commit_next(
        &self,
        mut left: Vec<(TopicPartition, CommittedOffset)>,
        numbers: &Numbers,
    ) -> Result<CommitOutcomes, ClientError> {
        let deadline = self.clock.monotonic() + PATIENCE;
        let mut places = self.shared.place.subscribe();
        let mut outcomes = CommitOutcomes::new();
        loop {
            let place = places.borrow_and_update().clone();
            left.retain(|(partition, _)| {
                let now = self.shared.holdings().assignment(partition);
                let ours = now.is_some() && now.as_ref() == numbers.get(partition);
                if !ours || place.is_none() {
                    outcomes.push((partition.clone(), Err(not_ours())));
                }
                ours && place.is_some()
            });
            let Some(place) = place.filter(|_| !left.is_empty()) else {
                return Ok(outcomes);
            };
            let is_over = self.clock.monotonic() >= deadline;
            let answers = self.send(&place, &left, numbers).await?;
            let mut again = BTreeSet::new();
            for (partition, outcome) in answers {
                match outcome {
                    Err(error) if REBALANCING.contains(&error.code) && !is_over => {
                        again.insert(partition);
                    }
                    outcome => outcomes.push((partition, outcome)),
                }
            }
            if again.is_empty() {
                return Ok(outcomes);
            }
            left.retain(|(partition, _)| again.contains(partition));
            tokio::select! {
                biased;
                _ = places.changed() => {}
                () = self.clock.sleep(LOOK) => {}
            }
        }
    }

    /// The numbers of the assignments of partitions; those that are not assigned are left out.
    fn numbers(&self, offsets: &Offsets) -> Numbers {
        let holdings = self.shared.holdings();
        let number = |(partition, _): &(TopicPartition, CommittedOffset)| {
            Some((partition.clone(), holdings.assignment(partition)?))
        };
        offsets.iter().filter_map(number).collect()
    }

    /// Commits in one request.
    async fn send(
        &self,
        place: &Place,
        offsets: &Offsets,
        numbers: &Numbers,
    ) -> Result<CommitOutcomes, ClientError> {
        let sent = self.clock.monotonic();
        let entry = |(partition, offset): &(TopicPartition, CommittedOffset)| {
            let last = Last {
                offset: offset.clone(),
                sent,
                assignment: *numbers.get(partition)?,
            };
            Some((partition.clone(), last))
        };
        let mut entries: Committed = offsets.iter().filter_map(entry).collect();
        let answers = self
            .client
            .commit_as_member(&self.group, place, offsets)
            .await?;
        let mut committed = self.committed();
        for (partition, outcome) in &answers {
            if outcome.is_ok()
                && let Some(entry) = entries.remove(partition)
            {
                committed.insert(partition.clone(), entry);
            }
        }
        let is_member = self.shared.place.borrow();
        let is_member = is_member
            .as_ref()
            .is_some_and(|now| now.member_id == place.member_id);
        if is_member && answers.iter().any(|(_, outcome)| outcome.is_ok()) {
            self.shared.lease.confirm(sent);
        }
        Ok(answers)
    }

    /// Renews the lease whenever nothing else did: repeats the oldest commit. The control topic has no checkpoint, but
    /// who leads needs a lease before there is one.
    pub(super) async fn keep_lease(&self, control: &TopicPartition) {
        loop {
            self.clock.sleep(LOOK).await;
            let turn = self.turn.lock().await;
            let fresh = self.shared.lease.age().is_some_and(|age| age < RENEW_AFTER);
            if fresh {
                continue;
            }
            let Some((partition, offset)) = self.oldest(control) else {
                continue;
            };
            let again = vec![(partition.clone(), offset)];
            let numbers = self.numbers(&again);
            let answer = self.commit_next(again, &numbers).await;
            let failure = match answer {
                Ok(outcomes) => outcomes.into_iter().find_map(|(_, outcome)| outcome.err()),
                Err(error) => Some(ApiError {
                    code: -1,
                    message: Some(error.to_string()),
                }),
            };
            if let Some(error) = failure {
                // The next try is another one's: this one may never be taken again.
                if let Some(last) = self.committed().get_mut(&partition) {
                    last.sent = self.clock.monotonic();
                }
                tracing::debug!(group = %self.group, %error, "the lease is not renewed");
            }
            drop(turn);
            self.clock.sleep(RENEW_PAUSE).await;
        }
    }

    /// The commit that was made the longest ago, of those that are still this member's to make.
    fn oldest(&self, control: &TopicPartition) -> Option<(TopicPartition, CommittedOffset)> {
        let holdings = self.shared.holdings();
        let mut committed = self.committed();
        committed.retain(|partition, last| holdings.assignment(partition) == Some(last.assignment));
        let oldest = committed.iter().min_by_key(|(_, last)| last.sent);
        let oldest = oldest.map(|(partition, last)| (partition.clone(), last.offset.clone()));
        let leader = || CommittedOffset {
            offset: 0,
            leader_epoch: -1,
            metadata: LEADER.to_owned(),
        };
        let leads = || holdings.assignment(control).is_some();
        oldest.or_else(|| leads().then(|| (control.clone(), leader())))
    }

    fn committed(&self) -> MutexGuard<'_, Committed> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a commit for what is not this member's is refused.
fn not_ours() -> ApiError {
    ApiError {
        code: code::REBALANCE_IN_PROGRESS,
        message: Some("it is not assigned to this process now".to_owned()),
    }
}
