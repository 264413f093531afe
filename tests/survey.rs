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
    TopicPartition,
    client::{Client, ClientSettings, NewTopic},
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
        let folder = tempfile::tempdir().unwrap();
        let config = broker_lite::Config::new("127.0.0.1:0", folder.path());
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
                // The records are from 1970.
                let shown = "flow east-to-west: east to west, exactly-once, 3 records to copy, ";
                assert!(line.contains(shown) && line.contains("years"), "{line}");
            }
        }
        let kill = Command::new("kill").arg(watch.id().to_string()).status();
        assert!(kill.unwrap().success());
        assert_eq!(watch.wait().unwrap().code(), Some(0));
    }
}
