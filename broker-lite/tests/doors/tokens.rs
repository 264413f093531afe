//! Logins by bearer tokens: a session ends with its token.

use std::{fmt::Write, io::Read, sync::Arc, time::Duration};

use host::{Host, sim::SimClock};
use kafka_protocol::messages::{MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest};

use super::{
    Running,
    client::{Client, text},
    configured,
};

/// Base64 as RFC 7515 has it.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = text.bytes().fold(String::new(), |mut bits, byte| {
        write!(bits, "{byte:08b}").unwrap();
        bits
    });
    let sixes = bits.as_bytes().chunks(6).map(|six| {
        let six = format!("{:0<6}", String::from_utf8_lossy(six));
        DIGITS[usize::from_str_radix(&six, 2).unwrap()] as char
    });
    sixes.collect()
}

/// A token that nobody has signed.
fn token(user: &str, expires_s: i64) -> Vec<u8> {
    let claims = format!("{{\"sub\":\"{user}\",\"exp\":{expires_s}}}");
    let token = format!("{}.{}.", base64("{\"alg\":\"none\"}"), base64(&claims));
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

fn log_in(raw: &mut Client, token: Vec<u8>) -> (i16, i64) {
    let bearer = SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER"));
    assert_eq!(raw.call(1, &bearer).error_code, 0);
    let token = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
    let answer = raw.call(2, &token);
    if answer.auth_bytes.is_empty() {
        return (answer.error_code, answer.session_lifetime_ms);
    }
    assert_eq!(&*answer.auth_bytes, br#"{"status":"invalid_token"}"#);
    let heard = SaslAuthenticateRequest::default().with_auth_bytes(vec![1].into());
    (raw.call(2, &heard).error_code, 0)
}

fn is_served(raw: &mut Client) -> bool {
    raw.send(12, &MetadataRequest::default());
    matches!(raw.stream.read(&mut [0; 1000]), Ok(1..))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token() {
    let clock = SimClock::new(1_000_000);
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    let folder = tempfile::tempdir().unwrap();
    let config = configured(
        &folder,
        &[
            "listeners=SASL_PLAINTEXT://127.0.0.1:0",
            "sasl.enabled.mechanisms=OAUTHBEARER",
            "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"kafka\";",
            "connections.max.reauth.ms=20000",
        ],
    );
    let running = Running::start_on(host, folder, config).await;
    let door = running.broker.address();
    tokio::task::spawn_blocking(move || {
        let mut raw = Client::connect(door);
        // Whichever is sooner.
        assert_eq!(log_in(&mut raw, token("ann", 1_100)), (0, 20_000));
        assert_eq!(log_in(&mut raw, token("ann", 1_010)), (0, 10_000));
        clock.advance(Duration::from_secs(5));
        assert!(is_served(&mut raw));
        assert_eq!(log_in(&mut raw, token("ann", 1_017)), (0, 12_000));
        clock.advance(Duration::from_millis(12_001));
        assert!(!is_served(&mut raw), "its token is over");
        // The answer to a refused login waits for a moment of this clock.
        let refused = |raw: &mut Client, wrong| {
            let ticks = clock.clone();
            let tick = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                ticks.advance(Duration::from_millis(200));
            });
            assert_eq!(log_in(raw, wrong), (58, 0));
            tick.join().unwrap();
        };
        refused(&mut Client::connect(door), token("ann", 1_017));
        refused(&mut Client::connect(door), token("eve", 0));
        let mut raw = Client::connect(door);
        assert_eq!(log_in(&mut raw, token("ann", 1_040)).0, 0);
        clock.advance(Duration::from_secs(2));
        refused(&mut raw, token("eve", 1_040));
    })
    .await
    .unwrap();
}
