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
use crate::{
    security::acl::Operation,
    state::{
        topic_config::{self, Kind, Overrides, defaults},
        topics::{Topic, inherited::Scope},
    },
};

/// `AlterConfigOp.OpType`
pub(super) const DELETE: i8 = 1;
pub(super) const APPEND: i8 = 2;
pub(super) const SUBTRACT: i8 = 3;

const NOT_THESE: &str = "Only the configs of topics and brokers can be changed.";

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

/// Whose configs are changed: a topic's, or the broker's that all topics fall back to.
pub(super) enum Target {
    Topic(Arc<Topic>),
    Inherited(Scope),
}

impl Target {
    pub(super) fn find(cx: &Context, kind: i8, name: &str) -> Result<Self, Refusal> {
        let here = cx.state.config.node_id;
        let why = match kind {
            TOPIC if name.is_empty() => "Default topic resources are not allowed.".to_owned(),
            TOPIC => {
                let unknown = || {
                    let message = format!("The topic '{name}' does not exist.");
                    (ResponseError::UnknownTopicOrPartition, Some(message))
                };
                let topic = cx.state.topics.get(name).ok_or_else(unknown)?;
                return Ok(Self::Topic(topic));
            }
            BROKER if name.is_empty() => return Ok(Self::Inherited(Scope::Cluster)),
            BROKER => match name.parse::<i32>() {
                Err(_) => format!("Node id must be an integer, but it is: {name}"),
                Ok(id) if id == here => return Ok(Self::Inherited(Scope::Broker)),
                Ok(id) => format!("Unexpected broker id, expected {here}, but received {id}"),
            },
            BROKER_LOGGER | CLIENT_METRICS | GROUP => NOT_THESE.to_owned(),
            other => format!("Unknown resource type {other}"),
        };
        Err(invalid(why))
    }

    /// What is set.
    pub(super) fn set(&self, cx: &Context) -> Overrides {
        match self {
            Self::Topic(topic) => topic.configs(),
            Self::Inherited(scope) => cx.state.topics.inherited().given(*scope).clone(),
        }
    }

    /// What the values of a config may be, if there is one of this name.
    fn kind(&self, name: &str) -> Option<Kind> {
        match self {
            Self::Topic(_) => topic_config::kind(name),
            Self::Inherited(_) => defaults::dynamic(name).map(|(kind, _)| kind),
        }
    }

    /// The value of a list that is added to or taken from.
    pub(super) fn list(
        &self,
        cx: &Context,
        name: &str,
        set: &Overrides,
        change: i8,
    ) -> Result<String, Refusal> {
        if !matches!(self.kind(name), Some(Kind::List(_))) {
            let why = match (
                self,
                ["append", "subtract"][usize::from(change == SUBTRACT)],
            ) {
                (Self::Topic(_), verb) => format!(
                    "Can't {} to key {name} because its type is not LIST.",
                    verb.to_uppercase()
                ),
                (Self::Inherited(_), verb) => {
                    format!("Config value {verb} is not allowed for config key: {name}")
                }
            };
            return Err((ResponseError::InvalidConfig, Some(why)));
        }
        let now = set.get(name).cloned();
        Ok(now.unwrap_or_else(|| self.default(cx, name)))
    }

    /// What counts where nothing is set.
    fn default(&self, cx: &Context, name: &str) -> String {
        let inherited = cx.state.topics.inherited();
        match self {
            Self::Topic(_) => inherited.defaults().get(name).to_owned(),
            Self::Inherited(_) => {
                let found = defaults::dynamic(name);
                found.map_or(String::new(), |(_, default)| default.to_owned())
            }
        }
    }

    /// Refuses what cannot be set. Kafka calls the same an invalid config of a topic, and an invalid request to a broker.
    pub(super) fn check(&self, name: &str, value: &str) -> Result<(), Refusal> {
        match (self, self.kind(name)) {
            (Self::Topic(_), _) => topic_config::check(name, value)
                .map_err(|why| (ResponseError::InvalidConfig, Some(why))),
            (Self::Inherited(_), Some(kind)) => kind.check(name, value).map_err(invalid),
            (Self::Inherited(_), None) => Err(invalid(format!(
                "Cannot update these configs dynamically: Set({name})"
            ))),
        }
    }

    /// A change of no kind.
    pub(super) fn unknown(&self, change: i8) -> Refusal {
        match self {
            Self::Topic(_) => (ResponseError::UnknownServerError, None),
            Self::Inherited(_) => invalid(format!("Unknown operations type {change}")),
        }
    }

    /// Replaces what is set.
    pub(super) fn replace(&self, cx: &Context, set: Overrides) -> Result<(), Refusal> {
        let topics = &cx.state.topics;
        let done = match self {
            Self::Topic(topic) => topics.configure(topic, set),
            Self::Inherited(scope) => topics.give(*scope, set),
        };
        done.map_err(|error| (error, None))
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    (ResponseError::InvalidRequest, Some(message.into()))
}
