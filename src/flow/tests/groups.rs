//! The offset map and the offsets of groups, between two broker-lites.

use std::{collections::BTreeMap, time::Duration};

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use wire::{
    TopicPartition,
    client::{CommittedOffset, GroupOffsets},
};

use super::{Cluster, Pair, Running, eventually};
use crate::flow::sync::groups::marked;

mod back;

const ALL: &str = "topics = [\".*\"]";

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Cluster {
    async fn commit(&self, group: &str, offset: i64, metadata: &str) {
        let committed = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: metadata.to_owned(),
        };
        let outcomes = self
            .client
            .commit_group_offsets(group, &[(partition(), committed)])
            .await
            .unwrap();
        outcomes[0].1.clone().unwrap();
    }

    async fn committed(&self, group: &str) -> GroupOffsets {
        let groups = BTreeMap::from([(group.to_owned(), None)]);
        let mut found = self.client.offsets_of_groups(&groups).await.unwrap();
        found.remove(0).1.unwrap()
    }

    /// Waits until `group` has this offset, under the mark for `source_offset` if there is one.
    async fn await_offset(&self, group: &str, offset: i64, source_offset: Option<i64>) {
        eventually(
            &format!("{group} at {offset} of {source_offset:?}"),
            async || {
                let found = self.committed(group).await;
                let found = found.get(&partition());
                let is_it = found.is_some_and(|found| {
                    found.offset == offset && marked(&found.metadata, "f") == source_offset
                });
                if is_it {
                    Ok(())
                } else {
                    Err(format!("{found:?}"))
                }
            },
        )
        .await;
    }
}

impl Running {
    /// The reason for which a group is left alone.
    fn left(&self, group: &str) -> Option<String> {
        let left = self.status().groups.unwrap_or_default().left;
        let found = left.into_iter().find(|left| left.group == group);
        found.map(|left| left.reason)
    }

    async fn await_left(&self, group: &str, reason: Option<&str>) {
        eventually(&format!("{group} left alone: {reason:?}"), async || {
            let status = self.status();
            let synced = status.groups.is_some_and(|groups| groups.off.is_none());
            let found = self.left(group);
            if synced && found.as_deref() == reason {
                Ok(())
            } else {
                Err(format!("{found:?} {:?}", self.status().groups))
            }
        })
        .await;
    }
}

fn values(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("v{number}")).collect()
}

/// Writes records one batch each, so that there are anchors and batches enough.
async fn write(cluster: &Cluster, from: usize, to: usize) {
    for value in values(from, to) {
        cluster.write("t", &[&value]).await;
    }
}

