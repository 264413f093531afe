//! Flows between two broker-lites in this process, seen through the wire client.

mod acls;
mod adjust;
mod coalescing;
mod configs;
mod creation;
mod cycles;
mod exactness;
mod groups;
mod guarantee;
mod handover;
mod internal_topics;
mod limits;
mod metrics;
mod policies;
mod reach;
mod retire;

use std::{io, net::SocketAddr, time::Duration};

use broker_lite::Broker;
use host::Host;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use wire::{
    Isolation, TopicPartition,
    client::{CommittedOffset, FetchRequest},
    error::ClientError,
    record::{BatchBuilder, Codec},
};

use super::{
    launch::last_seen,
    start::{Extent, LastSeen},
    status::{FlowStatus, Phase},
};
use crate::{
    app::{App, AppError},
    checkpoint::{LastRecord, Stored, codec},
    config::{Config, Sources},
    http::StatusSource,
    testing::Cluster,
};

/// Both ways in which records travel.
const TRANSPORTS: [&str; 2] = ["", "transport = \"librdkafka\"\n"];
/// Anything takes less.
const DEADLINE: Duration = Duration::from_secs(30);

impl Cluster {
    async fn create(&self, topic: &str, configs: &[(&str, &str)]) {
        self.create_topic(topic, 1, configs).await;
    }

    async fn delete(&self, topic: &str) {
        let outcomes = self
            .client
            .delete_topics(&[topic.to_owned()])
            .await
            .unwrap();
        outcomes[0].1.clone().unwrap();
    }

    async fn write(&self, topic: &str, values: &[&str]) {
        self.write_at(topic, values, 1_780_000_000_000).await;
    }

    async fn write_at(&self, topic: &str, values: &[&str], timestamp: i64) {
        self.write_with(Codec::None, topic, values, timestamp).await;
    }

    async fn write_with(&self, codec: Codec, topic: &str, values: &[&str], timestamp: i64) {
        let mut batch = BatchBuilder::new(codec);
        for value in values {
            batch.push(timestamp, Some(b"key"), Some(value.as_bytes()), &[]);
        }
        let partition = TopicPartition::new(topic, 0);
        self.client
            .produce(&partition, batch.build(0).unwrap())
            .await
            .unwrap();
    }

    async fn read(&self, topic: &str) -> Vec<String> {
        self.read_until(topic).await.0
    }

    /// What is there, and the error that ended it if it was one.
    async fn read_until(&self, topic: &str) -> (Vec<String>, Option<ClientError>) {
        let mut values = Vec::new();
        let mut offset = 0;
        // An answer ends with its segment.
        loop {
            let request = FetchRequest {
                partition: TopicPartition::new(topic, 0),
                offset,
                max_bytes: 1 << 20,
                max_wait: Duration::ZERO,
                isolation: Isolation::ReadCommitted,
            };
            let fetched = match self.client.fetch(request).await {
                Ok(fetched) => fetched,
                Err(error) => return (values, Some(error)),
            };
            let committed = fetched.committed(offset, Isolation::ReadCommitted).unwrap();
            if committed.next_offset == offset {
                return (values, None);
            }
            offset = committed.next_offset;
            let found = committed.records.iter().filter_map(|r| r.value.as_deref());
            values.extend(found.map(|value| String::from_utf8(value.to_vec()).unwrap()));
        }
    }

    async fn exists(&self, topic: &str) -> bool {
        let topics = self.client.topics(Some(&[topic.to_owned()])).await.unwrap();
        topics[0].error.is_none()
    }
}

struct Pair {
    east: Cluster,
    west: Cluster,
}

impl Pair {
    async fn start() -> Self {
        Self {
            east: Cluster::start().await,
            west: Cluster::start().await,
        }
    }

    fn run(&self, flow: &str) -> Running {
        run(&self.east, &self.west, flow)
    }

    async fn await_read(&self, topic: &str, values: &[&str]) {
        await_read(&self.west, topic, values).await;
    }
}

