//! Peers that are slow, half open, too many or malicious: they are cut off, and others are served.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use kafka_protocol::messages::{
    FetchRequest, JoinGroupRequest, MetadataRequest,
    fetch_request::{FetchPartition, FetchTopic},
    join_group_request::JoinGroupRequestProtocol,
    metadata_request::MetadataRequestTopic,
};

use super::{
    Running,
    client::{self, text},
};

/// Waits for the end of a connection; how long it took.
fn closes(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "it does not close"
        );
    }
    begun.elapsed()
}

fn is_served(address: SocketAddr) {
    let mut raw = client::Client::connect(address);
    assert_eq!(raw.call(12, &MetadataRequest::default()).brokers.len(), 1);
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_log_in_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "listeners=SASL_PLAINTEXT://127.0.0.1:0",
        "sasl.enabled.mechanisms=SCRAM-SHA-256",
    ];
    let running = Running::start_in(folder, &settings, |config| {
        config.login_timeout = Duration::from_millis(500);
    })
    .await;
    let address = running.broker.address();
    blocking(move || {
        let mut silent = TcpStream::connect(address).unwrap();
        let mut dribbling = TcpStream::connect(address).unwrap();
        let mut writer = dribbling.try_clone().unwrap();
        let dribble = std::thread::spawn(move || {
            while writer.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert!(closes(&mut silent) < Duration::from_secs(5));
        assert!(closes(&mut dribbling) < Duration::from_secs(5));
        dribble.join().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_are_cut_off() {
    let running = Running::start(&["connections.max.idle.ms=400"]).await;
    let address = running.broker.address();
    blocking(move || {
        let mut raw = client::Client::connect(address);
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(200));
            raw.call(12, &MetadataRequest::default());
        }
        let idle = closes(&mut raw.stream);
        assert!(
            idle > Duration::from_millis(300) && idle < Duration::from_secs(5),
            "{idle:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_no_answer_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_in(folder, &[], |config| {
        config.write_timeout = Duration::from_millis(500);
    })
    .await;
    let address = running.broker.address();
    blocking(move || {
        // Answers of hundreds of kilobytes, which nobody reads.
        let names = (0..20_000).map(|n| {
            MetadataRequestTopic::default().with_name(Some(text(&format!("{n}?")).into()))
        });
        let request = MetadataRequest::default().with_topics(Some(names.collect()));
        let mut raw = client::Client::connect(address);
        raw.stream
            .set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut frame = Vec::new();
        frame.extend_from_slice(&framed(&request));
        let begun = Instant::now();
        while raw.stream.write_all(&frame).is_ok() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "it takes everything"
            );
        }
        is_served(address);
    })
    .await;
}

/// A Metadata request of version 12 as a frame.
fn framed(request: &MetadataRequest) -> Vec<u8> {
    use kafka_protocol::{
        messages::RequestHeader,
        protocol::{Encodable, HeaderVersion},
    };
    let mut frame = bytes::BytesMut::from(&[0u8; 4][..]);
    let header = RequestHeader::default()
        .with_request_api_key(3)
        .with_request_api_version(12);
    header
        .encode(&mut frame, MetadataRequest::header_version(12))
        .unwrap();
    request.encode(&mut frame, 12).unwrap();
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_come_from_one_address() {
    let running = Running::start(&["max.connections.per.ip=2"]).await;
    let address = running.broker.address();
    blocking(move || {
        let mut first = client::Client::connect(address);
        first.call(12, &MetadataRequest::default());
        let second = client::Client::connect(address);
        let mut third = client::Client::connect(address);
        assert!(closes(&mut third.stream) < Duration::from_secs(5));
        drop(second);
        // It is noticed in a moment.
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let mut fourth = client::Client::connect(address);
            fourth
                .stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            fourth.send(12, &MetadataRequest::default());
            if fourth.stream.read_exact(&mut [0; 4]).is_ok() {
                return;
            }
            assert!(Instant::now() < end, "its place does not get free");
        }
    })
    .await;
}

/// More than a second's worth at once wait in the system's queue, and are served in their turn.
#[tokio::test(flavor = "multi_thread")]
async fn connections_come_at_a_rate() {
    for setting in [
        "max.connection.creation.rate=10",
        "listener.name.plaintext.max.connection.creation.rate=10",
    ] {
        let running = Running::start(&[setting]).await;
        let address = running.broker.address();
        blocking(move || {
            let begun = Instant::now();
            for _ in 0..20 {
                is_served(address);
            }
            let taken = begun.elapsed();
            assert!(taken > Duration::from_millis(900), "{setting}: {taken:?}");
            assert!(taken < Duration::from_secs(5), "{setting}: {taken:?}");
        })
        .await;
    }
}

/// Lengths that promise much cost nothing until the bytes come.
#[tokio::test(flavor = "multi_thread")]
async fn promised_bytes_are_not_reserved() {
    let running = Running::start(&[]).await;
    let address = running.broker.address();
    blocking(move || {
        let before = resident();
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&(2u32 << 20).to_be_bytes()).unwrap();
            stream.write_all(&[0; 100]).unwrap();
            held.push(stream);
        }
        for length in [-1i32, i32::MAX, (100 << 20) + 1] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            assert!(closes(&mut stream) < Duration::from_secs(5), "{length}");
        }
        is_served(address);
        let grown = resident().saturating_sub(before);
        assert!(
            grown < 100 << 20,
            "{grown} bytes for 400 MiB that were promised"
        );
    })
    .await;
}

