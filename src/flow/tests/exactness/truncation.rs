//! A target that lost records that it had acknowledged (EXACTNESS 10).

use super::*;
use crate::{flow::tests::metrics, status::PartitionStatus};

/// What an unclean election does to the target: it ends at `offset`, in the middle of a batch or before one.
async fn cut_target(bench: &Bench, offset: i64) {
    let faults = bench.pair.west.broker.faults();
    let cut = move || faults.truncate("t", 0, offset).unwrap();
    tokio::task::spawn_blocking(cut).await.unwrap();
}

/// A cut that leaves at least one known pair, under a worker that runs, one that starts, and one whose target's leader
/// forgot the producer as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_what_the_target_lost_is_written_again() {
    let told = metrics::recorder();
    let flow = "topics = [\"t\"]";
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run(flow);
    bench.write(4).await;
    bench.await_exactly().await;
    cut_target(&bench, 7).await;
    bench.write(1).await;
    bench.await_exactly().await;
    cut_target(&bench, 12).await;
    bench.write(3).await;
    bench.await_exactly().await;
    running.stop().await;
    let before = checkpoint_of(&bench).await.1.offset;
    assert_eq!(before, 24);

    cut_target(&bench, 15).await;
    let running = bench.pair.run(flow);
    // Without a new record as well.
    bench.await_exactly().await;
    bench.write(2).await;
    bench.await_exactly().await;
    running.stop().await;
    let (_, after) = checkpoint_of(&bench).await;
    assert_eq!(after.offset, 30);
    assert!(after.metadata.contains(" seq=30 "), "{}", after.metadata);
    assert!(after.metadata.contains(":0:0:0 map="), "the epoch stays");
    let lost = told.render();
    let lost = lost.lines().find_map(|line| {
        line.strip_prefix(r#"strait_target_lost_records_total{flow="f",topic="t"} "#)
    });
    // Other tests may add theirs.
    let lost: u64 = lost.unwrap().parse().unwrap();
    assert!(lost >= 6 + 3 + 9, "{lost}");

    cut_target(&bench, 24).await;
    let faults = bench.pair.west.broker.faults();
    faults.forget_producers("t", 0).unwrap();
    let running = bench.pair.run(flow);
    bench.await_exactly().await;
    bench.write(1).await;
    bench.await_exactly().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_the_place_is_committed_before_anything_is_written_behind_it() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_checkpoint(12).await;
    cut_target(&bench, 6).await;
    let faults = bench.pair.west.broker.faults();
    let refused = What::Refuse(ResponseError::UnknownServerError);
    let hold = Fault::new(ApiKey::OffsetCommit, refused).always();
    let hook = faults.set(hold).unwrap();
    bench.write(1).await;
    eventually("gone back", async || {
        let status = running.status();
        let at = |p: &PartitionStatus| p.source_offset == Some(6);
        if status.partitions.iter().any(at) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    hook.wait(hook.fired() + 2).await;
    assert_eq!(bench.pair.west.read("t").await, values(0..6));
    hook.remove();
    bench.await_exactly().await;
    running.stop().await;
}

/// Others wrote behind what was left: its end says nothing, but its leader's memory does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_records_of_others_where_ours_were_hide_no_loss() {
    for foreign in [2, 9] {
        let mut bench = Bench::start(now()).await;
        let running = bench.pair.run("topics = [\"t\"]");
        bench.write(4).await;
        bench.await_exactly().await;
        cut_target(&bench, 6).await;
        let others = vec!["foreign"; foreign];
        bench.pair.west.write("t", &others).await;
        bench.write(1).await;
        let mut all = values(0..6);
        all.extend(others.into_iter().map(str::to_owned));
        all.extend(values(6..15));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        bench.pair.await_read("t", &all).await;
        running.stop().await;
    }
}

/// A process that was killed before its checkpoints: its successor passes over all that is there, as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_what_was_passed_over_at_once_can_be_gone_back_into() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.await_checkpoint(0).await;
    running.stop().await;
    let killed = checkpoint_of(&bench).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_exactly().await;
    running.stop().await;
    bench.leave(killed).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.await_checkpoint(12).await;
    running.stop().await;
    cut_target(&bench, 7).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.await_exactly().await;
    bench.write(1).await;
    bench.await_exactly().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_a_target_that_lost_every_known_pair_stops_the_worker() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_exactly().await;
    running.stop().await;
    cut_target(&bench, 0).await;
    bench.write(1).await;
    let running = bench.pair.run("topics = [\"t\"]");
    running.await_reason("t", "target_truncated").await;
    assert!(bench.pair.west.read("t").await.is_empty());
    running.stop().await;
}

/// A leader without a memory takes what comes next. That is found by its offset, and nothing more is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_a_leader_that_lost_all_of_the_producer_under_a_running_worker_stops_it() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_exactly().await;
    cut_target(&bench, 0).await;
    bench.write(1).await;
    running.await_reason("t", "target_topic_recreated").await;
    assert_eq!(bench.pair.west.read("t").await, &values(0..15)[12..]);
    running.stop().await;
}

/// Batches that were put together are lost together, and written again in whatever pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_what_the_target_lost_of_batches_put_together_is_written_again() {
    let flow = "topics = [\"t\"]";
    let mut bench = Bench::start_with(TOGETHER, now()).await;
    let mut running = bench.pair.run(flow);
    bench.write(1).await;
    bench.await_exactly().await;
    for cut in [4, 20, 40, 70] {
        let late = bench.is_late();
        bench.write(10).await;
        bench.await_exactly().await;
        late.ends();
        cut_target(&bench, cut).await;
        if cut == 40 {
            running.stop().await;
            running = bench.pair.run(flow);
        }
        bench.write(1).await;
        bench.await_exactly().await;
    }
    let sizes = bench.pair.west.batch_sizes().await;
    assert!(sizes.iter().any(|size| *size > 3), "{sizes:?}");
    running.stop().await;
}

/// The source lost what would have to be written again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_what_both_sides_lost_stops_the_worker() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(4).await;
    bench.await_exactly().await;
    let source = TopicPartition::new("t", 0);
    bench
        .pair
        .east
        .client
        .delete_records(&source, 9)
        .await
        .unwrap();
    cut_target(&bench, 6).await;
    bench.write(1).await;
    running.await_reason("t", "target_truncated").await;
    assert_eq!(bench.pair.west.read("t").await, values(0..6));
    running.stop().await;
}
