//! What `check` and `status` say of running clusters: before, during and after a flow ran.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use broker_lite::Broker;
use host::Host;
use strait::{
    app,
    config::{Config, Sources},
    status::Report,
    survey::{check, status},
};
use tokio_util::sync::CancellationToken;
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, NewTopic, OffsetSpec},
    record::{BatchBuilder, Codec},
};

const DEADLINE: Duration = Duration::from_secs(60);

struct Cluster {
    _folder: tempfile::TempDir,
    _broker: Broker,
    client: Client,
    address: String,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_as(None).await
    }

    /// `advertise` is where the broker says that it is.
    async fn start_as(advertise: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = broker_lite::Config::new("127.0.0.1:0", folder.path());
        config.advertise = advertise.map(str::to_owned);
        let broker = Broker::start(config, Host::real()).await.unwrap();
        let address = broker.address();
        let bootstrap = vec![("127.0.0.1".to_owned(), address.port())];
        Self {
            _folder: folder,
            _broker: broker,
            client: Client::new(Host::real(), ClientSettings::new(bootstrap, "test")),
            address: address.to_string(),
        }
    }

    async fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic {
            name: topic.to_owned(),
            partitions,
            replication_factor: 1,
            configs: Vec::new(),
        };
        let created = self.client.create_topics(&[topic], false).await.unwrap();
        created[0].1.as_ref().unwrap();
    }

    /// Writes `count` records.
    async fn produce(&self, topic: &str, partition: i32, count: i64) {
        let mut batch = BatchBuilder::new(Codec::None);
        for number in 0..count {
            let value = number.to_string();
            batch.push(1_000, None, Some(value.as_bytes()), &[]);
        }
        let partition = TopicPartition::new(topic, partition);
        let batch = batch.build(0).unwrap();
        self.client.produce(&partition, batch).await.unwrap();
    }
}

