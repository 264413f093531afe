//! ListGroups (key 16), versions 0-5.
//!
//! All groups, or those that the client may describe. Version 4: filter by state (KIP-518). Version 5: group types, and a
//! filter by them (KIP-848); every group here is classic. Filters are compared without regard to case.

use kafka_protocol::{
    messages::{ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};

use super::Context;
use crate::{security::acl::Operation, state::groups::group::Group};

const CLASSIC: &str = "classic";

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value))
    };
    let may_all = cx.may_cluster(Operation::Describe);
    let wanted = |group: &&Group| {
        passes(&request.states_filter, group.state.name())
            && passes(&request.types_filter, CLASSIC)
            && (may_all || cx.may_group(Operation::Describe, &group.name))
    };
    let groups = cx
        .state
        .groups
        .with_all(|groups| groups.values().filter(wanted).map(listed).collect());
    ListGroupsResponse::default().with_groups(groups)
}

fn listed(group: &Group) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(StrBytes::from(group.name.clone()).into())
        .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
        .with_group_state(group.state.name().into())
        .with_group_type(CLASSIC.into())
}
