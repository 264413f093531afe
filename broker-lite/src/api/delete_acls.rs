//! DeleteAcls (key 31), versions 1-3.
//!
//! Removes the rules that pass a filter, and tells which they were. Without an authorizer: SECURITY_DISABLED for each
//! filter.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteAclsRequest, DeleteAclsResponse,
        delete_acls_request::DeleteAclsFilter,
        delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl},
    },
    protocol::StrBytes,
};

use super::{
    Context,
    acl_filter::{kind, of_deletion, permission, text},
    create_acls::NO_AUTHORIZER,
    rights::NOT_AUTHORIZED,
};
use crate::security::acl::{Acl, Operation};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let allowed = cx.check_cluster(Operation::Alter);
    let each = request.filters.iter().map(|filter| {
        let deleted = match allowed {
            Ok(()) => delete(cx, filter),
            Err(error) => Err((error, NOT_AUTHORIZED)),
        };
        let result = DeleteAclsFilterResult::default();
        match deleted {
            Ok(acls) => result
                .with_error_message(None)
                .with_matching_acls(acls.iter().map(matching).collect()),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(message)),
        }
    });
    DeleteAclsResponse::default().with_filter_results(each.collect())
}

fn delete(cx: &Context, filter: &DeleteAclsFilter) -> Result<Vec<Acl>, (ResponseError, StrBytes)> {
    let disabled = (
        ResponseError::SecurityDisabled,
        StrBytes::from_static_str(NO_AUTHORIZER),
    );
    let authorizer = cx.state.authorizer.as_ref().ok_or(disabled)?;
    authorizer.remove(&of_deletion(filter)).map_err(|error| {
        tracing::error!(%error, "cannot write to the journal of ACLs");
        let error = ResponseError::UnknownServerError;
        (error, super::message(error))
    })
}

fn matching(acl: &Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(acl.pattern.resource.number())
        .with_resource_name(text(&acl.pattern.name))
        .with_pattern_type(kind(acl))
        .with_principal(text(&acl.entry.principal))
        .with_host(text(&acl.entry.host))
        .with_operation(acl.entry.operation.number())
        .with_permission_type(permission(acl))
}
