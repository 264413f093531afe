//! Members are in: SyncGroup, Heartbeat and LeaveGroup.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;

use super::{
    group::{Group, GroupState, Moment},
    member::{Reply, Synced},
};

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    /// Version 5 on: what the client believes was chosen.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// Filled by the leader: what each member gets.
    pub(crate) assignments: BTreeMap<String, Bytes>,
}

/// One member of a LeaveGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// Empty when a static member is removed by its name.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl Group {
    /// A member asks for its assignment. The answer comes once the leader has sent all of them.
    pub(crate) fn sync(&mut self, sync: Sync, to: oneshot::Sender<Synced>, at: &Moment<'_>) {
        if let Err(error) = self.validate_sync(&sync) {
            return self.outbox.push(Reply::Sync(to, Synced::error(error)));
        }
        let id = sync.member_id;
        match self.state {
            GroupState::Empty => {
                let gone = Synced::error(ResponseError::UnknownMemberId);
                self.outbox.push(Reply::Sync(to, gone));
            }
            GroupState::PreparingRebalance => {
                let again = Synced::error(ResponseError::RebalanceInProgress);
                self.outbox.push(Reply::Sync(to, again));
            }
            GroupState::CompletingRebalance => {
                // A request that waited before has been given up by its client.
                self.answer_sync(&id, Synced::error(ResponseError::RebalanceInProgress));
                if let Some(member) = self.members.get_mut(&id) {
                    member.awaiting_sync = Some(to);
                }
                self.has_synced(&id);
                if self.is_leader(&id) {
                    self.assign(sync.assignments, at);
                }
            }
            GroupState::Stable => {
                self.has_synced(&id);
                let synced = self.synced(&id);
                self.outbox.push(Reply::Sync(to, synced));
            }
        }
    }

    fn validate_sync(&self, sync: &Sync) -> Result<(), ResponseError> {
        self.validate_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |given: &Option<String>, ours| given.is_some() && given != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_synced(&mut self, id: &str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline = None;
        }
    }

    /// The leader's word: whom it does not name gets an empty assignment.
    fn assign(&mut self, mut assignments: BTreeMap<String, Bytes>, at: &Moment<'_>) {
        self.state = GroupState::Stable;
        self.unsaved = true;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            self.finish_sync(&id, synced, at);
        }
    }

    fn synced(&self, id: &str) -> Synced {
        let member = self.members.get(id);
        Synced {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Answers a waiting member. Its session starts anew: it may have ended while it had to wait.
    pub(super) fn finish_sync(&mut self, id: &str, synced: Synced, at: &Moment<'_>) {
        if self.answer_sync(id, synced) {
            self.heard_of(id, at);
        }
    }

    /// A member shows that it is alive.
    pub(crate) fn heard_of(&mut self, id: &str, at: &Moment<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            member.deadline = Some(at.now + member.session_timeout);
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        at: &Moment<'_>,
    ) -> Result<(), ResponseError> {
        self.validate_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        self.heard_of(member_id, at);
        if self.state == GroupState::PreparingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup; one result per member, in order.
    pub(crate) fn leave(
        &mut self,
        leaving: &[Leaving],
        at: &Moment<'_>,
    ) -> Vec<Result<(), ResponseError>> {
        let results: Vec<_> = leaving.iter().map(|who| self.leave_one(who)).collect();
        if results.iter().any(Result::is_ok) && self.state != GroupState::Empty {
            self.rebalance_or_complete(at);
        }
        results
    }

    fn leave_one(&mut self, who: &Leaving) -> Result<(), ResponseError> {
        let instance = who.instance_id.as_deref();
        let id = if who.member_id.is_empty() {
            let id = instance.and_then(|i| self.static_members.get(i));
            id.ok_or(ResponseError::UnknownMemberId)?.clone()
        } else {
            if !self.pending_members.contains_key(&who.member_id) {
                self.validate_member(&who.member_id, instance)?;
            }
            who.member_id.clone()
        };
        self.remove(&id);
        Ok(())
    }
}
