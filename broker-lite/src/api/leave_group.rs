//! LeaveGroup (key 13), versions 0-5.
//!
//! Members leave, or are removed. Up to version 2 one member, whose error is the answer's. Version
//! 3: many members, also static ones by their name alone (KIP-345). Version 5: a reason, for the
//! broker's log (KIP-800).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity,
        leave_group_response::MemberResponse,
    },
};

use super::{Context, code};
use crate::{security::acl::Operation, state::groups::sync::Leaving};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    if !cx.may_group(Operation::Read, &request.group_id) {
        let error = ResponseError::GroupAuthorizationFailed;
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = if version < 3 {
        vec![MemberIdentity::default().with_member_id(request.member_id)]
    } else {
        request.members
    };
    let leaving: Vec<Leaving> = members.iter().map(leaving).collect();
    let response = LeaveGroupResponse::default();
    match cx.state.groups.leave(&request.group_id, &leaving) {
        Err(error) => response.with_error_code(error.code()),
        Ok(results) if version < 3 => {
            let error = results.into_iter().find_map(Result::err);
            response.with_error_code(code(error))
        }
        Ok(results) => {
            let member = |(member, result): (MemberIdentity, Result<(), _>)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(code(result.err()))
            };
            response.with_members(members.into_iter().zip(results).map(member).collect())
        }
    }
}

fn leaving(member: &MemberIdentity) -> Leaving {
    Leaving {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
    }
}
