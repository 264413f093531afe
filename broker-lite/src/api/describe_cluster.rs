//! DescribeCluster (key 60), versions 0-2.
//!
//! Authorized operations: all, since there is no authorizer. Version 1: the endpoint type; only brokers (1) are there to be described.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use super::{Context, operations};

const BROKERS: i8 = 1;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(ResponseError::MismatchedEndpointType.code());
    }
    let node = cx.state.node();
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(node.id))
        .with_host(StrBytes::from_string(node.host))
        .with_port(i32::from(node.port));
    let allowed = match request.include_cluster_authorized_operations {
        true => operations::CLUSTER,
        false => operations::UNTOLD,
    };
    DescribeClusterResponse::default()
        .with_cluster_authorized_operations(allowed)
        .with_cluster_id(StrBytes::from_string(cx.state.cluster_id.clone()))
        .with_controller_id(BrokerId(node.id))
        .with_brokers(vec![broker])
}
