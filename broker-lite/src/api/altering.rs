//! What AlterConfigs and IncrementalAlterConfigs check alike (`ConfigAdminManager`, `ControllerApis`).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kafka_protocol::{error::ResponseError, protocol::StrBytes};

use super::{
    Context,
    config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC},
};
use crate::{security::acl::Operation, state::topics::Topic};

const ONLY_TOPICS: &str = "Only the configs of topics can be changed.";

/// The message is left out where Kafka does not foresee the error.
pub(super) type Refusal = (ResponseError, Option<String>);

/// What an answer says of one resource: its error code, and its message.
pub(super) fn told(outcome: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (0, None),
        Err((error, message)) => (error.code(), message.map(StrBytes::from_string)),
    }
}

/// How often each resource is named.
pub(super) struct Resources<'a>(HashMap<(i8, &'a str), usize>);

impl<'a> FromIterator<(i8, &'a str)> for Resources<'a> {
    fn from_iter<I: IntoIterator<Item = (i8, &'a str)>>(named: I) -> Self {
        let mut times = HashMap::new();
        for resource in named {
            *times.entry(resource).or_default() += 1;
        }
        Self(times)
    }
}

impl Resources<'_> {
    /// Refuses what is named more than once.
    pub(super) fn once(&self, kind: i8, name: &str) -> Result<(), Refusal> {
        match self.0.get(&(kind, name)) {
            Some(2..) => Err(invalid("Each resource must appear at most once.")),
            _ => Ok(()),
        }
    }
}

/// Refuses names that are given twice, and those without the value that they need.
pub(super) fn check_names<'a>(
    configs: impl Iterator<Item = (&'a str, bool)>,
) -> Result<(), Refusal> {
    let (mut names, mut without) = (HashSet::new(), Vec::new());
    for (name, has_value) in configs {
        if !names.insert(name) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        if !has_value {
            without.push(name);
        }
    }
    match without.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!(
            "Null value not supported for : {}",
            without.join(",")
        ))),
    }
}

/// What whoever may not do this to a resource is told (`ControllerApis.authorizeAlterResource`).
pub(super) fn not_allowed(
    cx: &Context,
    kind: i8,
    name: &str,
    operation: Operation,
) -> Option<ResponseError> {
    match kind {
        BROKER | BROKER_LOGGER | CLIENT_METRICS if !cx.may_cluster(operation) => {
            Some(ResponseError::ClusterAuthorizationFailed)
        }
        TOPIC if !cx.may_topic(operation, name) => Some(ResponseError::TopicAuthorizationFailed),
        GROUP if !cx.may_group(operation, name) => Some(ResponseError::GroupAuthorizationFailed),
        _ => None,
    }
}

/// The topic that is meant: only topics have configs that can be changed here.
pub(super) fn topic(cx: &Context, kind: i8, name: &str) -> Result<Arc<Topic>, Refusal> {
    let here = cx.state.config.node_id;
    let why = match kind {
        TOPIC if name.is_empty() => "Default topic resources are not allowed.".to_owned(),
        TOPIC => {
            return cx.state.topics.get(name).ok_or_else(|| {
                let message = format!("The topic '{name}' does not exist.");
                (ResponseError::UnknownTopicOrPartition, Some(message))
            });
        }
        BROKER if !name.is_empty() => match name.parse::<i32>() {
            Err(_) => format!("Node id must be an integer, but it is: {name}"),
            Ok(id) if id != here => {
                format!("Unexpected broker id, expected {here}, but received {id}")
            }
            Ok(_) => ONLY_TOPICS.to_owned(),
        },
        BROKER | BROKER_LOGGER | CLIENT_METRICS | GROUP => ONLY_TOPICS.to_owned(),
        other => format!("Unknown resource type {other}"),
    };
    Err(invalid(why))
}

fn invalid(message: impl Into<String>) -> Refusal {
    (ResponseError::InvalidRequest, Some(message.into()))
}
