//! Who comes in: several listeners, TLS, certificates, logins, limits. The clients are strait's own (`wire`) and a raw
//! one.

#![cfg(test)]

mod certificates;
#[path = "../coordination/client.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod client;
mod hostile;
mod listeners;
mod logins;
mod metrics;
mod tls;
mod tokens;

use std::{net::SocketAddr, sync::Arc};

use broker_lite::{Broker, Config};
use host::Host;
use wire::{
    client::{Client, ClientSettings},
    error::ClientError,
    security::{Credentials, Login, Mechanism, Secret},
};

/// A broker in a folder of its own.
struct Running {
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, settings, |_| {}).await
    }

    async fn start_in(
        folder: tempfile::TempDir,
        settings: &[&str],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = configured(&folder, settings);
        change(&mut config);
        Self::start_on(Host::real(), folder, config).await
    }

    async fn start_on(host: Host, folder: tempfile::TempDir, config: Config) -> Self {
        let broker = Broker::start(config, host).await.unwrap();
        Self { broker, folder }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let mut all = self.broker.addresses().iter();
        all.find(|(name, _)| name == listener).unwrap().1
    }
}

fn configured(folder: &tempfile::TempDir, settings: &[&str]) -> Config {
    let mut config = Config::new("127.0.0.1:0", folder.path());
    for setting in settings {
        config.apply(setting).unwrap();
    }
    config
}

/// A client of the listener at `address`.
fn client(address: SocketAddr, credentials: Credentials) -> Client {
    let bootstrap = vec![("127.0.0.1".to_owned(), address.port())];
    let settings = ClientSettings {
        security: Some(Arc::new(credentials)),
        retry_for: std::time::Duration::ZERO,
        ..ClientSettings::new(bootstrap, "doors")
    };
    Client::new(Host::real(), settings)
}

/// Where a client of that listener is told that the broker is.
async fn reach(address: SocketAddr, credentials: Credentials) -> Result<u16, ClientError> {
    let cluster = client(address, credentials).describe_cluster().await?;
    Ok(u16::try_from(cluster.brokers[0].port).unwrap())
}

fn login(mechanism: Mechanism, username: &str, password: &str) -> Credentials {
    Credentials {
        login: Some(Login::Password {
            mechanism,
            username: Secret::new(username),
            password: Secret::new(password),
        }),
        ..Credentials::default()
    }
}
