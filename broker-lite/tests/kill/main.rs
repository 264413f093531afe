//! `kill -9` of the program under load: nothing that was acknowledged is lost, nothing is doubled, no transaction
//! stays open.
//!
//! Five kills; `STRAIT_TEST_SCALE=40` makes it two hundred.

#![cfg(test)]

mod idempotent;
mod transactional;

use std::{
    future::Future,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use host::Host;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName, TransactionalId,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData as Fetched,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::connection::{Connection, ConnectionSettings};

const PARTITIONS: i32 = 3;
const KILLS: u64 = 5;

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

/// What a writer is given.
#[derive(Clone)]
struct Load {
    partition: i32,
    /// Of the process that runs now.
    port: watch::Receiver<u16>,
    /// Counts what was acknowledged.
    acknowledged: Arc<watch::Sender<u64>>,
    stop: CancellationToken,
}

impl Load {
    fn acknowledge(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }
}

fn produce(partition: i32, batch: Bytes, id: Option<TransactionalId>) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(id)
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

/// Reads from `offset` on: what an answer brings, or none at the end.
async fn fetch(connection: &Connection, partition: i32, offset: i64, isolation: i8) -> Fetched {
    let one = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic())
        .with_partitions(vec![one]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_topics(vec![topic]);
    let mut answer = connection.call(&request, 11..=11).await.unwrap();
    let data = answer.responses.remove(0).partitions.remove(0);
    assert_eq!(data.error_code, 0);
    data
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

/// One writer for each partition, and kills. What each writer tells at its end, and a connection.
async fn under_kills<T: Send + 'static, W>(
    data: &Path,
    writer: impl Fn(Load) -> W,
) -> (Vec<T>, Broker, Arc<Connection>)
where
    W: Future<Output = T> + Send + 'static,
{
    let (mut broker, port) = Broker::start(data);
    let (ports, mut port) = watch::channel(port);
    create_topic(&*connect(&mut port).await).await;
    let acknowledged = Arc::new(watch::Sender::new(0));
    let mut count = acknowledged.subscribe();
    let stop = CancellationToken::new();
    let writers = (0..PARTITIONS).map(|partition| {
        tokio::spawn(writer(Load {
            partition,
            port: port.clone(),
            acknowledged: Arc::clone(&acknowledged),
            stop: stop.clone(),
        }))
    });
    let writers: Vec<_> = writers.collect();
    for kill in 1..=kills() {
        // Somewhere between two answers, elsewhere each time.
        let enough = *count.borrow_and_update() + 40 + kill * 17 % 101;
        count.wait_for(|count| *count >= enough).await.unwrap();
        broker.kill();
        let (next, port) = Broker::start(data);
        broker = next;
        ports.send_replace(port);
    }
    let enough = *count.borrow_and_update() + 50;
    count.wait_for(|count| *count >= enough).await.unwrap();
    stop.cancel();
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    let connection = connect(&mut port).await;
    (told, broker, connection)
}

fn kills() -> u64 {
    let scale = std::env::var("STRAIT_TEST_SCALE");
    let scale = scale.map_or(1, |scale| scale.parse().expect("a number"));
    KILLS * scale
}

/// A kill and the work until the next one take less.
async fn in_time(test: impl Future<Output = ()>) {
    let most = Duration::from_secs(60 + 5 * kills());
    timeout(most, test).await.expect("done in time");
}
