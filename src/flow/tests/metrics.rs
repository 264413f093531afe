//! What a flow tells of itself in metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use metrics_exporter_prometheus::PrometheusHandle;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::*;
use crate::{
    status::PartitionStatus,
    telemetry::metrics::{self, ALL, Kind},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// All flows of this process count here.
pub(super) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install(Arc::clone(&Host::real().clock)).unwrap())
}

impl Running {
    fn partition(&self) -> PartitionStatus {
        self.status()
            .partitions
            .first()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until its one partition is as `wanted`.
    async fn await_partition(&self, what: &str, wanted: impl Fn(&PartitionStatus) -> bool) {
        eventually(what, async || {
            let partition = self.partition();
            if wanted(&partition) {
                Ok(())
            } else {
                Err(format!("{partition:?}"))
            }
        })
        .await;
    }
}

/// The label names of each metric that has samples in `text`.
fn samples(text: &str) -> BTreeMap<&str, BTreeSet<Vec<&str>>> {
    let mut found: BTreeMap<&str, BTreeSet<Vec<&str>>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap_or_default();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.trim_end_matches('}').split(',');
        let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
        if !name.is_empty() {
            found.entry(name).or_default().insert(names.collect());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flow_shows_has_the_names_and_labels_of_the_list() {
    let handle = recorder();
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1", "2"]).await;
    let running = pair.run("topics = [\".*\"]");
    pair.await_read("t", &["1", "2"]).await;
    running
        .await_partition("caught up", |p| p.lag == Some(0) && p.lag_ms == Some(0))
        .await;
    let now = Host::real().clock.wall_ms();
    pair.east.write_at("t", &["3"], now).await;
    pair.await_read("t", &["1", "2", "3"]).await;
    running
        .await_partition("copied", |p| p.records == Some(3))
        .await;
    eventually("a checkpoint", async || match handle.render() {
        text if text.contains("strait_checkpoints_total{flow=\"f\"}") => Ok(()),
        text => Err(text),
    })
    .await;
    let text =
        handle.render() + &metrics::once(|| crate::http::StatusSource::measure(&*running.status));
    running.stop().await;

    let found = samples(&text);
    let mut expected = BTreeMap::new();
    for metric in ALL {
        let suffixes: &[&str] = match metric.kind {
            Kind::Histogram => &["_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        for suffix in suffixes {
            expected.insert(format!("{}{suffix}", metric.name), metric.labels.to_vec());
        }
        if metric.kind == Kind::Histogram {
            let labels = [metric.labels, &["le"]].concat();
            expected.insert(format!("{}_bucket", metric.name), labels);
        }
    }
    for (name, labels) in &found {
        let listed = expected.get(*name);
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [listed.unwrap()],
            "{name}"
        );
    }
    // What needs a failure, a group, a second process or a transport is not there.
    let absent: BTreeSet<_> = expected
        .keys()
        .map(String::as_str)
        .filter(|name| !found.contains_key(name) && !name.starts_with("strait_group"))
        .collect();
    let excused = BTreeSet::from([
        "strait_gap_records_total",
        "strait_lease_age_seconds",
        "strait_opened_batches_total",
        "strait_outages_total",
        "strait_rebalances_total",
        "strait_retries_total",
        "strait_skipped_records_total",
        "strait_slow_partitions_total",
        "strait_target_lost_records_total",
        "strait_topic_configs_total",
        "strait_troubles",
    ]);
    assert!(absent.is_subset(&excused), "{absent:?} in\n{text}");
    assert!(
        text.contains("strait_partition_records_total{flow=\"f\",topic=\"t\",partition=\"0\"} 3"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_in_seconds_grows_while_the_source_is_away_and_is_gone_when_it_is_back() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run("topics = [\".*\"]");
    running
        .await_partition("caught up", |p| {
            p.source_offset == Some(1) && p.lag_ms == Some(0)
        })
        .await;
    let address = pair.east.broker.address();
    let folder = pair.east.folder;
    pair.east.broker.stop().await.unwrap();
    running
        .await_partition("late", |p| p.lag_ms > Some(6_000) && p.lag == Some(0))
        .await;
    let [source, target] = running.status.boards()[0].connections();
    assert!(
        source.failed > 0 && target.failed == 0,
        "{source:?} {target:?}"
    );
    let config = broker_lite::Config::new(address.to_string(), folder.path());
    let _broker = Broker::start(config, Host::real()).await.unwrap();
    running
        .await_partition("caught up again", |p| p.lag_ms == Some(0))
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_in_seconds_is_the_age_of_what_the_target_has_not_acknowledged() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run("topics = [\".*\"]");
    running
        .await_partition("caught up", |p| {
            p.source_offset == Some(1) && p.lag_ms == Some(0)
        })
        .await;
    pair.west.broker.stop().await.unwrap();
    let hour = 3_600_000;
    let written = Host::real().clock.wall_ms() - hour;
    pair.east.write_at("t", &["2"], written).await;
    running
        .await_partition("an hour late", |p| {
            p.lag == Some(1) && p.lag_ms >= Some(hour)
        })
        .await;
    let late = running.partition().lag_ms.unwrap();
    assert!(late < hour + DEADLINE.as_millis() as i64, "{late}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_held_while_a_transaction_on_the_source_is_open() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run("topics = [\".*\"]");
    running
        .await_partition("caught up", |p| p.source_offset == Some(1))
        .await;
    assert_eq!(running.partition().held_ms, None);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", pair.east.broker.address().to_string())
        .set("transactional.id", "open")
        .create()
        .unwrap();
    let producer = tokio::task::spawn_blocking(move || {
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to("t").partition(0).key("k").payload("2");
        producer.send(record).unwrap();
        producer.flush(PATIENCE).unwrap();
        producer
    })
    .await
    .unwrap();
    running
        .await_partition("held", |p| p.held_ms >= Some(100) && p.lag == Some(0))
        .await;
    tokio::task::spawn_blocking(move || producer.commit_transaction(PATIENCE).unwrap())
        .await
        .unwrap();
    pair.await_read("t", &["1", "2"]).await;
    running
        .await_partition("not held", |p| p.held_ms.is_none())
        .await;
    running.stop().await;
}
