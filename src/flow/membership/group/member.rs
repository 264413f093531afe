//! The member: joins, takes what it is assigned, stays until the group shares out anew, and joins again.
//!
//! It keeps what it has while it joins (KIP-429); what it shall give up it gives up once its workers have ended, and joins
//! again, so that others get it. A coordinator that does not know the member any more has given everything away
//! already. One that says that the member is fenced means a namesake, unless it crashed of late: it may have
//! forgotten the member id that it gave out last (docs/decisions/0007).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use host::Clock;
use tokio::sync::watch;
use wire::{
    Class,
    client::{
        Client,
        consumer_protocol::{Assignment, Subscription},
        member::{Joined, Place},
    },
    error::ClientError,
};

use super::{
    Shared, Wishes,
    assign::{assign, covered},
    code,
    coordinator::{Coordinator, HEARTBEAT},
};
use crate::{flow::membership::Standing, telemetry};

/// Instead of [`HEARTBEAT`] in the first [`UNSETTLED`] of a generation: another one often follows, when what moves was
/// given up.
const QUICK_HEARTBEAT: Duration = Duration::from_millis(200);
const UNSETTLED: Duration = Duration::from_secs(3);
/// How long a revocation waits until the workers have ended (3 s) and the last commit is made.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to join.
const PAUSE: Duration = Duration::from_millis(500);

/// A member over all its generations.
pub(super) struct Member {
    client: Client,
    coordinator: Coordinator,
    flow: String,
    /// What it says to the leader: by which rules its topics are chosen.
    rules: Bytes,
    shared: Arc<Shared>,
    wishes: watch::Receiver<Wishes>,
    clock: Arc<dyn Clock>,
    /// Given by the coordinator; empty: to be given.
    member_id: String,
    /// Why it could not join, as last told.
    told: Option<String>,
}

/// What a member joined with, and what it got.
struct Term {
    wishes: Wishes,
    place: Place,
    leader: bool,
    /// What the leader says of the topics that it shared out.
    covered: Bytes,
    begun: Duration,
    /// Until when what is being revoked may take.
    revocation: Option<Duration>,
}