/// A frame full of the smallest elements that there are: it is refused before they become anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_costs_little_more_than_its_bytes() {
    let running = Running::start(&[]).await;
    let address = running.broker.address();
    blocking(move || {
        let before = resident();
        let count = (8 << 20) - 100;
        let mut frame = Vec::new();
        // Metadata, version 1: names of no bytes.
        frame.extend_from_slice(&(10 + 4 + 2 * count as u32).to_be_bytes());
        frame.extend_from_slice(b"\0\x03\0\x01\0\0\0\x01\xff\xff");
        frame.extend_from_slice(&(count as u32).to_be_bytes());
        frame.resize(frame.len() + 2 * count, 0);
        for _ in 0..4 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&frame).unwrap();
            assert!(closes(&mut stream) < Duration::from_secs(10));
        }
        is_served(address);
        let grown = resident().saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes for frames of 16 MiB");
    })
    .await;
}

/// This process's memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Requests wait for memory instead of taking more than there is, and are all served.
#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_room() {
    let running = Running::start(&[
        "queued.max.request.bytes=1048576",
        "socket.request.max.bytes=1048576",
    ])
    .await;
    let address = running.broker.address();
    blocking(move || {
        let ask = move || {
            let names = (0..20_000).map(|n| {
                MetadataRequestTopic::default().with_name(Some(text(&format!("{n}?")).into()))
            });
            let names: Vec<_> = names.collect();
            let request = MetadataRequest::default().with_topics(Some(names));
            let answer = client::Client::connect(address).call(12, &request);
            assert_eq!(answer.topics.len(), 20_000);
        };
        let all: Vec<_> = (0..16).map(|_| std::thread::spawn(ask)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    })
    .await;
}

/// Whoever waits for others to join leaves the memory of its frame to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_member_that_waits_holds_nobody_up() {
    let running = Running::start(&[
        "queued.max.request.bytes=1048576",
        "socket.request.max.bytes=4194304",
        "group.initial.rebalance.delay.ms=60000",
    ])
    .await;
    let address = running.broker.address();
    blocking(move || {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(vec![0; 2 << 20].into());
        let join = JoinGroupRequest::default()
            .with_group_id(text("g").into())
            .with_session_timeout_ms(60_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocol_type(text("any"))
            .with_protocols(vec![protocol]);
        let mut member = client::Client::connect(address);
        member.send(3, &join);
        others_are_served_beside_what_was_sent(address);
        let soon = Some(Duration::from_millis(50));
        member.stream.set_read_timeout(soon).unwrap();
        let error = member.stream.read(&mut [0]).unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "it waits still"
        );
    })
    .await;
}

/// While what was just sent waits, others are served in time.
fn others_are_served_beside_what_was_sent(address: SocketAddr) {
    // Until it has arrived and waits.
    std::thread::sleep(Duration::from_millis(500));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        is_served(address);
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(20)).unwrap();
}

/// Whoever waits for records gives the memory of a large request back soon, however long it says it would wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_fetch_that_waits_holds_nobody_up() {
    let running = Running::start(&[
        "queued.max.request.bytes=1048576",
        "socket.request.max.bytes=4194304",
    ])
    .await;
    let address = running.broker.address();
    blocking(move || {
        let topic = |name: &str| {
            let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
            FetchTopic::default()
                .with_topic(text(name).into())
                .with_partitions(vec![partition])
        };
        let mut fetcher = client::Client::connect(address);
        let made = MetadataRequestTopic::default().with_name(Some(text("t").into()));
        fetcher.call(
            12,
            &MetadataRequest::default().with_topics(Some(vec![made])),
        );
        let unknown = (0..10_000).map(|n| topic(&format!("{n:0>150}")));
        let request = FetchRequest::default()
            .with_max_wait_ms(i32::MAX)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics([topic("t")].into_iter().chain(unknown).collect());
        fetcher.send(4, &request);
        others_are_served_beside_what_was_sent(address);
    })
    .await;
}
