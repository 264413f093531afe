//! From an address to a connection that may be used: connected, secured, logged in.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use host::ByteStream;

use super::{Client, routing::Address};
use crate::{
    connection::{Connection, ConnectionSettings},
    error::ClientError,
    security::{Credentials, Handshake, NotSecured, REFUSED_BY_ALERT},
};

impl Client {
    /// A new connection, with the credentials of now. The name is resolved anew.
    pub(super) async fn open(&self, address: &Address) -> Result<Arc<Connection>, ClientError> {
        let connection = self.establish(address).await;
        let count = match &connection {
            Ok(_) => &self.0.opened,
            Err(_) => &self.0.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        connection
    }

    async fn establish(&self, address: &Address) -> Result<Arc<Connection>, ClientError> {
        let settings = &self.0.settings;
        let broker = format!("{}:{}", address.0, address.1);
        let credentials = match &settings.security {
            None => Credentials::default(),
            Some(security) => security
                .credentials()
                .map_err(|reason| refused(&broker, reason))?,
        };
        let stream = tokio::select! {
            biased;
            stream = self.stream(address, &broker, &credentials) => stream?,
            () = self.0.host.clock.sleep(settings.connect_timeout) => {
                let seconds = settings.connect_timeout.as_secs();
                return Err(unreachable(&broker, format!("no connection within {seconds} s")));
            }
        };
        let opening = ConnectionSettings {
            broker: broker.clone(),
            client_id: settings.client_id.clone(),
            request_timeout: settings.request_timeout,
            max_frame: settings.max_frame,
            max_idle: settings.max_idle,
            clock: Arc::clone(&self.0.host.clock),
        };
        let connection = Connection::open(stream, opening).await;
        let connection = Arc::new(connection.map_err(|error| second_look(error, &credentials))?);
        if let Some(login) = &credentials.login
            && let Some(lifetime) = connection
                .log_in(login, (&self.0.tokens, &self.0.host))
                .await?
            && let Some(security) = &settings.security
        {
            let lifetime = lifetime.max(SHORTEST_SESSION);
            let with = (Arc::clone(&self.0.tokens), self.0.host.clone());
            connection.keep_session(lifetime, Arc::clone(security), with);
        }
        Ok(connection)
    }

    /// By the way that the settings say. Certificates are for the name that the broker goes by.
    async fn stream(
        &self,
        address: &Address,
        broker: &str,
        credentials: &Credentials,
    ) -> Result<Box<dyn ByteStream>, ClientError> {
        let mapped = self.0.settings.address_map.get(address);
        let (host, port) = mapped.unwrap_or(address);
        let net = &self.0.host.net;
        let stream = match &credentials.proxy {
            None => net
                .connect(host, *port)
                .await
                .map_err(|error| error.to_string()),
            Some(proxy) => proxy.connect(net, host, *port).await,
        };
        let stream = stream.map_err(|reason| match mapped {
            None => unreachable(broker, reason),
            Some((host, port)) => unreachable(broker, format!("at {host}:{port}: {reason}")),
        })?;
        let Some(tls) = &credentials.tls else {
            return Ok(stream);
        };
        let handshake = Handshake::new(tls).map_err(|reason| refused(broker, reason))?;
        let secured = handshake.secure(stream, &address.0).await;
        secured.map_err(|failure| match failure {
            NotSecured::Broken(reason) => unreachable(broker, reason),
            NotSecured::Refused(reason) => refused(broker, reason),
        })
    }
}

/// A broker that ends sessions faster than this gets no login per moment.
const SHORTEST_SESSION: Duration = Duration::from_secs(1);

fn unreachable(broker: &str, reason: String) -> ClientError {
    ClientError::Unreachable {
        broker: broker.to_owned(),
        reason,
    }
}

fn refused(broker: &str, reason: String) -> ClientError {
    ClientError::Refused {
        broker: broker.to_owned(),
        reason,
    }
}

/// What the first answer tells about the way it came.
fn second_look(error: ClientError, credentials: &Credentials) -> ClientError {
    let ClientError::Unreachable { broker, reason } = &error else {
        return error;
    };
    match &credentials.tls {
        // In TLS 1.3 the client is done before the broker has looked at its certificate.
        Some(_) if reason.starts_with("received fatal alert") => {
            refused(broker, format!("TLS: {reason}; {REFUSED_BY_ALERT}"))
        }
        None if is_tls_alert(reason) => refused(
            broker,
            "it speaks TLS on this port: set security.protocol to SSL or SASL_SSL".to_owned(),
        ),
        _ => error,
    }
}

/// Whether what should be the length of a frame is the head of a TLS alert: type 21, version 3.x.
fn is_tls_alert(reason: &str) -> bool {
    let length = reason.strip_prefix("a frame of ");
    let length = length.and_then(|rest| rest.split(' ').next()?.parse::<i32>().ok());
    length.is_some_and(|length| length >> 16 == 0x1503)
}
