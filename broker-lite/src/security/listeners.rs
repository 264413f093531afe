//! Listeners: where the broker listens, by which protocol, and what its clients are told to connect to.
//!
//! A client is told the address of the listener that it came by (`ReplicaManager`, `MetadataCache` by listener name),
//! so that clients inside and outside of a network each get one that they reach.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{properties::Properties, sasl::Sasl, tls::Tls};
use crate::{config::Config, state::Node};

/// How a listener is secured (`SecurityProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    const ALL: [Self; 4] = [
        Self::Plaintext,
        Self::Ssl,
        Self::SaslPlaintext,
        Self::SaslSsl,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.name().eq_ignore_ascii_case(name))
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// `NAME://HOST:PORT`. Names are in capitals, as `ListenerName.normalised` makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    /// Empty for every address of the machine.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Without a name it is that of the default listener, `PLAINTEXT`.
    fn parse(text: &str) -> Option<Self> {
        let (name, address) = text.split_once("://").unwrap_or(("PLAINTEXT", text));
        let (host, port) = address.rsplit_once(':')?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_name = !name.is_empty() && name.chars().all(|c| !c.is_whitespace() && c != ',');
        if !is_name || (bare.is_none() && host.contains([':', '/'])) {
            return None;
        }
        Some(Self {
            name: name.to_ascii_uppercase(),
            host: bare.unwrap_or(host).to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Whether nobody can connect to it: all addresses of a machine are the address of none.
    fn is_meta_address(&self) -> bool {
        let address: Result<IpAddr, _> = self.host.parse();
        address.is_ok_and(|address| address.is_unspecified())
    }

    /// What to bind: every address where no host is given.
    pub(crate) fn address(&self) -> String {
        let host = match &*self.host {
            "" => "0.0.0.0",
            host => host,
        };
        with_port(host, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, with_port(&self.host, self.port))
    }
}

fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The value of `listeners` or `advertised.listeners`: at least one, each name once.
pub(crate) fn parse(value: &str) -> Option<Vec<Endpoint>> {
    let all: Option<Vec<_>> = value
        .split(',')
        .map(|one| Endpoint::parse(one.trim()))
        .collect();
    let all = all?;
    let names: BTreeSet<_> = all.iter().map(|one| &one.name).collect();
    (names.len() == all.len()).then_some(all)
}

/// The value of `listener.security.protocol.map`: names and protocols.
pub(crate) fn protocols(value: &str) -> Option<Vec<(String, Protocol)>> {
    let each = value.split(',').map(|one| {
        let (name, protocol) = one.trim().split_once(':')?;
        Some((name.to_ascii_uppercase(), Protocol::from_name(protocol)?))
    });
    each.collect()
}

/// A listener that is to be opened.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) endpoint: Endpoint,
    advertised: Option<Endpoint>,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    /// `listener.name.NAME.max.connections`
    max_connections: usize,
    /// `listener.name.NAME.max.connection.creation.rate`
    max_creation_rate: Option<u32>,
}

/// An open listener, as its connections need it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    /// This broker as clients of this listener reach it.
    pub(crate) node: Node,
    pub(crate) tls: Option<Tls>,
    pub(crate) sasl: Option<Sasl>,
    pub(crate) max_connections: usize,
    pub(crate) max_creation_rate: Option<u32>,
}

impl Plan {
    /// Reads the settings of all listeners, and the files that they name; the error is a reason.
    pub(crate) fn all(config: &Config) -> Result<Vec<Self>, String> {
        let wrong = |name: &str, value: &str| format!("{name}={value}: not a list of listeners");
        let listeners = parse(&config.listen).ok_or_else(|| wrong("listeners", &config.listen))?;
        let advertised = match &config.advertise {
            Some(text) => parse(text).ok_or_else(|| wrong("advertised.listeners", text))?,
            None => Vec::new(),
        };
        if let Some(lost) = advertised
            .iter()
            .find(|one| listeners.iter().all(|listener| listener.name != one.name))
        {
            return Err(format!(
                "advertised.listeners has {lost}, and listeners has no {}",
                lost.name
            ));
        }
        if let Some(meta) = listeners
            .iter()
            .map(|one| {
                advertised
                    .iter()
                    .find(|told| told.name == one.name)
                    .unwrap_or(one)
            })
            .find(|told| told.is_meta_address())
        {
            return Err(nonroutable(meta));
        }
        let properties = &config.security;
        for name in properties.listeners() {
            if listeners
                .iter()
                .all(|one| !one.name.eq_ignore_ascii_case(name))
            {
                return Err(format!("listener.name.{name}.*: listeners has no {name}"));
            }
        }
        let each = listeners.into_iter().map(|endpoint| {
            let told = advertised.iter().find(|one| one.name == endpoint.name);
            Self::new(endpoint, told.cloned(), config, properties)
        });
        each.collect()
    }

