//! `kill -9` of the program under load: nothing that was acknowledged is lost, nothing is doubled.
//!
//! Producers keep five batches on their way, as idempotent clients may, and after each kill send what was
//! not acknowledged again. In the end each partition holds every record once, in order, where the answer
//! said.

#![cfg(test)]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use host::Host;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest, TopicName,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    fetch_request::{FetchPartition, FetchTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::{
    batch::batches,
    connection::{Connection, ConnectionSettings},
    record::{BatchBuilder, Codec, decode},
};

const PARTITIONS: i32 = 3;
const KILLS: u64 = 5;
/// Batches on their way (`max.in.flight.requests.per.connection`).
const IN_FLIGHT: usize = 5;
/// Records of a batch, and bytes of a record: a segment of 1 MiB is full after some 30 batches.
const RECORDS: usize = 4;
const BYTES: usize = 8 << 10;

fn topic() -> TopicName {
    TopicName("kill".into())
}

/// A process, killed at the latest when it is dropped.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Broker {
    /// Starts it on `data` and tells its port once it is ready.
    fn start(data: &Path) -> (Self, u16) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_broker-lite"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.split("listen=").nth(1).unwrap();
        let address = address.split_whitespace().next().unwrap();
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        (Self(child), port)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Connects to whatever process runs now.
async fn connect(port: &mut watch::Receiver<u16>) -> Arc<Connection> {
    loop {
        let now = *port.borrow_and_update();
        let host = Host::real();
        let settings = ConnectionSettings {
            broker: format!("127.0.0.1:{now}"),
            client_id: "kill".to_owned(),
            request_timeout: Duration::from_secs(30),
            max_frame: 64 << 20,
            max_idle: Duration::from_secs(540),
            clock: host.clock,
        };
        if let Ok(stream) = host.net.connect("127.0.0.1", now).await
            && let Ok(connection) = Connection::open(stream, settings).await
        {
            return Arc::new(connection);
        }
        port.changed().await.unwrap();
    }
}

/// The batch with this number, the same bytes each time.
fn batch(producer_id: i64, time: i64, number: usize) -> Bytes {
    let first = number * RECORDS;
    let codec = Codec::ALL[number % Codec::ALL.len()];
    let sequence = i32::try_from(first).unwrap();
    let mut builder = BatchBuilder::new(codec).producer(producer_id, 0, sequence);
    for record in first..first + RECORDS {
        // Hardly compressible.
        let value = (0..BYTES).map(|i| ((i * i + record) % 251) as u8);
        let value: Vec<u8> = value.collect();
        builder.push(time, Some(record.to_string().as_bytes()), Some(&value), &[]);
    }
    builder.build(0).unwrap()
}

fn produce(partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

/// Writes until `stop`, across kills. The base offsets of all batches, each acknowledged.
async fn write(
    partition: i32,
    mut port: watch::Receiver<u16>,
    acknowledged: Arc<watch::Sender<u64>>,
    stop: CancellationToken,
) -> Vec<i64> {
    let first = connect(&mut port).await;
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    let init = first.call(&init, 4..=4).await.unwrap();
    assert_eq!(init.error_code, 0);
    let time = Host::real().clock.wall_ms();
    let mut offsets = Vec::new();
    let mut begun = 0;
    'connections: loop {
        let connection = connect(&mut port).await;
        let mut next = offsets.len();
        let mut on_the_way = VecDeque::new();
        loop {
            while on_the_way.len() < IN_FLIGHT && (next < begun || !stop.is_cancelled()) {
                let request = produce(partition, batch(init.producer_id.0, time, next));
                let connection = Arc::clone(&connection);
                // One thread runs the tasks, first come first served: so they are written in order.
                let answer = tokio::spawn(async move { connection.call(&request, 9..=9).await });
                on_the_way.push_back(answer);
                next += 1;
                begun = begun.max(next);
            }
            let Some(answer) = on_the_way.pop_front() else {
                return offsets;
            };
            let Ok(answer) = answer.await.unwrap() else {
                continue 'connections;
            };
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "batch {}", offsets.len());
            offsets.push(answer.base_offset);
            acknowledged.send_modify(|count| *count += 1);
        }
    }
}

/// The keys of all records of a partition.
async fn read(connection: &Connection, partition: i32) -> Vec<usize> {
    let mut keys = Vec::new();
    loop {
        let one = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(keys.len() as i64)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(topic())
            .with_partitions(vec![one]);
        let request = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let answer = connection.call(&request, 11..=11).await.unwrap();
        let data = &answer.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        let records = data.records.clone().unwrap_or_default();
        if records.is_empty() {
            assert_eq!(data.high_watermark, keys.len() as i64);
            return keys;
        }
        for batch in batches(records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            for record in decode(&batch, 1 << 20).unwrap() {
                assert_eq!(record.offset, keys.len() as i64);
                let key = record.key.unwrap();
                keys.push(std::str::from_utf8(&key).unwrap().parse().unwrap());
            }
        }
    }
}

async fn create_topic(connection: &Connection) {
    let small = CreatableTopicConfig::default()
        .with_name("segment.bytes".into())
        .with_value(Some("1048576".into()));
    let topic = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(1)
        .with_configs(vec![small]);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    let created = connection.call(&create, 7..=7).await.unwrap();
    assert_eq!(created.topics[0].error_code, 0);
}

async fn kill_and_compare(data: &Path) {
    let (mut broker, port) = Broker::start(data);
    let (ports, mut port) = watch::channel(port);
    create_topic(&*connect(&mut port).await).await;
    let acknowledged = Arc::new(watch::Sender::new(0));
    let stop = CancellationToken::new();
    let writers = (0..PARTITIONS).map(|partition| {
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(write(partition, port.clone(), acknowledged, stop.clone()))
    });
    let writers: Vec<_> = writers.collect();
    let mut count = acknowledged.subscribe();
    for kill in 1..=KILLS {
        // Somewhere between two batches, elsewhere each time.
        let enough = *count.borrow_and_update() + 40 + kill * 17;
        count.wait_for(|count| *count >= enough).await.unwrap();
        broker.kill();
        let (next, port) = Broker::start(data);
        broker = next;
        ports.send_replace(port);
    }
    let enough = *count.borrow_and_update() + 50;
    count.wait_for(|count| *count >= enough).await.unwrap();
    stop.cancel();
    let connection = connect(&mut port).await;
    for (partition, writer) in (0..).zip(writers) {
        let offsets = writer.await.unwrap();
        let expected: Vec<i64> = (0..offsets.len()).map(|n| (n * RECORDS) as i64).collect();
        assert_eq!(
            offsets, expected,
            "partition {partition}: where batches are"
        );
        let keys = read(&connection, partition).await;
        let all: Vec<usize> = (0..offsets.len() * RECORDS).collect();
        assert_eq!(
            keys, all,
            "partition {partition}: every record once, in order"
        );
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let data = tempfile::tempdir().unwrap();
    let done = timeout(Duration::from_secs(60), kill_and_compare(data.path()));
    done.await.expect("done in time");
}
