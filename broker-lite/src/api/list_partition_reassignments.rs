//! ListPartitionReassignments (key 46), version 0.
//!
//! Partitions have one place, so none is ever on its way to another (`kafka-topics --describe` asks).

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Context, rights::NOT_AUTHORIZED};
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let answer = ListPartitionReassignmentsResponse::default();
    match cx.check_cluster(Operation::Describe) {
        Ok(()) => answer.with_error_message(None),
        Err(error) => answer
            .with_error_code(error.code())
            .with_error_message(Some(NOT_AUTHORIZED)),
    }
}
