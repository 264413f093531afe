//! Heartbeat (key 12), versions 0-4.
//!
//! Keeps a member's session alive; REBALANCE_IN_PROGRESS asks it to join again.
//! Version 3: static members (KIP-345).

use kafka_protocol::{
    error::ResponseError,
    messages::{HeartbeatRequest, HeartbeatResponse},
};

use super::{Context, code};
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    if !cx.may_group(Operation::Read, &request.group_id) {
        let error = ResponseError::GroupAuthorizationFailed;
        return HeartbeatResponse::default().with_error_code(error.code());
    }
    let instance = request.group_instance_id.as_deref();
    let generation = request.generation_id;
    let groups = &cx.state.groups;
    let result = groups.heartbeat(&request.group_id, &request.member_id, instance, generation);
    HeartbeatResponse::default().with_error_code(code(result.err()))
}
