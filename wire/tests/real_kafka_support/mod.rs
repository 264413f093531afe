//! A topic of a test, and transactions by hand: the client itself has none.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use host::{Host, Net, net::Tcp};
use kafka_protocol::{
    messages::{
        AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
        ProduceRequest, ProducerId, TopicName, TransactionalId,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};
use wire::{
    Isolation, TopicPartition,
    client::{Client, ClientSettings, FetchRequest, Fetched, NewTopic, OffsetSpec},
    connection::{Connection, ConnectionSettings},
    record::{BatchBuilder, Codec, Record},
};

use super::TIME;

/// A name that no other run uses.
pub(crate) fn name(kind: &str) -> String {
    format!("wire-{kind}-{:016x}", Host::real().random.number())
}

pub(crate) fn batch(codec: Codec, time: i64, values: &[&str]) -> Bytes {
    filled(BatchBuilder::new(codec), time, values)
}

fn filled(mut builder: BatchBuilder, time: i64, values: &[&str]) -> Bytes {
    for value in values {
        builder.push(time, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build(0).unwrap()
}

pub(crate) fn values(records: &[Record]) -> Vec<&str> {
    records
        .iter()
        .map(|record| std::str::from_utf8(record.value.as_deref().unwrap()).unwrap())
        .collect()
}

/// `HOST:PORT` of the Kafka under test.
pub(crate) static BOOTSTRAP: OnceLock<String> = OnceLock::new();

fn bootstrap() -> (String, u16) {
    let address = BOOTSTRAP.get().expect("set before the first test");
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    (host.to_owned(), port.parse().expect("a port"))
}

/// A topic of one test.
pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) topic: String,
}

impl Fixture {
    pub(crate) fn client() -> Client {
        let settings = ClientSettings::new(vec![bootstrap()], "wire-tests");
        Client::new(Host::real(), settings)
    }

    pub(crate) fn impatient() -> Client {
        let mut settings = ClientSettings::new(vec![bootstrap()], "wire-tests");
        settings.retry_for = Duration::from_millis(200);
        Client::new(Host::real(), settings)
    }

    /// Nobody listens on port 1.
    pub(crate) fn behind_a_dead_server() -> Client {
        let servers = vec![("127.0.0.1".to_owned(), 1), bootstrap()];
        Client::new(Host::real(), ClientSettings::new(servers, "wire-tests"))
    }

    pub(crate) async fn new(kind: &str, partitions: i32) -> Self {
        let (client, topic) = (Self::client(), name(kind));
        let wanted = NewTopic {
            name: topic.clone(),
            partitions,
            replication_factor: 1,
            configs: Vec::new(),
        };
        let outcomes = client.create_topics(&[wanted], false).await.unwrap();
        assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
        let fixture = Self { client, topic };
        // A broker tells of a leader before that has made its log and takes it up (`BrokerMetadataPublisher`
        // publishes metadata first). A leader that lists an end serves every call.
        let wanted: Vec<_> = (0..partitions)
            .map(|index| (fixture.partition(index), OffsetSpec::Latest))
            .collect();
        Self::eventually("every partition is served by its leader", async || {
            let isolation = Isolation::ReadUncommitted;
            let listed = fixture.client.list_offsets(&wanted, isolation).await;
            listed.is_ok_and(|listed| listed.iter().all(|(_, end)| end.is_ok()))
        })
        .await;
        fixture
    }

    pub(crate) fn partition(&self, index: i32) -> TopicPartition {
        TopicPartition::new(&self.topic, index)
    }

    pub(crate) fn request(&self, offset: i64, isolation: Isolation) -> FetchRequest {
        FetchRequest {
            isolation,
            ..self.request_of(0, offset)
        }
    }

    pub(crate) fn request_of(&self, index: i32, offset: i64) -> FetchRequest {
        FetchRequest {
            partition: self.partition(index),
            offset,
            max_bytes: 1 << 20,
            max_wait: Duration::from_millis(100),
            isolation: Isolation::ReadUncommitted,
        }
    }

    pub(crate) async fn fetch(&self, offset: i64, isolation: Isolation) -> Fetched {
        self.client
            .fetch(self.request(offset, isolation))
            .await
            .unwrap()
    }

    /// Until no transaction is open in partition 0: EndTxn is answered before its marker is written.
    pub(crate) async fn decided(&self) {
        Self::eventually("the marker is written", async || {
            let fetched = self.fetch(0, Isolation::ReadUncommitted).await;
            fetched.last_stable_offset == fetched.high_watermark
        })
        .await;
    }

    /// All records from `offsets.start` up to `offsets.end`, however many answers they come in: Kafka's
    /// end at a segment, and markers of today next to old records begin a new one.
    pub(crate) async fn read(&self, offsets: Range<i64>, isolation: Isolation) -> Vec<Record> {
        let mut records = Vec::new();
        let mut next = offsets.start;
        while next < offsets.end {
            let fetched = self.fetch(next, isolation).await;
            let found = fetched.committed(next, isolation).unwrap();
            assert!(found.next_offset > next, "stuck at {next}");
            next = found.next_offset;
            records.extend(found.records);
        }
        assert_eq!(next, offsets.end);
        records
    }

    pub(crate) async fn delete(self) {
        let outcomes = self.client.delete_topics(&[self.topic]).await.unwrap();
        assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
    }

    /// Asks until the answer is yes; brokers hear of changes a little later than the controller.
    pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !condition().await {
            assert!(Instant::now() < end, "not within 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A transaction of two records in one partition, written and not yet decided.
pub(crate) struct Transaction {
    connection: Connection,
    id: TransactionalId,
    pub(crate) producer_id: i64,
    epoch: i16,
}

impl Transaction {
    pub(crate) async fn begin(
        client: &Client,
        partition: &TopicPartition,
        values: [&str; 2],
    ) -> Self {
        let id = TransactionalId(StrBytes::from_string(name("transaction")));
        let connection = Self::coordinator(&id).await;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(300_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let producer = accepted(async || {
            let answer = connection.call(&request, 2..=4).await.unwrap();
            (answer.error_code, answer)
        })
        .await;
        let transaction = Self {
            connection,
            id,
            producer_id: producer.producer_id.0,
            epoch: producer.producer_epoch,
        };
        transaction.add(partition).await;
        transaction.write(client, partition, values).await;
        transaction
    }

    async fn coordinator(id: &TransactionalId) -> Connection {
        let (host, port) = bootstrap();
        let any = connect(&host, port).await;
        let request = FindCoordinatorRequest::default()
            .with_key(id.0.clone())
            .with_key_type(1);
        let found = accepted(async || {
            let found = any.call(&request, 1..=3).await.unwrap();
            (found.error_code, found)
        })
        .await;
        connect(&found.host, found.port as u16).await
    }

    async fn add(&self, partition: &TopicPartition) {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(partition))
            .with_partitions(vec![partition.partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(ProducerId(self.producer_id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        accepted(async || {
            let answer = self.connection.call(&request, 0..=3).await.unwrap();
            let result = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
            (result.partition_error_code, ())
        })
        .await;
    }

    async fn write(&self, client: &Client, partition: &TopicPartition, values: [&str; 2]) {
        let builder = BatchBuilder::new(Codec::Gzip).transactional(true).producer(
            self.producer_id,
            self.epoch,
            0,
        );
        let data = PartitionProduceData::default()
            .with_index(partition.partition)
            .with_records(Some(filled(builder, TIME, &values)));
        let topic = TopicProduceData::default()
            .with_name(topic_name(partition))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let topics = [partition.topic.clone()];
        let described = client.topics(Some(&topics)).await.unwrap().remove(0);
        let leader = described.partitions[partition.partition as usize].leader;
        let brokers = client.describe_cluster().await.unwrap().brokers;
        let leader = brokers.iter().find(|b| Some(b.id) == leader).unwrap();
        let connection = connect(&leader.host, leader.port as u16).await;
        accepted(async || {
            let answer = connection.call(&request, 3..=11).await.unwrap();
            let result = &answer.responses[0].partition_responses[0];
            (result.error_code, ())
        })
        .await;
    }

    pub(crate) async fn end(self, commit: bool) {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        accepted(async || {
            let answer = self.connection.call(&request, 0..=3).await.unwrap();
            (answer.error_code, ())
        })
        .await;
    }
}

/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR and CONCURRENT_TRANSACTIONS pass by
/// themselves, and so does NOT_ENOUGH_REPLICAS: so a leader tells older producers that it could not ask the coordinator
/// whether the transaction is known (`AddPartitionsToTxnManager`). None of them did anything.
const PASSING: [i16; 5] = [14, 15, 16, 19, 51];

/// Asks, as a producer does, until the answer's code is no passing one; then it must be 0.
async fn accepted<T>(ask: impl AsyncFn() -> (i16, T)) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, answer) = ask().await;
        if !PASSING.contains(&code) {
            assert_eq!(code, 0);
            return answer;
        }
        assert!(Instant::now() < end, "still {code} after 20 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connect(host: &str, port: u16) -> Connection {
    let settings = ConnectionSettings {
        broker: format!("{host}:{port}"),
        client_id: "wire-tests".to_owned(),
        request_timeout: Duration::from_secs(20),
        max_frame: 1 << 20,
        max_idle: Duration::from_secs(540),
        clock: Arc::clone(&Host::real().clock),
    };
    let stream = Tcp.connect(host, port).await.unwrap();
    Connection::open(stream, settings).await.unwrap()
}

fn topic_name(partition: &TopicPartition) -> TopicName {
    TopicName(StrBytes::from_string(partition.topic.clone()))
}
