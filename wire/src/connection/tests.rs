//! A scripted broker at the other end of a pipe in memory, and a clock that the test moves.

use std::future::poll_fn;

use bytes::Buf;
use host::sim::SimClock;
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, MetadataRequest, MetadataResponse, ResponseHeader, TopicName,
        api_versions_response::ApiVersion, metadata_request::MetadataRequestTopic,
    },
    protocol::Decodable,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf},
    task::JoinHandle,
};

use super::{exchange::IN_FLIGHT, *};
use crate::frame::read_frame;

const MAX_FRAME: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);
/// For Metadata, which brokers answer at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A test that waits in vain fails.
async fn soon(test: impl Future<Output = ()>) {
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, test).await.expect("in time");
}

struct Broker(DuplexStream);

impl Broker {
    /// The next request, whole: its header and body.
    async fn request(&mut self) -> (RequestHeader, Bytes) {
        let mut frame = read_frame(&mut self.0, MAX_FRAME).await.unwrap().unwrap();
        let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let header =
            RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
        (header, frame)
    }

    async fn answer(&mut self, header: &RequestHeader, version: i16, response: &impl Answer) {
        let mut body = BytesMut::new();
        let id = header.correlation_id;
        let (key, flexible) = (header.request_api_key, header.request_api_version);
        let key = ApiKey::try_from(key).unwrap();
        ResponseHeader::default()
            .with_correlation_id(id)
            .encode(&mut body, key.response_header_version(flexible))
            .unwrap();
        response.encode(&mut body, version).unwrap();
        self.write(&(body.len() as i32).to_be_bytes()).await;
        self.write(&body).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Answers Metadata with a cluster id that tells answers apart.
    async fn metadata(&mut self, header: &RequestHeader, cluster: &str) {
        let id = StrBytes::from_string(cluster.to_owned());
        let response = MetadataResponse::default().with_cluster_id(Some(id));
        let version = header.request_api_version;
        self.answer(header, version, &response).await;
    }

    async fn closed(&mut self) -> bool {
        self.0.read(&mut [0; 1]).await.unwrap() == 0
    }

    /// Whether nothing comes although everybody else has had their turn.
    async fn hears_nothing(&mut self) -> bool {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        poll_fn(|cx| {
            let polled = std::pin::Pin::new(&mut self.0).poll_read(cx, &mut buffer);
            std::task::Poll::Ready(polled.is_pending())
        })
        .await
    }
}

trait Answer: Encodable {}
impl<T: Encodable> Answer for T {}

fn versions(key: ApiKey, min: i16, max: i16) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(vec![
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max),
    ])
}

fn opening(
    pipe: usize,
) -> (
    Broker,
    JoinHandle<Result<Connection, ClientError>>,
    SimClock,
) {
    let (ours, theirs) = tokio::io::duplex(pipe);
    let clock = SimClock::new(0);
    let settings = ConnectionSettings {
        broker: "kafka-1:9092".to_owned(),
        client_id: "test".to_owned(),
        request_timeout: TIMEOUT,
        max_frame: MAX_FRAME,
        max_idle: Duration::from_secs(540),
        clock: Arc::new(clock.clone()),
    };
    let opening = tokio::spawn(Connection::open(Box::new(ours), settings));
    (Broker(theirs), opening, clock)
}

async fn connected(pipe: usize) -> (Broker, Arc<Connection>, SimClock) {
    let (mut broker, opening, clock) = opening(pipe);
    let (header, _) = broker.request().await;
    assert_eq!(
        (header.request_api_key, header.request_api_version),
        (18, 3)
    );
    let answer = versions(ApiKey::Metadata, 0, 12);
    broker.answer(&header, 3, &answer).await;
    (broker, Arc::new(opening.await.unwrap().unwrap()), clock)
}

/// The cluster id that a Metadata call is answered with.
fn call(connection: &Arc<Connection>) -> JoinHandle<Result<String, ClientError>> {
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let answer = connection.call(&MetadataRequest::default(), 4..=12).await?;
        Ok(answer.cluster_id.unwrap_or_default().to_string())
    })
}

