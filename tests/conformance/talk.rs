//! One talk with one broker: requests as bytes, and what came back.

use std::{
    fmt::Debug,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

use super::{fields, mask::Mask};

/// Longer than any request of the cases takes; a broker that says nothing until then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was asked, and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// API, version and what is special about the request.
    pub asked: String,
    /// `path: value` for each field, or one line that says that there is no answer.
    pub answer: Vec<String>,
}

/// What a broker did with the bytes it got.
#[derive(Debug)]
pub enum Reaction {
    /// A frame came, without its length.
    Answer(Bytes),
    /// The connection was closed.
    Closed,
    /// Neither, for as long as was waited.
    Silent,
}

/// A talk over one connection; a new one is made when the broker has closed it.
pub struct Talk {
    pub address: SocketAddr,
    pub entries: Vec<Entry>,
    /// Who logs in by PLAIN on each new connection; the password is the name.
    pub user: Option<&'static str>,
    stream: Option<TcpStream>,
    correlation: i32,
    mask: Mask,
}

impl Talk {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            entries: Vec::new(),
            user: None,
            stream: None,
            correlation: 0,
            mask: Mask::new(address),
        }
    }

    /// Asks and notes the answer. Where none comes the note says so, and what is returned is the default.
    pub fn ask<R>(&mut self, what: &str, version: i16, request: &R) -> R::Response
    where
        R: Request<Response: Default + Debug>,
    {
        self.ask_edited(what, version, request, |_| {})
    }

    /// The same; what is noted is the answer as `edit` leaves it, what is returned is as it came.
    pub fn ask_edited<R>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        edit: impl FnOnce(&mut R::Response),
    ) -> R::Response
    where
        R: Request<Response: Default + Debug>,
    {
        let frame = self.frame(version, request);
        let reaction = self.exchange(&frame, PATIENCE);
        self.note::<R>(what, version, reaction, edit)
    }

    /// Asks, and notes nothing.
    pub fn quietly<R>(&mut self, version: i16, request: &R) -> R::Response
    where
        R: Request<Response: Default + Debug>,
    {
        let noted = self.entries.len();
        let response = self.ask("", version, request);
        self.entries.truncate(noted);
        response
    }

    /// Sends bytes as they are, and notes what comes back as an answer to `R`.
    pub fn send<R>(&mut self, what: &str, version: i16, frame: &[u8])
    where
        R: Request<Response: Default + Debug>,
    {
        self.send_edited::<R>(what, version, frame, |_| {});
    }

    /// The same; what is noted is the answer as `edit` leaves it.
    pub fn send_edited<R>(
        &mut self,
        what: &str,
        version: i16,
        frame: &[u8],
        edit: impl FnOnce(&mut R::Response),
    ) where
        R: Request<Response: Default + Debug>,
    {
        let reaction = self.exchange(frame, Duration::from_secs(2));
        self.note::<R>(what, version, reaction, edit);
        // Whatever the broker still waits for is not to be mixed with the next request.
        self.stream = None;
    }

    /// Sends bytes as they are, and notes whether they are answered at all.
    pub fn poke(&mut self, what: &str, frame: &[u8]) {
        let answer = match self.exchange(frame, Duration::from_secs(2)) {
            Reaction::Answer(_) => "answered",
            Reaction::Closed => "closed",
            Reaction::Silent => "silent",
        };
        self.stream = None;
        self.entries.push(Entry {
            asked: what.to_owned(),
            answer: vec![answer.to_owned()],
        });
    }

    /// A whole frame with its length in front.
    pub fn frame<R: Request>(&mut self, version: i16, request: &R) -> BytesMut {
        self.correlation += 1;
        framed(version, self.correlation, request)
    }

    /// Goes on as somebody else, on a new connection.
    pub fn becomes(&mut self, user: &'static str) {
        self.user = Some(user);
        self.stream = None;
    }

    /// Goes on by a new connection.
    pub fn reconnects(&mut self) {
        self.stream = None;
    }

    /// Sends a frame that is no request, and notes what comes back, as bytes.
    pub fn tell(&mut self, what: &str, frame: &[u8]) {
        let reaction = self.exchange(frame, PATIENCE);
        self.entries.push(Entry {
            asked: what.to_owned(),
            answer: vec![format!("{reaction:?}")],
        });
    }

    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the broker takes connections");
        let Some(user) = self.user else {
            return stream;
        };
        let plain = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let token = format!("\0{user}\0{user}").into_bytes();
        let token = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        for frame in [framed(1, 0, &plain), framed(1, 0, &token)] {
            let reaction = converse(&mut stream, &frame, PATIENCE);
            assert!(matches!(reaction, Reaction::Answer(_)), "{user} logs in");
        }
        stream
    }

    fn exchange(&mut self, frame: &[u8], patience: Duration) -> Reaction {
        let mut stream = self.stream.take().unwrap_or_else(|| self.connect());
        let reaction = converse(&mut stream, frame, patience);
        self.stream = Some(stream);
        if !matches!(reaction, Reaction::Answer(_)) {
            self.stream = None;
        }
        reaction
    }

    fn note<R>(
        &mut self,
        what: &str,
        version: i16,
        reaction: Reaction,
        edit: impl FnOnce(&mut R::Response),
    ) -> R::Response
    where
        R: Request<Response: Default + Debug>,
    {
        let name = std::any::type_name::<R>();
        let name = name.rsplit("::").next().unwrap_or(name);
        let asked = format!("{name} {version} {what}");
        let (answer, response) = match reaction {
            Reaction::Closed => (vec!["closed".to_owned()], R::Response::default()),
            Reaction::Silent => (vec!["silent".to_owned()], R::Response::default()),
            Reaction::Answer(frame) => match read::<R>(frame.clone(), version) {
                None => (
                    vec![format!("undecodable: {frame:?}")],
                    R::Response::default(),
                ),
                Some((correlation, response)) => {
                    let mut shown =
                        read::<R>(frame, version).map_or_else(R::Response::default, |r| r.1);
                    edit(&mut shown);
                    let mut answer = self.mask.fields(fields::of(&shown));
                    if correlation != self.correlation {
                        answer.push(format!("correlation: {}", correlation - self.correlation));
                    }
                    (answer, response)
                }
            },
        };
        self.entries.push(Entry { asked, answer });
        response
    }
}

fn framed<R: Request>(version: i16, correlation: i32, request: &R) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("conformance")));
    let mut frame = BytesMut::from(&[0u8; 4][..]);
    let header_version = R::header_version(version);
    header
        .encode(&mut frame, header_version)
        .and_then(|()| request.encode(&mut frame, version))
        .unwrap_or_else(|error| panic!("API {} version {version}: {error}", R::KEY));
    relength(&mut frame);
    frame
}

/// Sets the length in front of a frame to what it is.
pub fn relength(frame: &mut BytesMut) {
    let length = u32::try_from(frame.len() - 4).expect("frames are small");
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

fn converse(stream: &mut TcpStream, frame: &[u8], patience: Duration) -> Reaction {
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    let mut answer = || {
        stream.write_all(frame)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    match answer() {
        Ok(answer) => Reaction::Answer(answer.into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Reaction::Silent
        }
        Err(_) => Reaction::Closed,
    }
}

/// Correlation id and answer; none if it is not one from the first byte to the last.
fn read<R: Request>(mut frame: Bytes, version: i16) -> Option<(i32, R::Response)> {
    let header_version = R::Response::header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version).ok()?;
    let response = R::Response::decode(&mut frame, version).ok()?;
    frame
        .is_empty()
        .then_some((header.correlation_id, response))
}

/// Text as requests want it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
