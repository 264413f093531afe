//! Configs, log directories, and the cluster itself.

use kafka_protocol::messages::{
    DescribeClusterRequest, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    describe_log_dirs_request::DescribableLogDirTopic,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
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

pub fn describing(talk: &mut Talk) {
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
                Some(&["node.id", "num.partitions", "auto.create.topics.enable"]),
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