#[tokio::test]
async fn answers_find_their_callers_in_any_order() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 16).await;
        let mut calls = Vec::new();
        let mut headers = Vec::new();
        for _ in 0..3 {
            calls.push(call(&connection));
            headers.push(broker.request().await.0);
        }
        for index in [2, 0, 1] {
            broker.metadata(&headers[index], &index.to_string()).await;
        }
        for (index, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap(), index.to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_version_0() {
    soon(async {
        let (mut broker, opening, _) = opening(1 << 16);
        let (header, _) = broker.request().await;
        let refusal = ApiVersionsResponse::default().with_error_code(35);
        broker.answer(&header, 0, &refusal).await;
        let (header, body) = broker.request().await;
        assert_eq!((header.request_api_version, body.len()), (0, 0));
        let answer = versions(ApiKey::Metadata, 0, 5);
        broker.answer(&header, 0, &answer).await;
        let connection = Arc::new(opening.await.unwrap().unwrap());
        let call = call(&connection);
        let (header, _) = broker.request().await;
        assert_eq!(header.request_api_version, 5, "the highest that both speak");
        broker.metadata(&header, "old").await;
        assert_eq!(call.await.unwrap().unwrap(), "old");
    })
    .await;
}

#[tokio::test]
async fn versions_without_overlap_are_named() {
    soon(async {
        for (min, max, text) in [
            (
                0,
                3,
                "kafka-1:9092: it speaks Metadata in versions 0 to 3, strait in 4 to 12",
            ),
            (
                13,
                20,
                "kafka-1:9092: it speaks Metadata in versions 13 to 20, strait in 4 to 12",
            ),
        ] {
            let (mut broker, opening, _) = opening(1 << 16);
            let (header, _) = broker.request().await;
            let answer = versions(ApiKey::Metadata, min, max);
            broker.answer(&header, 3, &answer).await;
            let connection = Arc::new(opening.await.unwrap().unwrap());
            let error = call(&connection).await.unwrap().unwrap_err();
            assert_eq!(error.to_string(), text);
            assert!(!connection.is_broken(), "other calls may go on");
        }
    })
    .await;
}

/// What the broker says out of frame, and the reason that every caller hears.
#[tokio::test]
async fn a_connection_out_of_frame_is_broken_for_all_with_one_reason() {
    soon(async {
        let unasked = [0, 0, 0, 4, 0, 0, 0x30, 0x39];
        for (bytes, text) in [
            (
                &b"\x7f\xff\xff\xff"[..],
                "a frame of 2147483647 bytes where at most 1048576 are allowed",
            ),
            (
                b"\xff\xff\xff\xfe",
                "a frame of -2 bytes where at most 1048576 are allowed",
            ),
            (b"\0\0\0\x02ab", "an answer of 2 bytes"),
            (&unasked, "an answer to request 12345, which is not open"),
        ] {
            let (mut broker, connection, _) = connected(1 << 16).await;
            let calls = [call(&connection), call(&connection)];
            broker.request().await;
            broker.request().await;
            broker.write(bytes).await;
            for call in calls {
                let error = call.await.unwrap().unwrap_err();
                assert_eq!(error.to_string(), format!("kafka-1:9092: {text}"));
            }
            let later = call(&connection).await.unwrap().unwrap_err();
            assert_eq!(later.to_string(), format!("kafka-1:9092: {text}"));
            assert!(connection.is_broken() && broker.closed().await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_torn_answer_breaks_the_connection() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 16).await;
        let call = call(&connection);
        let (header, _) = broker.request().await;
        broker.write(&[0, 0, 0, 100]).await;
        broker.write(&header.correlation_id.to_be_bytes()).await;
        drop(broker);
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        assert!(connection.is_broken());
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_answer_is_an_error_and_ends_the_connection() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 16).await;
        let call = call(&connection);
        let (header, _) = broker.request().await;
        // Header with tags, throttle time, then 4,294,967,294 brokers.
        let mut answer = BytesMut::from(&[0, 0, 0, 14][..]);
        answer.put_i32(header.correlation_id);
        answer.put_slice(&[0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        broker.write(&answer).await;
        let error = call.await.unwrap().unwrap_err();
        let text = "kafka-1:9092: decode Metadata: a length of 4294967295 in a frame of 9 bytes";
        assert_eq!(error.to_string(), text);
        assert!(connection.is_broken());
    })
    .await;
}

#[tokio::test]
async fn a_silent_broker_is_given_up() {
    soon(async {
        let (mut broker, connection, clock) = connected(1 << 16).await;
        let first = call(&connection);
        broker.request().await;
        clock.advance(PATIENCE - Duration::from_millis(1));
        let second = call(&connection);
        broker.request().await;
        assert!(!first.is_finished() && !connection.is_broken());
        clock.advance(Duration::from_millis(1));
        let text = "kafka-1:9092: no answer to Metadata within 10 s";
        let error = first.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
        assert_eq!(error.to_string(), text);
        // Answers come in order: what was asked later waits for the same broker.
        let error = second.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        assert_eq!(error.to_string(), text);
        assert!(connection.is_broken() && broker.closed().await);
    })
    .await;
}

/// A thin link: what is on its way is waited for, and what stands still is not.
#[tokio::test]
async fn an_answer_that_arrives_bit_by_bit_is_waited_for() {
    soon(async {
        let (mut broker, connection, clock) = connected(1 << 16).await;
        let call = call(&connection);
        broker.request().await;
        broker.write(&100i32.to_be_bytes()).await;
        for _ in 0..5 {
            broker.write(&[0]).await;
            assert!(broker.hears_nothing().await && !call.is_finished());
            clock.advance(PATIENCE);
        }
        assert!(broker.hears_nothing().await && !connection.is_broken());
        clock.advance(PATIENCE);
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    })
    .await;
}

/// The pipe holds 16 bytes, so that a request is under way for long.
#[tokio::test]
async fn a_cancelled_caller_leaves_no_half_of_a_frame() {
    soon(async {
        let (mut broker, connection, _) = connected(16).await;
        let cancelled = call(&connection);
        let mut start = [0; 6];
        broker.0.read_exact(&mut start).await.unwrap();
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        let next = call(&connection);
        let length = i32::from_be_bytes(start[..4].try_into().unwrap()) as usize;
        let mut rest = vec![0; length - 2];
        broker.0.read_exact(&mut rest).await.unwrap();
        let id = Bytes::copy_from_slice(&rest[2..6]).get_i32();
        let (header, _) = broker.request().await;
        // An answer that nobody waits for any more does no harm.
        let abandoned = header.clone().with_correlation_id(id);
        broker.metadata(&abandoned, "abandoned").await;
        broker.metadata(&header, "wanted").await;
        assert_eq!(next.await.unwrap().unwrap(), "wanted");
    })
    .await;
}

#[tokio::test]
async fn requests_in_flight_are_bounded_also_by_those_given_up() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 20).await;
        let calls: Vec<_> = (0..IN_FLIGHT + 1).map(|_| call(&connection)).collect();
        let mut headers = Vec::new();
        for _ in 0..IN_FLIGHT {
            headers.push(broker.request().await.0);
        }
        for call in &calls[..10] {
            call.abort();
        }
        assert!(
            broker.hears_nothing().await,
            "one more request than allowed"
        );
        broker.metadata(&headers[0], "first").await;
        let (last, _) = broker.request().await;
        broker.metadata(&last, "last").await;
        assert_eq!(
            calls
                .into_iter()
                .next_back()
                .unwrap()
                .await
                .unwrap()
                .unwrap(),
            "last"
        );
    })
    .await;
}

