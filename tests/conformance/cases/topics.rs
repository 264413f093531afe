//! Making, growing and deleting topics.

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};
use uuid::Uuid;

use super::topic;
use crate::talk::{Talk, text};

fn creatable(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

fn assigned(partition: i32, brokers: &[i32]) -> CreatableReplicaAssignment {
    CreatableReplicaAssignment::default()
        .with_partition_index(partition)
        .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(text(name))
        .with_value(value.map(text))
}

pub fn creating(talk: &mut Talk) {
    let _unchanged = super::cluster::INHERITED.read();
    let long = "x".repeat(249);
    let too_long = "x".repeat(250);
    for version in 2..=7 {
        let name = |what: &str| format!("topics-{version}-{what}");
        let mut ask = |what: &str, topics: Vec<CreatableTopic>| {
            let request = CreateTopicsRequest::default()
                .with_topics(topics)
                .with_timeout_ms(5000);
            let tried = request.clone().with_validate_only(true);
            talk.ask_edited(what, version, &tried, without_cluster_wide);
            talk.ask_edited(what, version, &request, without_cluster_wide);
        };
        ask("plain", vec![creatable(&name("plain"), 2, 1)]);
        ask("again", vec![creatable(&name("plain"), 2, 1)]);
        ask("again, wrong", vec![creatable(&name("plain"), 0, 5)]);
        ask("defaults", vec![creatable(&name("defaults"), -1, -1)]);
        for (partitions, factor) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (0, 2), (-1, 3)] {
            ask(
                &format!("{partitions} partitions, factor {factor}"),
                vec![creatable(&name("bad"), partitions, factor)],
            );
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", &too_long] {
            ask(&format!("name {bad:?}"), vec![creatable(bad, 1, 1)]);
        }
        ask(
            "a long name",
            vec![creatable(&format!("{}{version}", &long[1..]), 1, 1)],
        );
        ask("dots and underscores", vec![creatable(&name("a.b"), 1, 1)]);
        ask("collides", vec![creatable(&name("a_b"), 1, 1)]);
        ask(
            "twice",
            vec![
                creatable(&name("twice"), 1, 1),
                creatable(&name("twice"), 2, 1),
                creatable(&name("once"), 1, 1),
            ],
        );
        ask("none", vec![]);
        let with = |name: &str, configs: Vec<CreatableTopicConfig>| {
            vec![creatable(name, 1, 1).with_configs(configs)]
        };
        ask(
            "configs",
            with(
                &name("configs"),
                vec![
                    config("retention.ms", Some("1000")),
                    config("cleanup.policy", Some("compact")),
                ],
            ),
        );
        for (key, value) in [
            ("nothing.known", Some("1")),
            ("retention.ms", Some("soon")),
            ("retention.ms", Some("-2")),
            ("retention.ms", None),
            ("cleanup.policy", Some("shred")),
            ("cleanup.policy", Some("")),
            ("segment.bytes", Some("1")),
            ("compression.type", Some("zip")),
            ("min.insync.replicas", Some("0")),
            ("preallocate", Some("maybe")),
            ("min.cleanable.dirty.ratio", Some("2")),
            ("max.message.bytes", Some("-1")),
            ("max.message.bytes", Some("99999999999")),
            ("message.timestamp.type", Some("Never")),
        ] {
            ask(
                &format!("{key}={value:?}"),
                with(&name("wrong"), vec![config(key, value)]),
            );
        }
        ask(
            "a config twice",
            with(
                &name("config-twice"),
                vec![
                    config("retention.ms", Some("1")),
                    config("retention.ms", Some("2")),
                ],
            ),
        );
        let placed = |name: &str, partitions, factor, places: Vec<CreatableReplicaAssignment>| {
            vec![creatable(name, partitions, factor).with_assignments(places)]
        };
        ask(
            "placed",
            placed(
                &name("placed"),
                -1,
                -1,
                vec![assigned(0, &[1]), assigned(1, &[1])],
            ),
        );
        ask(
            "placed, with numbers",
            placed(&name("bad"), 1, 1, vec![assigned(0, &[1])]),
        );
        ask(
            "placed, with partitions",
            placed(&name("bad"), 1, -1, vec![assigned(0, &[1])]),
        );
        ask(
            "placed elsewhere",
            placed(&name("bad"), -1, -1, vec![assigned(0, &[9])]),
        );
        ask(
            "placed twice",
            placed(&name("bad"), -1, -1, vec![assigned(0, &[1, 1])]),
        );
        ask(
            "placed nowhere",
            placed(&name("bad"), -1, -1, vec![assigned(0, &[])]),
        );
        ask(
            "placed with a gap",
            placed(
                &name("bad"),
                -1,
                -1,
                vec![assigned(0, &[1]), assigned(2, &[1])],
            ),
        );
        ask(
            "a partition placed twice",
            placed(
                &name("bad"),
                -1,
                -1,
                vec![assigned(0, &[1]), assigned(0, &[1])],
            ),
        );
    }
}

