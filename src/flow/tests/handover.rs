//! MirrorMaker 2's positions, written here as it writes them, taken over and given back.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use wire::client::OffsetSpec;

use super::*;
use crate::flow::{
    adjust::AdjustError,
    handover::{
        MirrorMaker,
        export::{self, Export, export},
        takeover::{self, Outcome, Takeover, takeover},
    },
};

const OFFSETS: &str = "mm2-offsets.A.internal";
const FLOW: &str = "topics = [\"t\"]";

impl Pair {
    /// With topic `t` on both sides, and the one of positions.
    async fn with_mirrored(source: &[&str], target: &[&str]) -> Self {
        let pair = Self::start().await;
        for (cluster, values) in [(&pair.east, source), (&pair.west, target)] {
            cluster.create("t", &[]).await;
            if !values.is_empty() {
                cluster.write("t", values).await;
            }
        }
        let compact = [("cleanup.policy", "compact")];
        pair.west.create_topic(OFFSETS, 25, &compact).await;
        pair
    }

    /// As MirrorMaker 2 leaves it; none: it was reset.
    async fn position(&self, connector: &str, topic: &str, offset: Option<&str>) {
        let key = format!(r#"["{connector}",{{"cluster":"A","partition":0,"topic":"{topic}"}}]"#);
        self.put(
            3,
            &key,
            offset
                .map(|offset| format!(r#"{{"offset":{offset}}}"#))
                .as_deref(),
        )
        .await;
    }

    async fn put(&self, partition: i32, key: &str, value: Option<&str>) {
        let mut batch = BatchBuilder::new(Codec::None);
        let now = Host::real().clock.wall_ms();
        batch.push(now, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
        let partition = TopicPartition::new(OFFSETS, partition);
        self.west
            .client
            .produce(&partition, batch.build(0).unwrap())
            .await
            .unwrap();
    }

    async fn take(&self, flow: &str, request: &takeover::Request) -> Result<Takeover, AdjustError> {
        let text = config_text(self.east.broker.address(), self.west.broker.address(), flow);
        let app = App::new(parse(&text), Host::real());
        takeover(&app.flow("f").unwrap(), request).await
    }

    async fn give_back(
        &self,
        flow: &str,
        request: &export::Request,
    ) -> Result<Export, AdjustError> {
        let text = config_text(self.east.broker.address(), self.west.broker.address(), flow);
        let app = App::new(parse(&text), Host::real());
        export(&app.flow("f").unwrap(), request).await
    }

    /// Runs the flow until the target has these.
    async fn run_until(&self, flow: &str, values: &[&str]) {
        let running = self.run(flow);
        self.await_read("t", values).await;
        running.stop().await;
    }

    /// All records of the topic of positions: partition, key, value.
    async fn positions(&self) -> Vec<(i32, String, String)> {
        let text = |bytes: Option<bytes::Bytes>| {
            String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
        };
        let mut all = Vec::new();
        for index in 0..25 {
            let partition = TopicPartition::new(OFFSETS, index);
            let wanted = [(partition.clone(), OffsetSpec::Latest)];
            let listed = self
                .west
                .client
                .list_offsets(&wanted, Isolation::ReadCommitted)
                .await
                .unwrap();
            if listed[0].1.as_ref().unwrap().offset == 0 {
                continue;
            }
            let request = FetchRequest {
                partition,
                offset: 0,
                max_bytes: 1 << 20,
                max_wait: Duration::ZERO,
                isolation: Isolation::ReadCommitted,
            };
            let fetched = self.west.client.fetch(request).await.unwrap();
            let found = fetched
                .committed(0, Isolation::ReadCommitted)
                .unwrap()
                .records;
            all.extend(
                found
                    .into_iter()
                    .map(|one| (index, text(one.key), text(one.value))),
            );
        }
        all
    }
}

fn request() -> takeover::Request {
    takeover::Request {
        mirror: MirrorMaker::dedicated("A"),
        force: false,
        dry_run: false,
    }
}

fn back() -> export::Request {
    export::Request {
        mirror: MirrorMaker::dedicated("A"),
        partitions: 25,
        replication_factor: -1,
        dry_run: false,
    }
}

/// Outcome, source offset and how many were recognised, of the only partition.
fn only(taken: &Takeover) -> (Outcome, Option<i64>, Option<u64>) {
    let [one] = &taken.partitions[..] else {
        panic!("{taken:?}");
    };
    (one.outcome, one.source_offset, one.recognised)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_copied_behind_a_position_is_not_copied_again() {
    for (flow, position, recognised) in [
        (FLOW.to_owned(), "1", 4),
        (FLOW.to_owned(), "5", 0),
        (format!("{}{FLOW}", TRANSPORTS[1]), "3", 2),
    ] {
        let pair = Pair::with_mirrored(
            &["0", "1", "2", "3", "4", "5", "6"],
            &["0", "1", "2", "3", "4", "5"],
        )
        .await;
        pair.position("MirrorSourceConnector", "t", Some("0")).await;
        pair.position("MirrorSourceConnector", "t", Some(position))
            .await;
        let shown = takeover::Request {
            dry_run: true,
            ..request()
        };
        let taken = pair.take(&flow, &shown).await.unwrap();
        assert_eq!(
            only(&taken),
            (Outcome::TakenOver, Some(6), Some(recognised))
        );
        assert!(pair.checkpoints().await.is_empty() && !pair.west.exists("strait.f.control").await);
        let taken = pair.take(&flow, &request()).await.unwrap();
        assert_eq!(
            only(&taken),
            (Outcome::TakenOver, Some(6), Some(recognised))
        );
        assert!(taken.is_complete() && taken.connector.as_deref() == Some("MirrorSourceConnector"));
        pair.run_until(&flow, &["0", "1", "2", "3", "4", "5", "6"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recognised_is_repeated_and_nothing_is_left_out() {
    // Another one wrote there since.
    let pair = Pair::with_mirrored(&["0", "1", "2", "3"], &["0", "1", "2", "x"]).await;
    pair.position("MirrorSourceConnector", "t", Some("1")).await;
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(2), None));
    let text = &taken.partitions[0].text;
    assert!(
        text.contains("behind offset 1") && text.contains("others write there"),
        "{text}"
    );
    pair.run_until(FLOW, &["0", "1", "2", "x", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_the_target_sets_are_not_compared() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["0", "1", "2", "3"]).await;
    pair.west
        .create("t", &[("message.timestamp.type", "LogAppendTime")])
        .await;
    pair.west.write("t", &["0", "1", "2"]).await;
    pair.west.create_topic(OFFSETS, 25, &[]).await;
    pair.position("MirrorSourceConnector", "t", Some("0")).await;
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(3), Some(2)));
    pair.run_until(FLOW, &["0", "1", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_copied_before_the_first_position_is_recognised_from_the_first_record_on() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(2), Some(2)));
    assert!(
        taken.connector.is_none()
            && taken
                .notes
                .iter()
                .any(|note| note.contains("has no positions"))
    );
    pair.run_until(FLOW, &["0", "1", "2"]).await;
    // A position that was taken back is none, and what is there is something else.
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["1"]).await;
    pair.position("MirrorSourceConnector", "t", Some("1")).await;
    pair.position("MirrorSourceConnector", "t", None).await;
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::Left, None, None));
    assert!(
        !taken.is_complete() && taken.partitions[0].text.contains("on_existing"),
        "{taken:?}"
    );
    let running = pair.run(FLOW);
    running.await_reason("t", "checkpoint_missing").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_straits_own_stays_unless_it_is_forced() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    pair.position("MirrorSourceConnector", "t", Some("1")).await;
    pair.take(FLOW, &request()).await.unwrap();
    pair.run_until(FLOW, &["0", "1", "2"]).await;
    let before = pair.checkpoints().await;
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::Kept, None, None));
    assert_eq!(pair.checkpoints().await, before);
    // What strait wrote is recognised as well.
    let forced = takeover::Request {
        force: true,
        ..request()
    };
    let taken = pair.take(FLOW, &forced).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(3), Some(1)));
    pair.east.write("t", &["3"]).await;
    pair.run_until(FLOW, &["0", "1", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_another_one_by_then_stops_the_partition() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    pair.position("MirrorSourceConnector", "t", Some("1")).await;
    pair.take(FLOW, &request()).await.unwrap();
    // Records that were not copied are gone before strait runs: no start anew, but a gap.
    pair.east.write("t", &["3"]).await;
    pair.east
        .client
        .delete_records(&TopicPartition::new("t", 0), 3)
        .await
        .unwrap();
    let running = pair.run(FLOW);
    running.await_reason("t", "offset_out_of_range").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_positions_are_meant_is_not_guessed() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    pair.position("one", "t", Some("0")).await;
    pair.position("two", "t", Some("1")).await;
    pair.position("two", "unselected", Some("7")).await;
    let told = pair.take(FLOW, &request()).await;
    assert!(
        matches!(&told, Err(AdjustError::Refused(text)) if text.contains("one, two")),
        "{told:?}"
    );
    let named = |connector: &str, source: &str| takeover::Request {
        mirror: MirrorMaker {
            connector: Some(connector.to_owned()),
            offsets_topic: OFFSETS.to_owned(),
            ..MirrorMaker::dedicated(source)
        },
        ..request()
    };
    let told = pair.take(FLOW, &named("three", "A")).await;
    assert!(
        matches!(&told, Err(AdjustError::Unknown(text)) if text.contains("one, two")),
        "{told:?}"
    );
    let mut elsewhere = named("", "east");
    elsewhere.mirror.connector = None;
    let told = pair.take(FLOW, &elsewhere).await;
    assert!(
        matches!(&told, Err(AdjustError::Unknown(text)) if text.contains("but in: A")),
        "{told:?}"
    );
    elsewhere.mirror.offsets_topic = "none".to_owned();
    let told = pair.take(FLOW, &elsewhere).await;
    assert!(
        matches!(&told, Err(AdjustError::Unknown(text)) if text.contains("no topic none")),
        "{told:?}"
    );
    assert!(pair.checkpoints().await.is_empty());
    let taken = pair.take(FLOW, &named("two", "A")).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(2), Some(0)));
    let [other] = &taken.others[..] else {
        panic!("{taken:?}")
    };
    assert_eq!(
        (other.topic.as_str(), other.mirror_offset),
        ("unselected", 7)
    );
    // What is no number is not passed over.
    pair.position("two", "t", Some("\"1\"")).await;
    let told = pair.take(FLOW, &named("two", "A")).await;
    assert!(
        matches!(&told, Err(AdjustError::Refused(text)) if text.contains("t-0 of A")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_disturbed_who_runs() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    pair.position("MirrorSourceConnector", "t", Some("1")).await;
    pair.take(FLOW, &request()).await.unwrap();
    let running = pair.run(FLOW);
    pair.await_read("t", &["0", "1", "2"]).await;
    let told = pair.take(FLOW, &request()).await;
    assert!(
        matches!(&told, Err(AdjustError::Refused(text)) if text.contains("strait.f")),
        "{told:?}"
    );
    let told = pair.give_back(FLOW, &back()).await;
    assert!(
        matches!(&told, Err(AdjustError::Refused(text)) if text.contains("strait.f")),
        "{told:?}"
    );
    // The flow's own group stands for MirrorMaker 2's.
    let mut theirs = request();
    theirs.mirror.group = "strait.f".to_owned();
    let told = pair.take(FLOW, &theirs).await;
    assert!(
        matches!(&told, Err(AdjustError::Refused(text)) if text.contains("MirrorMaker 2 runs")),
        "{told:?}"
    );
    theirs.dry_run = true;
    let taken = pair.take(FLOW, &theirs).await.unwrap();
    assert!(
        taken
            .notes
            .iter()
            .any(|note| note.contains("MirrorMaker 2 runs")),
        "{taken:?}"
    );
    theirs.mirror.stopped = true;
    let taken = pair.take(FLOW, &theirs).await.unwrap();
    assert!(
        taken.notes.iter().any(|note| note.contains("--stopped")),
        "{taken:?}"
    );
    running.stop().await;
}

/// MirrorMaker 2 that writes exactly once was killed in the middle of a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_decided_is_waited_for_and_what_was_aborted_does_not_count() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    pair.position("MirrorSourceConnector", "t", Some("0")).await;
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", pair.west.broker.address().to_string())
        .set("transactional.id", "mirror")
        .create()
        .unwrap();
    tokio::task::block_in_place(|| {
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        let key = r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]"#;
        let record = BaseRecord::to(OFFSETS)
            .partition(3)
            .key(key)
            .payload(r#"{"offset":2}"#);
        producer.send(record).unwrap();
        producer.flush(DEADLINE).unwrap();
    });
    let told = pair.take(FLOW, &request()).await;
    assert!(
        matches!(&told, Err(AdjustError::Unavailable(text)) if text.contains("open transaction")),
        "{told:?}"
    );
    tokio::task::block_in_place(|| producer.abort_transaction(DEADLINE).unwrap());
    let taken = pair.take(FLOW, &request()).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(2), Some(1)));
}

