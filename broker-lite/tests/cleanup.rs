//! A whole broker forgets what its settings say, by a clock that the test moves.

#![cfg(test)]

#[path = "coordination/client.rs"]
#[expect(dead_code, reason = "others use more of it")]
mod client;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use broker_lite::{Broker, Config};
use bytes::Bytes;
use client::{Client, text};
use host::{Host, sim::SimClock};
use kafka_protocol::messages::{
    CreateTopicsRequest, ListOffsetsRequest, ProduceRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use wire::record::{BatchBuilder, Codec};

const NOW: i64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Started on `folder` with these settings.
async fn start(folder: &std::path::Path, clock: &SimClock, settings: &str) -> Broker {
    let mut config = Config::new("127.0.0.1:0", folder);
    config.apply_file(settings).unwrap();
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    Broker::start(config, host).await.unwrap()
}

fn create(c: &mut Client, name: &str, configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(c.call(7, &create).topics[0].error_code, 0, "{name}");
}

/// One record of 300 KB: four fill a segment of 1 MiB and a bit.
fn record(time: i64, key: u8) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(time, Some(&[key]), Some(&vec![key; 300_000]), &[]);
    builder.build(0).unwrap()
}

fn write(c: &mut Client, topic: &str, time: i64, key: u8) {
    let data = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(record(time, key)));
    let topic = TopicProduceData::default()
        .with_name(text(topic).into())
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![topic]);
    let answer = c.call(9, &request);
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0);
}

/// First offset that is not older than `timestamp`; -2: the first of all.
fn offset(c: &mut Client, topic: &str, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(text(topic).into())
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic]);
    c.call(5, &request).topics[0].partitions[0].offset
}

/// Lets time pass until it is so; the work itself takes real time.
fn until(clock: &SimClock, step: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never comes about");
        clock.advance(step);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_records_go_by_the_brokers_default_and_by_the_topics_own() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SimClock::new(NOW);
    let settings = "log.retention.hours=3\nlog.segment.bytes=1048576";
    let broker = start(folder.path(), &clock, settings).await;
    let mut c = Client::connect(broker.address());
    let minutes = Duration::from_secs(60);
    tokio::task::block_in_place(|| {
        create(&mut c, "default", &[]);
        create(&mut c, "longer", &[("retention.ms", "36000000")]);
        for topic in ["default", "longer"] {
            for number in 0..8 {
                let age = (8 - number) * HOUR.as_millis() as i64;
                write(&mut c, topic, NOW - age, 1);
            }
        }
        // Segments of three records; the youngest of the second is three hours old.
        until(&clock, minutes, || offset(&mut c, "default", -2) == 6);
        assert_eq!(offset(&mut c, "longer", -2), 0);
        until(&clock, minutes, || offset(&mut c, "default", -2) == 8);
        until(&clock, minutes, || offset(&mut c, "longer", -2) == 8);
        assert!(offset(&mut c, "default", -1) == 8 && offset(&mut c, "longer", -1) == 8);
    });
    broker.kill().await;
    let broker = start(folder.path(), &clock, settings).await;
    let mut c = Client::connect(broker.address());
    tokio::task::block_in_place(|| {
        for topic in ["default", "longer"] {
            assert_eq!(offset(&mut c, topic, -2), 8);
            write(&mut c, topic, NOW, 1);
            assert_eq!(offset(&mut c, topic, -1), 9);
        }
    });
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_compacted_unless_it_is_switched_off() {
    for is_on in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let clock = SimClock::new(NOW);
        let settings = format!("log.cleaner.enable={is_on}\nlog.segment.bytes=1048576");
        let broker = start(folder.path(), &clock, &settings).await;
        let mut c = Client::connect(broker.address());
        tokio::task::block_in_place(|| {
            create(&mut c, "keys", &[("cleanup.policy", "compact")]);
            for number in 0..12 {
                write(&mut c, "keys", NOW + number, 1);
            }
            // Offsets 0 to 8 lie in segments that are complete; of them only the last is left.
            let first = |c: &mut Client| offset(c, "keys", NOW);
            if is_on {
                until(&clock, Duration::from_secs(1), || first(&mut c) == 8);
            } else {
                for _ in 0..20 {
                    until(&clock, Duration::from_secs(30), || true);
                    assert_eq!(first(&mut c), 0);
                }
            }
        });
        broker.stop().await.unwrap();
    }
}
