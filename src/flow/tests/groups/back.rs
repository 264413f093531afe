//! Groups that go back to the source, against lists of what lies on both sides.

use host::Host;
use wire::{
    Isolation,
    client::FetchRequest,
    record::{BatchBuilder, Codec},
};

use super::{
    super::{App, Cluster, Pair, config_text, eventually, parse, run_text},
    ALL, await_values, partition, values, write, *,
};
use crate::flow::{
    adjust::AdjustError,
    sync::groups::back::{Outcome, Partition, Request, Returned, back},
};

async fn ask(pair: &Pair, flow: &str, request: &Request) -> Result<Returned, AdjustError> {
    let [east, west] = [&pair.east, &pair.west].map(|side| side.broker.address());
    let app = App::new(parse(&config_text(east, west, flow)), Host::real());
    back(&app.flow("f").unwrap(), request).await
}

/// The only partition of each group.
fn rows(returned: &Returned) -> Vec<(&str, &Partition)> {
    let groups = returned.groups.iter();
    groups
        .map(|group| {
            assert_eq!(
                (group.left.as_ref(), group.partitions.len()),
                (None, 1),
                "{group:?}"
            );
            (group.group.as_str(), &group.partitions[0])
        })
        .collect()
}

/// Offset and value of each record.
async fn records(cluster: &Cluster, topic: &str) -> Vec<(i64, String)> {
    let (mut found, mut offset) = (Vec::new(), 0);
    let earliest = [(
        TopicPartition::new(topic, 0),
        wire::client::OffsetSpec::Earliest,
    )];
    let listed = cluster
        .client
        .list_offsets(&earliest, Isolation::ReadCommitted);
    offset = offset.max(listed.await.unwrap()[0].1.clone().unwrap().offset);
    loop {
        let request = FetchRequest {
            partition: TopicPartition::new(topic, 0),
            offset,
            max_bytes: 1 << 20,
            max_wait: Duration::ZERO,
            isolation: Isolation::ReadCommitted,
        };
        let fetched = cluster.client.fetch(request).await.unwrap();
        let committed = fetched.committed(offset, Isolation::ReadCommitted).unwrap();
        if committed.next_offset == offset {
            return found;
        }
        offset = committed.next_offset;
        found.extend(committed.records.into_iter().map(|record| {
            let value = record.value.unwrap_or_default();
            (record.offset, String::from_utf8(value.to_vec()).unwrap())
        }));
    }
}

/// What `app` committed.
async fn commit_app(cluster: &Cluster, offsets: &[(&str, i64)]) {
    let offsets = offsets.iter().map(|(topic, offset)| {
        let committed = CommittedOffset {
            offset: *offset,
            leader_epoch: -1,
            metadata: String::new(),
        };
        (TopicPartition::new(*topic, 0), committed)
    });
    let offsets: Vec<_> = offsets.collect();
    let done = cluster.client.commit_group_offsets("app", &offsets).await;
    assert!(done.unwrap().iter().all(|(_, outcome)| outcome.is_ok()));
}

