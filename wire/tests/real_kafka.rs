//! Every call of the client on a real Kafka.
//!
//! With `STRAIT_TEST_KAFKA=1` it starts one, as the scenarios do (Java 17, and the jars that
//! `tests/kafka/fetch.sh` copies); with `KAFKA_BOOTSTRAP=HOST:PORT` it takes that one, of one broker or more.
//! What is expected comes from what the tests wrote themselves and from Kafka's documents; topics and
//! groups have random names and are deleted.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(unreachable_pub, reason = "a program: nothing reaches in from outside")]

#[path = "../../tests/scenarios/kafka.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod kafka;
mod real_kafka_support;

use std::{process::ExitCode, time::Duration};

use kafka::{Extra, Kafka};
use libtest_mimic::{Arguments, Trial};
use real_kafka_support::{BOOTSTRAP, Fixture, Transaction, batch, name, values};
use wire::{
    Class, Isolation, TopicPartition,
    client::{
        CommittedOffset, ConfigOp, ConfigSource, FetchRequest, NewTopic, OffsetSpec, Operation,
    },
    record::Codec,
};

/// Trials of these functions, run on `$handle`.
macro_rules! trials {
    ($handle:expr, $($test:ident),+ $(,)?) => {
        vec![$({
            let handle = $handle.clone();
            Trial::test(stringify!($test), move || {
                handle.block_on($test());
                Ok(())
            })
        }),+]
    };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let given = std::env::var("KAFKA_BOOTSTRAP").ok();
    let started = match &given {
        None if std::env::var_os("STRAIT_TEST_KAFKA").is_none() => {
            eprintln!("SKIPPED: the client on Apache Kafka (set STRAIT_TEST_KAFKA=1, see README)");
            return ExitCode::SUCCESS;
        }
        None => {
            let ready = kafka::libs().is_dir();
            assert!(ready, "no Kafka jars: run tests/kafka/fetch.sh first");
            Some(Kafka::start(1, &Extra::default()).expect("Kafka starts"))
        }
        Some(_) => None,
    };
    let address = started.as_ref().map(Kafka::bootstrap).or(given);
    BOOTSTRAP.get_or_init(|| address.expect("one of the two"));
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    let trials = trials![
        runtime.handle(),
        the_cluster_describes_itself,
        rights_are_told_of_what_is_there_and_of_what_is_not,
        topics_are_made_described_changed_and_deleted,
        the_controller_tells_what_a_new_topic_would_get,
        committed_records_come_back_without_the_aborted_ones,
        an_open_transaction_holds_committed_reads_back,
        offsets_are_found_by_every_spec,
        brokers_tell_how_large_partitions_are,
        leaders_tell_where_epochs_end,
        group_offsets_come_back_with_their_metadata,
        errors_name_what_they_are_about,
        any_bootstrap_server_that_answers_is_enough,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

const TIME: i64 = 1_700_000_000_000;

async fn the_cluster_describes_itself() {
    let client = Fixture::client();
    let cluster = client.describe_cluster().await.unwrap();
    assert!(!cluster.cluster_id.is_empty() && !cluster.brokers.is_empty());
    let controller = cluster.controller.unwrap();
    assert!(cluster.brokers.iter().any(|broker| broker.id == controller));
}

/// Without an authorizer everything is allowed; `tests/secured` shows the rest.
async fn rights_are_told_of_what_is_there_and_of_what_is_not() {
    let client = Fixture::client();
    let all = [
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Describe,
        Operation::DescribeConfigs,
    ];
    let nowhere = name("nowhere");
    let topics = client
        .topic_rights(std::slice::from_ref(&nowhere))
        .await
        .unwrap();
    assert_eq!(topics[0].0, nowhere);
    let rights = topics[0].1.clone().unwrap().unwrap();
    assert!(all.iter().all(|one| rights.allow(*one)), "{rights:?}");
    let rights = client.group_rights(&nowhere).await.unwrap().unwrap();
    assert!(
        rights.allow(Operation::Read) && !rights.allow(Operation::Write),
        "{rights:?}"
    );
    let rights = client.cluster_rights().await.unwrap().unwrap();
    assert!(
        rights.allow(Operation::Create) && rights.allow(Operation::Describe),
        "{rights:?}"
    );
}

async fn topics_are_made_described_changed_and_deleted() {
    let client = Fixture::client();
    let topic = name("topic");
    let wanted = NewTopic {
        name: topic.clone(),
        partitions: 2,
        replication_factor: 1,
        configs: vec![
            ("retention.ms".to_owned(), "3600000".to_owned()),
            ("cleanup.policy".to_owned(), "delete".to_owned()),
        ],
    };
    let bad = NewTopic {
        name: format!("{topic}-bad"),
        replication_factor: 100,
        ..wanted.clone()
    };
    let outcomes = client
        .create_topics(std::slice::from_ref(&wanted), true)
        .await
        .unwrap();
    assert!(outcomes[0].1.is_ok());
    let names = [topic.clone()];
    let missing = &client.topics(Some(&names)).await.unwrap()[0];
    assert_eq!(
        missing.error.as_ref().unwrap().code,
        3,
        "asking creates nothing"
    );

    let outcomes = client
        .create_topics(&[wanted.clone(), bad], false)
        .await
        .unwrap();
    let [(_, made), (refused, reason)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(made.is_ok() && refused.ends_with("-bad"), "{outcomes:?}");
    let reason = reason.as_ref().unwrap_err().to_string();
    assert!(
        reason.starts_with("INVALID_REPLICATION_FACTOR (38): "),
        "{reason}"
    );
    let again = client.create_topics(&[wanted], false).await.unwrap();
    assert_eq!(again[0].1.as_ref().unwrap_err().code, 36);

    let outcomes = client
        .create_partitions(&[(topic.clone(), 5)])
        .await
        .unwrap();
    assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
    Fixture::eventually("five led partitions", async || {
        let topic = client.topics(Some(&names)).await.unwrap().remove(0);
        topic.partitions.len() == 5 && topic.partitions.iter().all(|p| p.leader.is_some())
    })
    .await;
    let described = client.topics(Some(&names)).await.unwrap().remove(0);
    assert!(!described.id.is_nil() && !described.internal);
    let all = client.topics(None).await.unwrap();
    assert!(all.iter().any(|other| other.id == described.id));

    configs_are_changed(&client, &topic).await;
    let outcomes = client.delete_topics(&names).await.unwrap();
    assert_eq!(outcomes, [(topic.clone(), Ok(()))]);
    Fixture::eventually("the topic is gone", async || {
        client.topics(Some(&names)).await.unwrap()[0]
            .error
            .is_some()
    })
    .await;
    let again = client.delete_topics(&names).await.unwrap();
    assert_eq!(again[0].1.as_ref().unwrap_err().code, 3);
}

/// The Kafka that these tests start leaves `default.replication.factor` at 1.
async fn the_controller_tells_what_a_new_topic_would_get() {
    let client = Fixture::client();
    let by = |replication_factor| NewTopic {
        name: name("never"),
        partitions: 1,
        replication_factor,
        configs: Vec::new(),
    };
    let replicas = client.replicas_of_new(&by(-1)).await.unwrap();
    assert_eq!(replicas, Ok(Some(1)));
    let mut set = by(-1);
    set.configs = vec![("retention.ms".to_owned(), "7".to_owned())];
    let (told, topic) = client.topics_to_be(&[set.clone()]).await.unwrap().remove(0);
    let configs = topic.unwrap().configs;
    let entry = |name: &str| configs.iter().find(|config| config.name == name).unwrap();
    assert_eq!(
        (told, entry("retention.ms").source),
        (set.name, ConfigSource::Topic)
    );
    assert_eq!(
        entry("message.timestamp.type").value.as_deref(),
        Some("CreateTime")
    );
    let refusal = client.replicas_of_new(&by(100)).await.unwrap().unwrap_err();
    assert_eq!(refusal.code, 38);
}

async fn configs_are_changed(client: &wire::client::Client, topic: &str) {
    let set = |name: &str, value: &str| (name.to_owned(), ConfigOp::Set(value.to_owned()));
    let append = ConfigOp::Append("compact".to_owned());
    for (changes, name, value, source) in [
        (
            vec![set("retention.ms", "7200000")],
            "retention.ms",
            "7200000",
            ConfigSource::Topic,
        ),
        (
            vec![("cleanup.policy".to_owned(), append)],
            "cleanup.policy",
            "delete,compact",
            ConfigSource::Topic,
        ),
        (
            vec![(
                "cleanup.policy".to_owned(),
                ConfigOp::Subtract("delete".to_owned()),
            )],
            "cleanup.policy",
            "compact",
            ConfigSource::Topic,
        ),
        (
            vec![("retention.ms".to_owned(), ConfigOp::Delete)],
            "retention.ms",
            "604800000",
            ConfigSource::Default,
        ),
    ] {
        let outcomes = client
            .alter_topic_configs(&[(topic.to_owned(), changes)])
            .await;
        assert_eq!(outcomes.unwrap(), [(topic.to_owned(), Ok(()))]);
        Fixture::eventually(&format!("{name} = {value}"), async || {
            let names = [topic.to_owned()];
            let described = client
                .describe_topic_configs(&names)
                .await
                .unwrap()
                .remove(0);
            let configs = described.1.unwrap();
            let config = configs.iter().find(|config| config.name == name).unwrap();
            config.value.as_deref() == Some(value) && config.source == source
        })
        .await;
    }
    let refused = client
        .alter_topic_configs(&[(topic.to_owned(), vec![set("no.such.config", "1")])])
        .await
        .unwrap();
    let reason = refused[0].1.as_ref().unwrap_err().to_string();
    assert!(reason.starts_with("INVALID_CONFIG (40): "), "{reason}");
}

async fn committed_records_come_back_without_the_aborted_ones() {
    let fixture = Fixture::new("records", 1).await;
    let partition = fixture.partition(0);
    let client = &fixture.client;
    let plain = batch(Codec::Zstd, TIME, &["a0", "a1", "a2"]);
    let produced = client.produce(&partition, plain).await.unwrap();
    assert_eq!((produced.base_offset, produced.log_append_time), (0, -1));
    for (commit, values) in [
        (false, ["b3", "b4"]),
        (true, ["c6", "c7"]),
        (false, ["d9", "d10"]),
    ] {
        let transaction = Transaction::begin(client, &partition, values).await;
        transaction.end(commit).await;
        fixture.decided().await;
    }
    let last = batch(Codec::None, TIME, &["e12"]);
    let produced = client.produce(&partition, last).await.unwrap();
    assert_eq!(produced.base_offset, 12, "two markers between");

    let committed = ["a0", "a1", "a2", "c6", "c7", "e12"];
    let everything = ["a0", "a1", "a2", "b3", "b4", "c6", "c7", "d9", "d10", "e12"];
    for (isolation, expected) in [
        (Isolation::ReadCommitted, &committed[..]),
        (Isolation::ReadUncommitted, &everything),
    ] {
        for from in 0..=13 {
            let found = fixture.read(from..13, isolation).await;
            let wanted: Vec<_> = expected
                .iter()
                .copied()
                .filter(|value| value[1..].parse::<i64>().unwrap() >= from)
                .collect();
            assert_eq!(values(&found), wanted, "from {from}, {isolation:?}");
            assert!(found.iter().all(|record| record.timestamp == TIME));
        }
    }
    // Nothing but a batch of an aborted transaction: none of it is left, and the way goes on.
    let request = FetchRequest {
        max_bytes: 1,
        ..fixture.request(9, Isolation::ReadCommitted)
    };
    let found = client.fetch(request).await.unwrap();
    let found = found.committed(9, Isolation::ReadCommitted).unwrap();
    assert_eq!((found.records.len(), found.next_offset), (0, 11));
    fixture.delete().await;
}

async fn an_open_transaction_holds_committed_reads_back() {
    let fixture = Fixture::new("open", 1).await;
    let partition = fixture.partition(0);
    let transaction = Transaction::begin(&fixture.client, &partition, ["x0", "x1"]).await;
    let fetched = fixture.fetch(0, Isolation::ReadCommitted).await;
    assert_eq!((fetched.high_watermark, fetched.last_stable_offset), (2, 0));
    let found = fetched.committed(0, Isolation::ReadCommitted).unwrap();
    assert_eq!((found.records.len(), found.next_offset), (0, 0));
    let wanted = [(partition.clone(), OffsetSpec::Latest)];
    for (isolation, end) in [
        (Isolation::ReadUncommitted, 2),
        (Isolation::ReadCommitted, 0),
    ] {
        let listed = fixture
            .client
            .list_offsets(&wanted, isolation)
            .await
            .unwrap();
        assert_eq!(listed[0].1.as_ref().unwrap().offset, end);
    }
    let producers = fixture
        .client
        .describe_producers(&[partition])
        .await
        .unwrap();
    let producers = producers[0].1.as_ref().unwrap();
    assert_eq!(producers.len(), 1);
    let producer = producers[0];
    assert_eq!(producer.producer_id, transaction.producer_id);
    assert_eq!(
        (producer.last_sequence, producer.transaction_start),
        (1, Some(0))
    );
    assert_eq!(producer.last_timestamp, TIME);
    transaction.end(true).await;
    fixture.decided().await;
    let found = fixture.read(0..3, Isolation::ReadCommitted).await;
    assert_eq!(values(&found), ["x0", "x1"]);
    fixture.delete().await;
}

async fn offsets_are_found_by_every_spec() {
    let fixture = Fixture::new("offsets", 6).await;
    for index in 0..6 {
        let partition = fixture.partition(index);
        for time in [100, 300, 200] {
            let batch = batch(Codec::Lz4, TIME + time, &["v"]);
            fixture.client.produce(&partition, batch).await.unwrap();
        }
    }
    let specs = [
        (OffsetSpec::Earliest, 0),
        (OffsetSpec::Latest, 3),
        (OffsetSpec::Timestamp(TIME + 101), 1),
        (OffsetSpec::Timestamp(TIME + 301), -1),
        (OffsetSpec::MaxTimestamp, 1),
    ];
    // All partitions, which several brokers may lead, and each of them several times.
    let wanted: Vec<_> = (0..6)
        .flat_map(|index| specs.map(|(spec, _)| (fixture.partition(index), spec)))
        .collect();
    let listed = fixture
        .client
        .list_offsets(&wanted, Isolation::ReadUncommitted)
        .await;
    let listed = listed.unwrap();
    for (index, (partition, found)) in listed.iter().enumerate() {
        assert_eq!(*partition, wanted[index].0, "in the order of the question");
        assert_eq!(
            found.as_ref().unwrap().offset,
            specs[index % 5].1,
            "{:?}",
            wanted[index]
        );
    }
    assert_eq!(listed[2].1.as_ref().unwrap().timestamp, TIME + 300);

    let start = fixture
        .client
        .delete_records(&fixture.partition(2), 2)
        .await
        .unwrap();
    assert_eq!(start, 2);
    let wanted = [
        (fixture.partition(2), OffsetSpec::Earliest),
        (fixture.partition(3), OffsetSpec::Earliest),
        (fixture.partition(6), OffsetSpec::Earliest),
        (TopicPartition::new(name("none"), 0), OffsetSpec::Earliest),
    ];
    let listed = fixture
        .client
        .list_offsets(&wanted, Isolation::ReadCommitted)
        .await
        .unwrap();
    let offsets = listed
        .iter()
        .map(|(_, found)| found.as_ref().map(|f| f.offset));
    let offsets: Vec<_> = offsets
        .map(|found| found.map_err(|error| error.code))
        .collect();
    assert_eq!(offsets, [Ok(2), Ok(0), Err(3), Err(3)]);

    let gone = fixture
        .client
        .fetch(fixture.request_of(2, 0))
        .await
        .unwrap_err();
    let text = format!("{}: OFFSET_OUT_OF_RANGE (1)", fixture.partition(2));
    assert_eq!((gone.to_string(), gone.class()), (text, Class::Fatal));
    fixture.delete().await;
}

async fn brokers_tell_how_large_partitions_are() {
    let fixture = Fixture::new("sizes", 3).await;
    let batch = batch(Codec::None, TIME, &["v", "w"]);
    let partition = fixture.partition(2);
    for _ in 0..2 {
        let produced = fixture.client.produce(&partition, batch.clone()).await;
        produced.unwrap();
    }
    let missing = TopicPartition::new(name("none"), 0);
    let wanted = [partition, missing, fixture.partition(0)];
    let sizes = fixture.client.partition_sizes(&wanted).await.unwrap();
    let sizes: Vec<_> = sizes
        .into_iter()
        .zip(&wanted)
        .map(|((partition, size), wanted)| {
            assert_eq!(partition, *wanted, "in the order of the question");
            size.map_err(|error| error.code)
        })
        .collect();
    let written = 2 * batch.len() as i64;
    assert_eq!(sizes, [Ok(written), Err(3), Ok(0)]);
    fixture.delete().await;
}

async fn leaders_tell_where_epochs_end() {
    let fixture = Fixture::new("epochs", 3).await;
    let partition = fixture.partition(1);
    let batch = batch(Codec::None, TIME, &["v", "v"]);
    fixture.client.produce(&partition, batch).await.unwrap();
    let topics = [fixture.topic.clone()];
    let topic = fixture
        .client
        .topics(Some(&topics))
        .await
        .unwrap()
        .remove(0);
    let epoch = topic.partitions[1].leader_epoch;
    let wanted = [(partition.clone(), epoch), (partition.clone(), epoch + 7)];
    let ends = fixture
        .client
        .offsets_for_leader_epoch(&wanted)
        .await
        .unwrap();
    let present = ends[0].1.as_ref().unwrap();
    assert_eq!((present.leader_epoch, present.end_offset), (epoch, 2));
    let future = ends[1].1.as_ref().unwrap();
    assert_eq!(
        (future.leader_epoch, future.end_offset),
        (-1, -1),
        "an epoch to come"
    );
    fixture.delete().await;
}

async fn group_offsets_come_back_with_their_metadata() {
    let fixture = Fixture::new("groups", 3).await;
    let client = &fixture.client;
    let group = name("group");
    assert!(client.group_offsets(&group).await.unwrap().is_empty());
    let offsets: Vec<_> = (0..3)
        .map(|index| {
            let committed = CommittedOffset {
                offset: i64::from(index) << 33,
                leader_epoch: index - 1,
                metadata: ["x".repeat(1024), String::new(), "Grüße".to_owned()][index as usize]
                    .clone(),
            };
            (fixture.partition(index), committed)
        })
        .collect();
    let outcomes = client.commit_group_offsets(&group, &offsets).await.unwrap();
    assert!(outcomes.len() == 3 && outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    let mut found = client.group_offsets(&group).await.unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, offsets);

    let mut too_long = offsets[0].clone();
    too_long.1.metadata = "x".repeat(5000);
    let both = [too_long, offsets[1].clone()];
    let outcomes = client.commit_group_offsets(&group, &both).await.unwrap();
    let of_first = outcomes
        .iter()
        .find(|(partition, _)| partition.partition == 0)
        .unwrap();
    let text = of_first.1.as_ref().unwrap_err().to_string();
    assert_eq!(text, "OFFSET_METADATA_TOO_LARGE (12)");

    let listed = client.list_groups().await.unwrap();
    let listed = listed.iter().find(|listed| listed.group == group).unwrap();
    assert_eq!(
        (listed.state.as_str(), listed.protocol_type.as_str()),
        ("Empty", "")
    );
    let names = [group.clone(), name("no-group")];
    let described = client.describe_groups(&names).await.unwrap();
    let states: Vec<_> = described
        .iter()
        .map(|(_, d)| d.as_ref().unwrap().state.as_str())
        .collect();
    assert_eq!(states, ["Empty", "Dead"]);
    assert!(described[0].1.as_ref().unwrap().members.is_empty());
    let outcomes = client.delete_groups(&names).await.unwrap();
    assert!(outcomes[0].1.is_ok());
    let text = outcomes[1].1.as_ref().unwrap_err().to_string();
    assert_eq!(text, "GROUP_ID_NOT_FOUND (69)");
    assert!(client.group_offsets(&group).await.unwrap().is_empty());
    fixture.delete().await;
}

async fn errors_name_what_they_are_about() {
    let client = Fixture::impatient();
    let partition = TopicPartition::new(name("nowhere"), 4);
    let request = FetchRequest {
        partition: partition.clone(),
        offset: 0,
        max_bytes: 1,
        max_wait: Duration::ZERO,
        isolation: Isolation::ReadUncommitted,
    };
    let error = client.fetch(request).await.unwrap_err();
    let text = format!("{partition}: UNKNOWN_TOPIC_OR_PARTITION (3)");
    assert_eq!((error.to_string(), error.class()), (text, Class::Retriable));
    let names = [partition.topic];
    let topics = client.topics(Some(&names)).await.unwrap();
    assert_eq!(
        topics[0].error.as_ref().unwrap().code,
        3,
        "reading creates nothing"
    );
    let described = client.describe_topic_configs(&names).await.unwrap();
    assert_eq!(described[0].1.as_ref().unwrap_err().code, 3);
}

async fn any_bootstrap_server_that_answers_is_enough() {
    let client = Fixture::behind_a_dead_server();
    assert!(!client.describe_cluster().await.unwrap().brokers.is_empty());
}