/// Kafka sets `min.insync.replicas` for the whole cluster when it makes one (KIP-966): it has another source there.
fn without_cluster_wide(answer: &mut CreateTopicsResponse) {
    for topic in &mut answer.topics {
        let configs = topic.configs.iter_mut().flatten();
        for config in configs.filter(|config| &*config.name == "min.insync.replicas") {
            config.config_source = 0;
        }
    }
}

pub fn growing(talk: &mut Talk) {
    for version in 0..=3 {
        let name = format!("topics-growing-{version}");
        topic(talk, &name, 2, &[]);
        let grow = |name: &str, count, places: Option<&[&[i32]]>| {
            let place = |ids: &&[i32]| {
                let ids = ids.iter().map(|id| (*id).into()).collect();
                CreatePartitionsAssignment::default().with_broker_ids(ids)
            };
            CreatePartitionsTopic::default()
                .with_name(text(name).into())
                .with_count(count)
                .with_assignments(places.map(|places| places.iter().map(place).collect()))
        };
        let mut ask = |what: &str, topics: Vec<CreatePartitionsTopic>| {
            let request = CreatePartitionsRequest::default()
                .with_topics(topics)
                .with_timeout_ms(5000);
            talk.ask(what, version, &request.clone().with_validate_only(true));
            talk.ask(what, version, &request);
        };
        for count in [2, 1, 0, -1, 3] {
            ask(&format!("to {count}"), vec![grow(&name, count, None)]);
        }
        ask("unknown", vec![grow("topics-nowhere", 3, None)]);
        ask("no name", vec![grow("", 3, None)]);
        ask("twice", vec![grow(&name, 4, None), grow(&name, 5, None)]);
        ask("placed", vec![grow(&name, 5, Some(&[&[1], &[1]]))]);
        ask("placed, too few", vec![grow(&name, 7, Some(&[&[1]]))]);
        ask(
            "placed, too many",
            vec![grow(&name, 6, Some(&[&[1], &[1]]))],
        );
        ask("placed, none", vec![grow(&name, 6, Some(&[]))]);
        ask("placed elsewhere", vec![grow(&name, 6, Some(&[&[9]]))]);
        ask("placed twice", vec![grow(&name, 6, Some(&[&[1, 1]]))]);
        ask("placed nowhere", vec![grow(&name, 6, Some(&[&[]]))]);
        ask("none", vec![]);
    }
}

pub fn deleting(talk: &mut Talk) {
    for version in 1..=5 {
        let name = format!("topics-deleting-{version}");
        topic(talk, &name, 1, &[]);
        let ask = |names: &[&str]| {
            let names = names.iter().map(|name| text(name).into());
            DeleteTopicsRequest::default()
                .with_topic_names(names.collect())
                .with_timeout_ms(5000)
        };
        talk.ask("unknown", version, &ask(&["topics-nowhere", ""]));
        talk.ask("twice", version, &ask(&[&name, &name]));
        talk.ask("one", version, &ask(&[&name]));
        talk.ask("again", version, &ask(&[&name]));
        talk.ask("none", version, &ask(&[]));
    }
    let (one, two) = (
        topic(talk, "topics-deleting-6", 1, &[]),
        topic(talk, "topics-deleting-7", 1, &[]),
    );
    let state = DeleteTopicState::default;
    let by_name = |name: &str| state().with_name(Some(text(name).into()));
    let mut ask = |what: &str, topics: Vec<DeleteTopicState>| {
        talk.ask(
            what,
            6,
            &DeleteTopicsRequest::default()
                .with_topics(topics)
                .with_timeout_ms(5000),
        );
    };
    ask(
        "unknown",
        vec![
            by_name("topics-nowhere"),
            state().with_name(None).with_topic_id(Uuid::from_u128(5)),
        ],
    );
    ask("neither", vec![state().with_name(None)]);
    ask(
        "name and id",
        vec![by_name(&one.name).with_topic_id(one.id)],
    );
    ask(
        "by both ways",
        vec![
            by_name(&one.name),
            state().with_name(None).with_topic_id(one.id),
        ],
    );
    ask(
        "by id twice",
        vec![
            state().with_name(None).with_topic_id(one.id),
            state().with_name(None).with_topic_id(one.id),
        ],
    );
    ask("by id", vec![state().with_name(None).with_topic_id(one.id)]);
    ask(
        "by id again",
        vec![state().with_name(None).with_topic_id(one.id)],
    );
    ask("by name", vec![by_name(&two.name)]);
}