fn run(east: &Cluster, west: &Cluster, flow: &str) -> Running {
    run_between(east.broker.address(), west.broker.address(), flow)
}

fn config_text(east: SocketAddr, west: SocketAddr, flow: &str) -> String {
    format!(
        "[clusters.east]\nbootstrap.servers = \"{east}\"\n\
         [clusters.west]\nbootstrap.servers = \"{west}\"\n\
         [[flows]]\nname = \"f\"\nsource = \"east\"\ntarget = \"west\"\n\
         checkpoint_interval = \"100ms\"\n{flow}\n",
    )
}

fn parse(text: &str) -> Config {
    let sources = Sources {
        variable: &|_| None,
        file: &|_| Err(io::ErrorKind::NotFound.into()),
    };
    Config::parse(text, &sources).unwrap()
}

fn run_between(east: SocketAddr, west: SocketAddr, flow: &str) -> Running {
    run_text(&config_text(east, west, flow))
}

fn run_text(text: &str) -> Running {
    let mut config = parse(text);
    config.http.listen = None;
    let app = App::new(config, Host::real());
    let status = app.status();
    let stop = CancellationToken::new();
    let task = tokio::spawn(app.run(stop.clone()));
    Running { status, stop, task }
}

async fn await_read(cluster: &Cluster, topic: &str, values: &[&str]) {
    eventually(&format!("{values:?} in {topic}"), async || {
        let (found, error) = cluster.read_until(topic).await;
        match found == values {
            true => Ok(()),
            false => Err(format!("{found:?}, ended by {error:?}")),
        }
    })
    .await;
}

