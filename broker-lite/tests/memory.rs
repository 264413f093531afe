//! What hostile requests take of memory, many at once: a process of its own is measured by the system.

#![cfg(test)]

#[path = "coordination/client.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod client;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use client::{Client, text};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DeleteAclsRequest, DescribeConfigsRequest, DescribeGroupsRequest,
        DescribeProducersRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
        OffsetFetchRequest, ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
        create_topics_request::CreatableTopic,
        delete_acls_request::DeleteAclsFilter,
        describe_configs_request::DescribeConfigsResource,
        describe_producers_request::TopicRequest,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_fetch_request::OffsetFetchRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::Request,
};
use wire::record::{BatchBuilder, Codec};

/// `queued.max.request.bytes`, and what requests become.
const BUDGET: u64 = 128 << 20;
/// As many again as wait for their turn with their frames, and what the allocator keeps.
const SLACK: u64 = 24 << 20;
const CONNECTIONS: usize = 4;
/// Of those whose answers wait to be taken: without a budget all of them would lie there.
const LAZY: usize = 24;

struct Broker {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Broker {
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_broker-lite"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.split("listen=").nth(1).unwrap();
        Self {
            process,
            address: address.split(' ').next().unwrap().parse().unwrap(),
            _folder: folder,
        }
    }

    /// Begins to measure anew (proc(5), `clear_refs`).
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// Most memory that it had since, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Sends a request and swallows the answer; false if the connection was closed instead.
fn swallow<R: Request>(address: SocketAddr, version: i16, request: &R) -> bool {
    swallow_later(address, version, request, Duration::ZERO)
}

/// The same, in no hurry to hear the answer.
fn swallow_later<R: Request>(
    address: SocketAddr,
    version: i16,
    request: &R,
    pause: Duration,
) -> bool {
    let mut client = Client::connect(address);
    client.send(version, request);
    thread::sleep(pause);
    swallow_answer(client).is_some()
}

/// The length of the next answer; none if the connection is closed instead.
fn swallow_answer(mut client: Client) -> Option<u64> {
    let mut length = [0; 4];
    client.stream.read_exact(&mut length).ok()?;
    let length = u64::from(u32::from_be_bytes(length));
    let read = std::io::copy(&mut client.stream.take(length), &mut std::io::sink());
    (read.unwrap() == length).then_some(length)
}

/// The same request on many connections at once: each is answered, and so is a small one of somebody else meanwhile.
fn flood<R: Request + Sync>(broker: &Broker, what: &str, version: i16, request: &R) {
    flood_by(broker, what, CONNECTIONS, version, request);
}

fn flood_by<R: Request + Sync>(
    broker: &Broker,
    what: &str,
    connections: usize,
    version: i16,
    request: &R,
) {
    let pause = match connections {
        LAZY => Duration::from_secs(6),
        _ => Duration::ZERO,
    };
    broker.forget_peak();
    thread::scope(|scope| {
        let ask = || swallow_later(broker.address, version, request, pause);
        let all: Vec<_> = (0..connections).map(|_| scope.spawn(ask)).collect();
        thread::sleep(Duration::from_millis(100));
        let none = MetadataRequest::default().with_topics(Some(Vec::new()));
        assert!(
            swallow(broker.address, 12, &none),
            "a small one beside {what}"
        );
        for one in all {
            assert!(one.join().unwrap(), "{what} is answered");
        }
    });
    let peak = broker.peak();
    println!("{what}: {} MiB", peak >> 20);
    assert!(peak < 2 * BUDGET + SLACK, "{what}: {} MiB", peak >> 20);
}

#[test]
fn what_requests_become_is_bounded_together() {
    let broker = Broker::start(&[&format!("queued.max.request.bytes={BUDGET}")]);
    let names = |count: usize| (0..count).map(|n| text(&format!("{n:x}?")));
    let topics =
        names(250_000).map(|name| MetadataRequestTopic::default().with_name(Some(name.into())));
    flood(
        &broker,
        "Metadata",
        12,
        &MetadataRequest::default().with_topics(Some(topics.collect())),
    );

    let mut client = Client::connect(broker.address);
    let topic = CreatableTopic::default()
        .with_name(text("t").into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic.clone()]);
    assert_eq!(client.call(7, &create).topics[0].error_code, 0);

    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let describe = DescribeConfigsRequest::default()
        .with_resources(vec![resource; 4_000])
        .with_include_synonyms(true);
    flood_by(&broker, "DescribeConfigs", LAZY, 4, &describe);

    let topics = (0..15_000).map(|n| topic.clone().with_name(text(&format!("new-{n}")).into()));
    let create = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_validate_only(true);
    flood(&broker, "CreateTopics", 7, &create);

    let of_topic = OffsetFetchRequestTopic::default()
        .with_name(text("t").into())
        .with_partition_indexes((0..400_000).collect());
    let fetch = OffsetFetchRequest::default()
        .with_group_id(text("g").into())
        .with_topics(Some(vec![of_topic]));
    flood(&broker, "OffsetFetch", 5, &fetch);

