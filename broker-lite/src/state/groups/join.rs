//! Members enter: JoinGroup, and the way from one generation to the next
//! (`GroupMetadataManager.classicGroupJoin` and what it calls).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;

use super::{
    group::{Group, GroupState, JoinPhase, Moment},
    member::{Joined, Member, Protocol, Reply, Synced},
};

/// A new member cannot send heartbeats until it is answered; one whose client has gone is given up
/// after this time (`ClassicGroup` "new member join timeout").
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Empty for a client that has no id yet.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// Version 4 on: the client wants its id before it is let in (KIP-394).
    pub(crate) requires_known_id: bool,
    /// Version 9 on: a static leader may skip the assignment (KIP-814).
    pub(crate) can_skip_assignment: bool,
    /// A fresh random part for the member id.
    pub(crate) fresh: String,
}

impl Group {
    /// A client wants in. The answer comes now or when the join phase ends.
    pub(crate) fn join(&mut self, join: Join, to: oneshot::Sender<Joined>, at: &Moment<'_>) {
        let id = join.member_id.clone();
        if !self.has_room_for(&id, at.settings.max_size) {
            self.remove(&id);
            self.refuse(to, ResponseError::GroupMaxSizeReached, "");
        } else if !self.supports(&join) {
            self.refuse(to, ResponseError::InconsistentGroupProtocol, &id);
        } else if id.is_empty() {
            self.join_without_id(join, to, at);
        } else if self.pending_members.contains_key(&id) {
            if join.instance_id.is_some() {
                // A pending member is never static; Kafka's invariant breaks here, ours answers.
                self.refuse(to, ResponseError::UnknownServerError, &id);
            } else {
                self.add(id, join, to, at);
            }
        } else if let Err(error) = self.validate_member(&id, join.instance_id.as_deref()) {
            self.refuse(to, error, &id);
        } else {
            self.rejoin(&id, join, to, at);
        }
    }

    fn refuse(&mut self, to: oneshot::Sender<Joined>, error: ResponseError, member_id: &str) {
        let joined = Joined::error(error, member_id);
        self.outbox.push(Reply::Join(to, joined));
    }

