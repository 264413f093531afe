//! Offsets by time and by epoch, and deleting records.

use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, ListOffsetsRequest,
    OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_producers_request::TopicRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use uuid::Uuid;
use wire::record::Codec;

use super::{
    fetches::{fetch, from},
    topic,
};
use crate::{
    batches::{T, Topic, batch, produce, sequenced},
    talk::{Talk, text},
};

/// A topic with a few batches in partition 0 and one in partition 1.
pub fn filled(talk: &mut Talk, name: &str) -> Topic {
    let topic = topic(talk, name, 2, &[]);
    let batches = [
        batch(Codec::None, &[T, T + 5, T + 3]),
        batch(Codec::Lz4, &[T + 10, T + 20]),
        batch(Codec::None, &[T + 4]),
    ];
    for records in batches {
        talk.quietly(9, &produce(9, &topic, &[(0, Some(records.clone()))]));
    }
    talk.quietly(9, &produce(9, &topic, &[(1, Some(sequenced(77, 2, 0, 3)))]));
    topic
}

pub fn nowhere() -> Topic {
    Topic {
        name: "records-nowhere".to_owned(),
        id: Uuid::from_u128(9),
    }
}

pub fn list(topic: &str, partitions: Vec<ListOffsetsPartition>) -> ListOffsetsRequest {
    let topic = ListOffsetsTopic::default()
        .with_name(text(topic).into())
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

pub fn at(partition: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_timestamp(timestamp)
}

pub fn offsets(talk: &mut Talk) {
    let topic = filled(talk, "records-offsets").name;
    for version in 1..=10 {
        let mut ask = |what: &str, request: &ListOffsetsRequest| {
            talk.ask(what, version, request);
        };
        let times = [
            -1,
            -2,
            -3,
            -4,
            -5,
            -6,
            -7,
            i64::MIN,
            0,
            T,
            T + 1,
            T + 5,
            T + 6,
            T + 15,
            T + 20,
            T + 21,
            i64::MAX,
        ];
        for time in times {
            ask(&format!("time {time}"), &list(&topic, vec![at(0, time)]));
        }
        for partition in [2, -1, i32::MAX] {
            ask(
                &format!("partition {partition}"),
                &list(&topic, vec![at(partition, -1)]),
            );
        }
        ask(
            "a topic that is not there",
            &list("records-nowhere", vec![at(0, -1)]),
        );
        ask("a topic without name", &list("", vec![at(0, -1)]));
        ask("no partitions", &list(&topic, vec![]));
        ask(
            "a partition twice",
            &list(&topic, vec![at(0, -1), at(0, -2), at(1, -1)]),
        );
        let mut twice = list(&topic, vec![at(0, -1)]);
        twice.topics.extend(list(&topic, vec![at(1, -2)]).topics);
        ask("a topic twice", &twice);
        ask("no topics", &list(&topic, vec![]).with_topics(vec![]));
        ask(
            "a replica",
            &list(&topic, vec![at(0, -1)]).with_replica_id(1.into()),
        );
        ask(
            "a replica that is not there",
            &list(&topic, vec![at(0, -1)]).with_replica_id(99.into()),
        );
        ask(
            "the debug replica",
            &list(&topic, vec![at(0, -1)]).with_replica_id((-2).into()),
        );
        if version >= 2 {
            for level in [1, 7] {
                ask(
                    &format!("isolation {level}"),
                    &list(&topic, vec![at(1, -1)]).with_isolation_level(level),
                );
            }
        }
        if version >= 4 {
            for epoch in [0, 4] {
                let partition = at(0, -1).with_current_leader_epoch(epoch);
                ask(
                    &format!("leader epoch {epoch}"),
                    &list(&topic, vec![partition]),
                );
            }
        }
    }
}

pub fn epochs(talk: &mut Talk) {
    let topic = filled(talk, "records-epochs").name;
    let ask = |name: &str, partitions: Vec<OffsetForLeaderPartition>| {
        let topic = OffsetForLeaderTopic::default()
            .with_topic(text(name).into())
            .with_partitions(partitions);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    let one = |partition, current, epoch| {
        OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch)
    };
    for version in 2..=4 {
        for (current, epoch) in [
            (-1, 0),
            (-1, 1),
            (-1, -1),
            (0, 0),
            (7, 0),
            (-1, i32::MAX),
            (-7, -7),
        ] {
            let request = ask(&topic, vec![one(0, current, epoch)]);
            talk.ask(
                &format!("leader {current}, epoch {epoch}"),
                version,
                &request,
            );
        }
        talk.ask(
            "unknown partition",
            version,
            &ask(&topic, vec![one(9, -1, 0), one(1, -1, 0)]),
        );
        talk.ask(
            "unknown topic",
            version,
            &ask("records-nowhere", vec![one(0, -1, 0)]),
        );
        talk.ask("no partitions", version, &ask(&topic, vec![]));
        talk.ask(
            "twice",
            version,
            &ask(&topic, vec![one(0, -1, 0), one(0, -1, 1)]),
        );
        let nothing = OffsetForLeaderEpochRequest::default();
        talk.ask("no topics", version, &nothing);
        if version >= 3 {
            let replica = ask(&topic, vec![one(0, -1, 0)]).with_replica_id(1.into());
            talk.ask("a replica", version, &replica);
        }
    }
}

pub fn deletes(talk: &mut Talk) {
    let topic = filled(talk, "records-deletes").name;
    let ask = |name: &str, partitions: &[(i32, i64)]| {
        let partition = |(index, offset): &(i32, i64)| {
            DeleteRecordsPartition::default()
                .with_partition_index(*index)
                .with_offset(*offset)
        };
        let topic = DeleteRecordsTopic::default()
            .with_name(text(name).into())
            .with_partitions(partitions.iter().map(partition).collect());
        DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(5000)
    };
    for version in 0..=2 {
        for offset in [0, 2, 1, 3, 99, -2, i64::MIN, i64::MAX] {
            let request = ask(&topic, &[(0, offset)]);
            talk.ask(&format!("before {offset}"), version, &request);
        }
        talk.ask(
            "unknown partition",
            version,
            &ask(&topic, &[(9, 0), (1, 1)]),
        );
        talk.ask("unknown topic", version, &ask("records-nowhere", &[(0, 0)]));
        talk.ask(
            "a topic of the broker",
            version,
            &ask("__consumer_offsets", &[(0, 0)]),
        );
        talk.ask("no partitions", version, &ask(&topic, &[]));
        talk.ask("twice", version, &ask(&topic, &[(1, 1), (1, 2)]));
        talk.ask("no topics", version, &DeleteRecordsRequest::default());
        talk.ask(
            "timeout 0",
            version,
            &ask(&topic, &[(1, 2)]).with_timeout_ms(0),
        );
        let request = list(&topic, vec![at(0, -2), at(1, -2), at(0, -1)]);
        talk.ask("where they start now", 5, &request);
    }
    talk.ask("all", 2, &ask(&topic, &[(0, -1), (1, -1)]));
    talk.ask(
        "before the start",
        11,
        &fetch(
            11,
            &[(
                &Topic {
                    name: topic,
                    id: Uuid::nil(),
                },
                vec![from(0, 0)],
            )],
        ),
    );
}

pub fn producers(talk: &mut Talk) {
    let topic = filled(talk, "records-producers").name;
    let ask = |name: &str, partitions: Vec<i32>| {
        let topic = TopicRequest::default()
            .with_name(text(name).into())
            .with_partition_indexes(partitions);
        DescribeProducersRequest::default().with_topics(vec![topic])
    };
    talk.ask("two", 0, &ask(&topic, vec![0, 1]));
    talk.ask("twice", 0, &ask(&topic, vec![1, 1]));
    talk.ask("unknown partitions", 0, &ask(&topic, vec![-1, 2, 0]));
    talk.ask("unknown topic", 0, &ask("records-nowhere", vec![0]));
    talk.ask("a name that cannot be", 0, &ask("a/b", vec![0]));
    talk.ask("no partitions", 0, &ask(&topic, vec![]));
    talk.ask("no topics", 0, &DescribeProducersRequest::default());
}
