use std::{net::SocketAddr, time::Duration};

use fast_socks5::server::{DnsResolveHelper, Socks5ServerProtocol, run_tcp_proxy};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Who may pass.
const LOGIN: (&str, &str) = ("ann", "pen:cil ü");

/// Serves connections, each by `serve`, which gets the next one.
async fn listen<F: Future<Output: Send> + Send>(
    serve: impl Fn(TcpStream) -> F + Copy + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    address
}

/// Says back what it hears.
async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.ok();
}

/// Another's SOCKS5.
async fn socks(stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let is_known = |name: String, password: String| (name.as_str(), password.as_str()) == LOGIN;
    let (protocol, _) = Socks5ServerProtocol::accept_password_auth(stream, is_known).await?;
    let (protocol, _, to) = protocol.read_command().await?.resolve_dns().await?;
    run_tcp_proxy(protocol, &to, Duration::from_secs(5), false).await?;
    Ok(())
}

/// CONNECT as in RFC 9110, 9.3.6, with a login as in RFC 7617.
async fn connect(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let words: Vec<_> = lines[0].split(' ').collect();
    let ["CONNECT", to, "HTTP/1.1"] = words[..] else {
        panic!("{lines:?}");
    };
    assert!(lines.contains(&format!("Host: {to}")), "{lines:?}");
    // printf 'ann:pen:cil ü' | base64
    let known = "Proxy-Authorization: Basic YW5uOnBlbjpjaWwgw7w=";
    if !lines.iter().any(|line| line == known) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        return stream.write_all(refusal).await;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    };
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

fn proxy(kind: ProxyKind, address: SocketAddr, password: Option<&str>) -> Proxy {
    Proxy {
        kind,
        host: address.ip().to_string(),
        port: address.port(),
        login: password.map(|password| (Secret::new(LOGIN.0), Secret::new(password))),
    }
}

#[tokio::test]
async fn bytes_go_both_ways_through_a_proxy_and_refusals_are_told() {
    let net: Arc<dyn Net> = Arc::new(host::net::Tcp);
    let broker = listen(echo).await;
    // A port that nobody listens on any more.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for (kind, at) in [
        (ProxyKind::Socks5, listen(socks).await),
        (ProxyKind::Http, listen(connect).await),
    ] {
        let known = proxy(kind, at, Some(LOGIN.1));
        for host in ["127.0.0.1", "localhost"] {
            let mut stream = known.connect(&net, host, broker.port()).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ping");
        }
        let refused = async |proxy: Proxy, port| {
            let Err(error) = proxy.connect(&net, "127.0.0.1", port).await else {
                panic!("{proxy} took it");
            };
            assert!(
                error.starts_with(&format!("through proxy {proxy}: ")),
                "{error}"
            );
            assert!(!error.contains("pen:cil"), "{error}");
            error
        };
        refused(known.clone(), nobody.port()).await;
        let error = refused(proxy(kind, at, Some("wrong")), broker.port()).await;
        let words = ["authorization required", "credentials not accepted", "eof"];
        assert!(words.iter().any(|word| error.contains(word)), "{error}");
        refused(proxy(kind, at, None), broker.port()).await;
        let error = refused(proxy(kind, nobody, None), broker.port()).await;
        assert!(error.contains("refused"), "{error}");
    }
}

#[test]
fn what_is_shown_has_no_password() {
    let proxy = proxy(
        ProxyKind::Http,
        "[::1]:3128".parse().unwrap(),
        Some("hunter2"),
    );
    assert_eq!(proxy.to_string(), "http://[::1]:3128");
    assert!(!format!("{proxy:?}").contains("hunter2"));
}
