//! CreateTopics (key 19), versions 2-7.
//!
//! One broker: a replication factor above 1 is INVALID_REPLICATION_FACTOR, as on a Kafka of one node.
//! Version 4: -1 takes the defaults. Version 5: the answer shows what was created. Version 7: topic ids.

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};

use super::Context;
use crate::{
    security::acl::Operation,
    state::{
        topic_config::{self, CONFIGS, Overrides},
        topics::check_name,
    },
};

/// Why a topic is not created.
type Refusal = (ResponseError, String);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&**topic.name).or_default() += 1;
    }
    let may_all = cx.may_cluster(Operation::Create);
    let may = |name: &str| may_all || cx.may_topic(Operation::Create, name);
    let is_counted =
        |topic: &&CreatableTopic| times.get(&**topic.name) == Some(&1) && may(&topic.name);
    let is_excessive = is_excessive(cx, request.topics.iter().filter(is_counted));
    let takes_all = cx.state.hooks.takes_topics(request.topics.len());
    let mut results = Vec::new();
    for topic in &request.topics {
        let created = match times.get_mut(&**topic.name) {
            Some(1) if !may(&topic.name) => {
                let refused = ResponseError::TopicAuthorizationFailed;
                Err((refused, "Authorization failed.".to_owned()))
            }
            Some(1) if is_excessive => {
                let message = "Excessively large number of partitions per request.";
                Err((ResponseError::PolicyViolation, message.to_owned()))
            }
            Some(1) if !takes_all => {
                let message = "Too many topics per request.";
                Err((ResponseError::PolicyViolation, message.to_owned()))
            }
            Some(1) => create(cx, topic, request.validate_only),
            // Named more than once, and answered once.
            Some(times) if *times > 0 => {
                *times = 0;
                let message = "Duplicate topic name.".to_owned();
                Err((ResponseError::InvalidRequest, message))
            }
            _ => continue,
        };
        results.push(created.unwrap_or_else(|(error, message)| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
        }));
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// Partitions that one request may make (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
pub(super) const MAX_PARTITIONS: i64 = 10_000;

/// Whether they are more than that together, those that cannot be made as well (`validateTotalNumberOfPartitions`).
fn is_excessive<'a>(cx: &Context, topics: impl Iterator<Item = &'a CreatableTopic>) -> bool {
    let wanted = topics.map(|topic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
        -1 => i64::from(cx.state.config.num_partitions),
        count => i64::from(count.max(0)),
    });
    wanted.sum::<i64>() > MAX_PARTITIONS
}

fn create(
    cx: &Context,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    let invalid = |why| (ResponseError::InvalidTopicException, why);
    check_name(&topic.name).map_err(invalid)?;
    if cx.state.topics.get(&topic.name).is_some() {
        let message = format!("Topic '{}' already exists.", *topic.name);
        return Err((ResponseError::TopicAlreadyExists, message));
    }
    if let Some(existing) = cx.state.topics.collision(&topic.name) {
        let name = &**topic.name;
        let message = format!("Topic '{name}' collides with existing topic: {existing}");
        return Err(invalid(message));
    }
    let mut configs = Overrides::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!(
                "Null value not supported for topic configs: {}",
                &*config.name
            );
            return Err((ResponseError::InvalidConfig, message));
        };
        topic_config::check(&config.name, value)
            .map_err(|why| (ResponseError::InvalidConfig, why))?;
        configs.insert(config.name.to_string(), value.to_string());
    }
    let partitions = partitions(cx, topic)?;
    let inherited = cx.state.topics.inherited();
    let shown = CONFIGS.iter().map(|(name, ..)| {
        let source = match configs.contains_key(*name) {
            true => 1,
            false => inherited.source(name).unwrap_or(5),
        };
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(
                topic_config::value(&configs, inherited.defaults(), name).to_owned(),
            )))
            .with_config_source(source)
    });
    let shown = shown.collect();
    let id = if validate_only {
        cx.state.topics.fresh_id()
    } else {
        let created = cx.state.topics.create(&topic.name, partitions, configs);
        created.map_err(|error| (error, error.to_string()))?.id
    };
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_message(None)
        .with_topic_id(id);
    if !cx.may_topic(Operation::DescribeConfigs, &topic.name) {
        let error = ResponseError::TopicAuthorizationFailed;
        return Ok(result
            .with_topic_config_error_code(error.code())
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new())));
    }
    Ok(result
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(shown)))
}

/// How many partitions are asked for, by number or by assignment to this broker.
fn partitions(cx: &Context, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if !topic.assignments.is_empty() {
        return placed(cx, topic);
    }
    match topic.replication_factor {
        -1 | 1 => {}
        ..=0 => {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err((ResponseError::InvalidReplicationFactor, message.to_owned()));
        }
        factor if matches!(topic.num_partitions, -1 | 1..) => {
            let message = format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor \
                 of {factor} cannot be reached because only 1 broker(s) are registered."
            );
            return Err((ResponseError::InvalidReplicationFactor, message));
        }
        _ => {}
    }
    match topic.num_partitions {
        -1 => Ok(cx.state.config.num_partitions),
        count if count > 0 => Ok(count),
        _ => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            Err((ResponseError::InvalidPartitions, message.to_owned()))
        }
    }
}

/// The same where the client says who has which partition (`ReplicationControlManager.createTopic`).
fn placed(cx: &Context, topic: &CreatableTopic) -> Result<i32, Refusal> {
    for (is_set, what) in [
        (topic.replication_factor != -1, "replication factor"),
        (topic.num_partitions != -1, "numPartitions"),
    ] {
        if is_set {
            let message = format!(
                "A manual partition assignment was specified, but {what} was not set to -1."
            );
            return Err((ResponseError::InvalidRequest, message));
        }
    }
    let wrong = |message| (ResponseError::InvalidReplicaAssignment, message);
    let mut numbers = BTreeSet::new();
    for place in &topic.assignments {
        let number = place.partition_index;
        if !numbers.insert(number) {
            return Err(wrong(format!(
                "Found multiple manual partition assignments for partition {number}"
            )));
        }
        check_place(cx, &place.broker_ids).map_err(wrong)?;
    }
    let count = i32::try_from(numbers.len()).unwrap_or(i32::MAX);
    if numbers.into_iter().eq(0..count) {
        return Ok(count);
    }
    let message = "partitions should be a consecutive 0-based integer sequence";
    Err(wrong(message.to_owned()))
}

/// Whether a partition may be placed on these brokers: on this one, once
/// (`ReplicationControlManager.validateManualPartitionAssignment`).
pub(super) fn check_place(cx: &Context, brokers: &[BrokerId]) -> Result<(), String> {
    let includes = "The manual partition assignment includes";
    if brokers.is_empty() {
        return Err(format!("{includes} an empty replica list."));
    }
    let mut ids: Vec<i32> = brokers.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    let here = cx.state.config.node_id;
    for (at, id) in ids.iter().enumerate() {
        if *id != here {
            return Err(format!(
                "{includes} broker {id}, but no such broker is registered."
            ));
        }
        if at > 0 {
            return Err(format!("{includes} the broker {id} more than once."));
        }
    }
    Ok(())
}
