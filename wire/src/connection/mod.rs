//! One connection to one broker: pipelined requests, answers told apart by correlation id.
//!
//! `exchange` owns the stream. An answer that does not come in time breaks the connection, as in Kafka's
//! own client (`NetworkClient.handleTimedOutRequests`): the broker answers in order, so whatever was
//! asked later waits behind it, and a peer that went away without a word is noticed by nothing else.
//! `login` says who we are, at first and again before the session ends.

mod exchange;
mod login;
mod segments;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
pub use exchange::MayGo;
use exchange::{Alone, Exchange};
use host::{ByteStream, Clock};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    },
    protocol::{Encodable, HeaderVersion, Request, StrBytes},
};

use crate::{
    error::{ApiError, ClientError},
    guard,
    produce::{self, ProduceBatch},
};

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// `HOST:PORT`, for messages.
    pub broker: String,
    /// Sent with each request.
    pub client_id: String,
    /// How long a caller waits while nothing arrives; less for what a broker answers at once.
    pub request_timeout: Duration,
    /// Largest answer, in bytes.
    pub max_frame: usize,
    /// After so long without use it should not be used again.
    pub max_idle: Duration,
    /// For timeouts.
    pub clock: Arc<dyn Clock>,
}

/// A connection whose broker's versions are known. Ends when the last handle is dropped.
#[derive(Debug)]
pub struct Connection {
    settings: ConnectionSettings,
    next_id: AtomicI32,
    exchange: Exchange,
    versions: BTreeMap<i16, (i16, i16)>,
    /// On the clock, in milliseconds.
    last_used: AtomicU64,
    /// The shortest time that an answer took, in microseconds.
    round_trip: AtomicU64,
    /// Whether the broker answered more than its versions, which it tells to anybody.
    trusted: AtomicBool,
    session: OnceLock<login::Session>,
}

/// A Produce request on its way.
#[derive(Debug)]
pub struct PendingProduce {
    answer: tokio::sync::oneshot::Receiver<Bytes>,
    version: i16,
    begun: Duration,
}

