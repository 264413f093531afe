//! IncrementalAlterConfigs (key 44), versions 0-1.
//!
//! Changes configs of topics: set, delete, append to and subtract from lists (KIP-339). The partitions
//! follow at once. Other resources are INVALID_REQUEST: a broker's settings are those it was started with.

use std::collections::{HashMap, HashSet};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use super::Context;
use crate::state::topic_config::{self, Kind, Overrides};

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const ONLY_TOPICS: &str = "Only the configs of topics can be changed.";
/// `AlterConfigOp.OpType`
const DELETE: i8 = 1;

/// The message is left out where Kafka does not foresee the error.
type Refusal = (ResponseError, Option<String>);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut times: HashMap<(i8, &str), usize> = HashMap::new();
    for resource in &request.resources {
        let key = (resource.resource_type, &*resource.resource_name);
        *times.entry(key).or_default() += 1;
    }
    let results = request.resources.iter().map(|resource| {
        let result = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let altered = match times[&(resource.resource_type, &*resource.resource_name)] {
            1 => alter(cx, resource, request.validate_only),
            _ => Err(invalid("Each resource must appear at most once.")),
        };
        match altered {
            Ok(()) => result.with_error_message(None),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string)),
        }
    });
    let results = results.collect();
    IncrementalAlterConfigsResponse::default().with_responses(results)
}

fn alter(
    cx: &Context,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let mut names = HashSet::new();
    if !resource
        .configs
        .iter()
        .all(|change| names.insert(&*change.name))
    {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let takes_null = |change: &&AlterableConfig| change.config_operation != DELETE;
    let without: Vec<&str> = resource
        .configs
        .iter()
        .filter(takes_null)
        .filter(|change| change.value.is_none())
        .map(|change| &*change.name)
        .collect();
    if !without.is_empty() {
        let message = format!("Null value not supported for : {}", without.join(","));
        return Err((ResponseError::InvalidRequest, Some(message)));
    }
    check_type(cx, resource)?;
    if resource.resource_name.is_empty() {
        return Err(invalid("Default topic resources are not allowed."));
    }
    let topic = cx.state.topics.get(&resource.resource_name);
    let topic = topic.ok_or_else(|| {
        let message = format!("The topic '{}' does not exist.", &*resource.resource_name);
        (ResponseError::UnknownTopicOrPartition, Some(message))
    })?;
    let mut configs = topic.configs();
    for change in &resource.configs {
        apply(&mut configs, change)?;
    }
    if validate_only {
        return Ok(());
    }
    cx.state
        .topics
        .configure(&topic, configs)
        .map_err(|error| (error, None))
}

fn invalid(message: impl Into<String>) -> Refusal {
    (ResponseError::InvalidRequest, Some(message.into()))
}

/// Only topics have configs that can be changed here.
fn check_type(cx: &Context, resource: &AlterConfigsResource) -> Result<(), Refusal> {
    let (kind, name, here) = (
        resource.resource_type,
        &*resource.resource_name,
        cx.state.node.id,
    );
    Err(invalid(match kind {
        TOPIC => return Ok(()),
        BROKER if !name.is_empty() => match name.parse::<i32>() {
            Err(_) => format!("Node id must be an integer, but it is: {name}"),
            Ok(id) if id != here => {
                format!("Unexpected broker id, expected {here}, but received {id}")
            }
            Ok(_) => ONLY_TOPICS.to_owned(),
        },
        BROKER | BROKER_LOGGER | CLIENT_METRICS | GROUP => ONLY_TOPICS.to_owned(),
        other => format!("Unknown resource type {other}"),
    }))
}

fn apply(configs: &mut Overrides, change: &AlterableConfig) -> Result<(), Refusal> {
    let name = &*change.name;
    let wrong = |why: String| (ResponseError::InvalidConfig, Some(why));
    let given = change.value.as_deref().unwrap_or_default();
    let current = || {
        topic_config::value(configs, name)
            .split(',')
            .filter(|part| !part.is_empty())
    };
    let is_list = |op: &str| {
        let kind = topic_config::CONFIGS
            .iter()
            .find(|(known, ..)| *known == name);
        if matches!(kind, Some((_, Kind::List(_), _))) {
            return Ok(());
        }
        Err(wrong(format!(
            "Can't {op} to key {name} because its type is not LIST."
        )))
    };
    let value = match change.config_operation {
        0 => given.to_owned(),
        DELETE => {
            configs.remove(name);
            return Ok(());
        }
        2 => {
            is_list("APPEND")?;
            let more: Vec<_> = given
                .split(',')
                .filter(|p| !current().any(|c| c == *p))
                .collect();
            current().chain(more).collect::<Vec<_>>().join(",")
        }
        3 => {
            is_list("SUBTRACT")?;
            let less: Vec<_> = given.split(',').collect();
            current()
                .filter(|part| !less.contains(part))
                .collect::<Vec<_>>()
                .join(",")
        }
        _ => return Err((ResponseError::UnknownServerError, None)),
    };
    topic_config::check(name, &value).map_err(wrong)?;
    configs.insert(name.to_owned(), value);
    Ok(())
}
