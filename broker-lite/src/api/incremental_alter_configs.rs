//! IncrementalAlterConfigs (key 44), versions 0-1.
//!
//! Changes configs of topics, and what the broker gives topics that have none (KIP-226): set, delete, append to and subtract
//! from lists (KIP-339). The partitions follow at once. A broker's other settings are those it was started with, and other
//! resources are INVALID_REQUEST.

use kafka_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

use super::{
    Context,
    altering::{
        APPEND, DELETE, Refusal, Resources, SUBTRACT, Target, check_names, not_allowed, told,
    },
    message,
};
use crate::{security::acl::Operation, state::topic_config::Overrides};

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
    let target = Target::find(cx, resource.resource_type, &resource.resource_name)?;
    let mut set = target.set(cx);
    for change in &resource.configs {
        apply(cx, &target, &mut set, change)?;
    }
    match validate_only {
        true => Ok(()),
        false => target.replace(cx, set),
    }
}

fn apply(
    cx: &Context,
    target: &Target,
    set: &mut Overrides,
    change: &AlterableConfig,
) -> Result<(), Refusal> {
    let name = &*change.name;
    let given = change.value.as_deref().unwrap_or_default();
    let value = match change.config_operation {
        0 => given.to_owned(),
        DELETE => {
            set.remove(name);
            return Ok(());
        }
        operation @ (APPEND | SUBTRACT) => {
            let now = target.list(cx, name, set, operation)?;
            listed(&now, given, operation)
        }
        other => return Err(target.unknown(other)),
    };
    target.check(name, &value)?;
    set.insert(name.to_owned(), value);
    Ok(())
}

/// A list with more in it, or less.
fn listed(now: &str, given: &str, operation: i8) -> String {
    let parts = now.split(',').filter(|part| !part.is_empty());
    let given: Vec<_> = given.split(',').collect();
    let kept: Vec<_> = match operation {
        APPEND => {
            let now: Vec<_> = parts.collect();
            let more = given.into_iter().filter(|part| !now.contains(part));
            now.iter().copied().chain(more).collect()
        }
        _ => parts.filter(|part| !given.contains(part)).collect(),
    };
    kept.join(",")
}
