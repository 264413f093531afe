//! ListConfigResources (key 74), versions 0-1.
//!
//! What has configs (KIP-1142): topics, and this broker with its loggers. Version 0 is about client metrics only, of which
//! there are none. No types mean all.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use super::{
    Context,
    config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC},
};
use crate::security::acl::Operation;

const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let answer = ListConfigResourcesResponse::default();
    if let Err(error) = cx.check_cluster(Operation::DescribeConfigs) {
        return answer.with_error_code(error.code());
    }
    let types = &request.resource_types;
    if types.iter().any(|kind| !ALL.contains(kind)) {
        return answer.with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let is_wanted = |kind: i8| version >= 1 && (types.is_empty() || types.contains(&kind));
    let resource = |kind, name: String| {
        ConfigResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name))
    };
    let mut resources = Vec::new();
    if is_wanted(TOPIC) {
        let topics = cx.state.topics.all();
        resources.extend(
            topics
                .iter()
                .map(|topic| resource(TOPIC, topic.name.clone())),
        );
    }
    for kind in [BROKER, BROKER_LOGGER] {
        if is_wanted(kind) {
            resources.push(resource(kind, cx.state.config.node_id.to_string()));
        }
    }
    answer.with_config_resources(resources)
}
