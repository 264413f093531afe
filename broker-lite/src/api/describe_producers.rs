//! DescribeProducers (key 61), version 0.
//!
//! What partitions remember of their producers (KIP-664).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
    protocol::StrBytes,
};

use super::{Context, message};
use crate::{security::acl::Operation, state::topics::check_name};

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let may = cx.may_topic(Operation::Read, &wanted.name);
        let topic = cx.state.topics.get(&wanted.name).filter(|_| may);
        let (error, message) = match check_name(&wanted.name) {
            _ if !may => {
                let error = ResponseError::TopicAuthorizationFailed;
                (error, message(error))
            }
            Ok(()) => {
                let error = ResponseError::UnknownTopicOrPartition;
                (error, message(error))
            }
            Err(why) => (
                ResponseError::InvalidTopicException,
                StrBytes::from_string(why),
            ),
        };
        let partitions = wanted.partition_indexes.iter().map(|number| {
            let response = PartitionResponse::default().with_partition_index(*number);
            let partition = topic.as_ref().and_then(|topic| topic.partition(*number));
            let Some(partition) = partition else {
                // Kafka has a message only where the topic is not there.
                let message = topic.is_none().then(|| message.clone());
                return response
                    .with_error_code(error.code())
                    .with_error_message(message);
            };
            let producers = partition.producers().into_iter().map(|producer| {
                ProducerState::default()
                    .with_producer_id(ProducerId(producer.id))
                    .with_producer_epoch(i32::from(producer.epoch))
                    .with_last_sequence(producer.last_sequence)
                    .with_last_timestamp(producer.last_timestamp)
                    .with_coordinator_epoch(producer.coordinator_epoch)
                    .with_current_txn_start_offset(producer.transaction_start)
            });
            response.with_active_producers(producers.collect())
        });
        let partitions = partitions.collect();
        TopicResponse::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}
