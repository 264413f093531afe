//! Logins by PLAIN and SCRAM, over TLS and without.

use std::{io::Read, net::SocketAddr, sync::Arc, time::Duration};

use host::{Host, sim::SimClock};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
    describe_user_scram_credentials_request::UserName,
};
use wire::security::{Credentials, Mechanism};

use super::{
    Running,
    certificates::{Ca, tls},
    client::{self, text},
    configured, login, reach,
};

const PLAIN: &str = "listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_ann=\"pencil\";";
const BOTH: &str = "listeners=PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0";
const ALL: &str = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
const DOOR: &str = "SASL_PLAINTEXT";

/// As a client's library does it: the password is salted before it is sent.
fn upsertion(user: &str, mechanism: i8, password: &str) -> ScramCredentialUpsertion {
    use ring::pbkdf2;
    let (algorithm, length) = match mechanism {
        1 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        _ => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
    };
    let (salt, rounds) = (b"some salt", 4096);
    let mut salted = vec![0; length];
    pbkdf2::derive(
        algorithm,
        rounds.try_into().unwrap(),
        salt,
        password.as_bytes(),
        &mut salted,
    );
    ScramCredentialUpsertion::default()
        .with_name(text(user))
        .with_mechanism(mechanism)
        .with_iterations(4096)
        .with_salt(salt[..].into())
        .with_salted_password(salted.into())
}

async fn alter(address: SocketAddr, request: AlterUserScramCredentialsRequest) -> Vec<i16> {
    tokio::task::spawn_blocking(move || {
        let answer = client::Client::connect(address).call(0, &request);
        answer.results.iter().map(|one| one.error_code).collect()
    })
    .await
    .unwrap()
}

