//! JoinGroup (key 11), versions 0-9.
//!
//! Enters a group; answered when the group's members are known. See `state/groups/join.rs`.
//! Version 0: no rebalance timeout, the session timeout stands for it. Version 4: a new member is
//! given an id first and joins with it (KIP-394). Version 5: static members (KIP-345). Version 7:
//! the protocol type is answered, and a missing protocol name is null. Version 9: a static leader
//! may be told to skip the assignment (KIP-814).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
    protocol::StrBytes,
};

use super::{Context, code};
use crate::{
    security::acl::Operation,
    state::groups::{
        join::Join,
        member::{Joined, Peer, Protocol},
    },
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let group = request.group_id.to_string();
    if !cx.may_group(Operation::Read, &group) {
        let error = ResponseError::GroupAuthorizationFailed;
        return response(version, Joined::error(error, ""));
    }
    let join = join(cx, version, request);
    let joined = cx.state.groups.join(&group, join).await;
    response(version, joined)
}

fn join(cx: &Context, version: i16, request: JoinGroupRequest) -> Join {
    let rebalance_timeout = if version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let mut protocols: Vec<Protocol> = Vec::new();
    for protocol in request.protocols {
        let name = protocol.name.to_string();
        if protocols.iter().all(|p| p.name != name) {
            // A part of the frame would keep all of it in memory, for as long as the member is there.
            let metadata = Bytes::copy_from_slice(&protocol.metadata);
            protocols.push(Protocol { name, metadata });
        }
    }
    Join {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: cx.client_id.clone(),
        client_host: cx.client_host.clone(),
        session_timeout: milliseconds(request.session_timeout_ms),
        rebalance_timeout: milliseconds(rebalance_timeout),
        protocol_type: request.protocol_type.to_string(),
        protocols,
        requires_known_id: version >= 4,
        can_skip_assignment: version >= 9,
        fresh: fresh_id(cx),
    }
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A random UUID.
fn fresh_id(cx: &Context) -> String {
    let mut bytes = [0; 16];
    cx.state.host.random.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

fn response(version: i16, joined: Joined) -> JoinGroupResponse {
    let member = |peer: Peer| {
        JoinGroupResponseMember::default()
            .with_member_id(peer.member_id.into())
            .with_group_instance_id(peer.instance_id.map(StrBytes::from))
            .with_metadata(peer.metadata)
    };
    let protocol = joined.protocol.map(StrBytes::from);
    let protocol = if version >= 7 {
        protocol
    } else {
        Some(protocol.unwrap_or_default())
    };
    JoinGroupResponse::default()
        .with_error_code(code(joined.error))
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.map(StrBytes::from))
        .with_protocol_name(protocol)
        .with_leader(joined.leader.into())
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(joined.member_id.into())
        .with_members(joined.members.into_iter().map(member).collect())
}
