//! The way to a broker through a proxy: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110, 9.3.6).
//!
//! The proxy is told the broker's name and resolves it. TLS, if there is any, is spoken with the broker, through it.

use std::{error::Error, fmt, io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use host::{ByteStream, Net};
use hyper::{Uri, header::HeaderValue};
use hyper_util::{
    client::legacy::connect::proxy::{SocksV5, Tunnel},
    rt::TokioIo,
};
use tower::{Service, service_fn};

use super::Secret;

/// Where all connections to brokers go through.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Its host, a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Name and password, if it wants some.
    pub login: Option<(Secret, Secret)>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5: `socks5://`.
    Socks5,
    /// HTTP with the method CONNECT: `http://`.
    Http,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl Proxy {
    /// A connection to `host`, a name or an address, by way of the proxy.
    ///
    /// # Errors
    /// A reason, which names the proxy and never its password.
    pub(crate) async fn connect(
        &self,
        net: &Arc<dyn Net>,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn ByteStream>, String> {
        let dialled = net.connect(&self.host, self.port).await;
        let mut stream = Some(TokioIo::new(dialled.map_err(|error| self.failed(&error))?));
        // It is there already, so that what fails on the way to the proxy is told as it is.
        let dial = service_fn(move |_: Uri| {
            let stream = stream.take();
            std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        let to = |host: &str, port| uri(host, port).map_err(|error| self.failed(&error));
        let (proxy, broker) = (to(&self.host, self.port)?, to(host, port)?);
        let stream = match self.kind {
            ProxyKind::Socks5 => {
                let mut socks = SocksV5::new(proxy, dial);
                if let Some((name, password)) = &self.login {
                    socks = socks.with_auth(name.reveal().to_owned(), password.reveal().to_owned());
                }
                let stream = socks.call(broker).await;
                stream.map_err(|error| self.failed(&error))?
            }
            ProxyKind::Http => {
                let mut tunnel = Tunnel::new(proxy, dial);
                if let Some(login) = self.basic() {
                    tunnel = tunnel.with_auth(login);
                }
                let stream = tunnel.call(broker).await;
                stream.map_err(|error| self.failed(&error))?
            }
        };
        Ok(stream.into_inner())
    }

    /// What went wrong, and why.
    fn failed(&self, error: &dyn Error) -> String {
        let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
        let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        format!("through proxy {self}: {text}")
    }

    /// The login as HTTP has it (RFC 7617).
    fn basic(&self) -> Option<HeaderValue> {
        let (name, password) = self.login.as_ref()?;
        let pair = format!("{}:{}", name.reveal(), password.reveal());
        let basic = format!("Basic {}", BASE64_STANDARD.encode(pair));
        // Base64 is legal in a header.
        HeaderValue::try_from(basic).ok()
    }
}

fn uri(host: &str, port: u16) -> Result<Uri, hyper::http::Error> {
    let parts = Uri::builder().scheme("http").path_and_query("/");
    parts.authority(authority(host, port)).build()
}

/// As in an URI: an IPv6 address is in brackets.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
