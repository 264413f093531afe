//! DescribeConfigs (key 32), versions 1-4.
//!
//! Topics with all their configs and where each value comes from; this broker with the settings it
//! has; without a name, what all brokers were given. Other brokers and resource types are INVALID_REQUEST. Version 3: types.

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
        topic_config::{
            CONFIGS,
            defaults::{WITHOUT_EFFECT, last, setting},
            synonym, value,
        },
        topics::{
            check_name,
            inherited::{DYNAMIC_CLUSTER, Inherited, STATIC_BROKER},
        },
    },
};

type Refusal = (ResponseError, StrBytes);

/// `DescribeConfigsResponse.ConfigSource`
const DYNAMIC_TOPIC: i8 = 1;
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
    let inherited = cx.state.topics.inherited();
    let defaults = inherited.defaults();
    let described = wanted.map(|(name, kind, default)| {
        let own = set.get(*name);
        let own = own.map(|value| (*name, value.as_str(), DYNAMIC_TOPIC));
        let mut values: Vec<(&str, &str, i8)> = own.into_iter().collect();
        values.extend(given(&inherited, name));
        let source = values.first().map_or(DEFAULT, |(.., source)| *source);
        let shown = value(&set, defaults, name);
        let mut config = entry(name, shown, source, kind.number(), false);
        if synonyms {
            let last = last(name).filter(|_| defaults.source(name).is_some());
            let default = synonym(name).map(|name| (name, *default));
            let defaults = last.into_iter().chain(default);
            values.extend(defaults.map(|(name, value)| (name, value, DEFAULT)));
            config.synonyms = synonyms_of(values.into_iter());
        }
        config
    });
    Ok(described.collect())
}

/// What a broker was given for a topic's config, with settings in other units behind that in the config's own.
fn given<'a>(
    inherited: &'a Inherited,
    topic: &str,
) -> impl Iterator<Item = (&'static str, &'a str, i8)> {
    let own = inherited.defaults().source(topic);
    let own = own.into_iter().flat_map(|setting| {
        let values = inherited.values(setting);
        values.map(move |(value, source)| (setting, value, source))
    });
    let coarser = inherited.defaults().coarser(topic).iter();
    own.chain(coarser.map(|(setting, value)| (*setting, value.as_str(), STATIC_BROKER)))
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
        (
            "connections.max.reauth.ms",
            config
                .security
                .get("connections.max.reauth.ms")
                .unwrap_or("0")
                .to_owned(),
            5,
            Some("0"),
        ),
        ("log.dirs", log_dirs(config), 2, None),
    ];
    // What is given to all brokers is not about this one.
    let (settings, source) = match name.is_empty() {
        true => (&settings[..0], Some(DYNAMIC_CLUSTER)),
        false => (&settings[..], None),
    };
    let described = settings.iter().map(|(name, value, kind, default)| {
        let is_default = *default == Some(value.as_str());
        let source = if is_default { DEFAULT } else { STATIC_BROKER };
        let mut config = entry(name, value, source, *kind, true);
        if synonyms {
            let set = (!is_default).then_some((*name, value.as_str(), STATIC_BROKER));
            let default = default.map(|default| (*name, default, DEFAULT));
            config.synonyms = synonyms_of(set.into_iter().chain(default));
        }
        config
    });
    let described = described.chain(dynamic(cx, source, synonyms));
    Ok(described
        .filter(|config| is_wanted(resource, &config.name))
        .collect())
}

/// What clients can change, from wherever the broker has it or from one source.
fn dynamic(cx: &Context, only: Option<i8>, synonyms: bool) -> Vec<DescribeConfigsResourceResult> {
    let inherited = cx.state.topics.inherited();
    let of_topics = CONFIGS.iter().filter_map(|(topic, kind, default)| {
        let default = synonym(topic).map(|_| *default);
        let given = given(&inherited, topic).collect();
        Some((setting(topic)?, *kind, default, last(topic), given))
    });
    let others = WITHOUT_EFFECT.iter().map(|(name, kind, default)| {
        let given = inherited.values(name);
        let given = given
            .map(|(value, source)| (*name, value, source))
            .collect();
        (*name, *kind, Some(*default), None, given)
    });
    let settings = of_topics.chain(others);
    let described = settings.filter_map(|(name, kind, default, last, given)| {
        let mut values: Vec<(&str, &str, i8)> = given;
        values.retain(|(.., source)| only.is_none_or(|only| only == *source));
        let (value, source) = match (values.first(), only) {
            (Some((_, value, source)), _) => (Some(*value), *source),
            (None, None) => (default, DEFAULT),
            (None, Some(_)) => return None,
        };
        let shown = value.unwrap_or_default();
        let mut config = entry(name, shown, source, kind.number(), false);
        if value.is_none() {
            config.value = None;
        }
        if synonyms {
            // One that has no default of its own does not tell of what it falls back to.
            let last = last.filter(|_| !values.is_empty());
            let defaults = default.map(|default| (name, default)).into_iter();
            let defaults = defaults.chain(last).filter(|_| only.is_none());
            values.extend(defaults.map(|(name, value)| (name, value, DEFAULT)));
            config.synonyms = synonyms_of(values.into_iter());
        }
        Some(config)
    });
    described.collect()
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

/// As `log.dirs` is written.
fn log_dirs(config: &crate::Config) -> String {
    let all = config.log_dirs().map(|one| one.display().to_string());
    all.collect::<Vec<_>>().join(",")
}
