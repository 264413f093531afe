//! Configs, log directories, and the cluster itself.

use std::{sync::RwLock, thread, time::Duration};

use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeLogDirsRequest, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ListConfigResourcesResponse,
    alter_configs_request,
    describe_configs_request::DescribeConfigsResource,
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    list_config_resources_response::ConfigResource,
};
use wire::record::Codec;

use super::topic;
use crate::{
    batches::{T, batch, produce},
    talk::{Talk, text},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
}

/// What topics inherit from the broker: read by cases that show it, written by the one that changes it.
pub static INHERITED: RwLock<()> = RwLock::new(());

pub fn describing(talk: &mut Talk) {
    let _unchanged = INHERITED.read();
    let name = topic(
        talk,
        "cluster-described",
        1,
        &[("max.message.bytes", "7000")],
    )
    .name;
    let keys = [
        "max.message.bytes",
        "retention.ms",
        "cleanup.policy",
        "segment.bytes",
    ];
    for version in 1..=4 {
        let mut ask = |what: &str, resources: Vec<DescribeConfigsResource>| {
            let request = DescribeConfigsRequest::default().with_resources(resources);
            talk.ask_edited(what, version, &request, sorted);
            let request = request.with_include_synonyms(true);
            talk.ask_edited(&format!("{what}, synonyms"), version, &request, sorted);
        };
        ask("all", vec![resource(TOPIC, &name, None)]);
        ask("some", vec![resource(TOPIC, &name, Some(&keys))]);
        ask("none", vec![resource(TOPIC, &name, Some(&[]))]);
        ask(
            "unknown keys",
            vec![resource(TOPIC, &name, Some(&["no.such.key"]))],
        );
        ask(
            "unknown topic",
            vec![resource(TOPIC, "cluster-nowhere", None)],
        );
        ask("no name", vec![resource(TOPIC, "", None)]);
        ask("a name that cannot be", vec![resource(TOPIC, "a/b", None)]);
        ask(
            "twice",
            vec![
                resource(TOPIC, &name, Some(&keys)),
                resource(TOPIC, &name, Some(&[])),
            ],
        );
        ask("no resources", vec![]);
        for id in ["9", "x", "-1"] {
            ask(
                &format!("broker {id}"),
                vec![resource(BROKER, id, Some(&["node.id"]))],
            );
        }
        ask(
            "this broker",
            vec![resource(
                BROKER,
                "1",
                Some(&[
                    "node.id",
                    "num.partitions",
                    "auto.create.topics.enable",
                    "connections.max.reauth.ms",
                ]),
            )],
        );
        for kind in [0, 1, 3, 5, 127, -1] {
            ask(&format!("type {kind}"), vec![resource(kind, "x", None)]);
        }
    }
}

/// In the order of names. `min.insync.replicas` is left out: Kafka sets it for the whole cluster when it makes one
/// (KIP-966), so it has another source there.
fn sorted(answer: &mut DescribeConfigsResponse) {
    for result in &mut answer.results {
        result
            .configs
            .retain(|config| &*config.name != "min.insync.replicas");
        result
            .configs
            .sort_by(|one, other| one.name.cmp(&other.name));
    }
}

