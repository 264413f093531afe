//! ElectLeaders (key 43), versions 0-2.
//!
//! This broker leads every partition: ELECTION_NOT_NEEDED. No topics (null) mean all, and where that finds nothing to
//! do Kafka says nothing. Version 1: the type of the election, preferred (0) or unclean (1).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use super::{Context, rights::NOT_AUTHORIZED};
use crate::security::acl::Operation;

/// Election types.
const TYPES: [i8; 2] = [0, 1];

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let kind = request.election_type;
    if let Err(error) = cx.check_cluster(Operation::Alter) {
        return all_refused(version, &request, error);
    }
    let is_known = TYPES.contains(&kind);
    let topics = request.topic_partitions.unwrap_or_default();
    let fails = !is_known && !topics.is_empty();
    let results = topics.into_iter().map(|wanted| {
        let topic = cx.state.topics.get(&wanted.topic);
        let name = wanted.topic.to_string();
        let partitions = wanted.partitions.iter().map(|number| {
            let unknown = ResponseError::UnknownTopicOrPartition;
            let partition = topic
                .as_ref()
                .map(|topic| topic.partition(*number).is_some());
            let (error, message) = match partition {
                _ if !is_known => {
                    let message = format!("Unknown election type {kind}");
                    (ResponseError::InvalidRequest, message)
                }
                None => (unknown, format!("No such topic as {name}")),
                Some(false) => (unknown, format!("No such partition as {name}-{number}")),
                Some(true) => {
                    let message = "Leader election not needed for topic partition.";
                    (ResponseError::ElectionNotNeeded, message.to_owned())
                }
            };
            PartitionResult::default()
                .with_partition_id(*number)
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(message)))
        });
        let partitions = partitions.collect();
        ReplicaElectionResult::default()
            .with_topic(wanted.topic)
            .with_partition_result(partitions)
    });
    // Version 0 has no error of its own.
    let error = match fails && version >= 1 {
        true => ResponseError::InvalidRequest.code(),
        false => 0,
    };
    ElectLeadersResponse::default()
        .with_error_code(error)
        .with_replica_election_results(results.collect())
}

/// The answer to who may not elect (`ElectLeadersRequest.getErrorResponse`).
fn all_refused(
    version: i16,
    request: &ElectLeadersRequest,
    error: ResponseError,
) -> ElectLeadersResponse {
    let topics = request.topic_partitions.iter().flatten().map(|wanted| {
        let partitions = wanted.partitions.iter().map(|number| {
            PartitionResult::default()
                .with_partition_id(*number)
                .with_error_code(error.code())
                .with_error_message(Some(NOT_AUTHORIZED))
        });
        ReplicaElectionResult::default()
            .with_topic(wanted.topic.clone())
            .with_partition_result(partitions.collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= 1 { error.code() } else { 0 })
        .with_replica_election_results(topics.collect())
}