    fn has_room_for(&self, member_id: &str, max_size: usize) -> bool {
        if member_id.is_empty() && self.pending_members.len() >= max_size {
            return false;
        }
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty => true,
            // By those who wait, so that the last to rejoin are shut out of a group that is too
            // large.
            GroupState::PreparingRebalance => {
                let waiting = |m: &&Member| m.awaiting_join.is_some();
                member.as_ref().is_some_and(waiting)
                    || self.members.values().filter(waiting).count() < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < max_size
            }
        }
    }

    fn supports(&self, join: &Join) -> bool {
        if self.state == GroupState::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let common = |p: &Protocol| self.members.values().all(|m| m.supports(&p.name));
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(common)
    }

    fn join_without_id(&mut self, join: Join, to: oneshot::Sender<Joined>, at: &Moment<'_>) {
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let id = format!("{prefix}-{}", join.fresh);
        let known = join.instance_id.as_ref();
        if let Some(old) = known.and_then(|i| self.static_members.get(i)).cloned() {
            self.replace_static(&old, id, join, to, at);
        } else if join.instance_id.is_none() && join.requires_known_id {
            let until = at.now + join.session_timeout;
            self.pending_members.insert(id.clone(), until);
            self.refuse(to, ResponseError::MemberIdRequired, &id);
        } else {
            self.add(id, join, to, at);
        }
    }

    fn add(&mut self, id: String, join: Join, to: oneshot::Sender<Joined>, at: &Moment<'_>) {
        self.pending_members.remove(&id);
        if let Some(instance) = &join.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if matches!(self.join_phase, Some(JoinPhase::Initial { .. })) {
            self.new_member_added = true;
        }
        self.leader.get_or_insert_with(|| id.clone());
        let member = Member {
            id: id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout: join.rebalance_timeout,
            session_timeout: join.session_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            deadline: Some(at.now + NEW_MEMBER_TIMEOUT),
            awaiting_join: Some(to),
            awaiting_sync: None,
        };
        self.members.insert(id, member);
        self.rebalance_or_complete(at);
    }

    /// A member that is known joins again.
    fn rejoin(&mut self, id: &str, join: Join, to: oneshot::Sender<Joined>, at: &Moment<'_>) {
        let member = &self.members[id];
        let unchanged = member.protocols == join.protocols;
        let rejoins = match self.state {
            GroupState::PreparingRebalance => true,
            // The answer to its last JoinGroup may have been lost.
            GroupState::CompletingRebalance => !unchanged,
            // The leader asks for a rebalance by joining: topics may have changed.
            GroupState::Stable => !unchanged || self.is_leader(id),
            GroupState::Empty => {
                return self.refuse(to, ResponseError::UnknownMemberId, id);
            }
        };
        if rejoins {
            self.update(id, join, to);
            self.rebalance_or_complete(at);
        } else {
            let lists_members = self.state == GroupState::CompletingRebalance && self.is_leader(id);
            let joined = self.joined(id, lists_members);
            self.outbox.push(Reply::Join(to, joined));
        }
    }

    fn update(&mut self, id: &str, join: Join, to: oneshot::Sender<Joined>) {
        // A request that waited before has been given up by its client.
        let superseded = Joined::error(ResponseError::RebalanceInProgress, id);
        self.answer_join(id, superseded);
        if let Some(member) = self.members.get_mut(id) {
            member.protocols = join.protocols;
            member.rebalance_timeout = join.rebalance_timeout;
            member.session_timeout = join.session_timeout;
            member.awaiting_join = Some(to);
        }
    }

    /// A static member starts again under its name: it gets the place and, if nothing speaks
    /// against it, the assignment of its former self, which is fenced (KIP-345).
    fn replace_static(
        &mut self,
        old: &str,
        id: String,
        join: Join,
        to: oneshot::Sender<Joined>,
        at: &Moment<'_>,
    ) {
        let former_leader = self.leader.clone().unwrap_or_default();
        self.take_place(old, &id, at);
        let can_skip = join.can_skip_assignment;
        self.update(&id, join, to);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                self.unsaved = true;
                let leads = self.is_leader(&id);
                let mut joined = self.joined(&id, leads && can_skip);
                joined.skip_assignment = leads && can_skip;
                if !can_skip {
                    // It must not think that it leads: it would wait for an assignment to make.
                    joined.leader = former_leader;
                }
                self.answer_join(&id, joined);
            }
            GroupState::Stable => self.rebalance_or_complete(at),
            // The leader may be assigning partitions to the former self right now.
            GroupState::CompletingRebalance => self.prepare_rebalance(at),
            GroupState::PreparingRebalance | GroupState::Empty => self.complete_if_joined(at),
        }
    }

    fn take_place(&mut self, old: &str, id: &str, at: &Moment<'_>) {
        let fenced = ResponseError::FencedInstanceId;
        self.answer_join(old, Joined::error(fenced, old));
        self.answer_sync(old, Synced::error(fenced));
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        id.clone_into(&mut member.id);
        member.deadline = Some(at.now + member.session_timeout);
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.to_owned());
        }
        self.members.insert(id.to_owned(), member);
        if self.is_leader(old) {
            self.leader = Some(id.to_owned());
        }
        self.pending_syncs.remove(old);
    }

    /// The group as `id` is told of it.
    fn joined(&self, id: &str, lists_members: bool) -> Joined {
        Joined {
            error: None,
            member_id: id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if lists_members {
                self.peers()
            } else {
                Vec::new()
            },
        }
    }

    /// Something changed that needs a new generation.
    pub(super) fn rebalance_or_complete(&mut self, at: &Moment<'_>) {
        if self.state == GroupState::PreparingRebalance {
            self.complete_if_joined(at);
        } else {
            self.prepare_rebalance(at);
        }
    }

    /// Ends the join phase early, except the initial one, which waits for more members.
    pub(super) fn complete_if_joined(&mut self, at: &Moment<'_>) {
        let initial = matches!(self.join_phase, Some(JoinPhase::Initial { .. }));
        if self.state == GroupState::PreparingRebalance && !initial && self.all_joined() {
            self.complete_join(at);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, at: &Moment<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.cancel_syncs(at);
        }
        self.pending_syncs.clear();
        self.sync_deadline = None;
        let initial = self.state == GroupState::Empty;
        self.state = GroupState::PreparingRebalance;
        if initial {
            let delay = at.settings.initial_rebalance_delay;
            self.new_member_added = false;
            self.join_phase = Some(JoinPhase::Initial {
                until: at.now + delay,
                delay,
                remaining: self.rebalance_timeout().saturating_sub(delay),
            });
        } else if self.all_joined() {
            self.complete_join(at);
        } else {
            let until = at.now + self.rebalance_timeout();
            self.join_phase = Some(JoinPhase::Rejoin { until });
        }
    }

    /// The assignment that members wait for will not come.
    fn cancel_syncs(&mut self, at: &Moment<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
            }
            self.finish_sync(&id, Synced::error(ResponseError::RebalanceInProgress), at);
        }
    }

    /// The next generation begins with those who joined, and with static members, who may be away.
    pub(super) fn complete_join(&mut self, at: &Moment<'_>) {
        self.join_phase = None;
        let late = |m: &&Member| m.awaiting_join.is_none() && m.instance_id.is_none();
        let late: Vec<String> = self
            .members
            .values()
            .filter(late)
            .map(|m| m.id.clone())
            .collect();
        for id in late {
            self.remove(&id);
        }
        if self.members.is_empty() {
            return self.become_empty();
        }
        if !self.elect_joined_leader() {
            // Only static members are left and none is back: wait until their sessions end.
            let until = at.now + self.rebalance_timeout();
            self.join_phase = Some(JoinPhase::Rejoin { until });
            return;
        }
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.state = GroupState::CompletingRebalance;
        self.update_subscription();
        self.pending_syncs = self.members.keys().cloned().collect();
        self.sync_deadline = Some(at.now + self.rebalance_timeout());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, self.is_leader(&id));
            self.answer_join(&id, joined);
            if let Some(member) = self.members.get_mut(&id) {
                member.deadline = Some(at.now + member.session_timeout);
                member.is_new = false;
            }
        }
    }

    fn become_empty(&mut self) {
        self.generation += 1;
        self.protocol = None;
        self.leader = None;
        self.pending_syncs.clear();
        self.sync_deadline = None;
        self.state = GroupState::Empty;
        self.update_subscription();
        self.unsaved = true;
    }

    /// The leader must be there to assign; if it is not, the first one that is leads.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |m: &&Member| m.awaiting_join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.as_ref().is_some_and(joined) {
            return true;
        }
        let Some(next) = self.members.values().find(joined) else {
            return false;
        };
        self.leader = Some(next.id.clone());
        true
    }
}
