//! Checkpoints that are moved or forgotten on an operator's word, at rest and while the flow runs.

use std::collections::BTreeMap;

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use wire::client::OffsetSpec;

use super::*;
use crate::flow::adjust::{Action, AdjustError, Changes, Request, To, offline};

pub(super) fn request(topic: &str, action: Action) -> Request {
    Request {
        flow: "f".to_owned(),
        topic: topic.to_owned(),
        partition: None,
        action,
        dry_run: false,
    }
}

impl Running {
    /// Asks again where the flow says so: a rebalance, which follows a change of topics, comes first.
    pub(super) async fn adjust(&self, topic: &str, action: Action) -> Result<Changes, AdjustError> {
        let asking = async {
            loop {
                match self.status.adjust(request(topic, action)).await {
                    Err(AdjustError::Unavailable(why)) if why.ends_with("try again") => {}
                    outcome => return outcome,
                }
            }
        };
        let answer = tokio::time::timeout(DEADLINE, asking).await;
        answer.expect("the rebalance ends in time")
    }
}

impl Pair {
    /// As the command does it while nothing runs.
    pub(super) async fn adjust(
        &self,
        flow: &str,
        request: &Request,
    ) -> Result<Changes, AdjustError> {
        let text = config_text(self.east.broker.address(), self.west.broker.address(), flow);
        let app = App::new(parse(&text), Host::real());
        offline::adjust(&app.flow("f").unwrap(), request).await
    }

