//! Logins by bearer tokens, which an issuer of the test hands out.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{
    cases::{by_certificate, produce, silent_about_secrets},
    clusters::{Clusters, USER},
    strait::{Strait, eventually},
    tokens,
};

/// The client's secret; it must not be shown.
const SECRET: &str = "hunter2-of-the-client";
/// How long a token is good for, in seconds.
const LIFE: i64 = 6;

/// Answers requests for tokens for [`USER`] for as long as the process lives.
fn issue() -> Result<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, asked) = (listener.local_addr()?, Arc::<AtomicUsize>::default());
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            answer(stream).ok();
        }
    });
    Ok((address, asked))
}

fn answer(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut is_known, mut length, mut line) = (false, 0, String::new());
    while stream.read_line(&mut line)? > 2 {
        // printf 'strait:hunter2-of-the-client' | base64
        is_known |= line
            .trim_end()
            .ends_with("Basic c3RyYWl0Omh1bnRlcjItb2YtdGhlLWNsaWVudA==");
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse()?;
        }
        line.clear();
    }
    let mut form = vec![0; length];
    stream.read_exact(&mut form)?;
    let now = tokens::now();
    let claims = json!({
        "sub": USER, "aud": "ours", "iss": "https://issuer.example", "iat": now, "exp": now + LIFE,
    });
    let (status, body) = match is_known && form.starts_with(b"grant_type=client_credentials") {
        true => {
            let token = tokens::signed(&json!({"alg": "ES256", "kid": "key"}), &claims);
            (
                "200 OK",
                json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFE}),
            )
        }
        false => ("401 Unauthorized", json!({"error": "invalid_client"})),
    };
    let body = body.to_string();
    let length = body.len();
    let mut stream = stream.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

/// Java's names, as a Java client has them.
fn by_token(clusters: &Clusters, issuer: SocketAddr, secret: &str) -> String {
    format!(
        "bootstrap.servers = \"{}\"
security.protocol = \"SASL_SSL\"
sasl.mechanism = \"OAUTHBEARER\"
sasl.login.callback.handler.class = \"org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\"
sasl.oauthbearer.token.endpoint.url = \"http://{issuer}/token\"
sasl.jaas.config = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"strait\" clientSecret=\"{secret}\";'
ssl.truststore.type = \"PEM\"
ssl.truststore.location = \"{}\"",
        clusters.source.login(),
        clusters.pem("ca").display(),
    )
}

pub fn tokens_let_in_and_are_renewed(clusters: &Clusters) -> Result<()> {
    const ORDERS: &str = "topics = [\"orders\"]";
    let (issuer, asked) = issue()?;
    let wrong = by_token(clusters, issuer, "hunter2-of-another");
    let strait = Strait::new(&wrong, &by_certificate(clusters), ORDERS)?;
    let (code, text) = strait.call("check")?;
    ensure!(
        code == 4 && text.contains("invalid_client"),
        "{code}: {text}"
    );
    silent_about_secrets(&text)?;

    let east = by_token(clusters, issuer, SECRET);
    let mut strait = Strait::new(&east, &by_certificate(clusters), ORDERS)?;
    let before = asked.load(Ordering::Relaxed);
    produce(clusters, "orders", 100)?;
    strait.run()?;
    let same = |strait: &Strait| Ok(strait.call("verify")?.0 == 0);
    eventually("all is copied", || same(&strait)).with_context(|| strait.log())?;
    // Sessions end with their tokens.
    std::thread::sleep(Duration::from_secs(2 * LIFE.unsigned_abs()));
    produce(clusters, "orders", 100)?;
    eventually("it goes on with other tokens", || same(&strait)).with_context(|| strait.log())?;
    strait.terminate()?;
    let asked = asked.load(Ordering::Relaxed) - before;
    ensure!(asked >= 3, "asked {asked} times");
    let log = strait.log();
    let complaints = ["reading", "reachable", "token", "login", "ERROR"];
    ensure!(!complaints.iter().any(|word| log.contains(word)), "{log}");
    silent_about_secrets(&log)
}
