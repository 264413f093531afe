//! The sink's part in "not stuck" (EXACTNESS 13), at a broker-lite.

use std::time::Duration;

use broker_lite::faults::{ApiKey, Fault, ResponseError, What};
use bytes::Bytes;
use host::sim::SimClock;
use wire::{
    batch::HEADER_LEN,
    client::ClientSettings,
    record::{BatchBuilder, Codec},
};

use super::*;
use crate::{
    sink::{Appended, Outgoing, Sealed},
    telemetry::Outages,
    testing::Cluster,
    worker::Unlimited,
};

const LIMITS: Limits = Limits {
    codec: Codec::None,
    max_batch_bytes: 1 << 20,
    log_append_time: false,
};
/// As long as a test may take somewhere.
const DEADLINE: Duration = Duration::from_secs(20);
const HANGS: Duration = Duration::from_millis(600);

struct Bench {
    west: Cluster,
    client: Client,
    clock: SimClock,
    sink: WireSink,
}

impl Bench {
    async fn start(partitions: i32) -> Self {
        let west = Cluster::start().await;
        west.create_topic("t", partitions, &[]).await;
        let clock = SimClock::new(1_800_000_000_000);
        let host = Host {
            clock: Arc::new(clock.clone()),
            ..Host::real()
        };
        let address = west.broker.address();
        let bootstrap = vec![(address.ip().to_string(), address.port())];
        let client = Client::new(host.clone(), ClientSettings::new(bootstrap, "test"));
        let outage = Outages::new("f", "east", "west").target;
        let sink = WireSink::new(client.clone(), host, outage, Arc::new(Unlimited));
        Self {
            west,
            client,
            clock,
            sink,
        }
    }

    async fn lane(&self, partition: i32) -> Box<dyn Lane> {
        let partition = TopicPartition::new("t", partition);
        self.sink.open(&partition, &LIMITS).await.unwrap()
    }

    fn set(&self, fault: Fault) -> broker_lite::faults::Hook {
        self.west.broker.faults().set(fault).unwrap()
    }
}

/// What happens to Produce requests with this partition.
fn fault(partition: i32, what: What) -> Fault {
    Fault::new(ApiKey::Produce, what).partition("t", partition)
}

/// A batch of one record, which nobody remembers.
fn batch() -> Outgoing {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(1, None, Some(b"v"), &[]);
    let bytes = builder.build(0).unwrap();
    let mut header = [0; HEADER_LEN];
    header.copy_from_slice(&bytes[..HEADER_LEN]);
    Outgoing::Sealed(Sealed {
        source_offset: 0,
        header,
        payload: Bytes::copy_from_slice(&bytes[HEADER_LEN..]),
        records: 1,
        guarded: false,
    })
}

async fn send(lane: &mut dyn Lane) -> Result<Appended, SinkError> {
    lane.send(1, batch()).await.unwrap();
    let answer = tokio::time::timeout(DEADLINE, lane.answer()).await;
    let answer = answer.expect("an answer in time");
    answer.outcome.map_err(|error| *error)
}