/// Bytes and partitions of keys as Kafka 4.1.1 has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrormaker_is_given_back_what_it_would_have_written() {
    let pair = Pair::start().await;
    pair.east.create("orders", &[]).await;
    pair.east.write("orders", &["0", "1", "2"]).await;
    let flow = "topics = [\"orders\"]";
    let running = pair.run(flow);
    pair.await_read("orders", &["0", "1", "2"]).await;
    running.stop().await;
    let shown = export::Request {
        dry_run: true,
        ..back()
    };
    let exported = pair.give_back(flow, &shown).await.unwrap();
    assert!(exported.creates_topic && !pair.west.exists(OFFSETS).await);
    let exported = pair.give_back(flow, &back()).await.unwrap();
    assert_eq!(exported.partitions[0].text, "goes on where strait stopped");
    let key = r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#;
    let written = |partition, offset: i64| {
        (
            partition,
            key.to_owned(),
            format!(r#"{{"offset":{offset}}}"#),
        )
    };
    assert_eq!(pair.positions().await, [written(3, 2)]);
    let configs = pair
        .west
        .client
        .describe_topic_configs(&[OFFSETS.to_owned()])
        .await
        .unwrap();
    let policy = configs[0]
        .1
        .as_ref()
        .unwrap()
        .iter()
        .find(|one| one.name == "cleanup.policy");
    assert_eq!(policy.unwrap().value.as_deref(), Some("compact"));
    // And taken over again where it went on by itself.
    let forced = takeover::Request {
        force: true,
        ..request()
    };
    pair.position("MirrorSourceConnector", "orders", Some("1"))
        .await;
    let taken = pair.take(flow, &forced).await.unwrap();
    assert_eq!(only(&taken), (Outcome::TakenOver, Some(3), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_there_is_used_again_byte_by_byte() {
    let pair = Pair::with_mirrored(&["0", "1", "2"], &["0", "1"]).await;
    let spelt = r#"["named", {"topic":"t", "cluster":"A", "partition":0}]"#;
    pair.put(17, spelt, Some(r#"{"offset":1}"#)).await;
    pair.take(FLOW, &request()).await.unwrap();
    pair.run_until(FLOW, &["0", "1", "2"]).await;
    let exported = pair.give_back(FLOW, &back()).await.unwrap();
    let one = &exported.partitions[0];
    assert_eq!(
        (exported.connector.as_str(), one.before, one.mirror_offset),
        ("named", Some(1), Some(2))
    );
    let record = |offset| (17, spelt.to_owned(), format!(r#"{{"offset":{offset}}}"#));
    assert_eq!(pair.positions().await, [record(1), record(2)]);
}
