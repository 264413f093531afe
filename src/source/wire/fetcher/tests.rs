//! The fetcher's part in a fair budget.

use host::Host;
use kafka_protocol::{messages::TopicName, protocol::StrBytes};
use wire::{
    client::{Client, ClientSettings},
    record::{BatchBuilder, Codec},
};

use super::*;
use crate::{
    base::budget::Budget,
    source::{PartitionReader, Source, wire::WireSource},
    telemetry::Outages,
    testing::Cluster,
};

const BUDGET: usize = 1 << 20;

fn settings(client: Client, budget: &Budget) -> Settings {
    Settings {
        client,
        host: Host::real(),
        isolation: Isolation::ReadUncommitted,
        budget: budget.clone(),
        outage: Outages::new("f", "east", "west").source,
    }
}

fn records(offset: i64, bytes: usize) -> Bytes {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1, None, Some(&vec![7; bytes]), &[]);
    batch.build(offset).unwrap()
}

/// A fetcher without a broker, and what its partitions yield.
fn fetcher(budget: &Budget, topics: &[&str]) -> (Fetcher, Vec<mpsc::Receiver<Event>>) {
    let nowhere = ClientSettings::new(vec![("127.0.0.1".to_owned(), 1)], "test");
    let client = Client::new(Host::real(), nowhere);
    let mut fetcher = Fetcher::new(1, Arc::new(settings(client, budget)), Looks::default());
    let open = |topic: &&str| {
        let (sender, events) = mpsc::channel(16);
        fetcher.open(Open {
            partition: TopicPartition::new(*topic, 0),
            leader: Leader {
                broker: 1,
                epoch: 0,
                topic_id: Uuid::nil(),
            },
            offset: 0,
            epoch: -1,
            most: usize::MAX,
            sender,
        });
        events
    };
    let events = topics.iter().map(open).collect();
    (fetcher, events)
}

/// An answer with these sizes of records, all in one buffer as it comes from a connection.
fn answer(parts: &[(&str, usize)]) -> (FetchResponse, usize) {
    let batches: Vec<_> = parts.iter().map(|(_, size)| records(0, *size)).collect();
    let buffer = Bytes::from(batches.concat());
    let mut at = 0;
    let topics = parts.iter().zip(&batches).map(|((topic, _), batch)| {
        let slice = buffer.slice(at..at + batch.len());
        at += batch.len();
        FetchableTopicResponse::default()
            .with_topic(TopicName(StrBytes::from_string((*topic).to_owned())))
            .with_partitions(vec![PartitionData::default().with_records(Some(slice))])
    });
    let topics = topics.collect();
    (
        FetchResponse::default().with_responses(topics),
        buffer.len(),
    )
}

fn took(events: &mut mpsc::Receiver<Event>) -> Vec<Batch> {
    events.try_recv().unwrap().unwrap()
}

#[tokio::test]
async fn while_the_budget_is_scarce_a_small_part_of_an_answer_does_not_keep_its_buffer() {
    let parts = [("large", 100_000), ("small", 10)];
    for (others, kept) in [(0, 100_000), (BUDGET / 2, 0)] {
        let budget = Budget::new(BUDGET);
        let _others = budget.take(others).await;
        let (mut fetcher, mut events) = fetcher(&budget, &["large", "small"]);
        let (answer, came) = answer(&parts);
        fetcher.hand_out(answer, budget.take(200_000).await, 200_000, came);
        assert!(budget.in_flight() >= others + came);
        let (large, small) = (took(&mut events[0]), took(&mut events[1]));
        assert_eq!(large.len() + small.len(), 2);
        drop(large);
        let held = budget.in_flight() - others;
        assert!((kept..kept + 500).contains(&held), "{held} are held");
        drop(small);
        assert_eq!(budget.in_flight(), others);
    }
}

