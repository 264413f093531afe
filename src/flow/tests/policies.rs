//! Policies and stops, by what arrives.

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use wire::record::Header;

use super::{adjust::request, *};
use crate::{
    checkpoint::{CheckpointStore, store::GroupStore},
    flow::adjust::{Action, Request, To},
};

/// Copies `1` to `3` of topic `t`, stops, and takes what comes next out of the source: `4` is gone, `5` is there.
async fn with_a_gap(flow: &str) -> Pair {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1", "2", "3"]).await;
    let running = pair.run(flow);
    pair.await_read("t", &["1", "2", "3"]).await;
    running.stop().await;
    pair.east.write("t", &["4", "5"]).await;
    let partition = TopicPartition::new("t", 0);
    pair.east
        .client
        .delete_records(&partition, 4)
        .await
        .unwrap();
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_on_gap_earliest_goes_on_at_what_is_there() {
    for transport in TRANSPORTS {
        let flow = format!("{transport}topics = [\"t\"]\non_gap = \"earliest\"");
        let pair = with_a_gap(&flow).await;
        let running = pair.run(&flow);
        pair.await_read("t", &["1", "2", "3", "5"]).await;
        pair.east.write("t", &["6"]).await;
        pair.await_read("t", &["1", "2", "3", "5", "6"]).await;
        running.stop().await;
        // A start after it finds no gap any more, and doubles nothing.
        let running = pair.run(&flow);
        pair.east.write("t", &["7"]).await;
        pair.await_read("t", &["1", "2", "3", "5", "6", "7"]).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_gap_behind_a_crash_is_not_passed_over_and_a_set_says_what_it_doubles() {
    let flow = "topics = [\"t\"]\non_gap = \"earliest\"";
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    let mut wanted = Vec::new();
    let mut first = None;
    for value in ["1", "2", "3"] {
        wanted.push(value);
        pair.east.write("t", &[value]).await;
        let running = pair.run(flow);
        pair.await_read("t", &wanted).await;
        running.stop().await;
        let now = pair.checkpoints().await.remove("t-0").unwrap();
        first.get_or_insert(now);
    }
    // As if the process had died before any later checkpoint, and retention then left only the last record.
    let partition = TopicPartition::new("t", 0);
    let client = &pair.west.client;
    let store = GroupStore::new(client.clone(), "strait.f".to_owned());
    let lost = (partition.clone(), codec::encode(&first.unwrap()));
    for (_, outcome) in store.commit(&[lost]).await {
        outcome.unwrap();
    }
    pair.east
        .client
        .delete_records(&partition, 2)
        .await
        .unwrap();
    let running = pair.run(flow);
    running.await_reason("t", "offset_out_of_range").await;
    running.stop().await;
    pair.await_read("t", &wanted).await;
    for (to, twice) in [
        (To::Offset(2), "offset 2 or behind"),
        (To::Offset(3), "offset 3 or behind"),
    ] {
        let dry = Request {
            dry_run: true,
            ..request("t", Action::Set(to))
        };
        let shown = pair.adjust(flow, &dry).await.unwrap();
        let meaning = &shown.changes[0].meaning;
        assert!(
            meaning.contains("offsets 1 to 2 the target holds") && meaning.contains(twice),
            "{meaning}"
        );
    }
    let set = request("t", Action::Set(To::Offset(3)));
    pair.adjust(flow, &set).await.unwrap();
    pair.east.write("t", &["4"]).await;
    let running = pair.run(flow);
    pair.await_read("t", &["1", "2", "3", "4"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_on_gap_latest_leaves_out_what_is_there() {
    for transport in TRANSPORTS {
        let flow = format!("{transport}topics = [\"t\"]\non_gap = \"latest\"");
        let pair = with_a_gap(&flow).await;
        let running = pair.run(&flow);
        eventually("the gap is behind", async || {
            match pair.checkpoints().await["t-0"].source_offset {
                5 => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
        pair.east.write("t", &["6"]).await;
        pair.await_read("t", &["1", "2", "3", "6"]).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_opens_while_it_runs_is_one_too() {
    let pair = Pair::start().await;
    for topic in ["t", "u"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1"]).await;
    }
    let flow = "topics = [\".\"]\n[[flows.rules]]\nmatch = \"t\"\non_gap = \"earliest\"";
    let running = pair.run(flow);
    for topic in ["t", "u"] {
        pair.await_read(topic, &["1"]).await;
        // Nothing is fetched until the records are gone.
        let refused = What::Refuse(ResponseError::UnknownServerError);
        let hook = pair
            .east
            .broker
            .faults()
            .set(Fault::new(ApiKey::Fetch, refused).always())
            .unwrap();
        hook.wait(1).await;
        pair.east.write(topic, &["2", "3"]).await;
        let partition = TopicPartition::new(topic, 0);
        pair.east
            .client
            .delete_records(&partition, 2)
            .await
            .unwrap();
        hook.remove();
    }
    pair.await_read("t", &["1", "3"]).await;
    running.await_reason("u", "offset_out_of_range").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_on_existing_appends_behind_what_is_there() {
    for transport in TRANSPORTS {
        let pair = Pair::start().await;
        pair.east.create("t", &[]).await;
        pair.west.create("t", &[]).await;
        pair.west.write("t", &["theirs"]).await;
        pair.east.write("t", &["1", "2"]).await;
        let flow = format!("{transport}topics = [\"t\"]\non_existing = \"append\"");
        let running = pair.run(&flow);
        pair.await_read("t", &["theirs", "1", "2"]).await;
        running.stop().await;
        assert_eq!(pair.checkpoints().await["t-0"].appends_at, Some(1));
        pair.east.write("t", &["3"]).await;
        let running = pair.run(&flow);
        pair.await_read("t", &["theirs", "1", "2", "3"]).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_a_lost_checkpoint_is_not_taken_for_records_of_others() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let flow = "topics = [\"t\"]\non_existing = \"append\"";
    let running = pair.run(flow);
    pair.await_read("t", &["1"]).await;
    running.stop().await;
    let lost = [TopicPartition::new("t", 0)];
    pair.west
        .client
        .delete_group_offsets("strait.f", &lost)
        .await
        .unwrap();
    let running = pair.run(flow);
    running.await_reason("t", "checkpoint_missing").await;
    // What was meant is said, and done.
    running.adjust("t", Action::Set(To::Latest)).await.unwrap();
    pair.east.write("t", &["2"]).await;
    pair.await_read("t", &["1", "2"]).await;
    running.adjust("t", Action::Reset).await.unwrap();
    pair.await_read("t", &["1", "2", "1", "2"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_cannot_be_looked_at_keeps_no_other_from_starting() {
    let pair = Pair::start().await;
    for topic in ["t", "u"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1"]).await;
    }
    let flow = "topics = [\".\"]";
    let running = pair.run(flow);
    for topic in ["t", "u"] {
        pair.await_read(topic, &["1"]).await;
    }
    running.stop().await;
    for topic in ["t", "u"] {
        pair.east.write(topic, &["2"]).await;
    }
    let refused = What::Refuse(ResponseError::UnknownServerError);
    let fault = Fault::new(ApiKey::Fetch, refused).topic("t").always();
    let hook = pair.east.broker.faults().set(fault).unwrap();
    let running = pair.run(flow);
    pair.await_read("u", &["1", "2"]).await;
    hook.wait(1).await;
    pair.await_read("t", &["1"]).await;
    hook.remove();
    pair.await_read("t", &["1", "2"]).await;
    running.stop().await;
}

/// Keys, or none, of records whose values are their numbers; in batches of five.
async fn write_keyed(cluster: &Cluster, topic: &str, keys: &[bool]) {
    for (index, some) in keys.chunks(5).enumerate() {
        let mut batch = BatchBuilder::new(Codec::None);
        for (place, keyed) in some.iter().enumerate() {
            let value = (index * 5 + place).to_string();
            let key = keyed.then_some(value.as_bytes());
            batch.push(
                Host::real().clock.wall_ms(),
                key,
                Some(value.as_bytes()),
                &[] as &[Header],
            );
        }
        let partition = TopicPartition::new(topic, 0);
        let produced = cluster
            .client
            .produce(&partition, batch.build(0).unwrap())
            .await;
        produced.unwrap();
    }
}

/// A compacted target, which takes no record without a key: numbers in `bad` have none.
async fn with_poison(bad: &[usize]) -> (Pair, Vec<String>) {
    let pair = Pair::start().await;
    for topic in ["t", "u"] {
        pair.east.create(topic, &[]).await;
    }
    pair.west
        .create("t", &[("cleanup.policy", "compact")])
        .await;
    let keys: Vec<_> = (0..20).map(|number| !bad.contains(&number)).collect();
    write_keyed(&pair.east, "t", &keys).await;
    let good = (0..20).filter(|number| !bad.contains(number));
    let good = good.map(|number| number.to_string()).collect();
    (pair, good)
}

fn texts(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_stops_behind_the_last_one_before_it_and_its_neighbours_go_on() {
    for transport in TRANSPORTS {
        let (pair, good) = with_poison(&[7]).await;
        let running = pair.run(&format!(
            "{transport}topics = [\".\"]\nconfigs.follow = false"
        ));
        running.await_reason("t", "record_refused").await;
        pair.await_read("t", &texts(&good[..7])).await;
        pair.east.write("u", &["1"]).await;
        pair.await_read("u", &["1"]).await;
        let status = running.status();
        let stopped = status
            .partitions
            .iter()
            .find(|one| one.topic == "t")
            .unwrap();
        assert_eq!(
            (stopped.stopped_offset, stopped.source_offset),
            (Some(7), Some(7))
        );
        let command = "strait checkpoint set FILE --flow f --topic t --partition 0 --to 8";
        let text = stopped.text.clone().unwrap();
        assert!(text.ends_with(command), "{text}");
        // The command that it names.
        running
            .adjust("t", Action::Set(To::Offset(8)))
            .await
            .unwrap();
        pair.await_read("t", &texts(&good)).await;
        running.stop().await;
        assert_eq!(pair.checkpoints().await["t-0"].stopped, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_poison_skip_leaves_out_what_is_refused_and_nothing_else() {
    for transport in TRANSPORTS {
        for bad in [&[0][..], &[7], &[4, 5, 6], &[1, 3, 19], &[0, 1, 2, 3, 4]] {
            let (pair, mut good) = with_poison(bad).await;
            let flow = format!(
                "{transport}topics = [\"t\"]\nconfigs.follow = false\non_poison = \"skip\""
            );
            let running = pair.run(&flow);
            pair.await_read("t", &texts(&good)).await;
            running.stop().await;
            write_keyed(&pair.east, "t", &[true, false, true]).await;
            good.extend(["0", "2"].map(str::to_owned));
            let running = pair.run(&flow);
            pair.await_read("t", &texts(&good)).await;
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_5_a_crash_around_a_skip_doubles_and_loses_nothing() {
    // The checkpoint before the skip is the last one that is committed, or the one behind it.
    for commits in [1, 2, 4] {
        let (pair, good) = with_poison(&[3, 8, 9]).await;
        let flow = "topics = [\"t\"]\nconfigs.follow = false\non_poison = \"skip\"";
        let refused = What::Refuse(ResponseError::UnknownServerError);
        let fault = Fault::new(ApiKey::OffsetCommit, refused)
            .skip(commits)
            .always();
        let hook = pair.west.broker.faults().set(fault).unwrap();
        let running = pair.run(flow);
        hook.wait(2).await;
        running.stop().await;
        hook.remove();
        let running = pair.run(flow);
        pair.await_read("t", &texts(&good)).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_for_the_target_is_found_and_left_out() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.west
        .create("t", &[("max.message.bytes", "2000")])
        .await;
    let large = "x".repeat(3000);
    pair.east.write("t", &["1", "2", &large, "4"]).await;
    let running = pair.run("topics = [\"t\"]\nconfigs.follow = false\non_poison = \"skip\"");
    pair.await_read("t", &["1", "2", "4"]).await;
    running.stop().await;
}

/// What was there before is told and not compared; what others write later is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_begins_where_an_appending_flow_began() {
    let pair = Pair::start().await;
    for topic in ["t", "empty"] {
        pair.east.create(topic, &[]).await;
        pair.west.create(topic, &[]).await;
        pair.west.write(topic, &["theirs", "too"]).await;
    }
    pair.east.write("t", &["1", "2"]).await;
    let flow = "topics = [\".*\"]\non_existing = \"append\"";
    let running = pair.run(flow);
    pair.await_read("t", &["theirs", "too", "1", "2"]).await;
    running.stop().await;
    let addresses = [&pair.east, &pair.west].map(|side| side.broker.address());
    let config = parse(&config_text(addresses[0], addresses[1], flow));
    let flows: Vec<_> = config.flows.iter().collect();
    let verify = async || {
        let progress = std::sync::Arc::default();
        crate::verify::verify(&Host::real(), &config, &flows, &progress)
            .await
            .unwrap()
    };
    let report = verify().await;
    assert!(report.is_equal(false), "{report:?}");
    assert_eq!((report.before, report.counts.records), (4, 2));
    pair.west.write("t", &["later"]).await;
    let report = verify().await;
    assert_eq!((report.before, report.counts.altered), (4, 1), "{report:?}");
}
