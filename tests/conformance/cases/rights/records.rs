//! Records: produce, fetch, offsets.

use bytes::Bytes;
use kafka_protocol::messages::*;
use wire::record::Codec;

use crate::{
    batches::{self, Topic, batch},
    talk::{Talk, text},
};

pub(super) fn ask(talk: &mut Talk, topic: &Topic, name: &str) {
    for version in 3..=13 {
        let records: Bytes = batch(Codec::None, &[batches::T]);
        let request = batches::produce(
            version,
            topic,
            &[(0, Some(records.clone())), (9, Some(records))],
        );
        talk.ask(name, version, &request);
    }
    for version in 4..=18 {
        let partition = |index| {
            fetch_request::FetchPartition::default()
                .with_partition(index)
                .with_partition_max_bytes(1000)
                .with_current_leader_epoch(-1)
        };
        let wanted =
            fetch_request::FetchTopic::default().with_partitions(vec![partition(0), partition(9)]);
        let wanted = match version {
            ..=12 => wanted.with_topic(text(name).into()),
            _ => wanted.with_topic_id(topic.id),
        };
        let request = FetchRequest::default()
            .with_max_bytes(1000)
            .with_session_epoch(-1)
            .with_topics(vec![wanted]);
        talk.ask_edited(name, version, &request, |answer| {
            for one in answer
                .responses
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions)
            {
                // How many records there are by now is not the matter here.
                one.records = None;
                one.high_watermark = one.high_watermark.min(0);
                one.last_stable_offset = one.last_stable_offset.min(0);
            }
        });
    }
    for version in 1..=10 {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_timestamp(-2)
            .with_current_leader_epoch(-1);
        let wanted = list_offsets_request::ListOffsetsTopic::default()
            .with_name(text(name).into())
            .with_partitions(vec![partition.clone(), partition.with_partition_index(9)]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![wanted]);
        talk.ask(name, version, &request);
    }
    for version in 2..=4 {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
            .with_current_leader_epoch(-1)
            .with_leader_epoch(-1);
        let wanted = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(text(name).into())
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-2).into())
            .with_topics(vec![wanted]);
        talk.ask(name, version, &request);
    }
    let producers = describe_producers_request::TopicRequest::default()
        .with_name(text(name).into())
        .with_partition_indexes(vec![0, 9]);
    let producers = DescribeProducersRequest::default().with_topics(vec![producers]);
    talk.ask(name, 0, &producers);
}