    let of_topic = TopicRequest::default()
        .with_name(text("t").into())
        .with_partition_indexes((0..400_000).collect());
    let producers = DescribeProducersRequest::default().with_topics(vec![of_topic]);
    flood(&broker, "DescribeProducers", 0, &producers);

    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let of_topic = ListOffsetsTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition; 250_000]);
    let list = ListOffsetsRequest::default().with_topics(vec![of_topic]);
    flood(&broker, "ListOffsets", 5, &list);

    let groups = names(30_000).map(Into::into).collect();
    flood(
        &broker,
        "DescribeGroups",
        5,
        &DescribeGroupsRequest::default().with_groups(groups),
    );

    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_pattern_type_filter(3)
        .with_operation(2)
        .with_permission_type(3);
    let delete = DeleteAclsRequest::default().with_filters(vec![filter; 250_000]);
    flood(&broker, "DeleteAcls", 3, &delete);

    // More than there is room for at all.
    let resource = describe.resources[0].clone();
    let describe = describe.with_resources(vec![resource; 100_000]);
    assert!(!swallow(broker.address, 4, &describe), "it is closed");
}

/// Before a login there is no budget: frames are small, and what they become is gone when they are answered.
#[test]
fn whoever_has_not_logged_in_costs_little() {
    const STRANGERS: u64 = 400;
    const FRAME: usize = 64 << 10;
    let broker = Broker::start(&[
        "listeners=SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms=OAUTHBEARER",
        "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=x.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\";",
    ]);
    broker.forget_peak();
    let before = broker.peak();
    // A token of as many claims as there is room for: `{` and `"":0,` again and again.
    let claims = format!("eyIi{}", "OjAsIiI6MCwi".repeat((FRAME - 200) / 12));
    let message = format!("n,,\x01auth=Bearer eyJhbGciOiJub25lIn0.{claims}.\x01\x01");
    let token = SaslAuthenticateRequest::default().with_auth_bytes(message.into_bytes().into());
    let bearer = SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER"));
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut client = Client::connect(broker.address);
            assert_eq!(client.call(1, &bearer).error_code, 0);
            // Refused, with a word in between; then all of a frame but its last byte.
            assert!(!client.call(2, &token).auth_bytes.is_empty());
            let length = u32::try_from(FRAME).unwrap().to_be_bytes();
            client.stream.write_all(&length).unwrap();
            client.stream.write_all(&[0; FRAME - 1]).unwrap();
            client
        })
        .collect();
    let mut next = Client::connect(broker.address);
    assert_eq!(next.call(1, &bearer).error_code, 0);
    let grown = broker.peak() - before;
    println!(
        "{} KiB for each of {}",
        (grown / STRANGERS) >> 10,
        strangers.len()
    );
    assert!(
        grown < 2 * STRANGERS * FRAME as u64 + (32 << 20),
        "{} MiB",
        grown >> 20
    );
}

/// Fetches of clients that do not take what they asked for: all of it waits in the files.
#[test]
fn records_that_nobody_takes_cost_nothing() {
    const READERS: usize = 30;
    const EACH: u64 = 1 << 20;
    let broker = Broker::start(&[&format!("queued.max.request.bytes={BUDGET}")]);
    let mut client = Client::connect(broker.address);
    let topic = CreatableTopic::default()
        .with_name(text("t").into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(client.call(7, &create).topics[0].error_code, 0);
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1, None, Some(&vec![7; 900 << 10]), &[]);
    let data = PartitionProduceData::default().with_records(Some(batch.build(0).unwrap()));
    let of_topic = TopicProduceData::default()
        .with_name(text("t").into())
        .with_partition_data(vec![data]);
    let produce = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![of_topic]);
    for _ in 0..60 {
        let answer = client.call(9, &produce);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let of_topic = FetchTopic::default()
        .with_topic(text("t").into())
        .with_partitions(vec![partition]);
    let fetch = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_bytes(i32::MAX)
        .with_topics(vec![of_topic]);
    broker.forget_peak();
    let before = broker.peak();
    let mut readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut reader = Client::connect(broker.address);
            reader.send(11, &fetch);
            reader
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let grown = broker.peak() - before;
    println!("Fetch: {} KiB for each", (grown / READERS as u64) >> 10);
    assert!(grown < READERS as u64 * EACH, "{} MiB", grown >> 20);
    let mut first = readers.remove(0);
    let answer = first.receive::<FetchRequest>(11);
    let records = answer.responses[0].partitions[0].records.as_ref();
    let all = wire::batch::batches(records.unwrap().clone());
    let offsets = all.map(|batch| {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        batch.header.base_offset
    });
    assert!(offsets.eq(0..60), "it gets all");
    for reader in readers {
        let length = swallow_answer(reader).unwrap();
        assert!(length > 50 << 20, "so does each: {length}");
    }
}