async fn set(address: SocketAddr, user: &str, password: &str) {
    for mechanism in [1, 2] {
        let request = AlterUserScramCredentialsRequest::default()
            .with_upsertions(vec![upsertion(user, mechanism, password)]);
        assert_eq!(alter(address, request).await, [0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_let_in_and_wrong_ones_do_not() {
    let running = Running::start(&[BOTH, ALL, PLAIN]).await;
    let (plain, door) = (running.address("PLAINTEXT"), running.address(DOOR));
    set(plain, "ann", "pencil").await;
    set(plain, "a=b,c", "hunter2").await;
    for mechanism in Mechanism::ALL {
        let port = reach(door, login(mechanism, "ann", "pencil")).await;
        assert_eq!(port.unwrap(), door.port(), "{mechanism:?}");
        for (user, password) in [("ann", "pen"), ("bob", "pencil")] {
            let refused = reach(door, login(mechanism, user, password)).await;
            assert!(refused.is_err(), "{mechanism:?} {user} {password}");
        }
    }
    let odd = login(Mechanism::ScramSha512, "a=b,c", "hunter2");
    reach(door, odd).await.unwrap();
    assert!(reach(door, Credentials::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_go_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let store = ca.certify("broker").store(folder.path(), "broker");
    let settings = [
        "listeners=PLAINTEXT://127.0.0.1:0,SASL_SSL://127.0.0.1:0",
        "sasl.enabled.mechanisms=SCRAM-SHA-512",
        "ssl.keystore.type=PEM",
        &format!("ssl.keystore.location={}", store.display()),
    ];
    let running = Running::start_in(folder, &settings, |_| {}).await;
    set(running.address("PLAINTEXT"), "ann", "pencil").await;
    let door = running.address("SASL_SSL");
    let by = |password| Credentials {
        tls: Some(tls(&ca, None)),
        ..login(Mechanism::ScramSha512, "ann", password)
    };
    reach(door, by("pencil")).await.unwrap();
    assert!(reach(door, by("wrong")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_survive_a_kill_and_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [BOTH, "sasl.enabled.mechanisms=SCRAM-SHA-256"];
    let running = Running::start_in(folder, &settings, |_| {}).await;
    set(running.address("PLAINTEXT"), "ann", "pencil").await;
    let Running { broker, folder } = running;
    broker.kill().await;
    let running = Running::start_in(folder, &settings, |_| {}).await;
    let (plain, door) = (running.address("PLAINTEXT"), running.address(DOOR));
    let ann = || login(Mechanism::ScramSha256, "ann", "pencil");
    reach(door, ann()).await.unwrap();
    let deletion = ScramCredentialDeletion::default()
        .with_name(text("ann"))
        .with_mechanism(1);
    let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
    assert_eq!(alter(plain, request.clone()).await, [0]);
    assert_eq!(alter(plain, request).await, [91]);
    assert!(reach(door, ann()).await.is_err());
    let described = tokio::task::spawn_blocking(move || {
        let user = UserName::default().with_name(text("ann"));
        let request = DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user]));
        client::Client::connect(plain).call(0, &request)
    });
    let described = described.await.unwrap();
    let infos = &described.results[0].credential_infos;
    assert_eq!(
        (infos.len(), infos[0].mechanism, infos[0].iterations),
        (1, 2, 4096)
    );
}

/// A login by PLAIN on a raw connection.
fn log_in(raw: &mut client::Client, token: &[u8]) -> (i16, i64) {
    let plain = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(raw.call(1, &plain).error_code, 0);
    let token = SaslAuthenticateRequest::default().with_auth_bytes(token.to_vec().into());
    let answer = raw.call(2, &token);
    (answer.error_code, answer.session_lifetime_ms)
}

fn is_closed(raw: &mut client::Client) -> bool {
    !matches!(raw.stream.read(&mut [0]), Ok(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_login_there_is_nothing_else() {
    let running = Running::start(&[BOTH, ALL, PLAIN]).await;
    let door = running.address(DOOR);
    tokio::task::spawn_blocking(move || {
        let mut raw = client::Client::connect(door);
        assert_eq!(raw.call(3, &versions()).error_code, 0);
        raw.send(12, &MetadataRequest::default());
        assert!(is_closed(&mut raw), "Metadata before a login");
        let mut raw = client::Client::connect(door);
        raw.send(12, &MetadataRequest::default());
        assert!(is_closed(&mut raw), "Metadata at once");
        let mut raw = client::Client::connect(door);
        let unknown = SaslHandshakeRequest::default().with_mechanism(text("GSSAPI"));
        let answer = raw.call(1, &unknown);
        assert_eq!(answer.error_code, 33);
        assert_eq!(answer.mechanisms.len(), 3);
        assert!(is_closed(&mut raw), "another mechanism");
        let mut raw = client::Client::connect(door);
        assert_eq!(log_in(&mut raw, b"\0ann\0wrong").0, 58);
        assert!(is_closed(&mut raw), "a wrong password");
        // A frame that is too long for a login is not even read.
        use std::io::Write;
        let mut raw = client::Client::connect(door);
        raw.stream
            .write_all(&(64 * 1024 + 1u32).to_be_bytes())
            .unwrap();
        assert!(is_closed(&mut raw), "a long frame");
    })
    .await
    .unwrap();
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("raw"))
        .with_client_software_version(text("1"))
}

/// Version 0 of the handshake: tokens are frames without headers.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_may_be_bare() {
    let running = Running::start(&[BOTH, ALL, PLAIN]).await;
    let door = running.address(DOOR);
    tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut raw = client::Client::connect(door);
        let plain = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        assert_eq!(raw.call(0, &plain).error_code, 0);
        raw.stream.write_all(b"\0\0\0\x0b\0ann\0pencil").unwrap();
        let mut length = [9; 4];
        raw.stream.read_exact(&mut length).unwrap();
        assert_eq!(length, [0; 4]);
        assert_eq!(raw.call(12, &MetadataRequest::default()).brokers.len(), 1);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_unless_they_are_renewed() {
    let clock = SimClock::new(0);
    let host = Host {
        clock: Arc::new(clock.clone()),
        ..Host::real()
    };
    let folder = tempfile::tempdir().unwrap();
    let renewed = "connections.max.reauth.ms=1500";
    let config = configured(&folder, &[BOTH, ALL, PLAIN, renewed]);
    let running = Running::start_on(host, folder, config).await;
    let door = running.address(DOOR);
    tokio::task::spawn_blocking(move || {
        let mut raw = client::Client::connect(door);
        assert_eq!(log_in(&mut raw, b"\0ann\0pencil"), (0, 1500));
        assert_eq!(log_in(&mut raw, b"\0ann\0pencil"), (0, 1500));
        // Too soon.
        let plain = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        assert_eq!(raw.call(1, &plain).error_code, 34);
        clock.advance(Duration::from_millis(1200));
        assert_eq!(log_in(&mut raw, b"\0ann\0pencil"), (0, 1500));
        clock.advance(Duration::from_millis(1000));
        assert_eq!(raw.call(12, &MetadataRequest::default()).brokers.len(), 1);
        clock.advance(Duration::from_millis(600));
        raw.send(12, &MetadataRequest::default());
        assert!(is_closed(&mut raw), "the session is over");
    })
    .await
    .unwrap();
}
