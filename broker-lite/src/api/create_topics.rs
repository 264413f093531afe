//! CreateTopics (key 19), versions 2-7.
//!
//! One broker: a replication factor above 1 is INVALID_REPLICATION_FACTOR, as on a Kafka of one node.
//! Version 4: -1 takes the defaults. Version 5: the answer shows what was created. Version 7: topic ids.

use std::collections::HashSet;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::Context;
use crate::state::{
    topic_config::{self, CONFIGS, Overrides},
    topics::check_name,
};

/// Why a topic is not created.
type Refusal = (ResponseError, String);

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut names = HashSet::new();
    let twice: HashSet<_> = request
        .topics
        .iter()
        .map(|t| t.name.clone())
        .filter(|name| !names.insert(name.clone()))
        .collect();
    let results = request.topics.iter().map(|topic| {
        let created = if twice.contains(&topic.name) {
            Err((
                ResponseError::InvalidRequest,
                "Duplicate topic name.".to_owned(),
            ))
        } else {
            create(cx, topic, request.validate_only)
        };
        created.unwrap_or_else(|(error, message)| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
        })
    });
    let results = results.collect();
    CreateTopicsResponse::default().with_topics(results)
}

fn create(
    cx: &Context,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    check_name(&topic.name).map_err(|why| (ResponseError::InvalidTopicException, why))?;
    if cx.state.topics.get(&topic.name).is_some() {
        let message = format!("Topic '{}' already exists.", *topic.name);
        return Err((ResponseError::TopicAlreadyExists, message));
    }
    let partitions = partitions(cx, topic)?;
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
    let shown = CONFIGS.iter().map(|(name, ..)| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(
                topic_config::value(&configs, name).to_owned(),
            )))
            .with_config_source(if configs.contains_key(*name) { 1 } else { 5 })
    });
    let shown = shown.collect();
    let id = if validate_only {
        Uuid::nil()
    } else {
        let created = cx.state.topics.create(&topic.name, partitions, configs);
        created.map_err(|error| (error, error.to_string()))?.id
    };
    Ok(CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_topic_id(id)
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(shown)))
}

/// How many partitions are asked for, by number or by assignment to this broker.
fn partitions(cx: &Context, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | 1) {
            let message = "Unable to replicate the partition: only 1 broker(s) are registered.";
            return Err((ResponseError::InvalidReplicationFactor, message.to_owned()));
        }
        return match topic.num_partitions {
            -1 => Ok(cx.state.config.num_partitions),
            count if count > 0 => Ok(count),
            _ => {
                let message = "Number of partitions was set to an invalid non-positive value.";
                Err((ResponseError::InvalidPartitions, message.to_owned()))
            }
        };
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "A manual partition assignment was specified together with a number of \
                       partitions or a replication factor.";
        return Err((ResponseError::InvalidRequest, message.to_owned()));
    }
    let mut numbers: Vec<_> = topic
        .assignments
        .iter()
        .map(|a| a.partition_index)
        .collect();
    numbers.sort_unstable();
    let consecutive = numbers
        .iter()
        .enumerate()
        .all(|(i, n)| i32::try_from(i) == Ok(*n));
    let here = topic
        .assignments
        .iter()
        .all(|a| a.broker_ids.len() == 1 && a.broker_ids[0].0 == cx.state.node.id);
    if consecutive && here {
        return Ok(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
    }
    let message = "The manual partition assignment does not name this broker for each partition.";
    Err((ResponseError::InvalidReplicaAssignment, message.to_owned()))
}