fn config(east: &Cluster, west: &Cluster, flow: &str) -> Config {
    let sources = Sources {
        variable: &|_| None,
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    Config::parse(&text(east, west, flow), &sources).unwrap()
}

fn text(east: &Cluster, west: &Cluster, flow: &str) -> String {
    format!(
        "[clusters.east]\nbootstrap.servers = \"{}\"\n\
         [clusters.west]\nbootstrap.servers = \"{}\"\n\
         [http]\nlisten = \"\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\n{flow}\n",
        east.address, west.address
    )
}

fn problems(report: &check::Report) -> Vec<&str> {
    let flows = report.flows.iter();
    flows
        .flat_map(|flow| flow.problems.iter().map(|problem| problem.code))
        .collect()
}

/// Asks until nothing is left to copy and every partition has a checkpoint.
async fn caught_up(host: &Host, config: &Config) -> Report {
    loop {
        let report = status::run(host, config).await.unwrap();
        let mut lags = report.flows[0]
            .partitions
            .iter()
            .map(|one| one.source_offset.and(one.lag));
        if lags.all(|lag| lag == Some(0)) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_seen_from_outside() {
    let (east, west) = (Cluster::start().await, Cluster::start().await);
    east.create("orders", 2).await;
    east.create("other", 1).await;
    east.produce("orders", 0, 30).await;
    east.produce("orders", 1, 12).await;
    let config = config(&east, &west, "topics = [\"orders\"]\nnaming = \"prefix\"");
    let host = Host::real();

    let before = check::run(&host, &config).await;
    assert!(before.ready, "{before:?}");
    let topics = &before.flows[0].topics;
    assert_eq!(topics.len(), 1);
    assert_eq!(
        (topics[0].source.as_str(), topics[0].target.as_str()),
        ("orders", "east.orders")
    );
    assert_eq!(
        (topics[0].partitions, topics[0].records, topics[0].lag),
        (2, 42, 42)
    );
    assert!(!topics[0].target_exists);
    // A broker tells the size, or it is said that it does not.
    let unknown = before.flows[0].warnings.iter();
    let unknown = unknown.filter(|warning| warning.code == "bytes_unknown");
    match topics[0].bytes {
        Some(bytes) => assert!(bytes > 0 && unknown.count() == 0),
        None => assert_eq!(unknown.count(), 1),
    }

    let stop = CancellationToken::new();
    let running = tokio::spawn(app::run(config.clone(), host.clone(), stop.clone()));
    let during = tokio::time::timeout(DEADLINE, caught_up(&host, &config))
        .await
        .unwrap();
    let partition = &during.flows[0].partitions[1];
    assert_eq!(
        (partition.source_offset, partition.target_offset),
        (Some(12), Some(12))
    );
    let [member] = &during.flows[0].members.as_ref().unwrap()[..] else {
        panic!("{during:?}")
    };
    assert_eq!((member.partitions, member.leader), (2, true));
    assert_eq!(partition.owner.as_ref(), Some(&member.name));
    stop.cancel();
    running.await.unwrap().unwrap();

    // Nothing runs now; what is new on the source shows as lag.
    east.produce("orders", 1, 5).await;
    let after = check::run(&host, &config).await;
    assert!(after.ready, "{after:?}");
    let topic = &after.flows[0].topics[0];
    assert_eq!(
        (topic.target_exists, topic.checkpoints, topic.lag),
        (true, 2, 5)
    );
    let after = status::run(&host, &config).await.unwrap();
    let flow = &after.flows[0];
    // Written with the time of 1 s after 1970.
    let age = host.clock.wall_ms() - 1_000;
    let seen = flow.lag_ms.unwrap();
    assert!((age - 60_000..=age).contains(&seen), "{seen}");
    assert_eq!((flow.lag, flow.partitions[0].lag_ms), (5, Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_run_would_stop_at_is_found_before() {
    let (east, west) = (Cluster::start().await, Cluster::start().await);
    let host = Host::real();
    east.create("orders", 1).await;
    west.create("orders", 1).await;
    west.produce("orders", 0, 1).await;
    let plain = config(&east, &west, "topics = [\"orders\"]");
    assert_eq!(
        problems(&check::run(&host, &plain).await),
        ["checkpoint_missing"]
    );

    let three = config(
        &east,
        &west,
        "topics = [\"orders\"]\nname = \"x\"\nnaming = \"prefix\"\nreplication_factor = 3",
    );
    assert_eq!(
        problems(&check::run(&host, &three).await),
        ["replication_factor"]
    );

    let circle = config(
        &east,
        &east,
        "topics = [\"orders\"]\nname = \"y\"\nnaming = \"prefix\"",
    );
    assert_eq!(
        problems(&check::run(&host, &circle).await),
        ["same_cluster"]
    );
}

/// A look that fails is told and followed by the next one; a signal ends the watch, and that is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_until_it_is_stopped() {
    let (east, west) = (Cluster::start().await, Cluster::start().await);
    east.create("orders", 2).await;
    east.produce("orders", 0, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strait.toml");
    std::fs::write(&path, text(&east, &west, "topics = [\"orders\"]")).unwrap();
    for json in [true, false] {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(["status", "--watch"])
            .arg(&path)
            .args(json.then_some("--json"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let lines: Vec<String> = lines.take(2).map(Result::unwrap).collect();
        for line in &lines {
            if json {
                let report: Report = serde_json::from_str(line).unwrap();
                assert_eq!((report.flows[0].lag, report.flows.len()), (3, 1));
            } else {
                // Nobody has run it yet. The records are from 1970.
                let shown = "flow east-to-west: east to west, at-least-once, 3 records to copy, ";
                assert!(line.contains(shown) && line.contains("years"), "{line}");
            }
        }
        let kill = Command::new("kill").arg(watch.id().to_string()).status();
        assert!(kill.unwrap().success());
        assert_eq!(watch.wait().unwrap().code(), Some(0));
    }
}

/// The program: what it prints, in words and in JSON, and how it ends.
fn strait_check(text: &str, json: bool) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strait.toml");
    std::fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_strait"))
        .arg("check")
        .arg(&path)
        .args(json.then_some("--json"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_says_what_is_well_and_what_is_not() {
    let (east, west) = (Cluster::start().await, Cluster::start().await);
    east.create("orders", 2).await;
    west.create("orders", 1).await;
    let good = text(&east, &west, "topics = [\"orders\", \"missing\"]");
    let (code, shown) = strait_check(&good, false);
    assert_eq!(code, 0, "{shown}");
    for line in [
        "flow east-to-west: east (cluster ",
        "guarantee: exactly-once (leaders remember producers for 1day; what is older is not guarded)",
        "transport: wire (the target passes the probe)",
        "  ok       west does what exactly once rests on (probed on strait.probe) (guarantee)",
        "  ok       strait may do what the flow takes, on both sides (rights)",
        "  ok       all 2 brokers are reached where they advertise themselves (brokers)",
        "  ok       no topic is seen to come back to a flow that has copied it (cycles)",
        "  warning  orders has 1 partitions and will be given 2 (fewer_partitions)",
        "  warning  east has no topic missing: UNKNOWN_TOPIC_OR_PARTITION (3) (topic_missing)",
        "\nready, 2 warnings\n",
    ] {
        assert!(shown.contains(line), "should say {line:?}:\n{shown}");
    }

    let back = format!(
        "{}[[flows]]\nsource = \"west\"\ntarget = \"east\"\ntopics = [\"orders\"]\n",
        text(&east, &west, "topics = [\"orders\"]")
    );
    let (code, shown) = strait_check(&back, true);
    assert_eq!(code, 4, "{shown}");
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(report["ready"], false);
    for flow in 0..2 {
        let problem = &report["flows"][flow]["problems"][0];
        assert_eq!(problem["code"], "cycle", "{shown}");
        assert_eq!(problem["fix"], serde_json::Value::Null);
    }
    let way = "east:orders → west:orders → east:orders";
    let message = &report["flows"][0]["problems"][0]["message"];
    assert!(message.as_str().unwrap().contains(way), "{shown}");
}

/// What the flow remembers, and where: other clusters, changed places, another release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_about_something_else_is_found_before() {
    let (east, west) = (Cluster::start().await, Cluster::start().await);
    let (north, host) = (Cluster::start().await, Host::real());
    for cluster in [&east, &north] {
        cluster.create("orders", 1).await;
        cluster.produce("orders", 0, 3).await;
    }
    let flow = "name = \"dr\"\ntopics = [\"orders\"]\nnaming = \"prefix\"";
    let right = config(&east, &west, flow);
    let stop = CancellationToken::new();
    let running = tokio::spawn(app::run(right.clone(), host.clone(), stop.clone()));
    let caught_up = caught_up(&host, &right);
    tokio::time::timeout(DEADLINE, caught_up).await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();

    let found = check::run(&host, &config(&north, &west, flow)).await;
    assert!(problems(&found).contains(&"foreign_cluster"), "{found:?}");
    let found = check::run(&host, &config(&west, &east, flow)).await;
    assert_eq!(problems(&found), ["swapped"]);

    // A control topic of a later release.
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1_000, Some(b"flow"), Some(b"{\"version\":99}"), &[]);
    let control = TopicPartition::new("strait.dr.control", 0);
    let batch = batch.build(0).unwrap();
    let end = west
        .client
        .produce(&control, batch)
        .await
        .unwrap()
        .base_offset
        + 1;
    let found = check::run(&host, &right).await;
    assert_eq!(problems(&found), ["control_topic"]);
    let message = &found.flows[0].problems[0].message;
    assert!(message.contains("version 99"), "{message}");
    let before = west.client.group_offsets("strait.dr").await.unwrap();
    let error = app::run(right, host, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
    // What a later release left is as it was.
    let after = west.client.group_offsets("strait.dr").await.unwrap();
    assert_eq!(after, before);
    let wanted = [(control, OffsetSpec::Latest)];
    let ended = west
        .client
        .list_offsets(&wanted, Isolation::ReadUncommitted);
    let ended = ended.await.unwrap()[0].1.as_ref().unwrap().offset;
    assert_eq!(ended, end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_advertises_what_nobody_reaches_is_named() {
    let (east, west) = (
        Cluster::start_as(Some("127.0.0.1:1")).await,
        Cluster::start().await,
    );
    let flow = text(&east, &west, "topics = [\"orders\"]");
    let (code, shown) = strait_check(&flow, false);
    assert_eq!(code, 4, "{shown}");
    let says =
        "problem  broker 1 of east, which advertises 127.0.0.1:1, is not reached: 127.0.0.1:1: ";
    assert!(shown.contains(says), "{shown}");
    assert!(!shown.contains("of west"), "{shown}");
}
