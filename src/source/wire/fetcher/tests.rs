//! The fetcher's part in a fair budget.

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use host::{Host, sim::SimClock};
use kafka_protocol::messages::{TopicName, fetch_response::FetchableTopicResponse};
use uuid::Uuid;
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
        rack: None,
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
    let mut fetcher = Fetcher::new(1, settings(client, budget), Weak::new());
    let open = |topic: &&str| {
        let (sender, events) = mpsc::channel(16);
        fetcher.open(Open {
            partition: TopicPartition::new(*topic, 0),
            leader: Leader {
                broker: 1,
                epoch: 0,
                topic_id: Uuid::nil(),
            },
            until: None,
            offset: 0,
            epoch: -1,
            most: usize::MAX,
            sender,
            looks: Looks::default(),
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
async fn no_more_is_read_ahead_than_is_on_its_way() {
    let budget = Budget::new(64 << 20);
    let (mut fetcher, mut events) = fetcher(&budget, &["a", "b"]);
    let room = |fetcher: &Fetcher| fetcher.room(budget.free(), fetcher.held());
    assert_eq!(room(&fetcher), 16 << 20, "a quarter of all");
    let (answer, came) = answer(&[("a", 7 << 20), ("b", 1 << 20)]);
    let permit = budget.take(came).await;
    fetcher.hand_out(answer, permit, came, came);
    assert_eq!(room(&fetcher), 0);
    let rooms = |fetcher: &Fetcher| {
        let each = fetcher.partitions.values();
        each.map(|one| one.has_room(room(fetcher)))
            .collect::<Vec<_>>()
    };
    assert_eq!(rooms(&fetcher), [false, false]);
    // Who holds nothing gets something, whatever the others hold.
    drop(took(&mut events[1]));
    assert_eq!(rooms(&fetcher), [false, true]);
    drop(took(&mut events[0]));
    assert_eq!(room(&fetcher), 16 << 20);
    assert_eq!(
        fetcher.room(1000, fetcher.held()),
        250,
        "the budget of all comes first"
    );
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
        free -= Way::default().response_bytes(free, total);
    }
    assert!(free > (64 << 10), "24 brokers leave {free}");
    assert_eq!(Way::default().response_bytes(0, 32 << 10), 32 << 10);
}

/// Each of many slow partitions has a few bytes in an answer that is otherwise another's, and none lets go of its
/// own: what they pin is charged, is bounded by half of the budget and an answer, and the rest is free.
#[tokio::test]
async fn partitions_that_stall_pin_no_more_than_half_of_the_budget_for_few_bytes() {
    let budget = Budget::new(BUDGET);
    let names: Vec<_> = (0..1000).map(|at| at.to_string()).collect();
    let topics: Vec<_> = names.iter().map(String::as_str).collect();
    let (mut fetcher, mut events) = fetcher(&budget, &topics);
    let mut stalled = Vec::new();
    for (at, pair) in topics.chunks(2).enumerate() {
        let (answer, came) = answer(&[(pair[0], 10), (pair[1], 50_000)]);
        fetcher.hand_out(answer, budget.take(100_000).await, 100_000, came);
        stalled.push(took(&mut events[2 * at]));
        drop(took(&mut events[2 * at + 1]));
    }
    let (pinned, own) = (budget.in_flight(), 500 * 100);
    assert!(pinned > own, "some answers are held whole");
    assert!(pinned <= BUDGET / 2 + 60_000 + own, "{pinned} are pinned");
    drop(stalled);
    assert_eq!(budget.in_flight(), 0);
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
    source
        .open(&partition, Uuid::nil(), 0, -1, usize::MAX)
        .await
        .unwrap()
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

/// A source in a rack, at a broker that names another one, which is the same one here, as the nearer replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_the_leader_names_is_read_and_the_leader_asked_again_after_an_error() {
    let east = start(&["t"]).await;
    let faults = east.broker.faults();
    faults.advertise(2);
    let (budget, clock) = (Budget::new(BUDGET), SimClock::new(1_800_000_000_000));
    let mut settings = settings(east.client.clone(), &budget);
    settings.rack = Some("a".to_owned());
    settings.host.clock = Arc::new(clock.clone());
    let source = WireSource::new(settings);
    let prefer = |replica| Fault::new(ApiKey::Fetch, What::Prefer(replica)).topic("t");
    let read_from = |broker| {
        source
            .fetchers
            .brokers
            .lock()
            .unwrap()
            .contains_key(&broker)
    };

    let hook = faults.set(prefer(2)).unwrap();
    east.write_bytes("t", 10).await;
    let mut reader = open(&source, "t").await;
    hook.wait(1).await;
    assert_eq!(next(&mut reader).await.first_offset, 0);
    assert!(read_from(2));
    // The worker sees when the replica answered, not when the leader did.
    clock.advance(Duration::from_secs(1));
    east.write_bytes("t", 10).await;
    assert_eq!(next(&mut reader).await.first_offset, 1);
    assert_eq!(reader.looks().latest(), 1_800_000_001_000);

    // After some minutes the leader is asked again, and names another one.
    faults.advertise(3);
    let hook = prefer(3).always();
    let hook = faults.set(hook).unwrap();
    clock.advance(Duration::from_secs(300));
    let moved = async {
        while !read_from(3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), moved)
        .await
        .unwrap();
    hook.remove();
    east.write_bytes("t", 10).await;
    assert_eq!(next(&mut reader).await.first_offset, 2);

    // What a replica does not have the leader may.
    let missing = What::Refuse(ResponseError::OffsetOutOfRange);
    let missing = Fault::new(ApiKey::Fetch, missing).topic("t");
    faults.set(missing.clone()).unwrap();
    let failure = failed(&mut reader).await;
    assert!(matches!(failure, SourceError::Lost { .. }), "{failure}");
    let partition = TopicPartition::new("t", 0);
    let mut reader = source
        .open(&partition, Uuid::nil(), 3, -1, usize::MAX)
        .await
        .unwrap();
    east.write_bytes("t", 10).await;
    assert_eq!(next(&mut reader).await.first_offset, 3);
    // The leader is believed.
    faults.set(missing).unwrap();
    let failure = failed(&mut reader).await;
    assert!(
        matches!(failure, SourceError::OutOfRange { .. }),
        "{failure}"
    );
}

/// Why nothing more comes, no records being there.
async fn failed(reader: &mut PartitionReader) -> SourceError {
    loop {
        match reader.next().await.unwrap() {
            Err(failure) => return failure,
            Ok(batch) => assert!(matches!(batch.content, Content::Nothing)),
        }
    }
}
