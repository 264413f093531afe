use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use host::sim::SimClock;
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

use super::*;

/// An issuer that gives every request the same answer, if any, and checks what it is asked.
struct Issuer {
    address: SocketAddr,
    certificate: String,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(status: &'static str, body: String) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                key.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count, body) = (acceptor.clone(), Arc::clone(&count), body.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        count.fetch_add(1, Ordering::Relaxed);
                        answer(stream, status, &body).await;
                    }
                });
            }
        });
        Self {
            address,
            certificate: own.pem(),
            asked,
        }
    }

    fn source(&self) -> TokenSource {
        TokenSource {
            endpoint: format!(
                "https://localhost:{}/oauth2/token?tenant=a",
                self.address.port()
            ),
            trusted: Some(self.certificate.clone()),
            client_id: Secret::new("strait"),
            client_secret: Secret::new("hunter2"),
            scope: Some("kafka read&write".to_owned()),
            extensions: Vec::new(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// One request, as RFC 6749, 4.4.2 has it; without a status there is no answer.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: &str) {
    let mut stream = BufReader::new(stream);
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(told) = line.strip_prefix("content-length: ") {
            length = told.parse().unwrap();
        }
        lines.push(line);
    }
    let mut form = vec![0; length];
    stream.read_exact(&mut form).await.unwrap();
    assert_eq!(lines[0], "post /oauth2/token?tenant=a http/1.1");
    // printf strait:hunter2 | base64
    let basic = "authorization: basic c3ryywl0omh1bnrlcji=";
    assert!(lines.iter().any(|line| line == basic), "{lines:?}");
    let wanted = "grant_type=client_credentials&scope=kafka+read%26write";
    assert_eq!(String::from_utf8(form).unwrap(), wanted);
    if status.is_empty() {
        return std::future::pending().await;
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok();
    stream.write_all(body.as_bytes()).await.ok();
    stream.flush().await.ok();
    // Until the other side has read it.
    stream.read_u8().await.ok();
}

fn at(clock: &SimClock) -> Host {
    Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_until_it_is_due_or_refused() {
    let good = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":100,"scope":"kafka"}"#;
    let issuer = Issuer::start("200 OK", good.to_owned()).await;
    let (clock, tokens, source) = (SimClock::new(0), Tokens::default(), issuer.source());
    source.check().unwrap();
    let host = at(&clock);
    let get = async || tokens.get(&source, &host).await.unwrap();
    let (one, other) = tokio::join!(get(), get());
    assert!(one == Secret::new("a.b.c") && one == other);
    assert_eq!(issuer.asked(), 1);
    clock.advance(Duration::from_secs(79));
    get().await;
    assert_eq!(issuer.asked(), 1);
    clock.advance(Duration::from_secs(1));
    get().await;
    assert_eq!(issuer.asked(), 2, "80 of 100 seconds are over");
    tokens.forget(&Secret::new("an older one")).await;
    get().await;
    assert_eq!(issuer.asked(), 2);
    tokens.forget(&one).await;
    get().await;
    assert_eq!(issuer.asked(), 3);
    // Another secret, as after a file was replaced.
    let mut rotated = source.clone();
    rotated.scope = None;
    assert!(tokens.get(&rotated, &host).await.is_err(), "it asks anew");
}

#[tokio::test]
async fn what_an_issuer_refuses_is_told_without_a_secret() {
    let refused = r#"{"error":"invalid_client","error_description":"who is it?"}"#;
    let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(MAX_ANSWER));
    for (status, body, parts, passes) in [
        (
            "401 Unauthorized",
            refused,
            &["401", "invalid_client: who is it?", "secret"][..],
            false,
        ),
        ("400 Bad Request", "<html>", &["400", "check"], false),
        ("503 Service Unavailable", "", &["503"], true),
        ("429 Too Many Requests", "", &["429"], true),
        ("200 OK", r#"{"access_token":7}"#, &["no token"], false),
        ("200 OK", &long, &["length limit"], true),
    ] {
        let issuer = Issuer::start(status, body.to_owned()).await;
        let source = issuer.source();
        let (text, later) = match Tokens::default().get(&source, &at(&SimClock::new(0))).await {
            Err(NoToken::Later(text)) => (text, true),
            Err(NoToken::Refused(text)) => (text, false),
            Ok(_) => panic!("{status} {body}"),
        };
        assert_eq!(later, passes, "{text}");
        assert!(text.starts_with(&format!("no token from {}: ", source.endpoint)));
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_or_does_not_answer_is_named() {
    let issuer = Issuer::start("", String::new()).await;
    let clock = SimClock::new(0);
    let mut source = issuer.source();
    let stranger = Issuer::start("", String::new()).await;
    source.trusted = Some(stranger.certificate.clone());
    let got = Tokens::default().get(&source, &at(&clock)).await;
    assert!(
        matches!(&got, Err(NoToken::Refused(text)) if text.contains("certificate")),
        "{got:?}"
    );
    assert_eq!(issuer.asked(), 0);

    let (source, host) = (issuer.source(), at(&clock));
    let asking = tokio::spawn(async move { Tokens::default().get(&source, &host).await });
    while issuer.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clock.advance(TIMEOUT);
    let got = asking.await.unwrap();
    assert!(
        matches!(&got, Err(NoToken::Later(text)) if text.contains("within 10 s")),
        "{got:?}"
    );

    for endpoint in ["ftp://a/b", "/token", "https://", "a b"] {
        source_with(&issuer, endpoint).check().unwrap_err();
    }
}

fn source_with(issuer: &Issuer, endpoint: &str) -> TokenSource {
    TokenSource {
        endpoint: endpoint.to_owned(),
        ..issuer.source()
    }
}