/// Whether a batch of `lane` passes one of `other` that hangs.
async fn passes(bench: &Bench, lane: &mut dyn Lane, other: (i32, &mut dyn Lane)) -> bool {
    let hook = bench.set(fault(other.0, What::Delay(HANGS)));
    other.1.send(7, batch()).await.unwrap();
    hook.wait(1).await;
    lane.send(8, batch()).await.unwrap();
    let first = tokio::select! {
        biased;
        answer = other.1.answer() => {
            assert!(answer.outcome.is_ok());
            lane.answer().await.outcome.unwrap();
            return false;
        }
        answer = lane.answer() => answer,
    };
    first.outcome.unwrap();
    other.1.answer().await.outcome.unwrap();
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_13_a_partition_whose_replicas_are_late_goes_by_the_second_connection_and_comes_back()
{
    let bench = Bench::start(2).await;
    let (mut slow, mut well) = (bench.lane(0).await, bench.lane(1).await);
    assert!(!passes(&bench, &mut *well, (0, &mut *slow)).await);
    let late = What::FailAfter(ResponseError::RequestTimedOut);
    bench.set(fault(0, late));
    send(&mut *slow).await.unwrap_err();
    drop(slow);
    let mut slow = bench.lane(0).await;
    assert!(passes(&bench, &mut *well, (0, &mut *slow)).await);
    bench.clock.advance(Duration::from_secs(29));
    assert!(passes(&bench, &mut *well, (0, &mut *slow)).await);
    bench.clock.advance(Duration::from_secs(1));
    assert!(!passes(&bench, &mut *well, (0, &mut *slow)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_13_a_partition_moves_only_when_nothing_of_it_is_outstanding() {
    let bench = Bench::start(1).await;
    let late = What::FailAfter(ResponseError::RequestTimedOut);
    bench.set(fault(0, late));
    send(&mut *bench.lane(0).await).await.unwrap_err();
    let mut lane = bench.lane(0).await;
    let first = send(&mut *lane).await.unwrap().first_offset;
    let hook = bench.set(fault(0, What::Delay(HANGS)));
    lane.send(1, batch()).await.unwrap();
    hook.wait(1).await;
    bench.clock.advance(Duration::from_secs(30));
    lane.send(2, batch()).await.unwrap();
    for ticket in [1, 2] {
        let answer = lane.answer().await;
        assert_eq!(answer.ticket, ticket);
        let offset = answer.outcome.unwrap().first_offset;
        assert_eq!(offset, first + i64::try_from(ticket).unwrap());
    }
}

/// Sends `batches`, each until it is acknowledged; returns how many were lost on the way.
async fn persist(bench: &Bench, partition: i32, batches: usize) -> usize {
    let (mut lost, mut lane) = (0, bench.lane(partition).await);
    for _ in 0..batches {
        while send(&mut *lane).await.is_err() {
            lost += 1;
            lane = bench.lane(partition).await;
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_13_a_partition_that_is_closed_on_is_found_and_the_others_move_on() {
    const PARTITIONS: i32 = 8;
    let bench = Arc::new(Bench::start(PARTITIONS).await);
    let hook = bench.set(fault(3, What::Close).always());
    let culprit = Arc::clone(&bench);
    let culprit = tokio::spawn(async move { persist(&culprit, 3, 1).await });
    // The pauses of the connection are those of its clock.
    let ticking = bench.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticking.advance(Duration::from_millis(5));
        }
    });
    let others = async |batches| {
        let all = (0..PARTITIONS).filter(|partition| *partition != 3);
        let tasks: Vec<_> = all
            .map(|partition| {
                let bench = Arc::clone(&bench);
                tokio::spawn(async move { persist(&bench, partition, batches).await })
            })
            .collect();
        let mut lost = 0;
        for task in tasks {
            lost += task.await.unwrap();
        }
        lost
    };
    others(20).await;
    let found = async {
        while !bench.sink.broker(1).is_slow(&TopicPartition::new("t", 3)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap();
    let closes = hook.fired();
    let mut lost = others(20).await;
    // It goes on to be closed on, and befalls nobody.
    while hook.fired() < closes + 2 {
        lost += others(5).await;
    }
    assert_eq!(lost, 0);
    hook.remove();
    assert!(
        tokio::time::timeout(DEADLINE, culprit)
            .await
            .unwrap()
            .unwrap()
            >= 4
    );
    ticking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_idle_for_long_is_not_written_to() {
    let bench = Bench::start(1).await;
    let mut lane = bench.lane(0).await;
    let mut opened = Vec::new();
    for minutes in [0, 8, 8, 10, 8] {
        bench.clock.advance(Duration::from_secs(minutes * 60));
        send(&mut *lane).await.unwrap();
        opened.push(bench.client.connections().opened);
    }
    // Beside the one that found the leader.
    assert_eq!(opened, [2, 2, 2, 3, 3]);
}