struct Running {
    status: std::sync::Arc<crate::app::Status>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Running {
    fn status(&self) -> FlowStatus {
        self.status.boards()[0].status()
    }

    async fn await_reason(&self, topic: &str, reason: &str) {
        eventually(&format!("{topic} stopped with {reason}"), async || {
            let status = self.status();
            let found = status
                .partitions
                .iter()
                .find(|partition| partition.topic == topic);
            match found.and_then(|partition| partition.reason.as_deref()) {
                Some(found) if found == reason => Ok(()),
                _ => Err(format!("{status:?}")),
            }
        })
        .await;
    }

    async fn await_ready(&self) {
        eventually("ready", async || self.status.readiness()).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.ended().await.unwrap();
    }

    async fn ended(self) -> Result<(), AppError> {
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("it ends in time")
            .unwrap()
    }
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + DEADLINE;
    while let Err(found) = check().await {
        assert!(
            Instant::now() < deadline,
            "not in time: {what}; found: {found}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_starts_at_latest_and_what_comes_later_at_earliest() {
    let pair = Pair::start().await;
    pair.east.create("old", &[]).await;
    pair.east.write("old", &["1", "2"]).await;
    let flow = "topics = [\".*\"]\nstart = \"latest\"";
    let running = pair.run(flow);
    eventually("the topic on the target", async || {
        if pair.west.exists("old").await {
            Ok(())
        } else {
            Err("nothing".to_owned())
        }
    })
    .await;
    pair.east.write("old", &["3"]).await;
    pair.await_read("old", &["3"]).await;
    pair.east.create("new", &[]).await;
    pair.east.write("new", &["a", "b"]).await;
    pair.await_read("new", &["a", "b"]).await;
    running.stop().await;
    // The first run's decision holds for what it knew but never came to.
    pair.east.write("old", &["4"]).await;
    let running = pair.run(flow);
    pair.await_read("old", &["3", "4"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_by_time_skips_what_is_older() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write_at("t", &["old"], 1_600_000_000_000).await;
    pair.east.write_at("t", &["young"], 1_700_000_000_000).await;
    pair.east.create("only-old", &[]).await;
    pair.east
        .write_at("only-old", &["old"], 1_600_000_000_000)
        .await;
    let running =
        pair.run("topics = [\".*\"]\nnaming = \"prefix\"\nstart = \"2022-01-01T00:00:00Z\"");
    pair.await_read("east.t", &["young"]).await;
    pair.east
        .write_at("only-old", &["late"], 1_600_000_000_000)
        .await;
    pair.await_read("east.only-old", &["late"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_says_where_its_topics_start_and_how_often_they_are_replicated() {
    let pair = Pair::start().await;
    for topic in ["late", "timed", "whole", "wide"] {
        pair.east.create(topic, &[]).await;
        pair.east.write_at(topic, &["old"], 1_600_000_000_000).await;
        pair.east
            .write_at(topic, &["young"], 1_700_000_000_000)
            .await;
    }
    let running = pair.run(
        "topics = [\".*\"]\nstart = \"latest\"\n\
         [[flows.rules]]\nmatch = \"timed\"\nstart = \"2022-01-01T00:00:00Z\"\n\
         [[flows.rules]]\nmatch = \"wh.*\"\nstart = \"earliest\"\nreplication_factor = 1\n\
         [[flows.rules]]\nmatch = \"wide\"\nreplication_factor = 3",
    );
    pair.await_read("timed", &["young"]).await;
    pair.await_read("whole", &["old", "young"]).await;
    pair.east.write("late", &["new"]).await;
    pair.await_read("late", &["new"]).await;
    // One broker cannot hold three replicas: the rule reached the target, and only the one topic.
    let troubles = running.status().troubles;
    let [trouble] = &troubles[..] else {
        panic!("{troubles:?}");
    };
    assert_eq!(
        (trouble.topic.as_str(), trouble.code.as_str()),
        ("wide", "target_topic_refused")
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_go_while_it_runs_stop_and_their_neighbours_go_on() {
    let pair = Pair::start().await;
    for topic in ["a", "b", "c"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1"]).await;
    }
    let running = pair.run("topics = [\".*\"]");
    for topic in ["a", "b", "c"] {
        pair.await_read(topic, &["1"]).await;
    }
    pair.east.delete("a").await;
    running.await_reason("a", "source_topic_missing").await;
    pair.west.delete("b").await;
    running.await_reason("b", "target_topic_missing").await;
    pair.east.write("c", &["2"]).await;
    pair.await_read("c", &["1", "2"]).await;
    running.await_ready().await;
    assert!(
        !pair.west.exists("b").await,
        "a target that was deleted is not filled again"
    );
    // The same name is another topic: what it holds is not put behind the old records.
    pair.east.create("a", &[]).await;
    pair.east.write("a", &["other"]).await;
    running.await_reason("a", "source_topic_recreated").await;
    running.stop().await;
    assert_eq!(pair.west.read("a").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_written_into_the_checkpoint() {
    let pair = Pair::start().await;
    pair.east.create("a", &[]).await;
    pair.east.write("a", &["1", "2", "3"]).await;
    let running = pair.run("topics = [\".*\"]");
    pair.await_read("a", &["1", "2", "3"]).await;
    running.stop().await;
    pair.east.write("a", &["4", "5"]).await;
    pair.east
        .client
        .delete_records(&TopicPartition::new("a", 0), 4)
        .await
        .unwrap();
    let running = pair.run("topics = [\".*\"]");
    running.await_reason("a", "offset_out_of_range").await;
    running.stop().await;
    let committed = pair.west.client.group_offsets("strait.f").await.unwrap();
    let (
        partition,
        CommittedOffset {
            offset, metadata, ..
        },
    ) = committed[0].clone();
    assert_eq!((partition.to_string().as_str(), offset), ("a-0", 3));
    let checkpoint = codec::decode(&Stored { offset, metadata }).unwrap();
    let stopped = checkpoint.stopped.unwrap();
    assert_eq!((checkpoint.source_offset, checkpoint.sequence), (3, 3));
    assert_eq!(
        (stopped.reason.as_str(), stopped.source_offset),
        ("offset_out_of_range", 3)
    );
}

#[tokio::test]
async fn where_the_last_record_is_gone_its_leaders_epoch_is_looked_up() {
    let east = Cluster::start().await;
    east.create("t", &[]).await;
    east.write("t", &["1", "2"]).await;
    let partition = TopicPartition::new("t", 0);
    let deleted = east.client.delete_records(&partition, 1).await;
    assert_eq!(deleted.unwrap(), 1);
    let extent = Extent { start: 1, end: 2 };
    let seen = async |source_offset, leader_epoch| {
        let last = LastRecord {
            source_offset,
            crc: 0,
            leader_epoch,
            payload_crc: None,
        };
        let seen = last_seen(&east.client, partition.clone(), last, extent).await;
        seen.unwrap()
    };
    assert!(matches!(seen(1, 0).await, LastSeen::Found { .. }));
    assert_eq!(seen(0, -1).await, LastSeen::Gone);
    // broker-lite has epoch 0 and no other.
    assert_eq!(seen(0, 0).await, LastSeen::EpochEnds(2));
    assert_eq!(seen(0, 7).await, LastSeen::EpochEnds(-1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_that_cannot_hold_on_the_target_are_left_out() {
    let pair = Pair::start().await;
    let configs = [("retention.ms", "12345"), ("min.insync.replicas", "2")];
    pair.east.create("a", &configs).await;
    pair.east.write("a", &["1"]).await;
    let running = pair.run("topics = [\".*\"]");
    pair.await_read("a", &["1"]).await;
    running.stop().await;
    let configs = pair
        .west
        .client
        .describe_topic_configs(&["a".to_owned()])
        .await
        .unwrap();
    let value = |name: &str| {
        let configs = configs[0].1.as_ref().unwrap();
        configs
            .iter()
            .find(|config| config.name == name)
            .and_then(|config| config.value.clone())
    };
    assert_eq!(value("retention.ms").as_deref(), Some("12345"));
    assert_ne!(value("min.insync.replicas").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_into_its_own_source_is_a_mistake_of_the_config() {
    let east = Cluster::start().await;
    east.create("a", &[]).await;
    let error = run(&east, &east, "topics = [\".*\"]")
        .ended()
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(
        error.to_string().contains("east and west are one cluster"),
        "{error}"
    );
    assert!(
        !east.exists("strait.f.control").await,
        "nothing is written before the checks"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_source_left_on_the_target_is_a_mistake_of_the_config() {
    let pair = Pair::start().await;
    let running = pair.run("topics = [\"none\"]");
    eventually("running", async || {
        let phase = running.status().phase;
        if phase == Some(Phase::Running) {
            Ok(())
        } else {
            Err(format!("{phase:?}"))
        }
    })
    .await;
    running.stop().await;
    // There are no checkpoints yet: the control topic alone knows.
    let other = Cluster::start().await;
    let error = run(&other, &pair.west, "topics = [\".*\"]")
        .ended()
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    for part in [
        "strait.f.control",
        pair.east.broker.cluster_id(),
        "east is cluster",
        "`name`",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_is_waited_for_and_named() {
    let pair = Pair::start().await;
    pair.east.create("a", &[]).await;
    pair.east.write("a", &["1"]).await;
    let address = pair.west.broker.address();
    let folder = pair.west.folder;
    pair.west.broker.stop().await.unwrap();
    let running = run_between(pair.east.broker.address(), address, "topics = [\".*\"]");
    eventually("waiting", async || match running.status().phase {
        Some(Phase::Waiting { cluster, reason })
            if cluster == "west"
                && reason.contains(&format!("waiting for cluster west at {address}")) =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(
        running
            .status
            .readiness()
            .unwrap_err()
            .contains("waiting for cluster west")
    );
    let config = broker_lite::Config::new(address.to_string(), folder.path());
    let broker = Broker::start(config, Host::real()).await.unwrap();
    running.await_ready().await;
    let west = Cluster {
        broker,
        folder,
        client: pair.west.client,
    };
    await_read(&west, "a", &["1"]).await;
    running.stop().await;
}
