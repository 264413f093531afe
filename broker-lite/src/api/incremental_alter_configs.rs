//! IncrementalAlterConfigs (key 44), versions 0-1.
//!
//! Changes configs of topics: set, delete, append to and subtract from lists (KIP-339). The partitions
//! follow at once. Other resources are INVALID_REQUEST: a broker's settings are those it was started with.

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

const TOPIC: i8 = 2;

type Refusal = (ResponseError, String);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match alter(cx, resource, request.validate_only) {
            Ok(()) => result,
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message))),
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
    if resource.resource_type != TOPIC {
        let message = "Only the configs of topics can be changed.";
        return Err((ResponseError::InvalidRequest, message.to_owned()));
    }
    let error = ResponseError::UnknownTopicOrPartition;
    let topic = cx.state.topics.get(&resource.resource_name);
    let topic = topic.ok_or_else(|| (error, error.to_string()))?;
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
        .map_err(|error| (error, error.to_string()))
}

fn apply(configs: &mut Overrides, change: &AlterableConfig) -> Result<(), Refusal> {
    let name = &*change.name;
    let wrong = |why: String| (ResponseError::InvalidConfig, why);
    let given = || {
        let value = change.value.as_deref();
        value.ok_or_else(|| wrong(format!("Null value not supported for {name}")))
    };
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
            "Config value {op} is not allowed for config key: {name}"
        )))
    };
    let value = match change.config_operation {
        0 => given()?.to_owned(),
        1 => {
            topic_config::check(name, topic_config::value(&Overrides::new(), name))
                .map_err(wrong)?;
            configs.remove(name);
            return Ok(());
        }
        2 => {
            is_list("append")?;
            let more: Vec<_> = given()?
                .split(',')
                .filter(|p| !current().any(|c| c == *p))
                .collect();
            current().chain(more).collect::<Vec<_>>().join(",")
        }
        3 => {
            is_list("subtract")?;
            let less: Vec<_> = given()?.split(',').collect();
            current()
                .filter(|part| !less.contains(part))
                .collect::<Vec<_>>()
                .join(",")
        }
        other => {
            return Err((
                ResponseError::InvalidRequest,
                format!("Unknown operation {other}"),
            ));
        }
    };
    topic_config::check(name, &value).map_err(wrong)?;
    configs.insert(name.to_owned(), value);
    Ok(())
}
