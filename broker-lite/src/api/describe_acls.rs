//! DescribeAcls (key 29), versions 1-3.
//!
//! The rules that pass a filter, by resource. Without an authorizer: SECURITY_DISABLED, which MirrorMaker 2 among others
//! takes for "none to copy".

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeAclsRequest, DescribeAclsResponse,
        describe_acls_response::{AclDescription, DescribeAclsResource},
    },
    protocol::StrBytes,
};

use super::{
    Context,
    acl_filter::{kind, of_description, permission, text},
    rights::NOT_AUTHORIZED,
};
use crate::security::acl::{Acl, Operation};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    let answer = DescribeAclsResponse::default();
    if let Err(error) = cx.check_cluster(Operation::Describe) {
        return answer
            .with_error_code(error.code())
            .with_error_message(Some(NOT_AUTHORIZED));
    }
    let Some(authorizer) = &cx.state.authorizer else {
        let message = "No Authorizer is configured on the broker";
        return answer
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(message)));
    };
    let found = authorizer.list(&of_description(&request));
    let resources = found.chunk_by(|a, b| a.pattern == b.pattern).map(resource);
    answer
        .with_error_message(Some(StrBytes::default()))
        .with_resources(resources.collect())
}

/// Rules that have one pattern.
fn resource(acls: &[Acl]) -> DescribeAclsResource {
    let described = acls.iter().map(|acl| {
        AclDescription::default()
            .with_principal(text(&acl.entry.principal))
            .with_host(text(&acl.entry.host))
            .with_operation(acl.entry.operation.number())
            .with_permission_type(permission(acl))
    });
    let resource = DescribeAclsResource::default().with_acls(described.collect());
    match acls.first() {
        None => resource,
        Some(first) => resource
            .with_resource_type(first.pattern.resource.number())
            .with_resource_name(text(&first.pattern.name))
            .with_pattern_type(kind(first)),
    }
}
