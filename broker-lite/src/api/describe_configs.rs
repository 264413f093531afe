//! DescribeConfigs (key 32), versions 1-4.
//!
//! Topics with all their configs and where each value comes from; this broker with the settings it
//! has. Other brokers and resource types are INVALID_REQUEST. Version 3: types.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    protocol::StrBytes,
};

use super::Context;
use crate::state::topic_config::{CONFIGS, value};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// `DescribeConfigsResponse.ConfigSource`
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let described = match resource.resource_type {
            TOPIC => topic(cx, resource, request.include_synonyms),
            BROKER => broker(cx, resource),
            _ => Err(ResponseError::InvalidRequest),
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match described {
            Ok(configs) => result.with_configs(configs),
            Err(error) => result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(error.to_string()))),
        }
    });
    let results = results.collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn topic(
    cx: &Context,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
    let topic = cx.state.topics.get(&resource.resource_name);
    let set = topic
        .ok_or(ResponseError::UnknownTopicOrPartition)?
        .configs();
    let wanted = CONFIGS
        .iter()
        .filter(|(name, ..)| is_wanted(resource, name));
    let described = wanted.map(|(name, kind, default)| {
        let source = if set.contains_key(*name) {
            DYNAMIC_TOPIC
        } else {
            DEFAULT
        };
        let mut config = entry(name, value(&set, name), source, kind.number(), false);
        if synonyms {
            let synonym = |name, value: &str, source| {
                DescribeConfigsSynonym::default()
                    .with_name(StrBytes::from_static_str(name))
                    .with_value(Some(text(value)))
                    .with_source(source)
            };
            let own = set
                .get(*name)
                .map(|value| synonym(name, value, DYNAMIC_TOPIC));
            config.synonyms = own
                .into_iter()
                .chain([synonym(name, default, DEFAULT)])
                .collect();
        }
        config
    });
    Ok(described.collect())
}

fn broker(
    cx: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
    let name = &*resource.resource_name;
    if !name.is_empty() && *name != *cx.state.node.id.to_string() {
        return Err(ResponseError::InvalidRequest);
    }
    let config = &cx.state.config;
    let settings = [
        ("node.id", config.node_id.to_string(), 3),
        ("broker.id", config.node_id.to_string(), 3),
        ("num.partitions", config.num_partitions.to_string(), 3),
        ("default.replication.factor", "1".to_owned(), 3),
        (
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            1,
        ),
        (
            "producer.id.expiration.ms",
            config.producer_id_expiration_ms.to_string(),
            3,
        ),
        ("log.dirs", config.data.display().to_string(), 2),
    ];
    let wanted = settings
        .into_iter()
        .filter(|(name, ..)| is_wanted(resource, name));
    Ok(wanted
        .map(|(name, value, kind)| entry(name, &value, STATIC_BROKER, kind, true))
        .collect())
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    let keys = resource.configuration_keys.as_ref();
    keys.is_none_or(|keys| keys.iter().any(|key| **key == *name))
}

fn entry(
    name: &'static str,
    value: &str,
    source: i8,
    kind: i8,
    read_only: bool,
) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(text(value)))
        .with_config_source(source)
        .with_config_type(kind)
        .with_read_only(read_only)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