    /// What the flow's group holds, by target partition.
    pub(super) async fn checkpoints(&self) -> BTreeMap<String, crate::checkpoint::Checkpoint> {
        let committed = self.west.client.group_offsets("strait.f").await.unwrap();
        let decode = |(partition, committed): (TopicPartition, CommittedOffset)| {
            let CommittedOffset {
                offset, metadata, ..
            } = committed;
            let checkpoint = codec::decode(&Stored { offset, metadata }).unwrap();
            (partition.to_string(), checkpoint)
        };
        let units = committed.into_iter();
        let units = units.filter(|(partition, _)| !partition.topic.starts_with("strait."));
        units.map(decode).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_flow_moves_a_partition_and_its_neighbours_go_on() {
    for transport in TRANSPORTS {
        let pair = Pair::start().await;
        for topic in ["t", "u"] {
            pair.east.create(topic, &[]).await;
            pair.east.write(topic, &["1", "2", "3"]).await;
        }
        let running = pair.run(&format!("{transport}topics = [\".\"]"));
        for topic in ["t", "u"] {
            pair.await_read(topic, &["1", "2", "3"]).await;
        }
        let back = running
            .adjust("t", Action::Set(To::Offset(1)))
            .await
            .unwrap();
        let change = &back.changes[0];
        assert_eq!(change.before.as_ref().unwrap().source_offset, Some(3));
        assert_eq!(change.after.as_ref().unwrap().source_offset, Some(1));
        pair.await_read("t", &["1", "2", "3", "2", "3"]).await;
        // Where it is: nothing happens twice.
        running
            .adjust("t", Action::Set(To::Offset(3)))
            .await
            .unwrap();
        pair.east.write("t", &["4", "5"]).await;
        pair.await_read("t", &["1", "2", "3", "2", "3", "4", "5"])
            .await;
        pair.east.write("u", &["4"]).await;
        pair.await_read("u", &["1", "2", "3", "4"]).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_reset_and_did_not_start_goes_on_where_it_is_set() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run("topics = [\"t\"]");
    pair.await_read("t", &["1"]).await;
    running.adjust("t", Action::Reset).await.unwrap();
    // As a new partition it does not start beside what the target holds.
    running.await_reason("t", "checkpoint_missing").await;
    running.adjust("t", Action::Set(To::Latest)).await.unwrap();
    pair.east.write("t", &["2"]).await;
    pair.await_read("t", &["1", "2"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_waits_for_what_the_leader_remembers() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let flow = "topics = [\"t\"]";
    let running = pair.run(flow);
    pair.await_read("t", &["1"]).await;
    running.stop().await;
    let refused = What::Refuse(ResponseError::NotLeaderOrFollower);
    let fault = Fault::new(ApiKey::DescribeProducers, refused).always();
    let hook = pair.west.broker.faults().set(fault).unwrap();
    let set = request("t", Action::Set(To::Earliest));
    let told = pair.adjust(flow, &set).await;
    assert!(matches!(told, Err(AdjustError::Unavailable(_))), "{told:?}");
    hook.remove();
    assert_eq!(pair.checkpoints().await["t-0"].source_offset, 1);
}

// On one thread, so that the flow does not see the request before nobody waits for it.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let running = pair.run("topics = [\"t\"]");
    pair.await_read("t", &["1"]).await;
    tokio::select! {
        biased;
        outcome = running.adjust("t", Action::Set(To::Earliest)) => panic!("{outcome:?}"),
        () = std::future::ready(()) => {}
    }
    // Served behind it.
    let shown = Request {
        dry_run: true,
        ..request("t", Action::Set(To::Latest))
    };
    running.status.adjust(shown).await.unwrap();
    pair.east.write("t", &["2"]).await;
    pair.await_read("t", &["1", "2"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_and_changes_nothing() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let flow = "topics = [\"t\"]";
    let running = pair.run(flow);
    pair.await_read("t", &["1"]).await;
    let outcome = running.adjust("t", Action::Set(To::Offset(7))).await;
    assert!(
        matches!(outcome, Err(AdjustError::Refused(_))),
        "{outcome:?}"
    );
    let outcome = running.adjust("other", Action::Reset).await;
    assert!(
        matches!(outcome, Err(AdjustError::Unknown(_))),
        "{outcome:?}"
    );
    let fifth = Request {
        partition: Some(5),
        ..request("t", Action::Reset)
    };
    let outcome = running.status.adjust(fifth).await;
    assert!(
        matches!(outcome, Err(AdjustError::Unknown(_))),
        "{outcome:?}"
    );
    running.stop().await;
    let before = pair.checkpoints().await;
    let dry = Request {
        dry_run: true,
        ..request("t", Action::Set(To::Earliest))
    };
    let changes = pair.adjust(flow, &dry).await.unwrap();
    assert_eq!(
        changes.changes[0].after.as_ref().unwrap().source_offset,
        Some(0)
    );
    assert_eq!(pair.checkpoints().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_does_not_run_is_moved_by_the_command() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1", "2", "3"]).await;
    let flow = "topics = [\"t\"]";
    let running = pair.run(flow);
    pair.await_read("t", &["1", "2", "3"]).await;
    running.stop().await;
    let mut wanted = vec!["1", "2", "3"];
    // Each time in a new epoch, whatever the leader remembers.
    for _ in 0..3 {
        let set = request("t", Action::Set(To::Offset(2)));
        pair.adjust(flow, &set).await.unwrap();
        wanted.push("3");
        let running = pair.run(flow);
        pair.await_read("t", &wanted).await;
        running.stop().await;
    }
    assert_eq!(pair.checkpoints().await["t-0"].producer.unwrap().epoch, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_follows_a_target_topic_that_was_deleted_or_created_anew() {
    for offline in [false, true] {
        let pair = Pair::start().await;
        pair.east.create("t", &[]).await;
        pair.east.write("t", &["1", "2"]).await;
        let flow = "topics = [\"t\"]";
        let mut running = pair.run(flow);
        pair.await_read("t", &["1", "2"]).await;
        for (recreated, reason) in [
            (false, "target_topic_missing"),
            (true, "target_topic_recreated"),
        ] {
            pair.west.delete("t").await;
            if recreated {
                pair.west.create("t", &[]).await;
            }
            running.await_reason("t", reason).await;
            if offline {
                running.stop().await;
                pair.adjust(flow, &request("t", Action::Reset))
                    .await
                    .unwrap();
                running = pair.run(flow);
            } else {
                running.adjust("t", Action::Reset).await.unwrap();
            }
            pair.await_read("t", &["1", "2"]).await;
        }
        running.stop().await;
    }
}

const SHARED: i32 = 4;

/// One record is in each partition of it.
async fn await_one_in_each(cluster: &Cluster) {
    let wanted = (0..SHARED).map(|index| (TopicPartition::new("t", index), OffsetSpec::Latest));
    let wanted: Vec<_> = wanted.collect();
    eventually("a record in each partition", async || {
        let ends = cluster
            .client
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await;
        let ends = ends.map_err(|error| error.to_string())?;
        let there = ends
            .iter()
            .all(|(_, end)| end.as_ref().is_ok_and(|end| end.offset == 1));
        if there {
            Ok(())
        } else {
            Err(format!("{ends:?}"))
        }
    })
    .await;
}

async fn write_one_to_each(cluster: &Cluster) {
    for index in 0..SHARED {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(Host::real().clock.wall_ms(), None, Some(b"1"), &[]);
        let (partition, bytes) = (TopicPartition::new("t", index), batch.build(0).unwrap());
        cluster.client.produce(&partition, bytes).await.unwrap();
    }
}

/// Without being told to, where the source is made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_is_shared_as_before() {
    let pair = Pair::start().await;
    let begin = async || {
        pair.east.create_topic("t", SHARED, &[]).await;
        write_one_to_each(&pair.east).await;
    };
    begin().await;
    let policy = "on_recreate = \"recreate\"\ndelete_grace = \"1s\"";
    let run = |name: &str| {
        pair.run(&format!(
            "topics = [\"t\"]\ninstance = \"{name}\"\n{policy}"
        ))
    };
    let both = [run("a"), run("b")];
    await_one_in_each(&pair.west).await;
    let before = pair.west.client.topics(Some(&["t".to_owned()])).await;
    let before = before.unwrap()[0].id;
    pair.east.delete("t").await;
    begin().await;
    eventually("another topic", async || {
        let found = pair.west.client.topics(Some(&["t".to_owned()])).await;
        let found = found.map_err(|error| error.to_string())?.remove(0);
        match found.error.is_none() && found.id != before {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
    await_one_in_each(&pair.west).await;
    for running in both {
        running.stop().await;
    }
    await_one_in_each(&pair.west).await;
}

/// Two processes share the topic; whoever leads binds it anew, and the other one follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_leader_is_followed_by_the_other_processes() {
    let pair = Pair::start().await;
    pair.east.create_topic("t", SHARED, &[]).await;
    write_one_to_each(&pair.east).await;
    let run = |name: &str| pair.run(&format!("topics = [\"t\"]\ninstance = \"{name}\""));
    let both = [run("a"), run("b")];
    await_one_in_each(&pair.west).await;
    eventually("both have a part", async || {
        let parts = both
            .each_ref()
            .map(|running| running.status().partitions.len());
        if parts.iter().all(|part| *part > 0) && parts.iter().sum::<usize>() == 4 {
            return Ok(());
        }
        Err(format!("{parts:?}"))
    })
    .await;
    pair.west.delete("t").await;
    pair.west.create_topic("t", SHARED, &[]).await;
    for running in &both {
        running.await_reason("t", "target_topic_recreated").await;
    }
    eventually("the leader binds it anew", async || {
        for running in &both {
            if running.adjust("t", Action::Reset).await.is_ok() {
                return Ok(());
            }
        }
        Err("neither leads".to_owned())
    })
    .await;
    await_one_in_each(&pair.west).await;
    for running in both {
        running.stop().await;
    }
}
