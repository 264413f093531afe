//! ListPartitionReassignments (key 46), version 0.
//!
//! Partitions have one place, so none is ever on its way to another (`kafka-topics --describe` asks).

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::Context;

pub(super) async fn handle(
    _cx: &Context,
    _version: i16,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
