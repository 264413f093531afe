//! One connection: TLS, the login, then frames in and answers out, in order.
//!
//! Requests of one connection are served one after the other, as Kafka does (it mutes a connection
//! until its answer is sent), so answers need no reordering and a client that pipelines is held back.
//!
//! What a peer costs is bounded: time by deadlines for the login, for the rest of a frame that has begun, between
//! frames, and for taking an answer; memory by the longest frame and by [`Memory`] for all connections together.

mod sending;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use host::ByteStream;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use tokio::io::AsyncWriteExt;
use wire::{frame, request};

use super::{
    deadline::Deadline,
    memory::{Memory, SMALL},
};
use crate::{
    api::{self, Answer, Context},
    security::{
        Principal,
        listeners::Listener,
        sasl::{Heard, LoggedIn, Login, Surroundings},
    },
    state::State,
};

/// How long a refused login waits for its answer, so that guessing is slow
/// (`connection.failed.authentication.delay.ms`).
const REFUSED_AFTER: Duration = Duration::from_millis(100);
/// A login is not renewed sooner than this after the last renewal (`KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS`).
const RENEWED_AFTER: Duration = Duration::from_secs(1);
/// What a frame that has begun may take: this, and a second for each [`SLOWEST`] bytes.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
const SLOWEST: usize = 1 << 20;
/// How long a peer may take to hear that the connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves one connection until the peer closes it or says something that cannot be answered.
pub(crate) async fn converse(
    stream: Box<dyn ByteStream>,
    peer: SocketAddr,
    listener: Arc<Listener>,
    state: Arc<State>,
    memory: Arc<Memory>,
) -> io::Result<()> {
    let mut deadline = Deadline::new(&state.host.clock, state.config.login_timeout);
    let (stream, principal) = match &listener.tls {
        None => (stream, Principal::anonymous()),
        Some(tls) => {
            deadline
                .bound("the TLS handshake", tls.secure(stream))
                .await?
        }
    };
    let mut connection = Connection {
        stream,
        write_deadline: Deadline::new(&state.host.clock, state.config.write_timeout),
        client_host: format!("/{}", peer.ip()),
        principal: Arc::new(principal),
        session: None,
        listener,
        state,
    };
    let ended = connection.talk(&memory, deadline).await;
    // In TLS a peer that is not told takes the end for an attack. Whoever does not listen is not waited for.
    let goodbye = connection.stream.shutdown();
    connection.write_deadline.set(GOODBYE);
    let goodbye = connection.write_deadline.bound("the end", goodbye).await;
    ended.and(goodbye)
}

struct Connection {
    stream: Box<dyn ByteStream>,
    write_deadline: Deadline,
    client_host: String,
    principal: Arc<Principal>,
    session: Option<Session>,
    listener: Arc<Listener>,
    state: Arc<State>,
}

/// A login that holds, by the monotonic clock.
struct Session {
    login: LoggedIn,
    begun: Duration,
    is_renewed: bool,
}

impl Connection {
    async fn talk(&mut self, memory: &Memory, mut deadline: Deadline) -> io::Result<()> {
        if self.listener.sasl.is_some() {
            let login = self.log_in(Login::first(), None);
            deadline.bound("the login", login).await?;
        }
        self.serve(memory, deadline).await
    }

    async fn serve(&mut self, memory: &Memory, mut deadline: Deadline) -> io::Result<()> {
        let config = &self.state.config;
        let (max, idle) = (config.max_request_bytes, config.connections_max_idle);
        let mut next = Deadline::new(&self.state.host.clock, idle);
        loop {
            next.set(idle);
            let length = frame::read_length(&mut self.stream, max);
            let Some(length) = next.bound("the next request", length).await? else {
                return Ok(());
            };
            let room = memory.for_frame(length).await?;
            deadline.set(FRAME_TIMEOUT + Duration::from_secs((length / SLOWEST) as u64));
            let frame = frame::read_body(&mut self.stream, length);
            let frame = room.keep(deadline.bound("a request", frame).await?);
            self.state.metrics.bytes_in.increment(4 + length as u64);
            let mut body = frame.clone();
            let mut header = request::header(&mut body).map_err(api::invalid)?;
            if let Some(login) = self.renewal(&header)? {
                deadline.set(self.state.config.login_timeout);
                let login = self.log_in(login, Some(frame));
                deadline.bound("the login", login).await?;
            } else {
                let cost = request::cost(&header, &body);
                let _room = memory.for_decoded(cost).await?;
                let cx = self.context(&header, cost > SMALL);
                // Of the frame only the request is left, which whoever waits for long has dropped.
                drop(frame);
                (header.client_id, header.unknown_tagged_fields) = Default::default();
                let answer = answer(cx, header, body).await?;
                self.say_some(answer).await?;
            }
        }
    }

