//! Who may ask the process to do something: programs on this machine, and no web page.
//!
//! A browser on this machine may be made to send a request by any page that it shows. It does not send JSON to another
//! origin unasked, and names the origin's host in `Host` even where that was made to point here (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::connect_info::Connected,
    http::{HeaderMap, header},
    serve::IncomingStream,
};

use super::listener::Bounded;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Whether the request may change something; the error is a reason.
pub(super) fn admits(peer: Peer, headers: &HeaderMap) -> Result<(), String> {
    if !peer.0.ip().to_canonical().is_loopback() {
        return Err(format!(
            "checkpoints are changed from the process's own machine only, not from {}",
            peer.0.ip()
        ));
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match host.map(is_own_name) {
        Some(true) => Ok(()),
        _ => Err("the Host header names no loopback address".to_owned()),
    }
}

fn is_own_name(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_admitted_and_by_its_own_name() {
        let admitted = |peer: &str, host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            admits(Peer(peer.parse().unwrap()), &headers).is_ok()
        };
        for host in [
            "127.0.0.1:9465",
            "localhost:9465",
            "localhost",
            "[::1]:9465",
        ] {
            assert!(admitted("127.0.0.1:5000", host), "{host}");
            assert!(admitted("[::ffff:127.0.0.1]:5000", host), "{host}");
            assert!(!admitted("10.0.0.7:5000", host), "{host}");
        }
        for host in [
            "evil.example:9465",
            "localhost.evil.example",
            "10.0.0.7:9465",
        ] {
            assert!(!admitted("127.0.0.1:5000", host), "{host}");
        }
        assert!(admits(Peer("127.0.0.1:1".parse().unwrap()), &HeaderMap::new()).is_err());
    }
}
