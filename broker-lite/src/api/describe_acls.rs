//! DescribeAcls (key 29), versions 1-3.
//!
//! There is no authorizer: SECURITY_DISABLED, which MirrorMaker 2 among others takes for "none to copy".

use kafka_protocol::{
    error::ResponseError,
    messages::{DescribeAclsRequest, DescribeAclsResponse},
    protocol::StrBytes,
};

use super::Context;

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    _request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    let message = "No Authorizer is configured on the broker";
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}
