//! A broker that knows its versions, logins and metadata, and notes what it sees.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, RequestHeader, ResponseHeader,
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse, api_versions_response::ApiVersion,
        metadata_response::MetadataResponseBroker,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use wire::frame::read_frame;

use super::scram;

/// What it asks of its clients, and what it saw.
#[derive(Default)]
pub(crate) struct State {
    /// Name and password; none: no login is wanted.
    pub(crate) login: Option<(String, String)>,
    /// A password that the broker takes for its own when it proves itself.
    pub(crate) impostor: bool,
    /// What sessions last, in milliseconds; 0: for good.
    pub(crate) lifetime_ms: i64,
    /// Connections that were accepted.
    pub(crate) connections: usize,
    /// Logins that were tried: mechanism, and whether it was let in.
    pub(crate) logins: Vec<(String, bool)>,
    /// Requests for metadata that were answered.
    pub(crate) served: usize,
}

pub(crate) struct Peer {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// Counts up to close all connections.
    kick: watch::Sender<u32>,
    accepting: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Peer {
    pub(crate) async fn start(tls: Option<ServerConfig>, state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(state));
        let (kick, kicked) = watch::channel(0);
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let talk = Talk {
                    port,
                    state: Arc::clone(&shared),
                    scram: None,
                    mechanism: String::new(),
                    known: false,
                };
                tokio::spawn(serve(stream, acceptor.clone(), talk, kicked.clone()));
            }
        });
        Self {
            port,
            state,
            kick,
            accepting,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Closes all connections.
    pub(crate) fn kick(&self) {
        self.kick.send_modify(|count| *count += 1);
    }

    /// Until it has seen what `condition` wants.
    pub(crate) async fn sees(&self, condition: impl Fn(&State) -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !condition(&self.state()) {
            assert!(std::time::Instant::now() < end, "not within 20 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    talk: Talk,
    mut kicked: watch::Receiver<u32>,
) {
    kicked.mark_unchanged();
    let talking = async {
        match acceptor {
            None => talk.run(stream).await,
            Some(acceptor) => {
                if let Ok(stream) = acceptor.accept(stream).await {
                    talk.run(stream).await;
                }
            }
        }
    };
    tokio::select! {
        () = talking => {}
        _ = kicked.changed() => {}
    }
}

/// One connection.
struct Talk {
    port: u16,
    state: Arc<Mutex<State>>,
    scram: Option<scram::Server>,
    mechanism: String,
    known: bool,
}

impl Talk {
    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Ok(Some(mut frame)) = read_frame(&mut stream, 1 << 20).await {
            let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            let header = key.request_header_version(version);
            let header = RequestHeader::decode(&mut frame, header).unwrap();
            let Some(body) = self.answer(key, version, frame) else {
                return;
            };
            let mut answer = BytesMut::new();
            ResponseHeader::default()
                .with_correlation_id(header.correlation_id)
                .encode(&mut answer, key.response_header_version(version))
                .unwrap();
            answer.put(body);
            let mut frame = BytesMut::new();
            frame.put_u32(answer.len() as u32);
            frame.put(answer);
            let sent = async {
                stream.write_all(&frame).await?;
                stream.flush().await
            };
            if sent.await.is_err() {
                return;
            }
        }
    }

    /// None: closes the connection.
    fn answer(&mut self, key: ApiKey, version: i16, mut body: Bytes) -> Option<BytesMut> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap();
        match key {
            ApiKey::ApiVersions => encoded(&versions(), version),
            ApiKey::SaslHandshake => {
                let request = SaslHandshakeRequest::decode(&mut body, version).unwrap();
                self.mechanism = request.mechanism.to_string();
                self.scram = None;
                self.known = false;
                let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
                let code = if state.login.is_some() { 0 } else { 33 };
                let names = known.map(StrBytes::from_static_str).to_vec();
                let answer = SaslHandshakeResponse::default()
                    .with_error_code(code)
                    .with_mechanisms(names);
                encoded(&answer, version)
            }
            ApiKey::SaslAuthenticate => {
                let request = SaslAuthenticateRequest::decode(&mut body, version).unwrap();
                let answer = self.authenticate(&mut state, &request.auth_bytes);
                encoded(&answer, version)
            }
            ApiKey::Metadata if self.known || state.login.is_none() => {
                state.served += 1;
                let broker = MetadataResponseBroker::default()
                    .with_node_id(BrokerId(1))
                    .with_host(StrBytes::from_static_str("localhost"))
                    .with_port(self.port.into());
                let answer = MetadataResponse::default()
                    .with_cluster_id(Some(StrBytes::from_static_str("peer")))
                    .with_brokers(vec![broker]);
                encoded(&answer, version)
            }
            // As Kafka does.
            _ => None,
        }
    }

    fn authenticate(&mut self, state: &mut State, token: &[u8]) -> SaslAuthenticateResponse {
        let (username, password) = state.login.clone().unwrap();
        let hash = match self.mechanism.as_str() {
            "SCRAM-SHA-256" => scram::sha256(),
            "SCRAM-SHA-512" => scram::sha512(),
            _ => {
                let wanted = format!("\0{username}\0{password}");
                let proof = (token == wanted.as_bytes()).then(Vec::new);
                return self.decide(state, proof);
            }
        };
        let Some(server) = self.scram.take() else {
            let (server, answer) = scram::Server::first(hash, token);
            self.scram = Some(server);
            return SaslAuthenticateResponse::default().with_auth_bytes(answer.into());
        };
        let known = server.username == username;
        let mut proof = server.last(token, &password).filter(|_| known);
        if state.impostor {
            proof = Some(b"v=AAAA".to_vec());
        }
        self.decide(state, proof)
    }

    fn decide(&mut self, state: &mut State, proof: Option<Vec<u8>>) -> SaslAuthenticateResponse {
        state.logins.push((self.mechanism.clone(), proof.is_some()));
        self.known = proof.is_some();
        let answer = SaslAuthenticateResponse::default();
        match proof {
            Some(proof) => answer
                .with_auth_bytes(proof.into())
                .with_session_lifetime_ms(state.lifetime_ms),
            None => answer
                .with_error_code(58)
                .with_error_message(Some(StrBytes::from_static_str("who are you?"))),
        }
    }
}

fn encoded(answer: &impl Encodable, version: i16) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    answer.encode(&mut body, version).unwrap();
    Some(body)
}

fn versions() -> ApiVersionsResponse {
    let spoken = [
        (ApiKey::ApiVersions, 3),
        (ApiKey::Metadata, 12),
        (ApiKey::SaslHandshake, 1),
        (ApiKey::SaslAuthenticate, 2),
    ];
    let ranges = spoken.map(|(key, max)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(ranges.to_vec())
}