async fn await_values(cluster: &Cluster, values: &[String]) {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    super::await_read(cluster, "t", &values).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_follow_exactly_also_of_groups_that_lag_and_over_restarts() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 40).await;
    // Where the copy begins the target is at 0: offsets differ by 10.
    pair.east
        .client
        .delete_records(&partition(), 10)
        .await
        .unwrap();
    for (group, offset) in [
        ("old", 3),
        ("lags", 12),
        ("at-the-end", 40),
        ("strait.other", 20),
    ] {
        pair.east.commit(group, offset, "app").await;
    }
    let running = pair.run(ALL);
    await_values(&pair.west, &values(10, 40)).await;
    for (group, offset, source) in [("old", 0, 3), ("lags", 2, 12), ("at-the-end", 30, 40)] {
        pair.west.await_offset(group, offset, Some(source)).await;
    }
    assert!(pair.west.committed("strait.other").await.is_empty());
    running.stop().await;
    write(&pair.east, 40, 60).await;
    pair.east.commit("lags", 15, "").await;
    let running = pair.run(ALL);
    pair.west.await_offset("lags", 5, Some(15)).await;
    // Set back on the source, and ahead of the copy.
    pair.east.commit("lags", 11, "").await;
    pair.west.await_offset("lags", 1, Some(11)).await;
    pair.east.commit("at-the-end", 60, "").await;
    pair.west.await_offset("at-the-end", 50, Some(60)).await;
    let groups = running.status().groups.unwrap();
    assert_eq!(
        (groups.left_alone, groups.inexact, groups.unknown),
        (0, 0, 0)
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_committed_on_the_target_stays() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 20)).await;
    // A group of that name is there already.
    pair.west.commit("theirs", 3, "").await;
    pair.east.commit("theirs", 9, "").await;
    pair.east.commit("moved", 5, "").await;
    pair.west.await_offset("moved", 5, Some(5)).await;
    running.await_left("theirs", Some("not_ours")).await;
    // Its consumers moved over, and read two records there.
    pair.west.commit("moved", 7, "").await;
    pair.east.commit("moved", 12, "").await;
    running.await_left("moved", Some("not_ours")).await;
    pair.west.await_offset("moved", 7, None).await;
    pair.west.await_offset("theirs", 3, None).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_that_was_deleted_is_made_anew() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 30).await;
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 30)).await;
    running.stop().await;
    pair.west.delete("strait.f.offset-map").await;
    let running = pair.run(ALL);
    write(&pair.east, 30, 40).await;
    await_values(&pair.west, &values(0, 40)).await;
    // The checkpoint knew where it was; what was before that is not guessed.
    for (group, offset) in [("g", 35), ("lags", 30), ("long-ago", 3)] {
        pair.east.commit(group, offset, "").await;
    }
    pair.west.await_offset("g", 35, Some(35)).await;
    pair.west.await_offset("lags", 30, Some(30)).await;
    eventually("one is not known", async || {
        let groups = running.status().groups.unwrap_or_default();
        if groups.unknown == 1 {
            Ok(())
        } else {
            Err(format!("{groups:?}"))
        }
    })
    .await;
    assert!(pair.west.committed("long-ago").await.is_empty());
    running.stop().await;
}

/// As while the owner of a partition keeps no map: the end of the map is not that of the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_that_is_behind_the_copy_holds_no_group_back() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    pair.east.commit("g", 20, "").await;
    let running = pair.run(ALL);
    pair.west.await_offset("g", 20, Some(20)).await;
    let refused = What::Refuse(ResponseError::TopicAuthorizationFailed);
    let fault = Fault::new(ApiKey::Produce, refused);
    let fault = fault.topic("strait.f.offset-map").always();
    let hook = pair.west.broker.faults().set(fault).unwrap();
    write(&pair.east, 20, 40).await;
    await_values(&pair.west, &values(0, 40)).await;
    hook.wait(1).await;
    for (group, offset) in [("g", 35), ("end", 40)] {
        pair.east.commit(group, offset, "").await;
    }
    pair.west.await_offset("g", 35, Some(35)).await;
    pair.west.await_offset("end", 40, Some(40)).await;
    let groups = running.status().groups.unwrap();
    assert_eq!((groups.inexact, groups.waiting, groups.unknown), (0, 0, 0));
    running.stop().await;
    hook.remove();
    // The next owner's map has a place of its own where it goes on.
    let running = pair.run(ALL);
    write(&pair.east, 40, 50).await;
    await_values(&pair.west, &values(0, 50)).await;
    for (group, offset) in [("g", 18), ("end", 45)] {
        pair.east.commit(group, offset, "").await;
        pair.west.await_offset(group, offset, Some(offset)).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_without_a_leader_keeps_no_record_waiting() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 3).await;
    pair.east.commit("g", 2, "").await;
    let leaderless = What::Refuse(ResponseError::LeaderNotAvailable);
    let apis = [ApiKey::ListOffsets, ApiKey::Produce, ApiKey::Fetch];
    let hooks = apis.map(|api| {
        let fault = Fault::new(api, leaderless).topic("strait.f.offset-map");
        pair.west.broker.faults().set(fault.always()).unwrap()
    });
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 3)).await;
    running.await_ready().await;
    eventually("it waits, and says so", async || {
        let off = running.status().groups.and_then(|groups| groups.off);
        match off.filter(|off| off.contains("offset map")) {
            Some(_) => Ok(()),
            None => Err(format!("{:?}", running.status().groups)),
        }
    })
    .await;
    assert!(pair.west.committed("g").await.is_empty());
    hooks.into_iter().for_each(|hook| hook.remove());
    pair.west.await_offset("g", 2, Some(2)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_group_offsets_there_is_no_map() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 3).await;
    pair.east.commit("g", 2, "").await;
    let running = pair.run(&format!("{ALL}\ngroup_offsets = false"));
    await_values(&pair.west, &values(0, 3)).await;
    assert!(!pair.west.exists("strait.f.offset-map").await);
    assert_eq!(running.status().groups, None);
    running.stop().await;
    assert!(pair.west.committed("g").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_keep_a_map_copies_all_the_same() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 3).await;
    pair.east.commit("g", 2, "").await;
    let refused = What::Refuse(ResponseError::TopicAuthorizationFailed);
    let fault = Fault::new(ApiKey::CreateTopics, refused);
    let fault = fault.topic("strait.f.offset-map").always();
    let hook = pair.west.broker.faults().set(fault).unwrap();
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 3)).await;
    hook.wait(1).await;
    let groups = running.status().groups.unwrap();
    assert!(groups.off.unwrap().contains("TOPIC_AUTHORIZATION_FAILED"));
    running.stop().await;
    assert!(pair.west.committed("g").await.is_empty());
    let committed = pair.west.client.group_offsets("strait.f").await.unwrap();
    let checkpoint = committed.iter().find(|(at, _)| *at == partition());
    assert_eq!(checkpoint.unwrap().1.offset, 3);
}

