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

use super::{
    Context,
    altering::not_allowed,
    config_resource::{BROKER, TOPIC},
    message,
};
use crate::{
    security::acl::Operation,
    state::{
        topic_config::{CONFIGS, defaults::HOURS, synonym, value},
        topics::check_name,
    },
};

type Refusal = (ResponseError, StrBytes);

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
            kind if let Some(error) = not_allowed(
                cx,
                kind,
                &resource.resource_name,
                Operation::DescribeConfigs,
            ) =>
            {
                Err((error, message(error)))
            }
            TOPIC => topic(cx, resource, request.include_synonyms),
            BROKER => broker(cx, resource, request.include_synonyms),
            _ => Err((
                ResponseError::InvalidRequest,
                message(ResponseError::InvalidRequest),
            )),
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match described {
            Ok(configs) => result.with_configs(configs),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(message)),
        }
    });
    let results = results.collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn topic(
    cx: &Context,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let invalid = |why| {
        (
            ResponseError::InvalidTopicException,
            StrBytes::from_string(why),
        )
    };
    check_name(&resource.resource_name).map_err(invalid)?;
    let topic = cx.state.topics.get(&resource.resource_name);
    // Kafka tells no message here.
    let unknown = (ResponseError::UnknownTopicOrPartition, StrBytes::default());
    let set = topic.ok_or(unknown)?.configs();
    let wanted = CONFIGS
        .iter()
        .filter(|(name, ..)| is_wanted(resource, name));
    let defaults = cx.state.topics.defaults();
    let described = wanted.map(|(name, kind, default)| {
        let by_broker = defaults.source(name);
        let source = match set.contains_key(*name) {
            true => DYNAMIC_TOPIC,
            false if by_broker.is_some() => STATIC_BROKER,
            false => DEFAULT,
        };
        let shown = value(&set, defaults, name);
        let mut config = entry(name, shown, source, kind.number(), false);
        if synonyms {
            let own = set
                .get(*name)
                .map(|value| (*name, value.as_str(), DYNAMIC_TOPIC));
            let inherited = synonym(name).map(|name| (name, *default, DEFAULT));
            let by_broker = by_broker.map(|by| (by, defaults.get(name), STATIC_BROKER));
            let (coarser, hours) = defaults.coarser(name);
            let coarser = coarser
                .iter()
                .map(|(name, value)| (*name, value.as_str(), STATIC_BROKER));
            let hours = hours.map(|name| (name, HOURS, DEFAULT));
            let by_broker = by_broker.into_iter().chain(coarser);
            let inherited = hours.into_iter().chain(inherited);
            config.synonyms = synonyms_of(own.into_iter().chain(by_broker).chain(inherited));
        }
        config
    });
    Ok(described.collect())
}

fn synonyms_of<'a>(
    all: impl Iterator<Item = (&'a str, &'a str, i8)>,
) -> Vec<DescribeConfigsSynonym> {
    let one = |(name, value, source): (&str, &str, i8)| {
        DescribeConfigsSynonym::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_source(source)
    };
    all.map(one).collect()
}

fn broker(
    cx: &Context,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let (name, here) = (&*resource.resource_name, cx.state.config.node_id);
    let wrong = |why| Err((ResponseError::InvalidRequest, StrBytes::from_string(why)));
    match name.parse::<i32>() {
        _ if name.is_empty() => {}
        Ok(id) if id == here => {}
        Ok(id) => {
            return wrong(format!(
                "Unexpected broker id, expected {here} or empty string, but received {id}"
            ));
        }
        Err(_) => return wrong(format!("Broker id must be an integer, but it is: {name}")),
    }
    let config = &cx.state.config;
    // Name, value, type, Kafka's default.
    let settings = [
        ("node.id", config.node_id.to_string(), 3, None),
        ("broker.id", config.node_id.to_string(), 3, Some("-1")),
        (
            "num.partitions",
            config.num_partitions.to_string(),
            3,
            Some("1"),
        ),
        ("default.replication.factor", "1".to_owned(), 3, Some("1")),
        (
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            1,
            Some("true"),
        ),
        (
            "producer.id.expiration.ms",
            config.producer_id_expiration_ms.to_string(),
            3,
            Some("86400000"),
        ),
        ("log.dirs", config.data.display().to_string(), 2, None),
    ];
    let wanted = settings
        .into_iter()
        .filter(|(name, ..)| is_wanted(resource, name));
    let described = wanted.map(|(name, value, kind, default)| {
        let is_default = default == Some(value.as_str());
        let source = if is_default { DEFAULT } else { STATIC_BROKER };
        let mut config = entry(name, &value, source, kind, true);
        if synonyms {
            let set = (!is_default).then_some((name, value.as_str(), STATIC_BROKER));
            let default = default.map(|default| (name, default, DEFAULT));
            config.synonyms = synonyms_of(set.into_iter().chain(default));
        }
        config
    });
    Ok(described.collect())
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    let keys = resource.configuration_keys.as_ref();
    // No keys at all mean all, as null does.
    keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| **key == *name))
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
        .with_documentation(None)
        .with_config_source(source)
        .with_config_type(kind)
        .with_read_only(read_only)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
