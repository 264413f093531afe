//! SyncGroup (key 14), versions 0-5.
//!
//! Asks for the member's assignment; the leader brings everybody's. See `state/groups/sync.rs`.
//! Version 3: static members (KIP-345). Version 5: the client names protocol type and protocol, and
//! is refused if it does not or if the group's are others (KIP-559).

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{SyncGroupRequest, SyncGroupResponse},
    protocol::StrBytes,
};

use super::{Context, code};
use crate::{security::acl::Operation, state::groups::sync::Sync};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        let error = ResponseError::InconsistentGroupProtocol;
        return SyncGroupResponse::default().with_error_code(error.code());
    }
    if !cx.may_group(Operation::Read, &request.group_id) {
        let error = ResponseError::GroupAuthorizationFailed;
        return SyncGroupResponse::default().with_error_code(error.code());
    }
    let group = request.group_id.to_string();
    let synced = cx.state.groups.sync(&group, sync(request)).await;
    SyncGroupResponse::default()
        .with_error_code(code(synced.error))
        .with_protocol_type(synced.protocol_type.map(StrBytes::from))
        .with_protocol_name(synced.protocol.map(StrBytes::from))
        .with_assignment(synced.assignment)
}

/// Nothing of it is a part of the frame, which would keep all of that in memory.
fn sync(request: SyncGroupRequest) -> Sync {
    let text = |s: StrBytes| s.to_string();
    let assignments = request.assignments.iter().map(|one| {
        let assignment = Bytes::copy_from_slice(&one.assignment);
        (one.member_id.to_string(), assignment)
    });
    Sync {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(text),
        generation: request.generation_id,
        assignments: assignments.collect(),
        protocol_type: request.protocol_type.map(text),
        protocol: request.protocol_name.map(text),
    }
}