    fn new(
        endpoint: Endpoint,
        advertised: Option<Endpoint>,
        config: &Config,
        properties: &Properties,
    ) -> Result<Self, String> {
        let name = endpoint.name.clone();
        let reason = |reason: String| format!("listener {name}: {reason}");
        let mapped = properties.get("listener.security.protocol.map");
        let mapped = mapped.and_then(protocols).unwrap_or_default();
        let mapped = mapped.into_iter().find(|(one, _)| *one == name);
        // Without a map a listener has the name of its protocol, as in Kafka.
        let protocol = mapped.map(|(_, protocol)| protocol);
        let protocol = protocol.or_else(|| Protocol::from_name(&name));
        let protocol = protocol.ok_or_else(|| {
            reason(format!(
                "which protocol? listener.security.protocol.map has no {name}"
            ))
        })?;
        let settings = properties.of(&name);
        let tls = protocol
            .has_tls()
            .then(|| Tls::new(&settings, protocol.has_sasl()));
        let sasl = protocol.has_sasl().then(|| Sasl::new(&settings));
        Ok(Self {
            advertised,
            tls: tls.transpose().map_err(reason)?,
            sasl: sasl.transpose().map_err(reason)?,
            max_connections: settings
                .own("max.connections")
                .and_then(|text| text.parse().ok())
                .unwrap_or(config.max_connections),
            max_creation_rate: settings
                .own("max.connection.creation.rate")
                .and_then(|text| text.parse().ok()),
            endpoint,
        })
    }

    /// The listener that was bound to `bound`.
    pub(crate) fn opened(self, node_id: i32, bound: SocketAddr) -> Listener {
        let (host, port) = match self.advertised {
            // Port 0 is whichever was free.
            Some(told) if told.port == 0 => (told.host, bound.port()),
            Some(told) => (told.host, told.port),
            None if self.endpoint.host.is_empty() => (host_name(), bound.port()),
            None => (bound.ip().to_string(), bound.port()),
        };
        Listener {
            name: self.endpoint.name,
            node: Node {
                id: node_id,
                host,
                port,
            },
            tls: self.tls,
            sasl: self.sasl,
            max_connections: self.max_connections,
            max_creation_rate: self.max_creation_rate,
        }
    }
}

/// The first sentences are Kafka's (`KafkaConfig.validateValues`).
fn nonroutable(meta: &Endpoint) -> String {
    let Endpoint { name, host, port } = meta;
    format!(
        "advertised.listeners cannot use the nonroutable meta-address {host}. Use a routable IP address. \
         (advertised.listeners={name}://HOST:{port} says what clients of {name} connect to; without a host, \
         {name}://:{port}, a listener takes all addresses and tells this machine's name)"
    )
}

/// This machine's name, which Kafka tells where a listener has no host.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_names_hosts_and_ports() {
        let list = parse("PLAINTEXT://127.0.0.1:9092, sasl_ssl://[::1]:0,ADMIN://:9094").unwrap();
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "PLAINTEXT://127.0.0.1:9092",
                "SASL_SSL://[::1]:0",
                "ADMIN://:9094"
            ]
        );
        assert_eq!(list[2].address(), "0.0.0.0:9094");
        assert_eq!(list[1].address(), "[::1]:0");
        assert_eq!(parse("localhost:1").unwrap()[0].name, "PLAINTEXT");
        for wrong in [
            "",
            "x",
            "SSL://x",
            "SSL://x:70000",
            "SSL://a:1,ssl://a:2",
            "://a:1",
            "SSL://a:1,",
            "SSL://::1:1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(name in "[A-Z_]{1,9}", host in "([a-z.]{0,9})|::1|fe80::1", port: u16) {
            let endpoint = Endpoint { name, host, port };
            prop_assert_eq!(parse(&endpoint.to_string()), Some(vec![endpoint]));
        }
    }

    fn plans(settings: &[&str]) -> Result<Vec<Plan>, String> {
        let mut config = Config::new("127.0.0.1:0", "data");
        for setting in settings {
            config.apply(setting).map_err(|error| error.to_string())?;
        }
        Plan::all(&config)
    }

    #[test]
    fn each_listener_tells_its_own_address() {
        let plans = plans(&[
            "listeners=IN://127.0.0.1:0,OUT://127.0.0.1:0,HERE://127.0.0.1:0",
            "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT,HERE:PLAINTEXT",
            "advertised.listeners=IN://kafka:0,OUT://kafka.example:443",
        ]);
        let told: Vec<_> = plans
            .unwrap()
            .into_iter()
            .map(|plan| plan.opened(1, ([127, 0, 0, 1], 7).into()).node)
            .map(|node| with_port(&node.host, node.port))
            .collect();
        assert_eq!(told, ["kafka:7", "kafka.example:443", "127.0.0.1:7"]);
    }

    #[test]
    fn all_addresses_are_told_as_one() {
        let open = |settings: &[&str]| {
            let plan = plans(settings).unwrap().remove(0);
            plan.opened(1, ([0, 0, 0, 0], 7).into()).node.host
        };
        let told = "advertised.listeners=PLAINTEXT://kafka.example:9092";
        assert_eq!(open(&["listeners=0.0.0.0:0", told]), "kafka.example");
        assert_eq!(open(&["listeners=:0"]), host_name());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (settings, says) in [
            (&["listeners=ADMIN://127.0.0.1:0"][..], "no ADMIN"),
            (&["advertised.listeners=SSL://a:1"], "no SSL"),
            (&["listeners=SSL://127.0.0.1:0"], "ssl.keystore"),
            (&["listeners=0.0.0.0:9092"], "meta-address 0.0.0.0."),
            (
                &[
                    "listeners=A://[::]:9092",
                    "listener.security.protocol.map=A:PLAINTEXT",
                ],
                "address ::.",
            ),
            (&["advertised.listeners=0.0.0.0:9092"], "address 0.0.0.0."),
            (
                &["listeners=SASL_PLAINTEXT://127.0.0.1:0"],
                "sasl.enabled.mechanisms",
            ),
            (
                &["listener.name.admin.ssl.client.auth=required"],
                "no admin",
            ),
        ] {
            let error = plans(settings).unwrap_err();
            assert!(error.contains(says), "{settings:?}: {error}");
        }
    }
}
