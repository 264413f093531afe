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
    let results = match delete(cx, &request.filters) {
        Ok(deleted) => deleted
            .iter()
            .map(|acls| {
                DeleteAclsFilterResult::default()
                    .with_error_message(None)
                    .with_matching_acls(acls.iter().map(matching).collect())
            })
            .collect(),
        Err((error, message)) => {
            let refused = DeleteAclsFilterResult::default()
                .with_error_code(error.code())
                .with_error_message(Some(message));
            vec![refused; request.filters.len()]
        }
    };
    DeleteAclsResponse::default().with_filter_results(results)
}

fn delete(
    cx: &Context,
    filters: &[DeleteAclsFilter],
) -> Result<Vec<Vec<Acl>>, (ResponseError, StrBytes)> {
    let allowed = cx.check_cluster(Operation::Alter);
    allowed.map_err(|error| (error, NOT_AUTHORIZED))?;
    let disabled = (
        ResponseError::SecurityDisabled,
        StrBytes::from_static_str(NO_AUTHORIZER),
    );
    let authorizer = cx.state.authorizer.as_ref().ok_or(disabled)?;
    let filters: Vec<_> = filters.iter().map(of_deletion).collect();
    authorizer.remove(&filters).map_err(|error| {
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
