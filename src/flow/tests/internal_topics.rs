//! MirrorMaker 2's internal topics on the target, between two broker-lites.

use std::collections::{BTreeMap, BTreeSet};

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use wire::{TopicPartition, client::FetchRequest, record::Record};

use super::*;
use crate::mm2::internal::{Checkpoint, Heartbeat, OffsetSync};

const ALL: &str = "topics = [\".*\"]\ngroup_offsets = false\nmm2_heartbeats = true\nmm2_heartbeats_interval = \"100ms\"\n\
    mm2_checkpoints = true\nmm2_offset_syncs = true";
const CHECKPOINTS: &str = "east.checkpoints.internal";
const SYNCS: &str = "mm2-offset-syncs.east.internal";

impl Cluster {
    /// All records of partition 0; none where there is no such topic.
    async fn records(&self, topic: &str) -> Vec<Record> {
        let (mut records, mut offset) = (Vec::new(), 0);
        loop {
            let request = FetchRequest {
                partition: TopicPartition::new(topic, 0),
                offset,
                max_bytes: 1 << 20,
                max_wait: Duration::ZERO,
                isolation: Isolation::ReadCommitted,
            };
            let Ok(fetched) = self.client.fetch(request).await else {
                return records;
            };
            let committed = fetched.committed(offset, Isolation::ReadCommitted).unwrap();
            if committed.next_offset == offset {
                return records;
            }
            offset = committed.next_offset;
            records.extend(committed.records);
        }
    }

    /// Key and value of each; there are no others.
    async fn decoded<T, E: std::fmt::Debug>(
        &self,
        topic: &str,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, E>,
    ) -> Vec<T> {
        let records = self.records(topic).await.into_iter();
        let pairs = records.map(|record| (record.key.unwrap(), record.value.unwrap()));
        pairs
            .map(|(key, value)| decode(&key, &value).unwrap())
            .collect()
    }

    async fn commits(&self, group: &str, offset: i64) {
        let committed = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: format!("of {group}"),
        };
        let at = [(TopicPartition::new("t", 0), committed)];
        let outcomes = self.client.commit_group_offsets(group, &at).await.unwrap();
        outcomes[0].1.clone().unwrap();
    }

    async fn await_checkpoint(&self, group: &str, source_offset: i64, target_offset: i64) {
        let wanted = Checkpoint {
            group: group.to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            source_offset,
            target_offset,
            metadata: format!("of {group}"),
        };
        eventually(&format!("checkpoint {wanted:?}"), async || {
            let all = self.decoded(CHECKPOINTS, Checkpoint::decode).await;
            let last = all
                .iter()
                .rev()
                .find(|checkpoint| checkpoint.group == group);
            if last == Some(&wanted) {
                Ok(())
            } else {
                Err(format!("{last:?}"))
            }
        })
        .await;
    }

    async fn names(&self) -> BTreeSet<String> {
        let topics = self.client.topics(None).await.unwrap();
        topics.into_iter().map(|topic| topic.name).collect()
    }
}

/// Thirty records that are there, from source offset 10 on: each is 10 further down on the target.
async fn thirty(pair: &Pair) {
    pair.east.create("t", &[]).await;
    for value in 0..40 {
        pair.east.write("t", &[&value.to_string()]).await;
    }
    let partition = TopicPartition::new("t", 0);
    pair.east
        .client
        .delete_records(&partition, 10)
        .await
        .unwrap();
}