impl Connection {
    /// Takes over a connected stream and asks the broker for its versions.
    ///
    /// # Errors
    /// If the broker does not answer, or answers nonsense.
    pub async fn open(
        stream: Box<dyn ByteStream>,
        settings: ConnectionSettings,
    ) -> Result<Self, ClientError> {
        let mut connection = Self {
            exchange: Exchange::new(stream, settings.max_frame),
            settings,
            next_id: AtomicI32::new(0),
            versions: BTreeMap::new(),
            last_used: AtomicU64::new(0),
            round_trip: AtomicU64::new(u64::MAX),
            trusted: AtomicBool::new(false),
            session: OnceLock::new(),
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("strait"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = connection.exchange(&request, 3).await?;
        // An older broker answers in version 0, whatever it was asked (KIP-511).
        if answer.error_code == UNSUPPORTED_VERSION {
            answer = connection
                .exchange(&ApiVersionsRequest::default(), 0)
                .await?;
        }
        if let Some(error) = ApiError::from_code(answer.error_code, None::<&str>) {
            return Err(ClientError::Api {
                what: format!("{}, its versions", connection.settings.broker),
                error,
            });
        }
        let ranges = answer
            .api_keys
            .iter()
            .map(|a| (a.api_key, (a.min_version, a.max_version)));
        connection.versions = ranges.collect();
        Ok(connection)
    }

    /// Sends a request in the highest of `versions` that both sides speak, and waits for the answer.
    /// Cancel-safe: a request is sent whole or not at all, and other callers are not disturbed.
    ///
    /// # Errors
    /// If there is no such version, no answer in time, or the connection breaks.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        versions: RangeInclusive<i16>,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>(versions)?;
        let answer = self.exchange(request, version).await;
        match &answer {
            Ok(_) => self.trusted.store(true, Ordering::Relaxed),
            Err(ClientError::Unreachable { broker, reason })
                if !self.trusted.load(Ordering::Relaxed) && reason == exchange::CLOSED =>
            {
                return Err(ClientError::Unreachable {
                    broker: broker.clone(),
                    reason: format!(
                        "{reason} at the first request; if that repeats, it may want a login: \
                         check security.protocol"
                    ),
                });
            }
            Err(_) => {}
        }
        answer
    }

    /// Whether it was used of late: the broker may be closing one that was not, and a request that meets the close
    /// is lost.
    pub fn is_fresh(&self) -> bool {
        let last = Duration::from_millis(self.last_used.load(Ordering::Relaxed));
        let idle = self.settings.clock.monotonic().saturating_sub(last);
        idle < self.settings.max_idle
    }

    fn touch(&self) {
        let now = self.settings.clock.monotonic().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// The shortest time that an answer took so far: the way there and back, and little else. The first one was to a
    /// question without work for the broker.
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed))
    }

    fn answered(&self, begun: Duration) {
        let took = self.settings.clock.monotonic().saturating_sub(begun);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.fetch_min(took, Ordering::Relaxed);
    }

    /// Sends batches, to be acknowledged by all in-sync replicas, and does not wait: requests of one
    /// connection are worked on and answered in their order. At most 64 may be on their way. The answer has no
    /// timer of its own. `may_go` is asked right before the request is written.
    ///
    /// # Errors
    /// If the connection broke, or both sides share no version from 9 to 13.
    pub fn begin_produce(
        &self,
        batches: &[ProduceBatch],
        timeout: Duration,
        may_go: MayGo,
    ) -> Result<PendingProduce, ClientError> {
        self.touch();
        let id_known = batches.iter().all(|batch| !batch.topic_id.is_nil());
        let highest = produce::MAX_VERSION - i16::from(!id_known);
        let version = self.version::<ProduceRequest>(produce::MIN_VERSION..=highest)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let client = &self.settings.client_id;
        let frame = produce::encode(batches, version, id, client, timeout);
        let answer = self.exchange.begin(id, frame.into(), may_go);
        let answer = answer.ok_or_else(|| self.unreachable())?;
        Ok(PendingProduce {
            answer,
            version,
            begun: self.settings.clock.monotonic(),
        })
    }

    /// What a request that was begun came to. Cancel-safe.
    ///
    /// # Errors
    /// If the connection broke, or the answer makes no sense.
    pub async fn finish(
        &self,
        pending: &mut PendingProduce,
    ) -> Result<ProduceResponse, ClientError> {
        let answer = (&mut pending.answer).await;
        let answer = answer.map_err(|_| self.unreachable())?;
        self.answered(pending.begun);
        self.decode::<ProduceRequest>(answer, pending.version)
    }

    /// Whom it leads to: `HOST:PORT`.
    pub fn broker(&self) -> &str {
        &self.settings.broker
    }

    /// Breaks the connection: everybody who waits hears the reason.
    pub fn close(&self, reason: &str) {
        self.exchange.close(reason);
    }

    /// Whether the connection broke.
    pub fn is_broken(&self) -> bool {
        self.exchange.broken().is_some()
    }

    fn version<R: Request>(&self, wanted: RangeInclusive<i16>) -> Result<i16, ClientError> {
        let lowest = R::VERSIONS.min.max(*wanted.start());
        let highest = R::VERSIONS.max.min(*wanted.end());
        let name = api_name(R::KEY);
        let Some((min, max)) = self.versions.get(&R::KEY).copied() else {
            return Err(self.protocol(format!("it does not speak {name}")));
        };
        if lowest.max(min) <= highest.min(max) {
            Ok(highest.min(max))
        } else {
            Err(self.protocol(format!(
                "it speaks {name} in versions {min} to {max}, strait in {lowest} to {highest}"
            )))
        }
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        self.exchange_as(None, request, version).await
    }

    /// With `alone`, past the callers that wait for it.
    async fn exchange_as<R: Request>(
        &self,
        alone: Option<&Alone<'_>>,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        self.touch();
        let begun = self.settings.clock.monotonic();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = self.encode(request, version, id)?;
        let timeout = self.settings.request_timeout.min(patience(R::KEY));
        let asked = async {
            match alone {
                None => self.exchange.ask(id, frame).await,
                Some(alone) => self.exchange.ask_alone(alone, id, frame).await,
            }
        };
        tokio::pin!(asked);
        let mut arrived = self.exchange.arrived();
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut asked => break answer,
                () = self.settings.clock.sleep(timeout) => {}
            }
            // What is long on its way is not late.
            let before = std::mem::replace(&mut arrived, self.exchange.arrived());
            if before == arrived {
                let (api, seconds) = (api_name(R::KEY), timeout.as_secs());
                self.exchange
                    .close(&format!("no answer to {api} within {seconds} s"));
                let broker = self.settings.broker.clone();
                return Err(ClientError::Timeout {
                    broker,
                    api,
                    seconds,
                });
            }
        };
        let answer = answer.ok_or_else(|| self.unreachable())?;
        self.answered(begun);
        self.touch();
        self.decode::<R>(answer, version)
    }

    /// One buffer: length, header, body.
    fn encode<R: Request>(&self, request: &R, version: i16, id: i32) -> Result<Bytes, ClientError> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_string(self.settings.client_id.clone())));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|error| self.protocol(format!("encode {}: {error}", api_name(R::KEY))))?;
        let length = i32::try_from(frame.len() - 4)
            .map_err(|_| self.protocol("a request of more than 2 GiB".to_owned()))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame.freeze())
    }

    fn decode<R: Request>(
        &self,
        mut frame: Bytes,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        // An old broker answers ApiVersions in version 0 with error 35.
        let is_refusal = R::KEY == ApiKey::ApiVersions as i16
            && frame.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes()[..]);
        let version = if is_refusal { 0 } else { version };
        guard::decode::<ResponseHeader>(&mut frame, R::Response::header_version(version))
            .and_then(|_| guard::decode(&mut frame, version))
            .map_err(|error| {
                let reason = format!("decode {}: {error}", api_name(R::KEY));
                self.exchange.close(&reason);
                self.protocol(reason)
            })
    }

    fn unreachable(&self) -> ClientError {
        let reason = self.exchange.broken();
        ClientError::Unreachable {
            broker: self.settings.broker.clone(),
            reason: reason.unwrap_or_else(|| "closed".to_owned()),
        }
    }

    fn protocol(&self, reason: String) -> ClientError {
        ClientError::Protocol {
            broker: self.settings.broker.clone(),
            reason,
        }
    }
}

