//! A member of a consumer group: the classic protocol (JoinGroup, SyncGroup, Heartbeat; KIP-62, KIP-345, KIP-429).
//!
//! One step each; what to do when is the caller's. JoinGroup and SyncGroup are answered when all other members
//! did the same, and a broker answers the requests of a connection in their order, so they go over a
//! connection of their own ([`Client::dial_coordinator`]), and heartbeats over another one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kafka_protocol::{
    messages::{
        GroupId, HeartbeatRequest, JoinGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use super::{
    Client, To,
    consumer_protocol::{Assignment, Subscription},
};
use crate::{
    connection::Connection,
    error::{ApiError, ClientError},
};

/// What consumers call the type of their groups.
const CONSUMER: &str = "consumer";

/// Who a member is, whatever the generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group.
    pub group: String,
    /// The member's own name (KIP-345).
    pub instance_id: String,
    /// After so long without a sign of life the coordinator gives it up.
    pub session_timeout: Duration,
    /// How long a rebalance waits for members that were there before.
    pub rebalance_timeout: Duration,
    /// How partitions are handed out: the assignor's name, the same for all members.
    pub assignor: String,
}

/// A member's place in one generation of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Given by the coordinator; empty before that.
    pub member_id: String,
    /// The name under which it joined.
    pub instance_id: String,
    /// Counted by the coordinator; a request of another one is refused.
    pub generation: i32,
}

/// The answer to a member that joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its place from now on.
    pub place: Place,
    /// Whether it is the one that hands out the partitions.
    pub leader: bool,
    /// If it is to do so now: what each member says, by member id. Subscriptions that cannot be read are left out.
    pub members: Option<BTreeMap<String, Subscription>>,
}

impl Client {
    /// A connection to a group's coordinator that nobody else uses.
    ///
    /// # Errors
    /// If there is no coordinator now, or it cannot be reached.
    pub async fn dial_coordinator(&self, group: &str) -> Result<Arc<Connection>, ClientError> {
        let address = self.coordinator(group).await?;
        let dialled = self.open(&address).await;
        if dialled.is_err() {
            // It may be another broker by now.
            self.forget_coordinator(group);
        }
        dialled
    }

    /// Asks for the coordinator again at the next call.
    pub fn forget_coordinator(&self, group: &str) {
        self.forget(To::Coordinator(group));
    }
}

/// Joins, or joins again as the member `member_id` with another subscription; answered when all members did, or
/// the rebalance timeout is over.
///
/// # Errors
/// What the coordinator said, or if there was no answer.
pub async fn join(
    coordinator: &Connection,
    identity: &Identity,
    member_id: &str,
    subscription: &Subscription,
) -> Result<Joined, ClientError> {
    let metadata = subscription.encode().ok_or_else(|| ClientError::Protocol {
        broker: coordinator.broker().to_owned(),
        reason: "a topic's name is too long for JoinGroup".to_owned(),
    })?;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text(&identity.assignor))
        .with_metadata(metadata);
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(&identity.group)))
        .with_session_timeout_ms(milliseconds(identity.session_timeout))
        .with_rebalance_timeout_ms(milliseconds(identity.rebalance_timeout))
        .with_member_id(text(member_id))
        .with_group_instance_id(Some(text(&identity.instance_id)))
        .with_protocol_type(StrBytes::from_static_str(CONSUMER))
        .with_protocols(vec![protocol]);
    // From version 5 on with a name.
    let answer = coordinator.call(&request, 5..=9).await?;
    refusal(&identity.group, answer.error_code)?;
    let leader = answer.leader == answer.member_id;
    // A static leader that comes back is not to hand out what has been handed out (KIP-814).
    let hands_out = leader && !answer.skip_assignment;
    let members = answer.members.into_iter().filter_map(|member| {
        let subscription = Subscription::decode(member.metadata)?;
        Some((member.member_id.to_string(), subscription))
    });
    Ok(Joined {
        leader,
        members: hands_out.then(|| members.collect()),
        place: Place {
            member_id: answer.member_id.to_string(),
            instance_id: identity.instance_id.clone(),
            generation: answer.generation_id,
        },
    })
}

/// Says what each member gets, if it is this one's to say, and asks what this one gets; answered when the leader
/// has said so.
///
/// # Errors
/// What the coordinator said, or if there was no answer.
pub async fn sync(
    coordinator: &Connection,
    identity: &Identity,
    place: &Place,
    assignments: &BTreeMap<String, Assignment>,
) -> Result<Assignment, ClientError> {
    let assignments = assignments.iter().filter_map(|(member, assignment)| {
        let entry = SyncGroupRequestAssignment::default().with_member_id(text(member));
        Some(entry.with_assignment(assignment.encode()?))
    });
    let request = SyncGroupRequest::default()
        .with_group_id(GroupId(text(&identity.group)))
        .with_generation_id(place.generation)
        .with_member_id(text(&place.member_id))
        .with_group_instance_id(Some(text(&place.instance_id)))
        .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER)))
        .with_protocol_name(Some(text(&identity.assignor)))
        .with_assignments(assignments.collect());
    let answer = coordinator.call(&request, 3..=5).await?;
    refusal(&identity.group, answer.error_code)?;
    Assignment::decode(answer.assignment).ok_or_else(|| ClientError::Protocol {
        broker: coordinator.broker().to_owned(),
        reason: "what this member of the group is assigned cannot be read".to_owned(),
    })
}

/// A sign of life.
///
/// # Errors
/// What the coordinator said, or if there was no answer.
pub async fn heartbeat(
    coordinator: &Connection,
    group: &str,
    place: &Place,
) -> Result<(), ClientError> {
    let request = HeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(place.generation)
        .with_member_id(text(&place.member_id))
        .with_group_instance_id(Some(text(&place.instance_id)));
    let answer = coordinator.call(&request, 3..=4).await?;
    refusal(group, answer.error_code)
}

fn refusal(group: &str, code: i16) -> Result<(), ClientError> {
    let Some(error) = ApiError::from_code(code, None::<&str>) else {
        return Ok(());
    };
    Err(ClientError::Api {
        what: format!("group {group}"),
        error,
    })
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
