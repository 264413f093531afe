//! Reading, with and without sessions.

use kafka_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
};

use super::records::{filled, nowhere};
use crate::{
    batches::Topic,
    talk::{Talk, text},
};

pub fn fetch(version: i16, topics: &[(&Topic, Vec<FetchPartition>)]) -> FetchRequest {
    let topics = topics.iter().map(|(topic, partitions)| {
        let one = FetchTopic::default().with_partitions(partitions.clone());
        match version {
            ..=12 => one.with_topic(text(&topic.name).into()),
            _ => one.with_topic_id(topic.id),
        }
    });
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_bytes(1 << 20)
        .with_topics(topics.collect());
    if version >= 7 {
        request.with_session_epoch(-1)
    } else {
        request
    }
}

pub fn from(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

pub fn offsets(talk: &mut Talk) {
    let topic = filled(talk, "fetches-offsets");
    let nowhere = nowhere();
    for version in 4..=18 {
        let mut ask = |what: &str, request: &FetchRequest| {
            talk.ask(what, version, request);
        };
        for offset in [0, 1, 3, 5, 6, 7, -1, i64::MAX] {
            ask(
                &format!("from {offset}"),
                &fetch(version, &[(&topic, vec![from(0, offset)])]),
            );
        }
        for partition in [2, -1, i32::MAX] {
            ask(
                &format!("partition {partition}"),
                &fetch(version, &[(&topic, vec![from(partition, 0)])]),
            );
        }
        ask(
            "a topic that is not there",
            &fetch(version, &[(&nowhere, vec![from(0, 0)])]),
        );
        let both = [(&topic, vec![from(0, 0)]), (&nowhere, vec![from(0, 0)])];
        ask("one that is there", &fetch(version, &both));
        ask("no topics", &fetch(version, &[]));
        ask("no partitions", &fetch(version, &[(&topic, vec![])]));
        ask(
            "a partition twice",
            &fetch(version, &[(&topic, vec![from(1, 0), from(1, 1)])]),
        );
        ask(
            "both partitions",
            &fetch(version, &[(&topic, vec![from(1, 0), from(0, 3)])]),
        );
        let small = from(0, 0).with_partition_max_bytes(1);
        ask(
            "partition bytes 1",
            &fetch(version, &[(&topic, vec![small.clone(), from(1, 0)])]),
        );
        ask(
            "partition bytes 0",
            &fetch(
                version,
                &[(&topic, vec![small.with_partition_max_bytes(0)])],
            ),
        );
        ask(
            "bytes 1",
            &fetch(version, &[(&topic, vec![from(0, 0), from(1, 0)])]).with_max_bytes(1),
        );
        ask(
            "bytes 0",
            &fetch(version, &[(&topic, vec![from(0, 0)])]).with_max_bytes(0),
        );
        ask(
            "least bytes more than there are",
            &fetch(version, &[(&topic, vec![from(0, 6)])])
                .with_min_bytes(100)
                .with_max_wait_ms(20),
        );
        ask(
            "read committed",
            &fetch(version, &[(&topic, vec![from(1, 0)])]).with_isolation_level(1),
        );
        ask(
            "isolation 7",
            &fetch(version, &[(&topic, vec![from(1, 0)])]).with_isolation_level(7),
        );
        if version >= 9 {
            for epoch in [0, 5] {
                let partition = from(0, 0).with_current_leader_epoch(epoch);
                ask(
                    &format!("leader epoch {epoch}"),
                    &fetch(version, &[(&topic, vec![partition])]),
                );
            }
        }
        if version >= 12 {
            for epoch in [0, 3] {
                let partition = from(0, 2).with_last_fetched_epoch(epoch);
                ask(
                    &format!("last epoch {epoch}"),
                    &fetch(version, &[(&topic, vec![partition])]),
                );
            }
        }
    }
}

pub fn sessions(talk: &mut Talk) {
    let topic = filled(talk, "fetches-sessions");
    let nowhere = nowhere();
    for version in 7..=18 {
        let one = fetch(version, &[(&topic, vec![from(0, 0), from(1, 3)])]);
        let id = talk
            .ask("new session", version, &one.clone().with_session_epoch(0))
            .session_id;
        let mut ask = |what: &str, epoch, request: &FetchRequest| {
            talk.ask(
                what,
                version,
                &request
                    .clone()
                    .with_session_id(id)
                    .with_session_epoch(epoch),
            );
        };
        let nothing = fetch(version, &[]);
        ask("nothing new", 1, &nothing);
        ask("wrong epoch", 5, &nothing);
        ask(
            "going on",
            2,
            &fetch(version, &[(&topic, vec![from(0, 6)])]),
        );
        ask(
            "with a stranger",
            3,
            &fetch(version, &[(&nowhere, vec![from(0, 0)])]),
        );
        let forgotten = match version {
            ..=12 => ForgottenTopic::default().with_topic(text(&topic.name).into()),
            _ => ForgottenTopic::default().with_topic_id(topic.id),
        };
        let forgetting = nothing
            .clone()
            .with_forgotten_topics_data(vec![forgotten.with_partitions(vec![1])]);
        ask("forgetting", 4, &forgetting);
        ask("end", -1, &nothing);
        ask("after the end", 5, &nothing);
        talk.ask(
            "unknown session",
            version,
            &nothing.clone().with_session_id(123).with_session_epoch(1),
        );
        talk.ask(
            "session 0, epoch 3",
            version,
            &one.clone().with_session_epoch(3),
        );
    }
}