const UNSUPPORTED_VERSION: i16 = 35;

/// What a broker answers from memory, or from its log within the moment that it was asked to wait, it answers soon:
/// one that does not is suspended or cut off, and whoever waits for it would better ask another one.
fn patience(key: i16) -> Duration {
    const AT_ONCE: [ApiKey; 7] = [
        ApiKey::ApiVersions,
        ApiKey::Metadata,
        ApiKey::FindCoordinator,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::OffsetForLeaderEpoch,
        ApiKey::DescribeProducers,
    ];
    if AT_ONCE.iter().any(|at_once| *at_once as i16 == key) {
        Duration::from_secs(10)
    } else {
        Duration::MAX
    }
}

fn api_name(key: i16) -> &'static str {
    // The calls that this client makes; others do not get here.
    ApiKey::try_from(key).map_or("an unknown API", |key| match key {
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::CreatePartitions => "CreatePartitions",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::DeleteGroups => "DeleteGroups",
        ApiKey::DeleteRecords => "DeleteRecords",
        ApiKey::DeleteTopics => "DeleteTopics",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        ApiKey::DescribeGroups => "DescribeGroups",
        ApiKey::DescribeProducers => "DescribeProducers",
        ApiKey::Fetch => "Fetch",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::Heartbeat => "Heartbeat",
        ApiKey::IncrementalAlterConfigs => "IncrementalAlterConfigs",
        ApiKey::JoinGroup => "JoinGroup",
        ApiKey::LeaveGroup => "LeaveGroup",
        ApiKey::ListGroups => "ListGroups",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        ApiKey::Produce => "Produce",
        ApiKey::SaslAuthenticate => "SaslAuthenticate",
        ApiKey::SaslHandshake => "SaslHandshake",
        ApiKey::SyncGroup => "SyncGroup",
        _ => "a request",
    })
}

#[cfg(test)]
mod tests;
