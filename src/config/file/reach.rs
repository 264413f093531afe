//! `[clusters.X.strait]`: by which way a cluster is reached.

use wire::{
    client::AddressMap,
    security::{Proxy, ProxyKind, Secret},
};

use super::{
    cluster::address,
    keys::refused,
    tree::{Node, Text},
};
use crate::config::{
    Sources,
    error::{ConfigError, Place},
};

/// A proxy as written: its login is read anew at each connect.
#[derive(Clone)]
pub(super) struct ProxyText {
    kind: ProxyKind,
    host: String,
    port: u16,
    login: Option<[Reference; 2]>,
}

/// A text with its references, and where it is.
type Reference = (Place, String);

impl ProxyText {
    /// None without a proxy; a name without a password, or either without a proxy, is a mistake.
    pub(super) fn of(
        proxy: Option<Node>,
        username: Option<Node>,
        password: Option<Node>,
    ) -> Result<Option<Self>, ConfigError> {
        let alone = username.as_ref().or(password.as_ref());
        let Some(proxy) = proxy else {
            return match alone {
                None => Ok(None),
                Some(node) => Err(ConfigError::at(node.place(), "there is no `proxy`")),
            };
        };
        let proxy = proxy.text()?;
        let Some((kind, host, port)) = parse(&proxy.value) else {
            let reason = "socks5://HOST:PORT or http://HOST:PORT is wanted; a login goes into `proxy_username` \
                          and `proxy_password`";
            return Err(refused(&proxy, reason));
        };
        let reference = |text: Text| (text.place, text.written);
        let login = match (username, password) {
            (Some(username), Some(password)) => {
                Some([reference(username.text()?), reference(password.text()?)])
            }
            (None, None) => None,
            _ => {
                let reason = "`proxy_username` and `proxy_password` go together";
                return Err(ConfigError::at(&proxy.place, reason));
            }
        };
        Ok(Some(Self {
            kind,
            host,
            port,
            login,
        }))
    }

    /// With the login of now.
    pub(super) fn read(&self, sources: &Sources<'_>) -> Result<Proxy, ConfigError> {
        let secret = |(place, written): &Reference| {
            let value = sources.expand(written);
            let value = value.map_err(|reason| ConfigError::at(place, reason))?;
            Ok(Secret::new(value))
        };
        let login = self.login.as_ref().map(|[username, password]| {
            Ok::<_, ConfigError>((secret(username)?, secret(password)?))
        });
        Ok(Proxy {
            kind: self.kind,
            host: self.host.clone(),
            port: self.port,
            login: login.transpose()?,
        })
    }
}

fn parse(text: &str) -> Option<(ProxyKind, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let kind = match scheme {
        "socks5" => ProxyKind::Socks5,
        "http" => ProxyKind::Http,
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // Both have a port of their own where none is written; Kafka's would be a surprise.
    let behind_brackets = rest.rsplit(']').next()?;
    if !behind_brackets.contains(':') || rest.contains(['@', '/']) {
        return None;
    }
    let (host, port) = address(rest)?;
    Some((kind, host, port))
}

/// `{ "ADVERTISED:PORT" = "REACHABLE:PORT" }`.
pub(super) fn address_map(node: Option<Node>) -> Result<AddressMap, ConfigError> {
    let Some(node) = node else {
        return Ok(AddressMap::new());
    };
    let wanted =
        "HOST:PORT is wanted on both sides, as in \"broker-1.internal:9092\" = \"127.0.0.1:19092\"";
    let entries = node.table()?.entries.into_iter().map(|entry| {
        let from = address(&entry.name);
        let from = from.ok_or_else(|| ConfigError::at(&entry.place, wanted))?;
        let to = entry.node.text()?;
        let reached = address(&to.value).ok_or_else(|| refused(&to, wanted))?;
        Ok((from, reached))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_says_what_it_speaks_and_its_port() {
        let is = |kind, host: &str, port| Some((kind, host.to_owned(), port));
        assert_eq!(parse("socks5://p:1080"), is(ProxyKind::Socks5, "p", 1080));
        assert_eq!(
            parse("http://[::1]:3128/"),
            is(ProxyKind::Http, "::1", 3128)
        );
        for text in [
            "p:1080",
            "socks5://p",
            "https://p:1",
            "socks4://p:1",
            "http://[::1]",
            "http://ann:secret@p:1",
            "http://p:1/path",
            "http://:1",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
