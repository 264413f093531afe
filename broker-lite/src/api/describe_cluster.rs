//! DescribeCluster (key 60), versions 0-2.
//!
//! Version 1: the endpoint type; only brokers (1) are there to be described.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use super::{Context, rights::UNTOLD};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let wrong = |error: ResponseError, message: String| {
        DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message)))
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an \
                           endpoint of type CONTROLLER";
            return wrong(ResponseError::MismatchedEndpointType, message.to_owned());
        }
        other => {
            let message = format!("Unsupported endpoint type {other}");
            return wrong(ResponseError::UnsupportedEndpointType, message);
        }
    }
    let node = &cx.listener.node;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(node.id))
        .with_host(StrBytes::from_string(node.host.clone()))
        .with_port(i32::from(node.port));
    let allowed = match request.include_cluster_authorized_operations {
        true => cx.cluster_operations(),
        false => UNTOLD,
    };
    DescribeClusterResponse::default()
        .with_cluster_authorized_operations(allowed)
        .with_cluster_id(StrBytes::from_string(cx.state.cluster_id.clone()))
        .with_controller_id(BrokerId(node.id))
        .with_brokers(vec![broker])
}
