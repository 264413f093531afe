//! CreatePartitions (key 37), versions 0-3.
//!
//! Grows topics; a count that is not larger is INVALID_PARTITIONS. Assignments may name this broker only.

use std::collections::HashMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
    protocol::StrBytes,
};

use super::{
    Context,
    create_topics::{MAX_PARTITIONS, check_place},
};
use crate::security::acl::Operation;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&**topic.name).or_default() += 1;
    }
    let mut results = Vec::new();
    for topic in &request.topics {
        let grown = match times.get_mut(&**topic.name) {
            Some(1) if !cx.may_topic(Operation::Alter, &topic.name) => {
                Err((ResponseError::TopicAuthorizationFailed, None))
            }
            Some(1) => grow(cx, topic, request.validate_only),
            // Named more than once, and answered once.
            Some(times) if *times > 0 => {
                *times = 0;
                let message = "Duplicate topic name.".to_owned();
                Err((ResponseError::InvalidRequest, Some(message)))
            }
            _ => continue,
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match grown {
            Ok(()) => result,
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string)),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

fn grow(
    cx: &Context,
    wanted: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), (ResponseError, Option<String>)> {
    let topic = cx.state.topics.get(&wanted.name);
    let topic = topic.ok_or((ResponseError::UnknownTopicOrPartition, None))?;
    let (before, count) = (topic.partition_count(), wanted.count);
    if count <= before {
        let message = match count == before {
            true => format!("Topic already has {before} partition(s)."),
            false => format!(
                "The topic {} currently has {before} partition(s); {count} would not be an increase.",
                topic.name
            ),
        };
        return Err((ResponseError::InvalidPartitions, Some(message)));
    }
    if let Some(places) = &wanted.assignments {
        let wrong = |message| (ResponseError::InvalidReplicaAssignment, Some(message));
        let (more, told) = (count - before, places.len());
        if usize::try_from(more) != Ok(told) {
            return Err(wrong(format!(
                "Attempted to add {more} additional partition(s), but only {told} assignment(s) \
                 were specified."
            )));
        }
        for place in places {
            check_place(cx, &place.broker_ids).map_err(wrong)?;
        }
    }
    if i64::from(count) - i64::from(before) > MAX_PARTITIONS {
        return Err((ResponseError::UnknownServerError, None));
    }
    if validate_only {
        return Ok(());
    }
    let grown = cx.state.topics.grow(&topic, count);
    grown.map_err(|error| (error, None))
}
