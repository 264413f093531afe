//! Source topics that are deleted or made anew, by what the target has.

use uuid::Uuid;

use super::*;
use crate::checkpoint::control_topic::{ControlTopic, TopicKey, TopicRecord};

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

const RECREATE: &str = "on_recreate = \"recreate\"\ndelete_grace = \"1s\"";

async fn id(cluster: &Cluster, topic: &str) -> Uuid {
    let found = cluster.client.topics(Some(&[topic.to_owned()])).await;
    found.unwrap()[0].id
}

/// Another topic of the name.
async fn make_anew(pair: &Pair, topic: &str) {
    pair.east.delete(topic).await;
    pair.east.create(topic, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_was_made_anew_has_its_target_made_anew_if_that_is_asked_for() {
    for transport in TRANSPORTS {
        let pair = Pair::start().await;
        for topic in ["t", "u"] {
            pair.east.create(topic, &[]).await;
            pair.east.write(topic, &["1", "2"]).await;
        }
        let flow = format!("{transport}topics = [\"t\", \"u\"]\n{RECREATE}");
        let running = pair.run(&flow);
        for topic in ["t", "u"] {
            pair.await_read(topic, &["1", "2"]).await;
        }
        let first = id(&pair.west, "t").await;
        make_anew(&pair, "t").await;
        write(&pair, &["a"]).await;
        await_trouble(&running, "t", "recreation_pending").await;
        assert_eq!(pair.west.read("t").await, ["1", "2"]);
        pair.await_read("t", &["a"]).await;
        write(&pair, &["b"]).await;
        pair.await_read("t", &["a", "b"]).await;
        assert_ne!(id(&pair.west, "t").await, first);
        running.stop().await;
        // While it does not run; and to the other one somebody writes.
        make_anew(&pair, "t").await;
        write(&pair, &["x"]).await;
        pair.west.write("u", &["of others"]).await;
        make_anew(&pair, "u").await;
        let running = pair.run(&flow);
        pair.await_read("t", &["x"]).await;
        let text = await_trouble(&running, "u", "deletion_refused").await;
        assert!(text.contains("others write to it"), "{text}");
        assert_eq!(recorded(&pair).await, ["t", "u", "u"]);
        running.stop().await;
        assert_eq!(pair.west.read("u").await, ["1", "2", "of others"]);
    }
}

async fn commit(cluster: &Cluster, group: &str, offset: i64) {
    let committed = CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let offsets = [(TopicPartition::new("t", 0), committed)];
    let written = cluster.client.commit_group_offsets(group, &offsets);
    written.await.unwrap()[0].1.clone().unwrap();
}

async fn await_committed(cluster: &Cluster, group: &str, offset: Option<i64>) {
    eventually(&format!("{group} at {offset:?}"), async || {
        let found = cluster.client.group_offsets(group).await.unwrap();
        let found = found.first().map(|(_, committed)| committed.offset);
        match found == offset {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
}

/// At the same offset as before, which is written again all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_groups_are_gone_with_the_old_topic_and_follow_in_the_new_one() {
    let pair = Pair::start().await;
    for topic in ["t", "other"] {
        pair.east.create(topic, &[]).await;
    }
    write(&pair, &["1", "2"]).await;
    commit(&pair.east, "readers", 2).await;
    let running = pair.run(&format!("topics = [\".*\"]\n{RECREATE}"));
    await_committed(&pair.west, "readers", Some(2)).await;
    make_anew(&pair, "t").await;
    write(&pair, &["a", "b"]).await;
    pair.await_read("t", &["a", "b"]).await;
    await_committed(&pair.west, "readers", None).await;
    commit(&pair.east, "readers", 2).await;
    let began = Instant::now();
    await_committed(&pair.west, "readers", Some(2)).await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    running.stop().await;
}

/// Records that were there before the flow, those that somebody wrote in between, and another flow that has not written yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_holds_or_is_to_hold_what_others_write_stays() {
    let pair = Pair::start().await;
    let topics = ["before", "between", "shared"];
    for topic in topics {
        pair.east.create(topic, &[]).await;
        pair.west.create(topic, &[]).await;
    }
    pair.west.write("before", &["of others"]).await;
    let flow = format!("topics = [\".*\"]\non_existing = \"append\"\n{RECREATE}");
    let running = pair.run(&flow);
    for topic in topics {
        pair.east.write(topic, &["1"]).await;
    }
    pair.await_read("before", &["of others", "1"]).await;
    pair.await_read("between", &["1"]).await;
    pair.west.write("between", &["of others"]).await;
    pair.east.write("between", &["2"]).await;
    pair.await_read("between", &["1", "of others", "2"]).await;
    pair.await_read("shared", &["1"]).await;
    running.stop().await;
    let committed = pair.west.client.group_offsets("strait.f").await.unwrap();
    let of_shared = committed.into_iter().filter(|(p, _)| p.topic == "shared");
    let of_shared: Vec<_> = of_shared.collect();
    let written = pair
        .west
        .client
        .commit_group_offsets("strait.g", &of_shared);
    written.await.unwrap()[0].1.clone().unwrap();
    for topic in topics {
        make_anew(&pair, topic).await;
        pair.east.write(topic, &["new"]).await;
    }
    let running = pair.run(&flow);
    for (topic, reason) in [
        ("before", "ends at offset 2, and 1 records are known"),
        ("between", "ends at offset 3, and 2 records are known"),
        ("shared", "group strait.g has checkpoints for it"),
    ] {
        let text = await_trouble(&running, topic, "deletion_refused").await;
        assert!(text.contains(reason), "{text}");
    }
    running.stop().await;
    assert_eq!(pair.west.read("between").await, ["1", "of others", "2"]);
}

/// A topic that was stopped, or copied behind the one before, by the policy that held then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_policy_later_holds_for_what_was_made_anew_before() {
    let pair = Pair::start().await;
    for topic in ["stop", "append"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1"]).await;
    }
    let flow = |policy: &str| {
        let rule = "[[flows.rules]]\nmatch = \"append\"\non_recreate = \"append\"";
        format!("topics = [\".*\"]\non_recreate = \"{policy}\"\ndelete_grace = \"1s\"\n{rule}")
    };
    let running = pair.run(&flow("stop"));
    for topic in ["stop", "append"] {
        pair.await_read(topic, &["1"]).await;
        make_anew(&pair, topic).await;
        pair.east.write(topic, &["2"]).await;
    }
    pair.await_read("append", &["1", "2"]).await;
    running.await_reason("stop", "source_topic_recreated").await;
    running.stop().await;
    assert_eq!(recorded(&pair).await, ["append", "append", "stop", "stop"]);
    let kept = id(&pair.west, "append").await;
    let running = pair.run(&format!("topics = [\".*\"]\n{RECREATE}"));
    pair.await_read("stop", &["2"]).await;
    eventually("old records are gone", async || {
        let recorded = recorded(&pair).await;
        match recorded == ["append", "stop"] {
            true => Ok(()),
            false => Err(format!("{recorded:?}")),
        }
    })
    .await;
    running.stop().await;
    assert_eq!(pair.west.read("append").await, ["1", "2"]);
    assert_eq!(id(&pair.west, "append").await, kept);
}

/// A topic for each state that a process leaves that dies between two steps.
const STATES: usize = 7;

/// Brings `topic`, which was made anew, to where a process had brought it that died after `steps` of them.
async fn bring(pair: &Pair, topic: &str, steps: usize) -> (TopicKey, TopicRecord) {
    let control = ControlTopic::new(pair.west.client.clone(), "f");
    let records = control.read().await.unwrap().topics.into_iter();
    let mut records = records.filter(|(_, record)| record.source_topic == topic);
    let (key, mut old) = records.next().unwrap();
    let before = (key.clone(), old.clone());
    let new_key = TopicKey::Id(id(&pair.east, topic).await);
    let mut new = old.without_target();
    let bound = old.target_topic_id.unwrap();
    let held = pair.west.client.group_offsets("strait.f").await.unwrap();
    for step in 1..=steps {
        match step {
            // It is remembered.
            1 => {}
            // The old one is gone since some time.
            2 => old.gone_since_ms = Some(1),
            // Its target is given up,
            3 => new = new.without(bound),
            // deleted,
            4 => pair.west.delete(topic).await,
            // and made anew, on a broker that keeps checkpoints of deleted topics.
            5 => {
                pair.west.create(topic, &[]).await;
                let held: Vec<_> = held
                    .iter()
                    .filter(|(p, _)| p.topic == topic)
                    .cloned()
                    .collect();
                let kept = pair.west.client.commit_group_offsets("strait.f", &held);
                kept.await.unwrap()[0].1.clone().unwrap();
            }
            // It is bound to that.
            _ => new = new.bound_to(id(&pair.west, topic).await),
        }
    }
    let mut written = vec![(key, old)];
    written.extend((steps > 0).then_some((new_key, new)));
    control.write(&written, None, 0).await.unwrap();
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_anew_from_wherever_a_process_died() {
    let pair = Pair::start().await;
    let topics: Vec<_> = (0..STATES).map(|steps| format!("t{steps}")).collect();
    for topic in &topics {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["1", "2"]).await;
    }
    let flow = format!("topics = [\".*\"]\n{RECREATE}");
    let running = pair.run(&flow);
    for topic in &topics {
        pair.await_read(topic, &["1", "2"]).await;
    }
    running.stop().await;
    let mut before = Vec::new();
    for (steps, topic) in topics.iter().enumerate() {
        make_anew(&pair, topic).await;
        pair.east.write(topic, &["new"]).await;
        before.push(bring(&pair, topic, steps).await);
    }
    let running = pair.run(&flow);
    for topic in &topics {
        pair.await_read(topic, &["new"]).await;
    }
    eventually("old records are gone", async || {
        match recorded(&pair).await == topics {
            true => Ok(()),
            false => Err(format!("{:?}", recorded(&pair).await)),
        }
    })
    .await;
    running.stop().await;
    // It died before it forgot the old ones, which are forgotten now, and no checkpoint of the new ones with them.
    let control = ControlTopic::new(pair.west.client.clone(), "f");
    control.write(&before, None, 0).await.unwrap();
    for topic in &topics {
        pair.east.write(topic, &["more"]).await;
    }
    let running = pair.run(&flow);
    for topic in &topics {
        pair.await_read(topic, &["new", "more"]).await;
    }
    eventually("old records are gone again", async || {
        match recorded(&pair).await == topics {
            true => Ok(()),
            false => Err(format!("{:?}", recorded(&pair).await)),
        }
    })
    .await;
    running.stop().await;
    for topic in &topics {
        assert_eq!(pair.west.read(topic).await, ["new", "more"], "{topic}");
    }
}
