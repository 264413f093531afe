//! Connections by TLS and with a login, to a broker in this process that knows both; certificates are made
//! on the spot, the keys under `pem` by OpenSSL.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod login;
mod peer;
mod scram;
mod tls;

use std::sync::{Arc, Mutex};

use host::Host;
use peer::Peer;
use wire::{
    Class,
    client::{Client, ClientSettings},
    error::ClientError,
    security::{Credentials, Security},
};

/// Credentials that the test changes.
#[derive(Clone, Debug)]
pub(crate) struct Changing(Arc<Mutex<Credentials>>);

impl Changing {
    fn new(credentials: Credentials) -> Self {
        Self(Arc::new(Mutex::new(credentials)))
    }

    fn set(&self, credentials: Credentials) {
        *self.0.lock().unwrap() = credentials;
    }
}

impl Security for Changing {
    fn credentials(&self) -> Result<Credentials, String> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn client_on(host: Host, peer: &Peer, security: impl Security + 'static) -> Client {
    let bootstrap = vec![("localhost".to_owned(), peer.port)];
    let settings = ClientSettings {
        security: Some(Arc::new(security)),
        ..ClientSettings::new(bootstrap, "test")
    };
    Client::new(host, settings)
}

fn client(peer: &Peer, credentials: Credentials) -> Client {
    client_on(Host::real(), peer, credentials)
}

/// Whether a request is answered.
async fn reach(client: &Client) -> Result<(), ClientError> {
    let cluster = client.describe_cluster().await?;
    assert_eq!(cluster.cluster_id, "peer");
    Ok(())
}

/// That the client is not let in, is told why, and would try again.
#[track_caller]
fn refused(outcome: Result<(), ClientError>, port: u16, says: &[&str]) {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Retriable);
    let text = format!("{error} {error:?}");
    assert!(text.starts_with(&format!("localhost:{port}: ")), "{text}");
    for part in says {
        assert!(text.contains(part), "{text}\nshould say: {part}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}
