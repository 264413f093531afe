//! Rates and the byte budget: what is slow does not slow down others.

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
