//! The durable part of a group: what is needed for its members to go on after a restart.
//!
//! It is written when a generation gets its assignment, when a static member is replaced and when
//! the group becomes empty, as Kafka's `GroupMetadataValue` is. A generation that was still being
//! formed is lost with the process; its members are told to join again.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    group::{Group, GroupState},
    member::{Member, Protocol},
};
use crate::state::offsets::OffsetEntry;

/// One entry of the groups' journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum GroupEntry {
    Group(GroupImage),
    Removed { group: String },
    Offsets(OffsetEntry),
}

/// A group with or without members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupImage {
    pub(crate) group: String,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: Vec<MemberImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MemberImage {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    client_host: String,
    rebalance_timeout: Duration,
    session_timeout: Duration,
    protocols: Vec<Protocol>,
    #[serde(with = "super::hex")]
    assignment: Bytes,
}

impl GroupImage {
    /// Without its members while they are between two generations: they join again anyway.
    pub(crate) fn of(group: &Group) -> Self {
        let member = |m: &Member| MemberImage {
            id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout,
            session_timeout: m.session_timeout,
            protocols: m.protocols.clone(),
            assignment: m.assignment.clone(),
        };
        let settled = group.state == GroupState::Stable;
        Self {
            group: group.name.clone(),
            generation: group.generation,
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            leader: group.leader.clone().filter(|_| settled),
            members: group
                .members
                .values()
                .filter(|_| settled)
                .map(member)
                .collect(),
        }
    }

    /// The group again. Its members have a full session from `now` to be heard of.
    pub(crate) fn into_group(self, now: Duration) -> Group {
        let mut group = Group::new(self.group);
        group.generation = self.generation;
        group.protocol_type = self.protocol_type;
        group.protocol = self.protocol;
        group.leader = self.leader;
        let members = self
            .members
            .into_iter()
            .map(|m| (m.id.clone(), m.into_member(now)));
        group.members = members.collect();
        let named = |m: &Member| Some((m.instance_id.clone()?, m.id.clone()));
        group.static_members = group
            .members
            .values()
            .filter_map(named)
            .collect::<BTreeMap<_, _>>();
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        group.update_subscription();
        group
    }
}

impl MemberImage {
    fn into_member(self, now: Duration) -> Member {
        Member {
            deadline: Some(now + self.session_timeout),
            id: self.id,
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            rebalance_timeout: self.rebalance_timeout,
            session_timeout: self.session_timeout,
            protocols: self.protocols,
            assignment: self.assignment,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }
}
