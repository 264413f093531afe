//! CreateAcls (key 30), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED for each.

use kafka_protocol::{
    error::ResponseError,
    messages::{CreateAclsRequest, CreateAclsResponse, create_acls_response::AclCreationResult},
    protocol::StrBytes,
};

use super::Context;

/// Kafka's text where rights are to be changed.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let each = request.creations.iter().map(|_| {
        AclCreationResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)))
    });
    CreateAclsResponse::default().with_results(each.collect())
}