    /// The login that this request begins anew (KIP-368). Other requests end the connection when its session is over.
    fn renewal(&self, header: &RequestHeader) -> io::Result<Option<Login>> {
        let Some(session) = &self.session else {
            return Ok(None);
        };
        let is_handshake = header.request_api_key == ApiKey::SaslHandshake as i16;
        if !is_handshake && session.login.lifetime.is_none() {
            return Ok(None);
        }
        let age = self
            .state
            .host
            .clock
            .monotonic()
            .saturating_sub(session.begun);
        if is_handshake && (age >= RENEWED_AFTER || !session.is_renewed) {
            return Ok(Some(Login::again(session.login.clone())));
        }
        match session.login.lifetime {
            Some(lifetime) if age > lifetime => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the session is over and was not renewed",
            )),
            _ => Ok(None),
        }
    }

    /// Hears a login to its end; `first` is its first frame, if that was read already.
    async fn log_in(&mut self, mut login: Login, mut first: Option<Bytes>) -> io::Result<()> {
        let listener = Arc::clone(&self.listener);
        let state = Arc::clone(&self.state);
        let Some(sasl) = &listener.sasl else {
            return Err(api::invalid("there are no logins here"));
        };
        loop {
            let frame = match first.take() {
                Some(frame) => Some(frame),
                None => frame::read_frame(&mut self.stream, sasl.max_frame).await?,
            };
            let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
            let around = Surroundings {
                sasl,
                credentials: &state.credentials,
                random: &*state.host.random,
                now_ms: state.host.clock.wall_ms(),
            };
            match login.hear(&around, frame)? {
                Heard::GoOn(answer) => self.say_some(answer).await?,
                Heard::Done(answer, done) => {
                    self.principal = Arc::new(done.principal.clone());
                    self.session = Some(Session {
                        is_renewed: self.session.is_some(),
                        login: done,
                        begun: state.host.clock.monotonic(),
                    });
                    return self.say_some(answer).await;
                }
                Heard::Refused(answer, reason) => {
                    state.metrics.logins_refused.increment(1);
                    state.host.clock.sleep(REFUSED_AFTER).await;
                    self.say_some(answer).await?;
                    let host = &self.client_host;
                    tracing::info!(
                        client = host,
                        listener = listener.name,
                        reason,
                        "login refused"
                    );
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
                }
            }
        }
    }

    /// Who asks this.
    fn context(&self, header: &RequestHeader, is_large: bool) -> Context {
        Context {
            state: Arc::clone(&self.state),
            listener: Arc::clone(&self.listener),
            principal: Arc::clone(&self.principal),
            client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
            client_host: self.client_host.clone(),
            is_large,
            hangs_up: Arc::default(),
        }
    }
}

/// The answer as a frame; none for a request that wants none.
async fn answer(cx: Context, header: RequestHeader, body: Bytes) -> io::Result<Option<Answer>> {
    let answer = match api::serve(&cx, &header, body).await {
        Ok(_) if cx.hangs_up.load(Ordering::Relaxed) => {
            let reason = "a request that failed wants no answer";
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason))
        }
        answer => answer,
    };
    if let Some(counters) = cx.state.metrics.api(header.request_api_key) {
        match &answer {
            Ok(_) => counters.answered.increment(1),
            Err(_) => counters.closed.increment(1),
        }
    }
    answer
}