async fn await_thirty(pair: &Pair) {
    let values: Vec<String> = (10..40).map(|value| value.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    pair.await_read("t", &values).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_are_kept_on_the_target_and_nothing_is_written_to_the_source() {
    let pair = Pair::start().await;
    thirty(&pair).await;
    for (group, offset) in [("old", 3), ("lags", 12), ("at-the-end", 40)] {
        pair.east.commits(group, offset).await;
    }
    let before = pair.east.names().await;
    let running = pair.run(ALL);
    await_thirty(&pair).await;
    for (group, source, target) in [("old", 3, 0), ("lags", 12, 2), ("at-the-end", 40, 30)] {
        pair.west.await_checkpoint(group, source, target).await;
    }
    // Forth and back, and a restart.
    pair.east.commits("lags", 25).await;
    pair.west.await_checkpoint("lags", 25, 15).await;
    running.stop().await;
    let running = pair.run(ALL);
    pair.east.commits("lags", 11).await;
    pair.west.await_checkpoint("lags", 11, 1).await;

    eventually("offset syncs up to the end", async || {
        let syncs = pair.west.decoded(SYNCS, OffsetSync::decode).await;
        let wrong = syncs.iter().find(|sync| {
            let copy = sync.source_offset - 10 == sync.target_offset;
            !copy || (sync.topic.as_str(), sync.partition) != ("t", 0)
        });
        assert_eq!(wrong, None);
        match syncs.last() {
            Some(sync) if sync.source_offset == 39 => Ok(()),
            last => Err(format!("{last:?}")),
        }
    })
    .await;
    for topic in ["heartbeats", "east.heartbeats"] {
        let beats = pair.west.decoded(topic, Heartbeat::decode).await;
        let of = |beat: &Heartbeat| (beat.source.clone(), beat.target.clone());
        let flow = ("east".to_owned(), "west".to_owned());
        assert!(
            beats.len() > 2 && beats.iter().all(|beat| of(beat) == flow),
            "{beats:?}"
        );
        assert!(beats.is_sorted_by_key(|beat| beat.timestamp_ms));
    }
    for topic in [CHECKPOINTS, SYNCS, "heartbeats", "east.heartbeats"] {
        let found = pair
            .west
            .client
            .topics(Some(&[topic.to_owned()]))
            .await
            .unwrap();
        assert_eq!(found[0].partition_count(), 1, "{topic}");
    }
    assert_eq!(pair.east.names().await, before);
    // Checkpoints alone commit nothing.
    let lags = BTreeMap::from([("lags".to_owned(), None)]);
    let committed = pair.west.client.offsets_of_groups(&lags).await.unwrap();
    assert!(
        committed[0].1.as_ref().is_ok_and(BTreeMap::is_empty),
        "{committed:?}"
    );
    assert_eq!(running.status().groups, None);
    running.stop().await;
}

/// One that may not be made holds up no other, and comes as soon as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_goes_on_by_itself() {
    let pair = Pair::start().await;
    thirty(&pair).await;
    pair.east.commits("lags", 12).await;
    let refused = What::Refuse(ResponseError::TopicAuthorizationFailed);
    let fault = Fault::new(ApiKey::CreateTopics, refused).topic(CHECKPOINTS);
    let hook = pair.west.broker.faults().set(fault.always()).unwrap();
    let running = pair.run(ALL);
    await_thirty(&pair).await;
    hook.wait(1).await;
    let beats = async |topic: &str, more: usize| {
        eventually(&format!("{topic} goes on"), async || {
            let count = pair.west.records(topic).await.len();
            if count >= more {
                Ok(())
            } else {
                Err(count.to_string())
            }
        })
        .await;
    };
    beats("heartbeats", 1).await;
    beats(SYNCS, 1).await;
    assert!(!pair.west.exists(CHECKPOINTS).await);
    hook.remove();
    pair.west.await_checkpoint("lags", 12, 2).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_alone_need_no_map_and_unasked_for_there_is_nothing() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    pair.east.write("t", &["1"]).await;
    let none = "topics = [\".*\"]\ngroup_offsets = false";
    let running = pair.run(none);
    pair.await_read("t", &["1"]).await;
    running.stop().await;
    let plain: BTreeSet<_> = ["strait.f.control", "strait.probe", "t"]
        .map(str::to_owned)
        .into();
    let of_strait = |names: BTreeSet<String>| -> BTreeSet<String> {
        let all = names.into_iter();
        all.filter(|name| !name.starts_with("__")).collect()
    };
    assert_eq!(of_strait(pair.west.names().await), plain);
    let running = pair.run(&format!(
        "{none}\nmm2_heartbeats = true\nnaming = \"{{source}}-{{topic}}\""
    ));
    eventually("a heartbeat", async || {
        match pair.west.records("east-heartbeats").await.len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    running.stop().await;
    assert!(!pair.west.exists("strait.f.offset-map").await);
}