#[tokio::test]
async fn the_last_handle_closes_the_stream() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 16).await;
        drop(connection);
        assert!(broker.closed().await);
    })
    .await;
}

#[tokio::test]
async fn the_last_handle_closes_the_stream_of_a_broker_that_does_not_read() {
    soon(async {
        let (mut broker, connection, _) = connected(16).await;
        let topic = MetadataRequestTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string("x".repeat(1000)))));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let caller = Arc::clone(&connection);
        let stuck = tokio::spawn(async move { caller.call(&request, 4..=12).await.is_ok() });
        let mut start = [0; 1];
        broker.0.read_exact(&mut start).await.unwrap();
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        drop(connection);
        let mut rest = Vec::new();
        broker.0.read_to_end(&mut rest).await.unwrap();
        assert!(
            rest.len() <= 32,
            "{} bytes of a frame that nobody sends any more",
            rest.len()
        );
    })
    .await;
}

#[tokio::test]
async fn who_is_alone_waits_for_what_is_on_its_way_and_holds_back_the_rest() {
    soon(async {
        let (mut broker, connection, _) = connected(1 << 16).await;
        let before = call(&connection);
        let (first, _) = broker.request().await;
        let inside = Arc::clone(&connection);
        let (release, released) = tokio::sync::oneshot::channel();
        let alone = tokio::spawn(async move {
            let alone = inside.exchange.alone().await.expect("not broken");
            let frame = Bytes::from_static(b"\0\0\0\x04ping");
            let answer = inside.exchange.ask_alone(&alone, 7777, frame).await;
            released.await.ok();
            answer
        });
        assert!(broker.hears_nothing().await, "not alone yet");
        // One that waits for a slot, and one that does not wait at all.
        let asked = call(&connection);
        let frame = Bytes::from_static(b"\0\0\0\x04pong");
        let begun = connection
            .exchange
            .begin(8888, frame.into(), MayGo::new(|| true))
            .unwrap();
        assert!(broker.hears_nothing().await, "held back");
        broker.metadata(&first, "before").await;
        assert_eq!(before.await.unwrap().unwrap(), "before");
        let ping = read_frame(&mut broker.0, MAX_FRAME).await.unwrap();
        assert_eq!(ping.unwrap(), "ping");
        broker.write(&[0, 0, 0, 4]).await;
        broker.write(&7777i32.to_be_bytes()).await;
        assert!(broker.hears_nothing().await, "still alone");
        release.send(()).unwrap();
        assert!(alone.await.unwrap().is_some());
        let mut heard = Vec::new();
        for _ in 0..2 {
            let frame = read_frame(&mut broker.0, MAX_FRAME).await.unwrap();
            heard.push(frame.unwrap());
        }
        assert!(heard.iter().any(|frame| frame == "pong"), "{heard:?}");
        broker.write(&[0, 0, 0, 4]).await;
        broker.write(&8888i32.to_be_bytes()).await;
        begun.await.unwrap();
        asked.abort();
    })
    .await;
}

#[tokio::test]
async fn nobody_is_alone_on_a_broken_connection() {
    soon(async {
        let (broker, connection, _) = connected(1 << 16).await;
        let before = call(&connection);
        let inside = Arc::clone(&connection);
        let alone = tokio::spawn(async move { inside.exchange.alone().await.is_some() });
        drop(broker);
        assert!(!alone.await.unwrap());
        assert!(before.await.unwrap().is_err());
    })
    .await;
}
