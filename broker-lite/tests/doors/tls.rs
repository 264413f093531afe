//! TLS: whom each side believes.

use wire::security::{Credentials, Tls};

use super::{
    Running,
    certificates::{Ca, tls},
    reach,
};

fn by(tls: Tls) -> Credentials {
    Credentials {
        tls: Some(tls),
        ..Credentials::default()
    }
}

/// A broker with TLS, and its CA.
async fn start(client_auth: &str, trusted: Option<&str>) -> (Running, Ca) {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let store = ca.certify("broker").store(folder.path(), "broker");
    let trust = folder.path().join("trust.pem");
    std::fs::write(&trust, trusted.unwrap_or(&ca.pem)).unwrap();
    let settings = [
        "listeners=SSL://127.0.0.1:0".to_owned(),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", store.display()),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", trust.display()),
        format!("listener.name.ssl.ssl.client.auth={client_auth}"),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    (Running::start_in(folder, &settings, |_| {}).await, ca)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_certificate_is_shown() {
    let (running, ca) = start("none", None).await;
    let address = running.address("SSL");
    assert_eq!(
        reach(address, by(tls(&ca, None))).await.unwrap(),
        address.port()
    );
    assert!(reach(address, by(tls(&Ca::new(), None))).await.is_err());
    assert!(reach(address, Credentials::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_theirs_where_it_is_required() {
    let (running, ca) = start("required", None).await;
    let address = running.address("SSL");
    let (own, strange) = (ca.certify("me"), Ca::new().certify("me"));
    reach(address, by(tls(&ca, Some(&own)))).await.unwrap();
    assert!(reach(address, by(tls(&ca, Some(&strange)))).await.is_err());
    assert!(reach(address, by(tls(&ca, None))).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_requested_none_will_do_but_not_a_strange_one() {
    let (running, ca) = start("requested", None).await;
    let address = running.address("SSL");
    let (own, strange) = (ca.certify("me"), Ca::new().certify("me"));
    reach(address, by(tls(&ca, Some(&own)))).await.unwrap();
    reach(address, by(tls(&ca, None))).await.unwrap();
    assert!(reach(address, by(tls(&ca, Some(&strange)))).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_be_trusted_by_itself() {
    let strange = Ca::new().certify("me");
    let (running, ca) = start("required", Some(&strange.certificate)).await;
    let address = running.address("SSL");
    reach(address, by(tls(&ca, Some(&strange)))).await.unwrap();
    let own = ca.certify("me");
    assert!(reach(address, by(tls(&ca, Some(&own)))).await.is_err());
}
