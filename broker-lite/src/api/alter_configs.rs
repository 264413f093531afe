//! AlterConfigs (key 33), versions 0-2.
//!
//! Replaces all that is set on a topic, or on a broker and can be changed; what is not named goes back to its default. Superseded by
//! IncrementalAlterConfigs, and still used by older clients.

use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

use super::{
    Context,
    altering::{Refusal, Resources, Target, check_names, not_allowed, told},
    message,
};
use crate::{security::acl::Operation, state::topic_config::Overrides};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(results)
}

fn alter(
    cx: &Context,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let configs = &resource.configs;
    check_names(
        configs
            .iter()
            .map(|config| (&*config.name, config.value.is_some())),
    )?;
    let target = Target::find(cx, resource.resource_type, &resource.resource_name)?;
    let mut set = Overrides::new();
    for config in configs {
        let value = config.value.as_deref().unwrap_or_default();
        target.check(&config.name, value)?;
        set.insert(config.name.to_string(), value.to_owned());
    }
    match validate_only {
        true => Ok(()),
        false => target.replace(cx, set),
    }
}