/// Waits until `app` has just these offsets, by topic, under the mark of flow `r` for what it has at its source, or none.
async fn await_app(cluster: &Cluster, offsets: &[(&str, i64, Option<i64>)]) {
    eventually("the group is there", async || {
        let found = cluster.committed("app").await;
        let found: Vec<_> = found
            .iter()
            .map(|(partition, one)| {
                let source_offset = marked(&one.metadata, "r");
                (partition.topic.as_str(), one.offset, source_offset)
            })
            .collect();
        match found == offsets {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
}

/// A group for each offset of the target.
async fn commit_everywhere(cluster: &Cluster, to: i64) {
    for offset in 0..=to {
        cluster
            .commit(&format!("g{offset:03}"), offset, "app")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_on_the_target_is_that_of_its_record_on_the_source() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 40).await;
    // Where the copy begins the target is at 0: offsets differ by 10.
    let client = &pair.east.client;
    client.delete_records(&partition(), 10).await.unwrap();
    let running = pair.run(ALL);
    await_values(&pair.west, &values(10, 40)).await;
    pair.east.commit("stays", 33, "").await;
    pair.west.await_offset("stays", 23, Some(33)).await;
    commit_everywhere(&pair.west, 30).await;
    let dry_run = Request {
        dry_run: true,
        ..Request::default()
    };
    // While it runs.
    eventually("all are known", async || {
        let returned = ask(&pair, ALL, &dry_run).await.unwrap();
        match returned.is_whole() {
            true => Ok(()),
            false => Err(format!("{returned:?}")),
        }
    })
    .await;
    assert!(pair.east.committed("g005").await.is_empty());
    running.stop().await;
    // It had read further there.
    pair.east.commit("g005", 30, "").await;
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    assert_eq!((returned.not_moved, returned.groups.len()), (1, 31));
    for (at, (group, row)) in (0..).zip(rows(&returned)) {
        let expected = (at, Some(10 + at), Some(0));
        assert_eq!((row.target_offset, row.source_offset, row.again), expected);
        let there = &pair.east.committed(group).await[&partition()];
        let (outcome, offset) = match at {
            5 => (Outcome::Kept, 30),
            _ => (Outcome::Moves, 10 + at),
        };
        assert_eq!((row.outcome, there.offset), (outcome, offset));
        assert_eq!(there.metadata, if at == 5 { "" } else { "app" });
    }
    let one = Request {
        groups: vec!["g005".to_owned()],
        rewind: true,
        dry_run: false,
    };
    ask(&pair, ALL, &one).await.unwrap();
    assert_eq!(pair.east.committed("g005").await[&partition()].offset, 15);
    // What is there is not written again.
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    assert!(
        rows(&returned)
            .iter()
            .all(|(_, row)| row.outcome == Outcome::Same)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_map_tells_is_left_or_refused_and_nothing_is_made() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 5).await;
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 5)).await;
    running.stop().await;
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    assert!(returned.groups.is_empty() && returned.is_whole());
    for name in ["nobody", "strait.f"] {
        let unknown = Request {
            groups: vec![name.to_owned()],
            ..Request::default()
        };
        let error = ask(&pair, ALL, &unknown).await.unwrap_err();
        assert!(matches!(error, AdjustError::Unknown(_)), "{error}");
    }
    // What was written on the target since is nothing of the source.
    pair.west.write("t", &["x", "y", "z"]).await;
    pair.west.commit("g", 7, "").await;
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    let left = rows(&returned)[0].1;
    assert!(
        left.outcome == Outcome::Left && left.text.contains("behind 5"),
        "{left:?}"
    );
    assert!(!returned.is_whole());
    assert!(pair.east.committed("g").await.is_empty());
    pair.west.delete("strait.f.offset-map").await;
    let error = ask(&pair, ALL, &Request::default()).await.unwrap_err();
    let AdjustError::Refused(text) = error else {
        panic!("{error}");
    };
    assert!(
        text.contains("strait.f.offset-map") && text.contains("--reset-offsets"),
        "{text}"
    );
    assert!(!pair.west.exists("strait.f.offset-map").await);
}

/// Keys `from..to`, one batch each.
async fn write_keys(cluster: &Cluster, from: usize, to: usize) {
    for number in from..to {
        let mut batch = BatchBuilder::new(Codec::None);
        let (key, value) = (format!("k{}", number * number % 31), format!("v{number}"));
        let now = Host::real().clock.wall_ms();
        batch.push(now, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        let batch = batch.build(0).unwrap();
        cluster.client.produce(&partition(), batch).await.unwrap();
        // Each in a segment of its own, for only closed ones are compacted.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Waits until compaction has left fewer records than that, and is over.
async fn await_fewer(cluster: &Cluster, than: usize) {
    let mut before = usize::MAX;
    eventually("compaction", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let left = records(cluster, "t").await.len();
        match left < than && left == std::mem::replace(&mut before, left) {
            true => Ok(()),
            false => Err(format!("{left} are left")),
        }
    })
    .await;
}

/// Compacted before it was copied: offsets differ and each is exact. Compacted again since: nothing unread is passed over, and
/// no more is read again than is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_source_is_counted_and_where_it_lost_copied_records_the_bound_is_true() {
    let pair = Pair {
        east: Cluster::start_with(&["log.cleaner.backoff.ms=100"]).await,
        west: Cluster::start().await,
    };
    let compacted = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("segment.ms", "1"),
    ];
    pair.east.create("t", &compacted).await;
    write_keys(&pair.east, 0, 60).await;
    await_fewer(&pair.east, 25).await;
    let held = records(&pair.east, "t").await;
    let running = pair.run(ALL);
    let copied: Vec<String> = held.iter().map(|(_, value)| value.clone()).collect();
    await_values(&pair.west, &copied).await;
    running.stop().await;
    let count = copied.len() as i64;
    commit_everywhere(&pair.west, count).await;
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    for (at, (_, row)) in (0..).zip(rows(&returned)) {
        assert_eq!(row.again, Some(0), "{row:?}");
        let read = held
            .iter()
            .filter(|(offset, _)| *offset < row.source_offset.unwrap());
        assert_eq!(read.count() as i64, at, "{row:?}");
    }
    // What is written now takes copied ones away.
    write_keys(&pair.east, 60, 68).await;
    await_fewer(&pair.east, copied.len() + 6).await;
    let left: BTreeMap<String, i64> = records(&pair.east, "t")
        .await
        .into_iter()
        .map(|(offset, value)| (value, offset))
        .collect();
    let request = Request {
        rewind: true,
        ..Request::default()
    };
    let returned = ask(&pair, ALL, &request).await.unwrap();
    let mut inexact = 0;
    for (at, (_, row)) in (0..).zip(rows(&returned)) {
        let Some((to, again)) = row.source_offset.zip(row.again) else {
            panic!("{row:?}");
        };
        inexact += usize::from(again > 0);
        let before = held.iter().take(usize::try_from(at).unwrap());
        let unread = held.iter().skip(usize::try_from(at).unwrap());
        let mut unread = unread.filter(|(_, value)| left.contains_key(value));
        assert!(unread.all(|(offset, _)| *offset >= to), "{row:?} {held:?}");
        let repeats = before.filter(|(offset, value)| *offset >= to && left.contains_key(value));
        assert!(repeats.count() as i64 <= again, "{row:?} {held:?} {left:?}");
    }
    assert!(inexact > 0, "{left:?}");
}

/// Its end went, and it was written on in another epoch; then the topic itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_lost_its_end_has_places_up_to_there_and_a_new_one_has_none() {
    let pair = Pair::start().await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    let running = pair.run(ALL);
    await_values(&pair.west, &values(0, 20)).await;
    running.stop().await;
    let faults = pair.east.broker.faults();
    let cut = tokio::task::spawn_blocking(move || {
        faults.truncate("t", 0, 12).unwrap();
        faults.raise_leader_epoch("t", 0).unwrap();
    });
    cut.await.unwrap();
    let lines = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    commit_everywhere(&pair.west, 20).await;
    for more in [&lines[..0], &lines[..5], &lines[5..]] {
        if !more.is_empty() {
            pair.east.write("t", more).await;
        }
        let request = Request {
            dry_run: true,
            ..Request::default()
        };
        let returned = ask(&pair, ALL, &request).await.unwrap();
        for (at, (_, row)) in (0i64..).zip(rows(&returned)) {
            let expected = (Some(at.min(12)), Some(0));
            assert_eq!((row.source_offset, row.again), expected, "{row:?}");
        }
    }
    pair.east.delete("t").await;
    pair.east.create("t", &[]).await;
    write(&pair.east, 0, 20).await;
    let returned = ask(&pair, ALL, &Request::default()).await.unwrap();
    for (group, row) in rows(&returned) {
        assert!(
            row.outcome == Outcome::Left && row.text.contains("made anew"),
            "{row:?}"
        );
        assert!(pair.east.committed(group).await.is_empty());
    }
}

