//! DeleteAcls (key 31), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED for each filter.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteAclsRequest, DeleteAclsResponse, delete_acls_response::DeleteAclsFilterResult,
    },
    protocol::StrBytes,
};

use super::{Context, create_acls::NO_AUTHORIZER};

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let each = request.filters.iter().map(|_| {
        DeleteAclsFilterResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)))
    });
    DeleteAclsResponse::default().with_filter_results(each.collect())
}
