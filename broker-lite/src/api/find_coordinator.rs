//! FindCoordinator (key 10), versions 0-6.
//!
//! This broker coordinates every group and transactional id.
//! Version 4: many keys in one request (KIP-699). Version 6: share groups (KIP-932), which are not
//! served here: INVALID_REQUEST, as for any other unknown key type.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{Context, message};
use crate::security::acl::Operation;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if version >= 4 {
        let each = request.coordinator_keys.into_iter().map(|key| {
            let found = match request.key_type {
                GROUP | TRANSACTION => match check(cx, request.key_type, &key) {
                    Ok(()) => found(cx).with_error_message(Some(StrBytes::default())),
                    // Kafka says so without a message.
                    Err(error) => refused(error).with_error_message(Some(StrBytes::default())),
                },
                // Share groups are not served; Kafka says so without a message.
                SHARE => refused(ResponseError::InvalidRequest)
                    .with_error_message(Some(StrBytes::default())),
                _ => refused(ResponseError::InvalidRequest),
            };
            found.with_key(key)
        });
        return FindCoordinatorResponse::default().with_coordinators(each.collect());
    }
    let found = match request.key_type {
        GROUP | TRANSACTION => match check(cx, request.key_type, &request.key) {
            Ok(()) => found(cx),
            Err(error) => refused(error),
        },
        _ => refused(ResponseError::InvalidRequest),
    };
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn found(cx: &Context) -> Coordinator {
    let node = &cx.listener.node;
    Coordinator::default()
        .with_node_id(node.id.into())
        .with_host(StrBytes::from_string(node.host.clone()))
        .with_port(i32::from(node.port))
        .with_error_message(Some(StrBytes::from_static_str("NONE")))
}

/// Whether the client may know.
fn check(cx: &Context, kind: i8, key: &str) -> Result<(), ResponseError> {
    match kind {
        GROUP if !cx.may_group(Operation::Describe, key) => {
            Err(ResponseError::GroupAuthorizationFailed)
        }
        TRANSACTION if !cx.may_transactional_id(Operation::Describe, key) => {
            Err(ResponseError::TransactionalIdAuthorizationFailed)
        }
        _ => Ok(()),
    }
}

fn refused(error: ResponseError) -> Coordinator {
    Coordinator::default()
        .with_node_id((-1).into())
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(Some(message(error)))
}
