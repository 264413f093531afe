//! What one request may ask for at most.

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic,
};

use crate::talk::{Talk, text};

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

/// More partitions than a batch of Kafka's controller may have (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
pub fn partitions(talk: &mut Talk) {
    let create = |topics: &[CreatableTopic]| {
        CreateTopicsRequest::default()
            .with_topics(topics.to_vec())
            .with_timeout_ms(20_000)
    };
    for version in [2, 5, 7] {
        for (what, topics) in [
            ("one", vec![topic("many", 10_001)]),
            ("as many as can be", vec![topic("many", i32::MAX)]),
            (
                "together",
                vec![topic("some", 1), topic("many", 5_000), topic("more", 5_000)],
            ),
            (
                "with one that is wrong",
                vec![topic("a b", 5_000), topic("many", 5_001)],
            ),
            (
                "with one that is not counted",
                vec![topic("many", 10_001), topic("none", 0)],
            ),
            (
                "twice the same",
                vec![topic("many", 6_000), topic("many", 6_000)],
            ),
        ] {
            talk.ask(what, version, &create(&topics));
            talk.ask(
                &format!("{what}, to see"),
                version,
                &create(&topics).with_validate_only(true),
            );
        }
    }
    talk.quietly(7, &create(&[topic("grows", 1)]));
    super::until(|| {
        let grown = CreatePartitionsRequest::default()
            .with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(text("grows").into())
                    .with_count(1),
            ])
            .with_timeout_ms(20_000);
        talk.quietly(3, &grown).results[0].error_code != 3
    });
    for count in [10_002, 20_000, i32::MAX] {
        for validate_only in [true, false] {
            let grows = CreatePartitionsTopic::default()
                .with_name(text("grows").into())
                .with_count(count);
            let grow = CreatePartitionsRequest::default()
                .with_topics(vec![grows])
                .with_timeout_ms(20_000)
                .with_validate_only(validate_only);
            talk.ask(&format!("{count} {validate_only}"), 3, &grow);
        }
    }
}
