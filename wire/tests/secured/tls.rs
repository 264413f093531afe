//! Certificates: whom each side believes.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use wire::security::{Credentials, Identity, Mechanism, Secret, Tls};

use super::{
    client,
    login::{wanting, with_password},
    peer::{Peer, State},
    reach, refused,
};

/// A CA.
struct Ca {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Certified {
    certificate: String,
    key: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn certify(&self, name: &str) -> Certified {
        self.certify_until(name, 2100)
    }

    fn certify_until(&self, name: &str, year: i32) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Certified {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A broker with this certificate; with a CA, of clients that have a certificate from it.
fn server(own: &Certified, clients: Option<&Ca>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    builder.with_single_cert(vec![chain], key).unwrap()
}

fn trusting(pem: &str) -> Tls {
    Tls {
        trusted: Some(pem.to_owned()),
        identity: None,
        check_name: true,
    }
}

fn by(tls: Tls) -> Credentials {
    Credentials {
        tls: Some(tls),
        ..Credentials::default()
    }
}

fn identity(own: &Certified) -> Identity {
    Identity {
        certificates: own.certificate.clone(),
        key: Secret::new(&own.key),
        key_password: None,
    }
}

async fn serving(own: &Certified, clients: Option<&Ca>) -> Peer {
    Peer::start(Some(server(own, clients)), State::default()).await
}

#[tokio::test]
async fn a_broker_with_a_certificate_of_a_trusted_ca_is_believed() {
    let (ca, other) = (Ca::new(), Ca::new());
    let peer = serving(&ca.certify("localhost"), None).await;
    let several = format!("{}\n# another\n{}", other.pem, ca.pem);
    reach(&client(&peer, by(trusting(&several)))).await.unwrap();
}

#[tokio::test]
async fn a_broker_of_a_strange_ca_is_not() {
    let (ca, other) = (Ca::new(), Ca::new());
    let peer = serving(&ca.certify("localhost"), None).await;
    for tls in [
        trusting(&other.pem),
        Tls {
            check_name: false,
            ..trusting(&other.pem)
        },
    ] {
        let client = client(&peer, by(tls));
        for _ in 0..20 {
            refused(reach(&client).await, peer.port, &["ssl.ca.location"]);
        }
    }
    let state = peer.state();
    assert_eq!((state.connections, state.served), (2, 0));
}

#[tokio::test]
async fn the_name_is_checked_unless_told_otherwise() {
    let ca = Ca::new();
    let peer = serving(&ca.certify("kafka.example"), None).await;
    let strict = client(&peer, by(trusting(&ca.pem)));
    let says = ["kafka.example", "ssl.endpoint.identification.algorithm"];
    refused(reach(&strict).await, peer.port, &says);
    let lax = Tls {
        check_name: false,
        ..trusting(&ca.pem)
    };
    reach(&client(&peer, by(lax))).await.unwrap();
}

#[tokio::test]
async fn an_old_certificate_is_refused() {
    let ca = Ca::new();
    let peer = serving(&ca.certify_until("localhost", 2020), None).await;
    let lax = Tls {
        check_name: false,
        ..trusting(&ca.pem)
    };
    let client = client(&peer, by(lax));
    refused(reach(&client).await, peer.port, &["expired", "clock"]);
}

#[tokio::test]
async fn a_broker_that_signed_for_itself_can_be_trusted_as_it_is() {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // As `openssl req -x509` makes them.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = Certified {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    let peer = serving(&own, None).await;
    reach(&client(&peer, by(trusting(&own.certificate))))
        .await
        .unwrap();
    let other = client(&peer, by(trusting(&Ca::new().pem)));
    refused(reach(&other).await, peer.port, &[]);
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let peer = serving(&ca.certify("localhost"), Some(&clients)).await;
    let with = |own: Option<&Certified>| {
        by(Tls {
            identity: own.map(identity),
            ..trusting(&ca.pem)
        })
    };
    let own = clients.certify("me");
    reach(&client(&peer, with(Some(&own)))).await.unwrap();
    for stranger in [None, Some(ca.certify("me"))] {
        let client = client(&peer, with(stranger.as_ref()));
        for _ in 0..20 {
            refused(reach(&client).await, peer.port, &["ssl.keystore.location"]);
        }
    }
    let state = peer.state();
    assert_eq!((state.connections, state.served), (3, 1));
}

#[tokio::test]
async fn a_login_goes_through_tls() {
    let ca = Ca::new();
    let tls = server(&ca.certify("localhost"), None);
    let peer = Peer::start(Some(tls), wanting("hunter2")).await;
    let credentials = Credentials {
        tls: Some(trusting(&ca.pem)),
        ..with_password(Mechanism::Plain, "hunter2")
    };
    reach(&client(&peer, credentials)).await.unwrap();
}

#[tokio::test]
async fn the_wrong_protocol_is_named() {
    let ca = Ca::new();
    let tls = serving(&ca.certify("localhost"), None).await;
    let plain = Peer::start(None, State::default()).await;
    let error = reach(&client(&plain, by(trusting(&ca.pem)))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("security.protocol"), "{error}");
    let outcome = reach(&client(&tls, Credentials::default())).await;
    refused(outcome, tls.port, &["SSL or SASL_SSL"]);
}

const CERTIFICATE: &str = include_str!("pem/certificate.pem");

fn check(key: &str, password: Option<&str>) -> Result<(), String> {
    let identity = Identity {
        certificates: CERTIFICATE.to_owned(),
        key: Secret::new(key),
        key_password: password.map(Secret::new),
    };
    by(Tls {
        identity: Some(identity),
        ..trusting(CERTIFICATE)
    })
    .check()
}

#[test]
fn keys_are_read_as_openssl_writes_them() {
    for key in [include_str!("pem/pkcs8.pem"), include_str!("pem/sec1.pem")] {
        check(key, None).unwrap();
        // Java wants both in one file.
        check(&format!("{CERTIFICATE}{key}"), None).unwrap();
    }
    for key in [
        include_str!("pem/aes256-sha256.pem"),
        include_str!("pem/aes128-sha1.pem"),
        include_str!("pem/des3.pem"),
    ] {
        check(&format!("{CERTIFICATE}{key}"), Some("hunter2")).unwrap();
        let error = check(key, Some("hunter3")).unwrap_err();
        assert!(error.contains("check ssl.key.password"), "{error}");
        let error = check(key, None).unwrap_err();
        assert!(error.contains("set ssl.key.password"), "{error}");
    }
}

#[test]
fn what_is_no_key_or_certificate_is_named_and_not_shown() {
    for (key, reason) in [
        (include_str!("pem/other-pkcs1.pem"), "not the key of its"),
        (include_str!("pem/traditional.pem"), "openssl pkcs8 -topk8"),
        (CERTIFICATE, "no private key in PEM"),
        ("hunter2", "no private key in PEM"),
        ("-----BEGIN PRIVATE KEY\nhunter2\n", "no private key in PEM"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2", "no end"),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n-----END ENCRYPTED PRIVATE KEY-----",
            "damaged",
        ),
    ] {
        let error = check(key, Some("hunter2")).unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for pem in ["", "hunter2", include_str!("pem/pkcs8.pem")] {
        let error = by(trusting(pem)).check().unwrap_err();
        assert!(error.contains("no certificate in PEM"), "{error}");
    }
}
