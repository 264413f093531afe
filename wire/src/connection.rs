//! One connection to one broker: pipelined requests, answers told apart by correlation id.
//!
//! Two tasks own the stream. The writer takes whole frames from a bounded queue, so a caller that is
//! cancelled never leaves half a frame on the wire; the reader hands each answer to its caller. When
//! either fails, the connection is broken for good and every caller gets the one reason.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use host::{ByteStream, Clock};
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader},
    protocol::{Encodable, HeaderVersion, Request, StrBytes},
};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
};

use crate::{error::ClientError, frame::read_frame, guard};

/// Requests that wait to be written; more wait in their callers.
const QUEUE: usize = 64;

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// `HOST:PORT`, for messages.
    pub broker: String,
    /// Sent with each request.
    pub client_id: String,
    /// How long a caller waits for an answer.
    pub request_timeout: Duration,
    /// Largest answer, in bytes.
    pub max_frame: usize,
    /// For timeouts.
    pub clock: Arc<dyn Clock>,
}

/// A connection whose broker's versions are known. Ends when the last handle is dropped.
#[derive(Debug)]
pub struct Connection {
    settings: ConnectionSettings,
    next_id: AtomicI32,
    frames: mpsc::Sender<Bytes>,
    pending: Arc<Pending>,
    versions: HashMap<i16, (i16, i16)>,
}

/// Who waits for which answer; once broken, why.
#[derive(Debug, Default)]
struct Pending(Mutex<PendingState>);

#[derive(Debug, Default)]
struct PendingState {
    callers: HashMap<i32, oneshot::Sender<Bytes>>,
    broken: Option<String>,
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
        let (reader, writer) = tokio::io::split(stream);
        let (frames, queue) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending::default());
        tokio::spawn(write_frames(writer, queue, Arc::clone(&pending)));
        tokio::spawn(read_answers(
            reader,
            settings.max_frame,
            Arc::clone(&pending),
        ));
        let mut connection = Self {
            settings,
            next_id: AtomicI32::new(0),
            frames,
            pending,
            versions: HashMap::new(),
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
        let ranges = answer
            .api_keys
            .iter()
            .map(|a| (a.api_key, (a.min_version, a.max_version)));
        connection.versions = ranges.collect();
        Ok(connection)
    }

    /// Sends a request in the highest version up to `cap` that both sides speak, and waits for the answer.
    ///
    /// # Errors
    /// If there is no such version, no answer in time, or the connection breaks.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        cap: i16,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>(cap)?;
        self.exchange(request, version).await
    }

    /// Whether the connection broke.
    pub fn is_broken(&self) -> bool {
        self.pending.state().broken.is_some()
    }

    fn version<R: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        let ours = R::VERSIONS;
        let theirs = self.versions.get(&R::KEY);
        let version = theirs.map(|(min, max)| (*min.max(&ours.min), *max.min(&ours.max).min(&cap)));
        match version {
            Some((lowest, highest)) if lowest <= highest => Ok(highest),
            _ => Err(self.protocol(format!(
                "it speaks {} in versions {theirs:?}, strait in {} to {}",
                api_name(R::KEY),
                ours.min,
                ours.max.min(cap)
            ))),
        }
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = self.encode(request, version, id)?;
        let (caller, answer) = oneshot::channel();
        self.pending.register(id, caller);
        let _waiting = Registration {
            pending: &self.pending,
            id,
        };
        let talk = async {
            self.frames.send(frame).await.ok();
            answer.await.map_err(|_| self.unreachable())
        };
        let frame = tokio::select! {
            biased;
            frame = talk => frame?,
            () = self.settings.clock.sleep(self.settings.request_timeout) => {
                return Err(ClientError::Timeout {
                    broker: self.settings.broker.clone(),
                    api: api_name(R::KEY),
                    seconds: self.settings.request_timeout.as_secs(),
                });
            }
        };
        self.decode::<R>(frame, version)
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
            .map_err(|error| self.protocol(format!("decode {}: {error}", api_name(R::KEY))))
    }

    fn unreachable(&self) -> ClientError {
        let reason = self.pending.state().broken.clone();
        ClientError::Unreachable {
            broker: self.settings.broker.clone(),
            reason: reason.unwrap_or_else(|| "connection closed".to_owned()),
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

fn api_name(key: i16) -> &'static str {
    // The names of the calls that this client makes; others do not get here.
    ApiKey::try_from(key).map_or("an unknown API", |key| match key {
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::Metadata => "Metadata",
        ApiKey::Produce => "Produce",
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::CreatePartitions => "CreatePartitions",
        ApiKey::DeleteTopics => "DeleteTopics",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        ApiKey::IncrementalAlterConfigs => "IncrementalAlterConfigs",
        _ => "a request",
    })
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, PendingState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a broken connection the caller is dropped, and hears so.
    fn register(&self, id: i32, caller: oneshot::Sender<Bytes>) {
        let mut state = self.state();
        if state.broken.is_none() {
            state.callers.insert(id, caller);
        }
    }

    fn answer(&self, id: i32, frame: Bytes) {
        let caller = self.state().callers.remove(&id);
        // Nobody waits any more for an answer that came after its caller's timeout.
        if let Some(caller) = caller {
            caller.send(frame).ok();
        }
    }

    fn fail(&self, reason: &str) {
        let mut state = self.state();
        state.broken.get_or_insert_with(|| reason.to_owned());
        state.callers.clear();
    }
}

/// Forgets a caller that went away.
struct Registration<'a> {
    pending: &'a Pending,
    id: i32,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.pending.state().callers.remove(&self.id);
    }
}

async fn write_frames(
    mut writer: WriteHalf<Box<dyn ByteStream>>,
    mut queue: mpsc::Receiver<Bytes>,
    pending: Arc<Pending>,
) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = writer.write_all(&frame).await {
            pending.fail(&error.to_string());
            return;
        }
    }
    // The last handle is gone; closing our side ends the reader too.
    writer.shutdown().await.ok();
}

async fn read_answers(
    mut reader: ReadHalf<Box<dyn ByteStream>>,
    max_frame: usize,
    pending: Arc<Pending>,
) {
    loop {
        match read_frame(&mut reader, max_frame).await {
            Ok(Some(frame)) if frame.len() >= 4 => {
                let id = frame.clone().get_i32();
                pending.answer(id, frame);
            }
            Ok(Some(_)) => return pending.fail("an answer without correlation id"),
            Ok(None) => return pending.fail("closed by the broker"),
            Err(error) => return pending.fail(&error.to_string()),
        }
    }
}
