//! CreatePartitions (key 37), versions 0-3.
//!
//! Grows topics; a count that is not larger is INVALID_PARTITIONS. Assignments may name this broker only.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
    protocol::StrBytes,
};

use super::Context;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match grow(cx, topic, request.validate_only) {
            Ok(()) => result,
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message))),
        }
    });
    let results = results.collect();
    CreatePartitionsResponse::default().with_results(results)
}

fn grow(
    cx: &Context,
    wanted: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), (ResponseError, String)> {
    let topic = cx.state.topics.get(&wanted.name).ok_or_else(|| {
        let error = ResponseError::UnknownTopicOrPartition;
        (error, error.to_string())
    })?;
    let (before, count) = (topic.partition_count(), wanted.count);
    if count <= before {
        let message = format!(
            "The topic {} currently has {before} partition(s); {count} would not be an increase.",
            topic.name
        );
        return Err((ResponseError::InvalidPartitions, message));
    }
    if let Some(assignments) = &wanted.assignments {
        let here = |ids: &[kafka_protocol::messages::BrokerId]| {
            ids.len() == 1 && ids[0].0 == cx.state.node.id
        };
        let fits = i32::try_from(assignments.len()) == Ok(count - before);
        if !fits || !assignments.iter().all(|a| here(&a.broker_ids)) {
            let message = "The assignment does not name this broker for each new partition.";
            return Err((ResponseError::InvalidReplicaAssignment, message.to_owned()));
        }
    }
    if validate_only {
        return Ok(());
    }
    cx.state
        .topics
        .grow(&topic, count)
        .map_err(|error| (error, error.to_string()))
}
