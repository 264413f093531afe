//! DescribeProducers (key 61), version 0.
//!
//! What partitions remember of their producers (KIP-664).

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::Context;

pub(super) async fn handle(
    cx: &Context,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = cx.state.topics.get(&wanted.name);
        let partitions = wanted.partition_indexes.iter().map(|number| {
            let response = PartitionResponse::default().with_partition_index(*number);
            let partition = topic.as_ref().and_then(|topic| topic.partition(*number));
            let Some(partition) = partition else {
                let error = ResponseError::UnknownTopicOrPartition;
                return response.with_error_code(error.code());
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
