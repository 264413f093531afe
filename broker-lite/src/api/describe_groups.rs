//! DescribeGroups (key 15), versions 0-6.
//!
//! State, protocol and members of groups. What members say under the protocol is shown only while
//! the group is stable. A group that is not there is "Dead"; from version 6 on with
//! GROUP_ID_NOT_FOUND (KIP-1043). Version 3: authorized operations.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::{Operation, Resource},
    state::groups::{
        group::{Group, GroupState},
        member::Member,
    },
};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let told = request.include_authorized_operations;
    let each = request.groups.into_iter().map(|id| {
        if !cx.may_group(Operation::Describe, &id) {
            return DescribedGroup::default()
                .with_error_code(ResponseError::GroupAuthorizationFailed.code())
                .with_group_id(id);
        }
        let groups = &cx.state.groups;
        let found = groups.with(&id, |group| group.map(describe));
        found
            .unwrap_or_else(|| unknown(version, &id))
            .with_group_id(id)
    });
    let each = each.map(|group| match told && group.error_code == 0 {
        true => {
            let allowed = cx.operations(Resource::Group, &group.group_id);
            group.with_authorized_operations(allowed)
        }
        false => group,
    });
    DescribeGroupsResponse::default().with_groups(each.collect())
}

fn describe(group: &Group) -> DescribedGroup {
    let protocol = group
        .protocol
        .clone()
        .filter(|_| group.state == GroupState::Stable);
    let member = |m: &Member| {
        let metadata = protocol.as_deref().map(|name| m.metadata(name));
        DescribedGroupMember::default()
            .with_member_id(m.id.clone().into())
            .with_group_instance_id(m.instance_id.clone().map(StrBytes::from))
            .with_client_id(m.client_id.clone().into())
            .with_client_host(m.client_host.clone().into())
            .with_member_metadata(metadata.unwrap_or_default())
            .with_member_assignment(m.assignment.clone())
    };
    let members = group.members.values().map(member).collect();
    DescribedGroup::default()
        .with_group_state(group.state.name().into())
        .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
        .with_protocol_data(protocol.clone().unwrap_or_default().into())
        .with_members(members)
}

fn unknown(version: i16, id: &GroupId) -> DescribedGroup {
    let dead = DescribedGroup::default().with_group_state("Dead".into());
    if version < 6 {
        return dead;
    }
    let message = format!("Group {} not found.", id.0);
    dead.with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(Some(message.into()))
}