impl Member {
    pub(super) fn new(
        client: Client,
        coordinator: Coordinator,
        flow: String,
        rules: Bytes,
        shared: Arc<Shared>,
        wishes: watch::Receiver<Wishes>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            coordinator,
            flow,
            rules,
            shared,
            wishes,
            clock,
            member_id: String::new(),
            told: None,
        }
    }

    /// Until the group will never take it again.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.generation().await else {
                continue;
            };
            match self.failed(&error) {
                Ok(pause) => self.clock.sleep(pause).await,
                Err(over) => {
                    self.shared.lose_all();
                    self.shared.publish(Some(over));
                    return;
                }
            }
        }
    }

    /// From one join to the next.
    async fn generation(&mut self) -> Result<(), ClientError> {
        let wanted = self.wishes.wait_for(|wishes| !wishes.topics.is_empty());
        let Ok(wishes) = wanted.await.map(|wishes| wishes.clone()) else {
            // Nobody wants anything any more.
            return std::future::pending().await;
        };
        let Joined {
            place,
            leader,
            members,
        } = self.join(&wishes).await?;
        self.member_id.clone_from(&place.member_id);
        self.shared.place.send_replace(Some(place.clone()));
        let assignments = match members {
            Some(members) => assign(&members, &self.counts(&members, &wishes).await),
            None => BTreeMap::new(),
        };
        let assignment = self.coordinator.sync(&place, &assignments).await?;
        self.told = None;
        let term = Term {
            wishes,
            leader,
            covered: assignment.user_data.clone(),
            begun: self.clock.monotonic(),
            revocation: self.take(place.generation, assignment),
            place,
        };
        self.stay(term).await
    }

    async fn join(&mut self, wishes: &Wishes) -> Result<Joined, ClientError> {
        let place = self.shared.place.borrow().clone();
        let subscription = Subscription {
            topics: wishes.topics.keys().cloned().collect(),
            owned: self.shared.holdings().assigned(),
            // Without a place everything was lost.
            generation: place.as_ref().map_or(-1, |place| place.generation),
            user_data: self.rules.clone(),
        };
        self.coordinator
            .join(place.as_ref(), &self.member_id, &subscription)
            .await
    }

    /// How many partitions each topic has that a member wants: as this process knows it; what it does not know it asks.
    async fn counts(
        &self,
        members: &BTreeMap<String, Subscription>,
        wishes: &Wishes,
    ) -> BTreeMap<String, i32> {
        let mut counts = wishes.topics.clone();
        let topics = members.values().flat_map(|member| &member.topics);
        let unknown = topics.filter(|topic| !counts.contains_key(*topic));
        let unknown: BTreeSet<_> = unknown.cloned().collect();
        if unknown.is_empty() {
            return counts;
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        match self.client.topics(Some(&unknown)).await {
            Ok(found) => {
                let found = found.into_iter().filter(|topic| topic.error.is_none());
                counts.extend(found.map(|topic| (topic.name.clone(), topic.partition_count())));
            }
            // They are shared out when this process has seen them.
            Err(error) => tracing::debug!(flow = %self.flow, %error, "topics of other members"),
        }
        counts
    }

    /// Takes what is new, and begins to give up what is not assigned any more; until when that may take.
    fn take(&self, generation: i32, assignment: Assignment) -> Option<Duration> {
        let mut holdings = self.shared.holdings();
        let owned = holdings.assigned();
        let more: Vec<_> = assignment.partitions.difference(&owned).cloned().collect();
        let fewer: Vec<_> = owned.difference(&assignment.partitions).cloned().collect();
        tracing::debug!(
            flow = %self.flow, generation, more = more.len(), fewer = fewer.len(),
            "the group shared out its partitions"
        );
        let revokes = !fewer.is_empty();
        if revokes || !more.is_empty() {
            telemetry::rebalanced(&self.flow);
        }
        holdings.assign(more);
        holdings.revoke(fewer);
        drop(holdings);
        self.shared.publish(Some(Standing::Member));
        revokes.then(|| self.clock.monotonic() + PATIENCE)
    }

    /// Lives until it is time to join again.
    async fn stay(&mut self, term: Term) -> Result<(), ClientError> {
        let mut next_beat = self.clock.monotonic();
        let mut rebalancing = false;
        loop {
            if let Some(deadline) = term.revocation {
                if self.give_up(deadline) {
                    return Ok(());
                }
            } else if rebalancing || self.is_outdated(&term) {
                return Ok(());
            }
            let now = self.clock.monotonic();
            let wake = term
                .revocation
                .map_or(next_beat, |deadline| next_beat.min(deadline));
            tokio::select! {
                biased;
                () = self.shared.settled.notified(), if term.revocation.is_some() => {}
                _ = self.wishes.changed() => {}
                () = self.clock.sleep(wake.saturating_sub(now)) => {}
            }
            let now = self.clock.monotonic();
            self.coordinator.look_awake();
            if now < next_beat {
                continue;
            }
            let settled = now.saturating_sub(term.begun) >= UNSETTLED;
            next_beat = now + if settled { HEARTBEAT } else { QUICK_HEARTBEAT };
            match self.coordinator.beat(&term.place).await {
                Ok(()) => {}
                Err(error) => match error.api_error().map(|error| error.code) {
                    Some(code::REBALANCE_IN_PROGRESS) => rebalancing = true,
                    Some(
                        code::ILLEGAL_GENERATION
                        | code::UNKNOWN_MEMBER_ID
                        | code::FENCED_INSTANCE_ID,
                    ) => {
                        return Err(error);
                    }
                    // The coordinator is away: another one knows the member as well.
                    _ => self.coordinator.lost(),
                },
            }
        }
    }

    /// Whether the group is to share out other topics than it did. A leader hands out anew what it alone knows of; others
    /// join again if what they want was not shared out.
    fn is_outdated(&mut self, term: &Term) -> bool {
        let wishes = self.wishes.borrow_and_update();
        let names = |wishes: &Wishes| wishes.topics.keys().cloned().collect();
        let changed = if term.leader {
            wishes.topics != term.wishes.topics
        } else {
            !wishes.topics.keys().eq(term.wishes.topics.keys())
                && covered::<String>(&names(&wishes)) != term.covered
        };
        changed || wishes.rejoins != term.wishes.rejoins
    }

    /// Gives up what is revoked, once nothing of it runs here or the time for that is over.
    fn give_up(&self, deadline: Duration) -> bool {
        let mut holdings = self.shared.holdings();
        let settled = holdings.is_settled();
        if !settled && self.clock.monotonic() < deadline {
            return false;
        }
        if !settled {
            let flow = &self.flow;
            tracing::warn!(%flow, "gave up partitions whose workers had not ended in time");
        }
        holdings.release();
        true
    }

    /// How long to wait before the next try, or that there is none.
    fn failed(&mut self, error: &ClientError) -> Result<Duration, Standing> {
        match error.api_error().map(|error| error.code) {
            Some(code::REBALANCE_IN_PROGRESS) => return Ok(Duration::ZERO),
            Some(code::UNKNOWN_MEMBER_ID) => {
                self.lose_place();
                return Ok(Duration::ZERO);
            }
            Some(code::ILLEGAL_GENERATION) => {
                self.lose_all();
                return Ok(Duration::ZERO);
            }
            Some(code::FENCED_INSTANCE_ID) => {
                // A namesake fences it once more.
                if !self.coordinator.take_cut_off() {
                    return Err(Standing::Over {
                        fenced: true,
                        reason: error.to_string(),
                    });
                }
                self.lose_place();
                tracing::warn!(flow = %self.flow, "cut off from the group; joining again");
                return Ok(PAUSE);
            }
            Some(code::LOADING | code::NOT_AVAILABLE | code::NOT_COORDINATOR) => {
                self.coordinator.lost();
            }
            None if error.class() == Class::Retriable => self.coordinator.lost(),
            _ => {
                let reason = error.to_string();
                if self.told.as_ref() != Some(&reason) {
                    tracing::warn!(flow = %self.flow, reason, "cannot join the flow's group, trying again");
                    self.told = Some(reason);
                }
            }
        }
        tracing::debug!(flow = %self.flow, %error, "group");
        Ok(PAUSE)
    }

    /// The group does not know this member any more.
    fn lose_place(&mut self) {
        self.member_id.clear();
        self.lose_all();
    }

    fn lose_all(&self) {
        let fewer = self.shared.lose_all();
        if fewer > 0 {
            telemetry::rebalanced(&self.flow);
            tracing::warn!(flow = %self.flow, fewer, "the group took partitions away without notice");
        }
    }
}
