//! Who may come in, and what they may do.
//!
//! A broker has [`listeners`], each with a protocol of its own: plain or [`tls`], with or without a login
//! ([`sasl`]). What comes of it is a [`Principal`]. [`acl`] says what a principal may do; the [`authorizer`] keeps those
//! rules, and [`credentials`] keeps what SCRAM logins are checked with. Both are journals in the data folder.
//! [`properties`] holds the settings as they were written.

pub(crate) mod acl;
pub(crate) mod authorizer;
pub(crate) mod credentials;
pub(crate) mod dn;
pub(crate) mod jaas;
pub(crate) mod listeners;
pub(crate) mod mapping;
pub(crate) mod properties;
pub(crate) mod sasl;
pub(crate) mod tls;

use std::fmt;

/// Who asks, as Kafka writes it: type and name (`KafkaPrincipal`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Principal(String);

impl Principal {
    /// Whoever did not say who it is.
    pub(crate) fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    pub(crate) fn user(name: &str) -> Self {
        Self(format!("User:{name}"))
    }

    /// `TYPE:NAME`, both not empty (`SecurityUtils.parseKafkaPrincipal`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        (!kind.is_empty() && !name.is_empty()).then(|| Self(text.to_owned()))
    }

    /// `TYPE:NAME`
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `TYPE.NAME`, as Kafka's messages about logins write it.
    pub(crate) fn dotted(&self) -> String {
        self.0.replacen(':', ".", 1)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
