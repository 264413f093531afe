//! A raw client: one request after the other, or several on their way at once.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self { stream, next: 0 }
    }

    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next)
            .with_client_id(Some(StrBytes::from_static_str("probe")));
        let mut frame = BytesMut::from(&[0u8; 4][..]);
        header
            .encode(&mut frame, R::header_version(version))
            .unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).unwrap();
        assert_eq!(header.correlation_id, self.next);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "the answer is read to its end");
        response
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }
}

/// What was asked and answered, in words that are the same on every broker: ids that the broker
/// makes up are replaced by their order of appearance.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) lines: Vec<String>,
    names: BTreeMap<String, String>,
    count: BTreeMap<char, u32>,
}

impl Transcript {
    pub(crate) fn title(&mut self, title: &str) {
        self.lines.push(format!("## {title}"));
    }

    pub(crate) fn note(&mut self, line: String) {
        self.lines.push(line);
    }

    /// The name of a made up id; `kind` M for members, P for producers.
    pub(crate) fn name(&mut self, kind: char, id: &str) -> String {
        if id.is_empty() || id == "-1" {
            return "-".to_owned();
        }
        if let Some(name) = self.names.get(id) {
            return name.clone();
        }
        let count = self.count.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind}{count}");
        self.names.insert(id.to_owned(), name.clone());
        name
    }
}

pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}
