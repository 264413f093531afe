//! DeleteGroups (key 42), versions 0-2 (KIP-229).
//!
//! Removes groups without members, with their offsets.

use std::collections::BTreeSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
    },
};

use super::{Context, code};
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    // A name given twice is answered once, as Kafka does.
    let mut seen = BTreeSet::new();
    let names = request
        .groups_names
        .into_iter()
        .filter(|name| seen.insert(name.to_string()));
    let each = names.map(|name| {
        let result = match cx.may_group(Operation::Delete, &name) {
            true => cx.state.groups.delete(&name),
            false => Err(ResponseError::GroupAuthorizationFailed),
        };
        DeletableGroupResult::default()
            .with_group_id(name)
            .with_error_code(code(result.err()))
    });
    DeleteGroupsResponse::default().with_results(each.collect())
}
