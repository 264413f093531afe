//! How a connection is secured: TLS, and the login that follows it; and the [`Proxy`] that it goes through.
//!
//! Passwords and certificates are asked for at each connect, so that files that were replaced are read
//! again. `tls` turns PEM into a handshake, `sasl` speaks PLAIN and SCRAM; when they are used is the matter
//! of [`crate::client`] (TLS) and [`crate::connection`] (login); `token` asks an issuer for bearer tokens. A [`Secret`]
//! never shows.

pub mod pem;
mod proxy;
mod sasl;
mod tls;
mod token;

use std::fmt;

pub use proxy::{Proxy, ProxyKind};
pub(crate) use sasl::{Conversation, Proof};
pub(crate) use tls::{Handshake, NotSecured, REFUSED_BY_ALERT};
pub use token::TokenSource;
pub(crate) use token::{NoToken, Tokens};

/// Gives the credentials that hold now.
pub trait Security: Send + Sync + fmt::Debug {
    /// Asked at each connect and before a session ends.
    ///
    /// # Errors
    /// A reason that names what cannot be read, and never shows what was read.
    fn credentials(&self) -> Result<Credentials, String>;
}

/// What a connection is secured with; the default is nothing at all.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Encrypted, with the broker's certificate checked.
    pub tls: Option<Tls>,
    /// Who we are.
    pub login: Option<Login>,
    /// What connections go through.
    pub proxy: Option<Proxy>,
}

impl Credentials {
    /// Whether they can be used at all: PEM that parses, a key that fits its certificate.
    ///
    /// # Errors
    /// A reason.
    pub fn check(&self) -> Result<(), String> {
        if let Some(tls) = &self.tls {
            Handshake::new(tls)?;
        }
        match &self.login {
            Some(Login::Token(source)) => source.check(),
            _ => Ok(()),
        }
    }
}

/// Credentials that never change.
impl Security for Credentials {
    fn credentials(&self) -> Result<Credentials, String> {
        Ok(self.clone())
    }
}

/// Settings of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates to trust, in PEM: CAs, or the brokers' own; none: the system's CAs.
    pub trusted: Option<String>,
    /// Our own certificate, for brokers that ask for one.
    pub identity: Option<Identity>,
    /// Whether the broker's certificate must be for the name that we connect to.
    pub check_name: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Our certificate, then those that lead to a CA, in PEM.
    pub certificates: String,
    /// Its key in PEM: PKCS#8, encrypted or not, PKCS#1 or SEC1.
    pub key: Secret,
    /// Of an encrypted key.
    pub key_password: Option<Secret>,
}

/// Who we are, and how that is proven.
#[derive(Clone, Debug)]
pub enum Login {
    /// By a password.
    Password {
        /// How it is proven.
        mechanism: Mechanism,
        /// Whose it is.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// By a token of an issuer: [`OAUTHBEARER`].
    Token(TokenSource),
}

/// The SASL mechanism of bearer tokens (RFC 7628).
pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// SASL mechanisms for passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself goes over the wire: for TLS only.
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// By its registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
