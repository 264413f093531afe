//! The state machine of one classic group, after Kafka's `ClassicGroup`.
//!
//! No I/O and no clock: time is passed in as [`Moment`], answers that are due are collected in an
//! outbox, and `unsaved` tells when the durable part has changed. The steps live in `join.rs`
//! (members enter), `sync.rs` (assignments, heartbeats, leaving) and `expiry.rs` (time passes).
//!
//! Invariants:
//! * the generation never goes back;
//! * a leader, if any, is a member; there is one exactly when there are members;
//! * `static_members` names exactly the members with an instance id;
//! * in `Stable`, every member's assignment is what the leader of this generation sent for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_protocol::error::ResponseError;

use super::{
    member::{Joined, Member, Peer, Reply, Synced},
    subscription,
};

/// The protocol type of consumers, the only one whose metadata the broker looks into.
pub(crate) const CONSUMER: &str = "consumer";

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// No members; may have offsets.
    Empty,
    /// Waits for members to join the next generation.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl GroupState {
    /// The name in DescribeGroups and ListGroups.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
        }
    }
}

/// Limits and delays of groups; the names of Kafka's settings are given with each.
#[derive(Clone, Debug)]
pub(crate) struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub(crate) min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub(crate) max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`
    pub(crate) initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub(crate) max_size: usize,
    /// `offset.metadata.max.bytes`
    pub(crate) offset_metadata_max_bytes: usize,
    /// Commits and generations survive the machine, not only the process.
    pub(crate) flush: bool,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            max_size: 10_000,
            offset_metadata_max_bytes: 4096,
            flush: false,
        }
    }
}

/// What a step may know of the world.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Duration,
    pub(crate) settings: &'a GroupSettings,
}

/// When the join phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinPhase {
    /// A new group: wait for more members, again as long as new ones come and `remaining` lasts.
    Initial {
        until: Duration,
        delay: Duration,
        remaining: Duration,
    },
    /// Members that have not rejoined by then are dropped.
    Rejoin { until: Duration },
}

impl JoinPhase {
    pub(crate) fn until(self) -> Duration {
        match self {
            JoinPhase::Initial { until, .. } | JoinPhase::Rejoin { until } => until,
        }
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) state: GroupState,
    pub(crate) generation: i32,
    /// `None` for a group that only commits offsets, and for one that never had a member.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(super) static_members: BTreeMap<String, String>,
    /// Ids handed out by MEMBER_ID_REQUIRED, and until when they may be used (KIP-394).
    pub(super) pending_members: BTreeMap<String, Duration>,
    /// Members of this generation that have not sent SyncGroup yet.
    pub(super) pending_syncs: BTreeSet<String>,
    pub(super) join_phase: Option<JoinPhase>,
    pub(super) sync_deadline: Option<Duration>,
    /// Somebody joined while the initial delay runs.
    pub(super) new_member_added: bool,
    /// Topics of the generation, if the protocol is the consumers' and could be read.
    pub(super) subscribed: Option<BTreeSet<String>>,
    pub(super) unsaved: bool,
    pub(super) outbox: Vec<Reply>,
}

impl Group {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            join_phase: None,
            sync_deadline: None,
            new_member_added: false,
            subscribed: None,
            unsaved: false,
            outbox: Vec::new(),
        }
    }

    /// Whether the durable part changed since the last call.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.unsaved)
    }

    /// The answers that are due. They may be delivered once what is unsaved has been written.
    pub(crate) fn take_outbox(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.outbox)
    }

    /// No member, and nobody about to become one.
    pub(crate) fn is_deserted(&self) -> bool {
        self.state == GroupState::Empty && self.pending_members.is_empty()
    }

    /// Whether offsets of `topic` are in use (`ClassicGroup.isSubscribedToTopic`).
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    /// Whether `member_id` may speak for itself, and for the static name it gives.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(owner) if owner != member_id => {
                    return Err(ResponseError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ResponseError::UnknownMemberId)
        }
    }

    /// Whether a commit of offsets may be accepted (`ClassicGroup.validateOffsetCommit`).
    pub(crate) fn validate_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.validate_member(member_id, instance_id)?;
            if generation != self.generation {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !transactional && self.state != GroupState::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        if !transactional && self.state == GroupState::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The longest time that any member wants for a rebalance.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|m| m.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending_members.is_empty() && self.members.values().all(|m| m.awaiting_join.is_some())
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn answer_join(&mut self, member_id: &str, joined: Joined) {
        let member = self.members.get_mut(member_id);
        if let Some(to) = member.and_then(|m| m.awaiting_join.take()) {
            self.outbox.push(Reply::Join(to, joined));
        }
    }

    /// Tells whether the member was waiting.
    pub(super) fn answer_sync(&mut self, member_id: &str, synced: Synced) -> bool {
        let member = self.members.get_mut(member_id);
        let waiting = member.and_then(|m| m.awaiting_sync.take());
        let Some(to) = waiting else { return false };
        self.outbox.push(Reply::Sync(to, synced));
        true
    }

    /// Drops a member or a pending one; elects another leader if it led.
    pub(super) fn remove(&mut self, member_id: &str) {
        if let Some(member) = self.members.remove(member_id) {
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
            // New members may be given up while they wait; the client joins again if it is alive.
            let gone = ResponseError::UnknownMemberId;
            if let Some(to) = member.awaiting_join {
                self.outbox.push(Reply::Join(to, Joined::error(gone, "")));
            }
            if let Some(to) = member.awaiting_sync {
                self.outbox.push(Reply::Sync(to, Synced::error(gone)));
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_members.remove(member_id);
        self.pending_syncs.remove(member_id);
    }

    /// The protocol that all support and most prefer.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|m| m.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(|p| common(&p.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|&(_, count)| count);
        most.map(|(name, _)| name.to_owned())
    }

    /// All members as the leader gets them.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let peer = |m: &Member| Peer {
            member_id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            metadata: m.metadata(protocol),
        };
        self.members.values().map(peer).collect()
    }

    pub(super) fn update_subscription(&mut self) {
        self.subscribed = self.read_subscription();
    }

    fn read_subscription(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }
}
