//! Rates and the byte budget: what is slow does not slow down others.

use broker_lite::faults::{ApiKey, Fault, What};

use super::*;

/// Values of ten kilobytes, each of them a batch.
async fn backlog(cluster: &Cluster, topic: &str, batches: usize) -> Vec<String> {
    cluster.create(topic, &[]).await;
    let values: Vec<_> = (0..batches)
        .map(|at| format!("{at:02}").repeat(5000))
        .collect();
    for value in &values {
        cluster.write(topic, &[value]).await;
    }
    values
}

fn refs(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_a_rate_takes_its_time_and_its_neighbours_do_not() {
    for transport in ["wire", "librdkafka"] {
        let pair = Pair::start().await;
        let slow = backlog(&pair.east, "slow", 8).await;
        let free = backlog(&pair.east, "free", 8).await;
        let before = Instant::now();
        let running = pair.run(&format!(
            "topics = [\".*\"]\ntransport = \"{transport}\"\n\
             [[flows.rules]]\nmatch = \"slow\"\nrate_bytes = \"20KB\""
        ));
        pair.await_read("free", &refs(&free)).await;
        assert!(
            pair.west.read("slow").await.len() < slow.len(),
            "the slow one is still at it"
        );
        pair.await_read("slow", &refs(&slow)).await;
        // One second's worth goes at once.
        let wanted = Duration::from_secs((8 * 10_000 - 20_000) / 20_000);
        assert!(before.elapsed() >= wanted, "{:?}", before.elapsed());
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flows_rate_holds_for_all_its_topics_together_and_a_stop_does_not_wait_for_it() {
    let pair = Pair::start().await;
    let mut all = Vec::new();
    for topic in ["a", "b", "c"] {
        all = backlog(&pair.east, topic, 2).await;
    }
    let before = Instant::now();
    let running = pair.run("topics = [\".*\"]\nrate_records = 2");
    for topic in ["a", "b", "c"] {
        pair.await_read(topic, &refs(&all)).await;
    }
    assert!(before.elapsed() >= Duration::from_secs(2));
    running.stop().await;

    pair.east.write("a", &["1", "2", "3"]).await;
    let running = pair.run("topics = [\".*\"]\nrate_bytes = 1");
    running.await_ready().await;
    eventually("it has come", async || {
        let partitions = running.status().partitions;
        let a = partitions.iter().find(|partition| partition.topic == "a");
        match a.and_then(|partition| partition.lag) {
            Some(3) => Ok(()),
            lag => Err(format!("{lag:?}")),
        }
    })
    .await;
    let before = Instant::now();
    running.stop().await;
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(pair.west.read("a").await, all);
    // What was held back is not lost.
    let running = pair.run("topics = [\".*\"]");
    let mut wanted = refs(&all);
    wanted.extend(["1", "2", "3"]);
    pair.await_read("a", &wanted).await;
    running.stop().await;
}

/// Thirty batches of ten kilobytes in each of eight topics, more than a budget of one mebibyte.
async fn hot_topics(cluster: &Cluster) {
    for topic in 0..8 {
        backlog(cluster, &format!("hot{topic}"), 30).await;
    }
}

/// The drain is short for those that are not answered.
const SMALL: &str = "[limits]\nmemory = \"1MiB\"\ndrain_timeout = \"500ms\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_hardly_move_hold_nothing_that_others_need() {
    for transport in ["wire", "librdkafka"] {
        let pair = Pair::start().await;
        hot_topics(&pair.east).await;
        let free = backlog(&pair.east, "later", 30).await;
        let running = pair.run(&format!(
            "topics = [\".*\"]\ntransport = \"{transport}\"\n\
             [[flows.rules]]\nmatch = \"hot.*\"\nrate_bytes = 1\n{SMALL}"
        ));
        pair.await_read("later", &refs(&free)).await;
        assert!(pair.west.read("hot0").await.len() < 30);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_whose_target_never_answers_leave_room_for_the_others() {
    for transport in ["wire", "librdkafka"] {
        let pair = Pair::start().await;
        let north = Cluster::start().await;
        hot_topics(&pair.east).await;
        let free = backlog(&pair.east, "later", 30).await;
        // The control topic must be written before anything is copied.
        let stuck = Fault::new(ApiKey::Produce, What::Delay(Duration::from_secs(3600)));
        let hook = north.broker.faults().set(stuck.topic("hot0").always());
        let hook = hook.unwrap();
        let address = north.broker.address();
        let running = pair.run(&format!(
            "topics = [\"none\"]\n[clusters.north]\nbootstrap.servers = \"{address}\"\n\
             [[flows]]\nname = \"g\"\nsource = \"east\"\ntarget = \"north\"\ntopics = [\"hot.*\"]\n\
             transport = \"{transport}\"\n\
             [[flows]]\nname = \"h\"\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"later\"]\n\
             start = \"latest\"\ntransport = \"{transport}\"\n{SMALL}"
        ));
        eventually("the target is stuck", async || match hook.fired() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        })
        .await;
        running.await_ready().await;
        let mut new = Vec::new();
        for value in &free {
            pair.east.write("later", &[value]).await;
            new.push(value.as_str());
            pair.await_read("later", &new).await;
        }
        north.broker.faults().clear();
        running.stop().await;
    }
}

/// The drain's own time, and a few seconds for the last commit and for leaving the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_coordinator_that_does_not_answer() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run(&format!("topics = [\"t\"]\n{SMALL}"));
    pair.await_read("t", &["1"]).await;
    let never = Fault::new(ApiKey::OffsetCommit, What::Delay(Duration::from_secs(3600)));
    let hook = pair.west.broker.faults().set(never.always()).unwrap();
    pair.east.write("t", &["2"]).await;
    hook.wait(1).await;
    let before = Instant::now();
    running.stop().await;
    assert!(
        before.elapsed() < Duration::from_secs(15),
        "{:?}",
        before.elapsed()
    );
}
