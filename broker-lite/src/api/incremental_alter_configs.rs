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
};

use super::{
    Context,
    altering::{Refusal, Resources, check_names, not_allowed, told, topic},
    message,
};
use crate::{
    security::acl::Operation,
    state::topic_config::{self, Kind, Overrides, defaults::Defaults},
};

/// `AlterConfigOp.OpType`
const DELETE: i8 = 1;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let named = request.resources.iter();
    let resources: Resources<'_> = named
        .map(|resource| (resource.resource_type, &*resource.resource_name))
        .collect();
    let results = request.resources.iter().map(|resource| {
        let once = resources.once(resource.resource_type, &resource.resource_name);
        let (kind, name) = (resource.resource_type, &*resource.resource_name);
        let once = once.and_then(
            |()| match not_allowed(cx, kind, name, Operation::AlterConfigs) {
                None => Ok(()),
                Some(error) => Err((error, Some(message(error).to_string()))),
            },
        );
        let outcome = once.and_then(|()| alter(cx, resource, request.validate_only));
        let (code, message) = told(outcome);
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code)
            .with_error_message(message)
    });
    let results = results.collect();
    IncrementalAlterConfigsResponse::default().with_responses(results)
}

fn alter(
    cx: &Context,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let has_value =
        |change: &AlterableConfig| change.config_operation == DELETE || change.value.is_some();
    let changes = resource.configs.iter();
    check_names(changes.map(|change| (&*change.name, has_value(change))))?;
    let topic = topic(cx, resource.resource_type, &resource.resource_name)?;
    let mut configs = topic.configs();
    for change in &resource.configs {
        apply(&mut configs, cx.state.topics.defaults(), change)?;
    }
    if validate_only {
        return Ok(());
    }
    cx.state
        .topics
        .configure(&topic, configs)
        .map_err(|error| (error, None))
}

fn apply(
    configs: &mut Overrides,
    defaults: &Defaults,
    change: &AlterableConfig,
) -> Result<(), Refusal> {
    let name = &*change.name;
    let wrong = |why: String| (ResponseError::InvalidConfig, Some(why));
    let given = change.value.as_deref().unwrap_or_default();
    let current = || {
        topic_config::value(configs, defaults, name)
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