/// The target loses its end under groups, somebody fills it, and only then an operator has the copy go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_10_a_loss_that_stops_the_copy_sets_groups_back_and_moves_none_ahead() {
    for transport in super::TRANSPORTS {
        let pair = Pair::start().await;
        pair.east.create("t", &[]).await;
        write(&pair.east, 0, 20).await;
        let running = pair.run(&format!("{ALL}\n{transport}"));
        await_values(&pair.west, &values(0, 20)).await;
        for (group, offset) in [("old", 0), ("end", 20), ("theirs", 20)] {
            pair.east.commit(group, offset, "").await;
            let at = offset;
            pair.west.await_offset(group, at, Some(offset)).await;
        }
        pair.west.commit("theirs", 20, "app").await;
        let faults = pair.west.broker.faults();
        tokio::task::spawn_blocking(move || faults.truncate("t", 0, 0).unwrap())
            .await
            .unwrap();
        write(&pair.east, 20, 21).await;
        eventually("the worker to stop", async || {
            let status = running.status();
            let stopped = status.partitions.iter().any(|one| one.reason.is_some());
            if stopped {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        let others = vec!["foreign"; 40];
        pair.west.write("t", &others).await;
        // Ahead of it lies what was lost, wherever it is written again.
        pair.west.await_offset("end", 0, Some(20)).await;
        pair.west.await_offset("old", 0, Some(0)).await;
        pair.west.await_offset("theirs", 20, None).await;
        pair.east.commit("new", 15, "").await;
        eventually("three wait", async || {
            let groups = running.status().groups.unwrap_or_default();
            if groups.waiting == 3 {
                Ok(())
            } else {
                Err(format!("{groups:?}"))
            }
        })
        .await;
        assert!(pair.west.committed("new").await.is_empty());
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_deleted_on_the_source_keeps_its_offsets_and_is_told() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    for group in ["goes", "stays"] {
        pair.east.commit(group, 5, "").await;
    }
    let running = pair.run(ALL);
    for group in ["goes", "stays"] {
        pair.west.await_offset(group, 5, Some(5)).await;
    }
    // One that was there before strait is nobody's business.
    pair.west.commit("other", 3, "").await;
    let gone = ["goes".to_owned()];
    let deleted = pair.east.client.delete_groups(&gone).await.unwrap();
    deleted[0].1.clone().unwrap();
    running.await_left("goes", Some("gone")).await;
    running.await_left("other", None).await;
    running.stop().await;
    // Also by who was not there when it went.
    let running = pair.run(ALL);
    running.await_left("goes", Some("gone")).await;
    pair.west.await_offset("goes", 5, Some(5)).await;
    // A group of that name comes again.
    pair.east.commit("goes", 9, "").await;
    pair.west.await_offset("goes", 9, Some(9)).await;
    running.await_left("goes", None).await;
    running.stop().await;
}

/// What half a million offsets cost: run it with `--ignored --nocapture`. Both brokers are in this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it prints figures"]
async fn half_a_million_offsets_cost_little_once_they_are_there() {
    const PARTITIONS: i32 = 100;
    const GROUPS: usize = 5_000;
    let pair = Pair::start().await;
    pair.east.create_topic("t", PARTITIONS, &[]).await;
    write(&pair.east, 0, 10).await;
    for group in 0..GROUPS {
        let offsets = (0..PARTITIONS).map(|partition| {
            let committed = CommittedOffset {
                offset: i64::from(partition == 0) * 5,
                leader_epoch: -1,
                metadata: String::new(),
            };
            (TopicPartition::new("t", partition), committed)
        });
        let offsets: Vec<_> = offsets.collect();
        let client = &pair.east.client;
        let done = client
            .commit_group_offsets(&format!("g{group}"), &offsets)
            .await;
        assert!(done.unwrap().iter().all(|(_, outcome)| outcome.is_ok()));
    }
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis((ticks(12) + ticks(13)) * 10)
    };
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
    };
    let (memory, begun, cpu) = (resident(), std::time::Instant::now(), used());
    let running = pair.run(ALL);
    loop {
        let groups = running.status().groups.unwrap_or_default();
        if groups.synced == GROUPS {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!(
        "all written after {:?}, {:?} of CPU",
        begun.elapsed(),
        used() - cpu
    );
    for _ in 0..2 {
        let cpu = used();
        tokio::time::sleep(Duration::from_secs(20)).await;
        println!(
            "{:?} of CPU in 20 s, {} MB more",
            used() - cpu,
            resident() - memory
        );
    }
    running.stop().await;
}

/// Who commits on the target after the round began, and before the group's turn to be written comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_looked_at_right_before_it_is_written() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    // No checkpoint is committed while nothing is copied.
    let running = pair.run(&format!("{ALL}\nassignment = \"solo\""));
    await_values(&pair.west, &values(0, 20)).await;
    let groups: Vec<String> = (0..31).map(|number| format!("g{number:02}")).collect();
    for group in &groups {
        pair.east.commit(group, 5, "").await;
    }
    for group in &groups {
        pair.west.await_offset(group, 5, Some(5)).await;
    }
    let late = What::Delay(Duration::from_secs(2));
    let begins = Fault::new(ApiKey::ListGroups, late);
    let begins = pair.east.broker.faults().set(begins).unwrap();
    let writes = Fault::new(ApiKey::OffsetCommit, late).topic("t");
    let writes = pair.west.broker.faults().set(writes).unwrap();
    begins.wait(1).await;
    for group in &groups {
        pair.east.commit(group, 9, "").await;
    }
    // The round sees all of them, and waits to write the first ones.
    writes.wait(1).await;
    pair.west.commit("g30", 7, "").await;
    for group in &groups[..30] {
        pair.west.await_offset(group, 9, Some(9)).await;
    }
    running.await_left("g30", Some("not_ours")).await;
    pair.west.await_offset("g30", 7, None).await;
    running.stop().await;
}

/// Deleted by hand, or gone sooner than in a day; the group itself stays or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_is_gone_from_the_target_is_written_again() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.create("u", &[]).await;
    write(&pair.east, 0, 20).await;
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 20)).await;
    for group in ["offset", "group"] {
        pair.east.commit(group, 5, "").await;
        pair.west.await_offset(group, 5, Some(5)).await;
    }
    let client = &pair.west.client;
    let deleted = client.delete_group_offsets("offset", &[partition()]).await;
    deleted.unwrap()[0].1.clone().unwrap();
    let deleted = client.delete_groups(&["group".to_owned()]).await;
    deleted.unwrap()[0].1.clone().unwrap();
    for group in ["offset", "group"] {
        pair.west.await_offset(group, 5, Some(5)).await;
    }
    running.stop().await;
}
