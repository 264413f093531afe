//! Two processes that write the same partition (EXACTNESS 9).

use super::*;

const SOLO: &str = "topics = [\".*\"]\nassignment = \"solo\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_9_a_newer_epoch_stops_the_worker_and_is_not_answered_with_another() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run("topics = [\"t\"]");
    bench.write(1).await;
    bench.await_exactly().await;
    let refused = What::Refuse(ResponseError::InvalidProducerEpoch);
    bench.fault(Fault::new(ApiKey::Produce, refused).always());
    bench.write(1).await;
    running.await_reason("t", "taken_over").await;
    running.stop().await;
}

/// With nobody to share the flow with, that is the end of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_9_a_newer_epoch_ends_a_process_that_runs_the_flow_alone() {
    let mut bench = Bench::start(now()).await;
    bench.pair.east.create("u", &[]).await;
    let running = bench.pair.run(SOLO);
    bench.write(1).await;
    bench.await_exactly().await;
    bench.pair.east.write("u", &["before"]).await;
    bench.pair.await_read("u", &["before"]).await;
    let refused = What::Refuse(ResponseError::InvalidProducerEpoch);
    bench.fault(Fault::new(ApiKey::Produce, refused).always());
    bench.write(1).await;
    assert_eq!(running.ended().await.unwrap_err().exit_code(), 3);
    // Its neighbour was drained.
    let committed = bench.pair.west.client.group_offsets("strait.f").await;
    let settled = |(partition, committed): &(TopicPartition, CommittedOffset)| {
        partition.topic == "u" && committed.metadata.contains(" settled=yes")
    };
    assert!(committed.unwrap().iter().any(settled));
}

/// An old checkpoint shows the same, and ends nothing but its own partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_9_a_newer_epoch_than_the_checkpoints_at_the_start_stops_one_worker() {
    let mut bench = Bench::start(now()).await;
    let running = bench.pair.run(SOLO);
    bench.write(1).await;
    bench.await_exactly().await;
    running.stop().await;
    let old = checkpoint_of(&bench).await;
    let running = bench.pair.run(&format!("{SOLO}\non_poison = \"skip\""));
    bench.write(1).await;
    bench.await_exactly().await;
    running.stop().await;
    bench.leave(old).await;
    let running = bench.pair.run(SOLO);
    running.await_reason("t", "target_differs").await;
    running.stop().await;
}

/// What decides that a take-over begins no epoch (docs/decisions/0011): the old owner's batches are with the broker,
/// and the second of them is appended between the new owner's first one and its second. An epoch's first batch is taken
/// wherever the epoch before it ended, so it would be there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_9_what_an_old_owner_still_appends_is_what_the_new_one_would() {
    let mut bench = Bench::start(now()).await;
    let old = bench.pair.run(SOLO);
    bench.write(2).await;
    bench.await_exactly().await;
    let late = What::Delay(Duration::from_secs(4));
    let late = bench.fault(Fault::new(ApiKey::Produce, late));
    bench.write(4).await;
    late.wait(1).await;
    bench.await_checkpoint(6).await;
    let read_back = What::Delay(Duration::from_secs(6));
    let read_back = bench.fault(Fault::new(ApiKey::Fetch, read_back));
    let new = bench.pair.run(SOLO);
    read_back.wait(1).await;
    let begun = Instant::now();
    assert_eq!(bench.pair.west.read("t").await, values(0..9), "its first");
    bench.await_exactly().await;
    let second = bench.fault(Fault::new(ApiKey::Produce, What::Delay(Duration::ZERO)));
    assert!(begun.elapsed() < Duration::from_secs(6), "it waits still");
    second.wait(1).await;
    old.stop().await;
    bench.write(2).await;
    bench.await_exactly().await;
    new.stop().await;
}

/// Two processes that nobody told of each other: whatever is refused to one is written by the other, once, until one has
/// found that often enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_9_of_two_owners_one_stops_and_nothing_is_doubled() {
    for codec in [APART, TOGETHER] {
        let mut bench = Bench::start_with(codec, now()).await;
        let mut both = vec![bench.pair.run(SOLO), bench.pair.run(SOLO)];
        while !both.iter().any(|one| one.task.is_finished()) {
            let refused = What::Refuse(ResponseError::OutOfOrderSequenceNumber);
            let hook = bench.fault(Fault::new(ApiKey::Produce, refused));
            bench.write(2).await;
            hook.wait(1).await;
            // Beyond what the refused one has sent.
            bench.write(2).await;
            bench.await_exactly().await;
            assert!(bench.written < 3 * 4 * 60, "nobody gives up");
        }
        let at = both.iter().position(|one| one.task.is_finished()).unwrap();
        let ended = both.remove(at).ended().await;
        assert_eq!(ended.unwrap_err().exit_code(), 3);
        bench.pair.west.broker.faults().clear();
        bench.write(3).await;
        bench.await_exactly().await;
        both.remove(0).stop().await;
    }
}