/// The flow of the other direction, once it runs topics `t` and `u`.
async fn reverse(pair: &Pair) -> Running {
    let [east, west] = [&pair.east, &pair.west].map(|side| side.broker.address());
    let flow = format!("{ALL}\nstart = \"latest\"\non_existing = \"append\"");
    let text = config_text(west, east, &flow).replace("\"f\"", "\"r\"");
    let reverse = run_text(&text);
    reverse.await_ready().await;
    eventually("it runs both", async || {
        match reverse.status().partitions.len() {
            2 => Ok(()),
            runs => Err(runs.to_string()),
        }
    })
    .await;
    reverse
}

/// A group that lags in one topic and has read on in another one, which the flow of the other direction brings back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_flow_brought_back_it_commits_once_the_group_returns() {
    let pair = Pair::start().await;
    for topic in ["t", "u"] {
        pair.east.create(topic, &[]).await;
        pair.east.write(topic, &["0", "1", "2", "3", "4"]).await;
        // So that the two sides differ.
        let (client, partition) = (&pair.east.client, TopicPartition::new(topic, 0));
        client.delete_records(&partition, 2).await.unwrap();
    }
    commit_app(&pair.east, &[("t", 2), ("u", 3)]).await;
    let running = pair.run(ALL);
    for topic in ["t", "u"] {
        pair.await_read(topic, &["2", "3", "4"]).await;
    }
    running.stop().await;
    let reverse = reverse(&pair).await;
    commit_app(&pair.west, &[("t", 1), ("u", 5)]).await;
    pair.west.write("u", &["5", "6", "7"]).await;
    eventually("they came back", async || {
        let found = records(&pair.east, "u").await;
        match found.last() {
            Some((7, _)) => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await;
    reverse.await_left("app", Some("not_ours")).await;
    let request = Request {
        groups: vec!["app".to_owned()],
        ..Request::default()
    };
    let returned = ask(&pair, ALL, &request).await.unwrap();
    let outcomes: Vec<_> = returned.groups[0]
        .partitions
        .iter()
        .map(|row| (row.outcome, row.source_offset, row.before))
        .collect();
    let moves = (Outcome::Moves, Some(3), Some(2));
    assert_eq!(outcomes, [moves, (Outcome::HandedOver, None, Some(3))]);
    // Seven are before it: two that went, three that were copied, and two that came back.
    await_app(&pair.east, &[("t", 3, Some(1)), ("u", 7, Some(5))]).await;
    reverse.await_left("app", None).await;
    reverse.stop().await;
}

/// As MirrorMaker 2's pairs: each side has its own topic, and a copy of the other's under a prefix, which nothing copies back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_that_copy_to_each_other_under_prefixes_a_group_of_both_topics_comes_back() {
    let pair = Pair::start().await;
    let written = ["0", "1", "2", "3", "4", "5"];
    for cluster in [&pair.east, &pair.west] {
        cluster.create("t", &[]).await;
        cluster.write("t", &written).await;
    }
    let client = &pair.east.client;
    client.delete_records(&partition(), 2).await.unwrap();
    let flow = "topics = [\"t\"]\nnaming = \"east.{topic}\"";
    let there = pair.run(flow);
    let [east, west] = [&pair.east, &pair.west].map(|side| side.broker.address());
    let back_again = config_text(west, east, "topics = [\"t\"]\nnaming = \"west.{topic}\"");
    let back_again = run_text(&back_again.replace("\"f\"", "\"r\""));
    pair.await_read("east.t", &written[2..]).await;
    super::super::await_read(&pair.east, "west.t", &written).await;
    commit_app(&pair.west, &[("east.t", 3), ("t", 4)]).await;
    eventually("it is known", async || {
        let returned = ask(&pair, flow, &Request::default()).await.unwrap();
        match returned.is_whole() {
            true => Ok(()),
            false => Err(format!("{returned:?}")),
        }
    })
    .await;
    await_app(&pair.east, &[("t", 5, None), ("west.t", 4, Some(4))]).await;
    there.stop().await;
    back_again.stop().await;
}