/// However much of the budget is free.
#[tokio::test]
async fn no_more_is_read_ahead_than_can_be_on_its_way() {
    let budget = Budget::new(64 << 20);
    let (mut fetcher, mut events) = fetcher(&budget, &["a", "b"]);
    let all = fetcher.free(budget.free());
    assert!(all <= 8 << 20, "{all} bytes");
    let (answer, came) = answer(&[("a", 3 << 20), ("b", 1 << 20)]);
    fetcher.hand_out(answer, budget.take(4 << 20).await, 4 << 20, came);
    let free = fetcher.free(budget.free());
    assert_eq!(free, all - came);
    // One has its part of that; who has none gets something, whatever the others hold.
    assert!(fetcher.partitions.values().all(|one| !one.has_room(free)));
    drop(took(&mut events[1]));
    let rooms: Vec<_> = fetcher
        .partitions
        .values()
        .map(|one| one.has_room(0))
        .collect();
    assert_eq!(rooms, [false, true]);
    drop(took(&mut events[0]));
    assert_eq!(fetcher.free(budget.free()), all);
    assert_eq!(fetcher.free(1000), 1000);
}

#[tokio::test]
async fn a_batch_that_is_larger_than_was_asked_for_is_charged_whole() {
    let budget = Budget::new(BUDGET);
    let (mut fetcher, mut events) = fetcher(&budget, &["large"]);
    let (answer, came) = answer(&[("large", 700_000)]);
    fetcher.hand_out(answer, budget.take(64 << 10).await, 64 << 10, came);
    assert_eq!(budget.in_flight(), came);
    drop(took(&mut events[0]));
    assert_eq!(budget.in_flight(), 0);
}

#[test]
fn answers_leave_something_to_other_brokers() {
    let total = 64 << 20;
    let mut free = total;
    for _ in 0..24 {
        free -= response_bytes(free, total);
    }
    assert!(free > (64 << 10), "24 brokers leave {free}");
    assert_eq!(response_bytes(0, 32 << 10), 32 << 10);
}

async fn start(topics: &[&str]) -> Cluster {
    let east = Cluster::start().await;
    for topic in topics {
        east.create_topic(topic, 1, &[]).await;
    }
    east
}

impl Cluster {
    async fn write_bytes(&self, topic: &str, bytes: usize) {
        let partition = TopicPartition::new(topic, 0);
        self.client
            .produce(&partition, records(0, bytes))
            .await
            .unwrap();
    }
}

async fn open(source: &WireSource, topic: &str) -> PartitionReader {
    let partition = TopicPartition::new(topic, 0);
    source.open(&partition, 0, -1, usize::MAX).await.unwrap()
}

/// The next batch with records.
async fn next(reader: &mut PartitionReader) -> Batch {
    let next = async {
        loop {
            let batch = reader.next().await.unwrap().unwrap();
            if !matches!(batch.content, Content::Nothing) {
                return batch;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), next)
        .await
        .expect("a record in time")
}

/// Nobody reads the hot partitions, so that they hold all that they may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_nobody_reads_leave_room_for_one_that_is_read() {
    const HOT: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let east = start(&[&HOT[..], &["quiet"]].concat()).await;
    for topic in HOT {
        for _ in 0..40 {
            east.write_bytes(topic, 20_000).await;
        }
    }
    let budget = Budget::new(BUDGET);
    let source = WireSource::new(settings(east.client.clone(), &budget));
    let mut hot = Vec::new();
    for topic in HOT {
        hot.push(open(&source, topic).await);
    }
    for reader in &mut hot {
        let _held = next(reader).await;
    }
    let mut quiet = open(&source, "quiet").await;
    for _ in 0..20 {
        east.write_bytes("quiet", 1000).await;
        drop(next(&mut quiet).await);
    }
    assert!(budget.in_flight() <= BUDGET);
}

/// The hot one is read as fast as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_record_of_a_quiet_partition_comes_within_a_few_answers_beside_a_hot_one() {
    let east = start(&["hot", "quiet"]).await;
    for _ in 0..400 {
        east.write_bytes("hot", 20_000).await;
    }
    let budget = Budget::new(BUDGET);
    let source = WireSource::new(settings(east.client.clone(), &budget));
    let mut hot = open(&source, "hot").await;
    let mut quiet = open(&source, "quiet").await;
    drop(next(&mut hot).await);
    east.write_bytes("quiet", 10).await;
    let mut passed = 0;
    loop {
        tokio::select! {
            biased;
            _ = next(&mut quiet) => break,
            batch = next(&mut hot) => passed += batch.next_offset - batch.first_offset,
        }
    }
    // What is in flight already, and the answers until the broker has looked at the quiet one again.
    let answer = BUDGET as i64 / 4 / 20_000;
    assert!(
        passed <= 6 * answer,
        "{passed} records of the hot one came first"
    );
}