/// What a broker gives topics that have no config of their own (KIP-226).
pub fn brokers(talk: &mut Talk) {
    let _alone = INHERITED.write();
    let name = topic(talk, "cluster-inherits", 1, &[]).name;
    let described = |what: &str, talk: &mut Talk| {
        let keys = [
            "log.retention.ms",
            "log.roll.ms",
            "log.cleanup.policy",
            "log.flush.interval.messages",
            "log.flush.interval.ms",
            "log.message.timestamp.type",
            "log.segment.bytes",
            "message.max.bytes",
            "compression.type",
            "log.cleaner.min.cleanable.ratio",
            "sasl.kerberos.min.time.before.relogin",
            "num.io.threads",
        ];
        let request = |version: i16| {
            let resources = vec![
                resource(BROKER, "1", Some(&keys)),
                resource(BROKER, "", Some(&keys)),
                resource(TOPIC, &name, None),
            ];
            let request = DescribeConfigsRequest::default().with_resources(resources);
            request.with_include_synonyms(version % 2 == 0)
        };
        for version in 1..=4 {
            talk.ask_edited(what, version, &request(version), sorted);
        }
    };
    described("before", talk);
    let change = |op, key: &str, value: Option<&str>| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(op)
            .with_value(value.map(text))
    };
    let on = |name: &str, changes: Vec<AlterableConfig>| {
        let resource = AlterConfigsResource::default()
            .with_resource_type(BROKER)
            .with_resource_name(text(name))
            .with_configs(changes);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    for (op, key, value) in [
        (0, "log.retention.ms", Some("soon")),
        (0, "log.retention.ms", None),
        (0, "log.segment.bytes", Some("1")),
        (0, "log.cleanup.policy", Some("shred")),
        (0, "log.message.timestamp.type", Some("Never")),
        (0, "log.cleaner.min.cleanable.ratio", Some("2")),
        (0, "compression.type", Some("rar")),
        (0, "num.io.threads", Some("0")),
        (0, "sasl.kerberos.min.time.before.relogin", Some("soon")),
        (0, "num.partitions", Some("3")),
        (0, "node.id", Some("3")),
        (1, "node.id", None),
        (0, "log.retention.hours", Some("3")),
        (2, "log.retention.ms", Some("3")),
        (2, "log.cleanup.policy", Some("shred")),
        (4, "log.retention.ms", Some("1")),
    ] {
        for broker in ["1", ""] {
            let request = on(broker, vec![change(op, key, value)]).with_validate_only(true);
            talk.ask(&format!("{op} {key}={value:?} on {broker:?}"), 1, &request);
        }
    }
    // Kafka's brokers see a change a moment after it was answered. What is not seen the next answers tell.
    let shown = |talk: &mut Talk, broker: &str, key: &str, value: Option<&str>| {
        let request = DescribeConfigsRequest::default().with_resources(vec![resource(
            BROKER,
            broker,
            Some(&[key]),
        )]);
        for _ in 0..100 {
            let answer = talk.quietly(4, &request);
            let configs = answer.results.iter().flat_map(|one| &one.configs);
            let mut dynamic = configs.filter(|one| [2, 3].contains(&one.config_source));
            let seen = dynamic.next().and_then(|one| one.value.as_deref());
            if seen == value {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    };
    for (version, broker, op, key, value, shows) in [
        (
            0,
            "",
            0,
            "log.retention.ms",
            Some("70000000"),
            Some("70000000"),
        ),
        (
            1,
            "1",
            0,
            "log.retention.ms",
            Some("80000000"),
            Some("80000000"),
        ),
        (
            1,
            "1",
            2,
            "log.cleanup.policy",
            Some("compact"),
            Some("delete,compact"),
        ),
        (
            1,
            "1",
            3,
            "log.cleanup.policy",
            Some("compact"),
            Some("delete"),
        ),
        (
            1,
            "1",
            0,
            "log.flush.interval.messages",
            Some("1234"),
            Some("1234"),
        ),
        (1, "", 0, "log.roll.ms", Some("90000000"), Some("90000000")),
        (1, "1", 1, "log.retention.ms", None, Some("70000000")),
        (1, "", 1, "log.retention.ms", None, None),
        (1, "", 1, "log.roll.ms", None, None),
        (
            1,
            "1",
            0,
            "sasl.kerberos.min.time.before.relogin",
            Some("58000"),
            Some("58000"),
        ),
    ] {
        let request = on(broker, vec![change(op, key, value)]);
        talk.ask(&format!("{op} {key} on {broker:?}"), version, &request);
        shown(talk, broker, key, shows);
        described(&format!("{op} {key} on {broker:?}, described"), talk);
    }
    // Not for all brokers: with Kafka those have a setting that must not go (KIP-966).
    for (version, broker) in [(0, "1"), (1, "1"), (2, "1")] {
        let legacy = |configs: &[(&str, &str)]| {
            let config = |(key, value): &(&str, &str)| {
                alter_configs_request::AlterableConfig::default()
                    .with_name(text(key))
                    .with_value(Some(text(value)))
            };
            let resource = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(BROKER)
                .with_resource_name(text(broker))
                .with_configs(configs.iter().map(config).collect());
            AlterConfigsRequest::default().with_resources(vec![resource])
        };
        let key = "log.flush.interval.ms";
        talk.ask("legacy", version, &legacy(&[(key, "5000")]));
        shown(talk, broker, key, Some("5000"));
        described("legacy, described", talk);
        talk.ask("legacy, wrong", version, &legacy(&[("node.id", "5")]));
        talk.ask("legacy, nothing", version, &legacy(&[]));
        shown(talk, broker, key, None);
    }
    described("after", talk);
}

pub fn altering(talk: &mut Talk) {
    for version in 0..=1 {
        let name = topic(talk, &format!("cluster-altered-{version}"), 1, &[]).name;
        let change = |op, key: &str, value: Option<&str>| {
            AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(op)
                .with_value(value.map(text))
        };
        let on = |kind, name: &str, changes: Vec<AlterableConfig>| {
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(changes)
        };
        let mut ask = |what: &str, resources: Vec<AlterConfigsResource>| {
            let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
            talk.ask(what, version, &request.clone().with_validate_only(true));
            talk.ask(what, version, &request);
        };
        for (op, key, value) in [
            (0, "retention.ms", Some("1000")),
            (0, "retention.ms", None),
            (0, "retention.ms", Some("soon")),
            (1, "retention.ms", None),
            (1, "retention.ms", Some("7")),
            (1, "retention.ms", None),
            (2, "cleanup.policy", Some("compact")),
            (2, "cleanup.policy", Some("compact")),
            (2, "cleanup.policy", Some("shred")),
            (3, "cleanup.policy", Some("delete")),
            (3, "cleanup.policy", Some("delete")),
            (2, "retention.ms", Some("1")),
            (3, "retention.ms", Some("1")),
            (2, "cleanup.policy", None),
            (4, "retention.ms", Some("1")),
            (-1, "retention.ms", Some("1")),
            (0, "no.such.key", Some("1")),
            (1, "no.such.key", None),
            (2, "no.such.key", Some("1")),
            (0, "", Some("1")),
            (0, "min.insync.replicas", Some("5")),
            (0, "segment.bytes", Some("1")),
        ] {
            ask(
                &format!("{op} {key}={value:?}"),
                vec![on(TOPIC, &name, vec![change(op, key, value)])],
            );
        }
        let set = |value| change(0, "retention.ms", Some(value));
        ask(
            "a key twice",
            vec![on(TOPIC, &name, vec![set("1"), set("2")])],
        );
        ask(
            "one wrong of two",
            vec![on(TOPIC, &name, vec![set("5"), change(0, "x", Some("y"))])],
        );
        ask("nothing", vec![on(TOPIC, &name, vec![])]);
        ask(
            "a topic twice",
            vec![
                on(TOPIC, &name, vec![set("1")]),
                on(TOPIC, &name, vec![set("2")]),
            ],
        );
        ask(
            "unknown topic",
            vec![on(TOPIC, "cluster-nowhere", vec![set("1")])],
        );
        ask("no name", vec![on(TOPIC, "", vec![set("1")])]);
        ask("no resources", vec![]);
        for kind in [0, 1, 3, 5, 127, -1] {
            ask(&format!("type {kind}"), vec![on(kind, "x", vec![set("1")])]);
        }
        for id in ["9", "x"] {
            ask(
                &format!("broker {id}"),
                vec![on(
                    BROKER,
                    id,
                    vec![change(0, "log.cleaner.threads", Some("2"))],
                )],
            );
        }
        let described = DescribeConfigsRequest::default().with_resources(vec![resource(
            TOPIC,
            &name,
            Some(&["retention.ms", "cleanup.policy", "min.insync.replicas"]),
        )]);
        talk.ask_edited("what came of it", 4, &described, sorted);
    }
}

pub fn altering_legacy(talk: &mut Talk) {
    for version in 0..=2 {
        let name = topic(talk, &format!("cluster-legacy-{version}"), 1, &[]).name;
        let on = |kind, name: &str, configs: &[(&str, Option<&str>)]| {
            let config = |(key, value): &(&str, Option<&str>)| {
                alter_configs_request::AlterableConfig::default()
                    .with_name(text(key))
                    .with_value(value.map(text))
            };
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(configs.iter().map(config).collect())
        };
        let mut ask = |what: &str, resources: Vec<alter_configs_request::AlterConfigsResource>| {
            let request = AlterConfigsRequest::default().with_resources(resources);
            talk.ask(what, version, &request.clone().with_validate_only(true));
            talk.ask(what, version, &request);
        };
        for (key, value) in [
            ("retention.ms", Some("1000")),
            ("retention.ms", None),
            ("retention.ms", Some("soon")),
            ("cleanup.policy", Some("compact")),
            ("cleanup.policy", Some("shred")),
            ("no.such.key", Some("1")),
            ("", Some("1")),
            ("segment.bytes", Some("1")),
        ] {
            ask(
                &format!("{key}={value:?}"),
                vec![on(TOPIC, &name, &[(key, value)])],
            );
        }
        ask(
            "two",
            vec![on(
                TOPIC,
                &name,
                &[
                    ("retention.ms", Some("1")),
                    ("max.message.bytes", Some("99")),
                ],
            )],
        );
        ask(
            "another",
            vec![on(TOPIC, &name, &[("flush.ms", Some("7"))])],
        );
        ask(
            "a key twice",
            vec![on(
                TOPIC,
                &name,
                &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
            )],
        );
        ask(
            "one wrong of two",
            vec![on(
                TOPIC,
                &name,
                &[("retention.ms", Some("5")), ("x", Some("y"))],
            )],
        );
        ask(
            "unknown topic",
            vec![on(TOPIC, "cluster-nowhere", &[("retention.ms", Some("1"))])],
        );
        ask(
            "no name",
            vec![on(TOPIC, "", &[("retention.ms", Some("1"))])],
        );
        ask("no resources", vec![]);
        for kind in [0, 1, 3, 5, 127, -1] {
            ask(
                &format!("type {kind}"),
                vec![on(kind, "x", &[("retention.ms", Some("1"))])],
            );
        }
        for id in ["9", "x"] {
            ask(
                &format!("broker {id}"),
                vec![on(BROKER, id, &[("log.cleaner.threads", Some("2"))])],
            );
        }
        let keys = ["retention.ms", "flush.ms", "max.message.bytes"];
        let described = DescribeConfigsRequest::default().with_resources(vec![resource(
            TOPIC,
            &name,
            Some(&keys),
        )]);
        talk.ask_edited("what came of it", 4, &described, sorted);
        let nothing = AlterConfigsRequest::default().with_resources(vec![on(TOPIC, &name, &[])]);
        talk.ask("nothing", version, &nothing);
        // Kafka's brokers see a change a moment after it was answered.
        super::until(|| {
            let left = talk.quietly(4, &described);
            let configs = left.results.iter().flat_map(|one| &one.configs);
            configs.into_iter().all(|one| one.config_source != 1)
        });
        talk.ask_edited("what is left", 4, &described, sorted);
    }
}

pub fn listing(talk: &mut Talk) {
    topic(talk, "cluster-listing", 1, &[]);
    let only_ours = |answer: &mut ListConfigResourcesResponse| {
        let is_topic = |one: &ConfigResource| one.resource_type == TOPIC;
        let is_ours = |one: &ConfigResource| one.resource_name.starts_with("cluster-listing");
        answer
            .config_resources
            .retain(|one| !is_topic(one) || is_ours(one));
    };
    for version in 0..=1 {
        let request = ListConfigResourcesRequest::default();
        talk.ask_edited("all", version, &request, only_ours);
        if version >= 1 {
            for types in [
                &[2][..],
                &[4],
                &[8],
                &[16],
                &[32],
                &[2, 4, 2],
                &[1],
                &[99],
                &[2, 99],
                &[-1],
                &[0],
            ] {
                let request = request.clone().with_resource_types(types.to_vec());
                talk.ask_edited(&format!("types {types:?}"), version, &request, only_ours);
            }
        }
    }
}

pub fn partitions(talk: &mut Talk) {
    let name = topic(talk, "cluster-partitions", 3, &[]).name;
    let other = topic(talk, "cluster-partitions-b", 2, &[]).name;
    let ask = |names: &[&str]| {
        let topic = |name: &&str| TopicRequest::default().with_name(text(name).into());
        DescribeTopicPartitionsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_response_partition_limit(2000)
    };
    let from = |name: &str, partition| {
        let cursor = Cursor::default()
            .with_topic_name(text(name).into())
            .with_partition_index(partition);
        ask(&[name, &other]).with_cursor(Some(cursor))
    };
    let only_ours = |answer: &mut DescribeTopicPartitionsResponse| {
        answer.topics.retain(|topic| {
            topic
                .name
                .as_ref()
                .is_some_and(|name| name.starts_with("cluster-partitions"))
        });
    };
    talk.ask("two", 0, &ask(&[&other, &name]));
    talk.ask("twice", 0, &ask(&[&name, &name]));
    talk.ask("unknown", 0, &ask(&["cluster-nowhere", &name]));
    talk.ask("no name", 0, &ask(&[""]));
    talk.ask("a name that cannot be", 0, &ask(&["a/b"]));
    talk.ask_edited("all", 0, &ask(&[]), only_ours);
    for limit in [4, 3, 1, 0, -1] {
        talk.ask(
            &format!("limit {limit}"),
            0,
            &ask(&[&name, &other]).with_response_partition_limit(limit),
        );
    }
    talk.ask("from partition 2", 0, &from(&name, 2));
    talk.ask("from the end", 0, &from(&name, 3));
    talk.ask("from partition -1", 0, &from(&name, -1));
    talk.ask("from the other", 0, &from(&other, 1));
    talk.ask("from an unknown topic", 0, &from("cluster-nowhere", 0));
    talk.ask(
        "from a later name",
        0,
        &from("z", 0).with_topics(ask(&[&name]).topics),
    );
}

pub fn log_dirs(talk: &mut Talk) {
    let topic = topic(talk, "cluster-dirs", 2, &[]);
    talk.quietly(
        9,
        &produce(9, &topic, &[(0, Some(batch(Codec::None, &[T])))]),
    );
    let wanted = |name: &str, partitions: Vec<i32>| {
        DescribableLogDirTopic::default()
            .with_topic(text(name).into())
            .with_partitions(partitions)
    };
    for version in 1..=4 {
        let mut ask = |what: &str, topics: Vec<DescribableLogDirTopic>| {
            talk.ask(
                what,
                version,
                &DescribeLogDirsRequest::default().with_topics(Some(topics)),
            );
        };
        ask("both", vec![wanted(&topic.name, vec![0, 1])]);
        ask(
            "one and unknown ones",
            vec![wanted(&topic.name, vec![1, 9, -1])],
        );
        ask("twice", vec![wanted(&topic.name, vec![1, 1])]);
        ask(
            "the topic twice",
            vec![
                wanted(&topic.name, vec![1]),
                wanted(&topic.name, vec![1, 1]),
            ],
        );
        ask("no partitions", vec![wanted(&topic.name, vec![])]);
        ask("unknown topic", vec![wanted("cluster-nowhere", vec![0])]);
        ask("no topics", vec![]);
    }
}

pub fn describe(talk: &mut Talk) {
    for version in 0..=2 {
        let request = DescribeClusterRequest::default();
        talk.ask("plain", version, &request);
        talk.ask(
            "operations",
            version,
            &request
                .clone()
                .with_include_cluster_authorized_operations(true),
        );
        if version >= 1 {
            for endpoint in [0, 2, 3, -1] {
                talk.ask(
                    &format!("endpoint {endpoint}"),
                    version,
                    &request.clone().with_endpoint_type(endpoint),
                );
            }
        }
        if version >= 2 {
            talk.ask(
                "fenced ones too",
                version,
                &request.clone().with_include_fenced_brokers(true),
            );
        }
    }
}
