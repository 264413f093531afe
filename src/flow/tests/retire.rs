//! Source topics that are deleted or made anew, by what the target has.

use super::*;
use crate::checkpoint::control_topic::ControlTopic;

/// Records that no retention takes away while the test runs.
async fn write(pair: &Pair, values: &[&str]) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    pair.east
        .write_at("t", values, now.as_millis().try_into().unwrap())
        .await;
}

async fn await_trouble(running: &Running, topic: &str, code: &str) -> String {
    let mut text = String::new();
    eventually(&format!("{code} of {topic}"), async || {
        let troubles = running.status().troubles;
        let mut found = troubles
            .iter()
            .filter(|one| one.topic == topic && one.code == code);
        match found.next() {
            Some(found) => {
                text.clone_from(&found.text);
                Ok(())
            }
            None => Err(format!("{troubles:?}")),
        }
    })
    .await;
    text
}

async fn await_gone(cluster: &Cluster, topic: &str) {
    eventually(&format!("{topic} is gone"), async || {
        match cluster.exists(topic).await {
            true => Err("it exists".to_owned()),
            false => Ok(()),
        }
    })
    .await;
}

/// Source topics that the control topic knows.
async fn recorded(pair: &Pair) -> Vec<String> {
    let control = ControlTopic::new(pair.west.client.clone(), "f");
    let records = control.read().await.unwrap().topics.into_values();
    let mut names: Vec<_> = records.map(|record| record.source_topic).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_source_topic_takes_its_target_along_unless_others_write_to_that() {
    let pair = Pair::start().await;
    for topic in ["a", "b", "c"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1", "2"]).await;
    }
    let running = pair.run("topics = [\".*\"]\non_delete = \"delete\"\ndelete_grace = \"1s\"");
    for topic in ["a", "b", "c"] {
        pair.await_read(topic, &["1", "2"]).await;
    }
    pair.west.write("b", &["of others"]).await;
    pair.east.delete("b").await;
    let text = await_trouble(&running, "b", "deletion_refused").await;
    assert!(
        text.contains("b-0 ends at offset 3, and what this flow wrote at 2"),
        "{text}"
    );
    pair.east.delete("a").await;
    await_gone(&pair.west, "a").await;
    eventually("the record of a is gone", async || {
        let recorded = recorded(&pair).await;
        match recorded == ["b", "c"] {
            true => Ok(()),
            false => Err(format!("{recorded:?}")),
        }
    })
    .await;
    let committed = pair.west.client.group_offsets("strait.f").await.unwrap();
    assert!(
        committed
            .iter()
            .all(|(partition, _)| partition.topic != "a"),
        "{committed:?}"
    );
    // A new one of its name is a new one.
    pair.east.create("a", &[]).await;
    pair.east.write("a", &["3"]).await;
    pair.await_read("a", &["3"]).await;
    // The last ones are not believed to be gone.
    for topic in ["a", "c"] {
        pair.east.delete(topic).await;
    }
    eventually("nothing is left", async || {
        let troubles = running.status().troubles;
        match troubles.iter().any(|one| one.code == "all_topics_gone") {
            true => Ok(()),
            false => Err(format!("{troubles:?}")),
        }
    })
    .await;
    running.stop().await;
    assert_eq!(pair.west.read("b").await, ["1", "2", "of others"]);
    assert_eq!(pair.west.read("c").await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_was_made_anew_is_copied_behind_the_one_before_if_that_is_asked_for() {
    for transport in TRANSPORTS {
        let pair = Pair::start().await;
        pair.east.create("t", &[]).await;
        write(&pair, &["1", "2"]).await;
        let flow = format!("{transport}topics = [\"t\"]\non_recreate = \"append\"");
        let running = pair.run(&flow);
        pair.await_read("t", &["1", "2"]).await;
        // While it runs, and while it does not. librdkafka reads whatever has the name.
        pair.east.delete("t").await;
        if !transport.is_empty() {
            running.await_reason("t", "source_topic_missing").await;
        }
        pair.east.create("t", &[]).await;
        write(&pair, &["a", "b", "c"]).await;
        pair.await_read("t", &["1", "2", "a", "b", "c"]).await;
        running.stop().await;
        pair.east.delete("t").await;
        pair.east.create("t", &[]).await;
        write(&pair, &["x"]).await;
        let running = pair.run(&flow);
        pair.await_read("t", &["1", "2", "a", "b", "c", "x"]).await;
        running.stop().await;
        // What goes on from there doubles nothing.
        write(&pair, &["y"]).await;
        let running = pair.run(&flow);
        pair.await_read("t", &["1", "2", "a", "b", "c", "x", "y"])
            .await;
        running.stop().await;
    }
}
