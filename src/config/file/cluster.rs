//! `[clusters.X]`: client properties under dotted names, strait's own settings under `strait`.

use std::collections::BTreeMap;

use super::{
    java::{self, Written},
    keys::{as_written, parsed, refused},
    properties,
    reach::{self, ProxyText},
    security::{self, Security},
    tree::{Node, Table},
    units,
};
use crate::config::{
    ClusterConfig, Properties, Sources,
    error::{ConfigError, Place, did_you_mean},
    flow::check_name,
};

/// Kafka's port where none is written, as librdkafka assumes.
const DEFAULT_PORT: u16 = 9092;

as_written! {
    /// `[clusters.X.strait]`.
    StraitFile { address_map, proxy, proxy_username, proxy_password, producer_id_expiration }
}

/// One cluster from its table.
pub(super) fn cluster(
    alias: &str,
    table: Table,
    sources: &Sources<'_>,
) -> Result<ClusterConfig, ConfigError> {
    let place = table.place.clone();
    check_name(alias).map_err(|reason| ConfigError::at(&place, reason))?;
    let mut written = Written::new();
    let mut own = None;
    for entry in table.entries {
        match entry.node {
            Node::Table(table) if entry.name == "strait" => own = Some(table),
            node => flatten(entry.name, node, &mut written)?,
        }
    }
    let mut security = Security::of(&written);
    java::translate(&mut written)?;
    for (name, text) in &written {
        check_name_of_property(name, &text.place)?;
        properties::check(name, &text.value)
            .map_err(|reason| ConfigError::at(&text.place, reason))?;
    }
    security::check(&written)?;
    let (mut address_map, mut producer_id_expiration) = (BTreeMap::new(), None);
    if let Some(table) = own {
        let file = StraitFile::read(table)?;
        address_map = reach::address_map(file.address_map)?;
        security.proxy = ProxyText::of(file.proxy, file.proxy_username, file.proxy_password)?;
        producer_id_expiration = parsed(file.producer_id_expiration, None, |text| {
            units::duration(text).map(Some)
        })?;
    }
    let credentials = security.read(sources)?;
    credentials
        .check()
        .map_err(|reason| ConfigError::at(&place, reason))?;
    let bootstrap = bootstrap(&mut written, &place)?;
    let properties: BTreeMap<_, _> = written
        .into_iter()
        .map(|(name, text)| (name, text.value))
        .collect();
    Ok(ClusterConfig {
        alias: alias.to_owned(),
        bootstrap,
        address_map,
        producer_id_expiration,
        properties: Properties::new(properties),
        security,
    })
}

/// Brings nested tables to dotted names.
fn flatten(name: String, node: Node, flat: &mut Written) -> Result<(), ConfigError> {
    if let Node::Table(table) = node {
        for entry in table.entries {
            flatten(format!("{name}.{}", entry.name), entry.node, flat)?;
        }
        return Ok(());
    }
    let text = node.text()?;
    let place = text.place.clone();
    match flat.insert(name, text) {
        None => Ok(()),
        Some(_) => Err(ConfigError::at(&place, "given twice")),
    }
}

fn check_name_of_property(name: &str, place: &Place) -> Result<(), ConfigError> {
    if properties::settable().any(|known| known == name) {
        return Ok(());
    }
    if let Some(reason) = properties::kept(name) {
        return Err(ConfigError::at(place, reason));
    }
    let known = properties::settable().chain(java::names());
    let hint = did_you_mean(name, known);
    Err(ConfigError::at(
        place,
        format!("unknown client property{hint}"),
    ))
}

/// Takes the brokers to begin with and leaves them under one name.
fn bootstrap(properties: &mut Written, place: &Place) -> Result<Vec<(String, u16)>, ConfigError> {
    if let Some(text) = properties.remove("metadata.broker.list") {
        let at = text.place.clone();
        if properties
            .insert("bootstrap.servers".to_owned(), text)
            .is_some()
        {
            let reason = "`bootstrap.servers` is given as well";
            return Err(ConfigError::at(&at, reason));
        }
    }
    let servers = properties
        .get("bootstrap.servers")
        .ok_or_else(|| ConfigError::at(place, "`bootstrap.servers` is missing"))?;
    addresses(&servers.value)
        .ok_or_else(|| refused(servers, "HOST:PORT is wanted, several with commas between"))
}

/// At least one address, with commas between; none: one of them is no address.
pub(crate) fn addresses(servers: &str) -> Option<Vec<(String, u16)>> {
    let servers = servers.split(',').map(str::trim);
    let servers = servers.filter(|server| !server.is_empty());
    let servers: Option<Vec<_>> = servers.map(address).collect();
    servers.filter(|servers| !servers.is_empty())
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT`, after an optional `PROTOCOL://`.
pub(super) fn address(server: &str) -> Option<(String, u16)> {
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    let (host, port) = match server.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some(""))?,
            )
        }
        None => server.split_once(':').unwrap_or((server, "")),
    };
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.parse().ok().filter(|port| *port != 0)?,
    };
    let legal = !host.is_empty() && !host.contains(char::is_whitespace);
    legal.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_maybe_a_port() {
        let ok = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(address("east:19092"), ok("east", 19092));
        assert_eq!(address("east"), ok("east", 9092));
        assert_eq!(address("PLAINTEXT://east:1"), ok("east", 1));
        assert_eq!(address("[::1]:19092"), ok("::1", 19092));
        assert_eq!(address("[::1]"), ok("::1", 9092));
        for text in [
            "",
            ":9092",
            "east:0",
            "east:70000",
            "east:x",
            "[::1",
            "[::1]x",
            "a b:1",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
