//! What a listener's settings say of logins.

use std::{collections::BTreeMap, fmt, time::Duration};

use kafka_protocol::protocol::StrBytes;

use super::{Mechanism, oauthbearer::Validator};
use crate::security::{jaas, properties::Settings};

/// Longest frame before a login, if `sasl.server.max.receive.size` says nothing else. Kafka takes 512 KiB; no
/// token of these mechanisms is longer than a few hundred bytes.
const MAX_FRAME: usize = 64 << 10;

/// The settings of a listener with logins.
pub(crate) struct Sasl {
    /// In the order in which clients are told.
    pub(super) mechanisms: Vec<Mechanism>,
    /// Of PLAIN, with their passwords.
    pub(super) users: BTreeMap<String, String>,
    /// Of OAUTHBEARER: which hold.
    pub(super) tokens: Option<Validator>,
    /// How long a login holds, where it does not for ever.
    lifetimes: Vec<(Mechanism, Duration)>,
    /// Longest frame before a login.
    pub(crate) max_frame: usize,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.mechanisms).finish()
    }
}

impl Sasl {
    /// Reads the settings.
    ///
    /// # Errors
    /// A reason.
    pub(crate) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let names = settings
            .get("sasl.enabled.mechanisms")
            .ok_or("how do clients log in? Set sasl.enabled.mechanisms")?;
        let mut mechanisms = Vec::new();
        for name in names.split(',').map(str::trim) {
            let known = || Mechanism::ALL.map(Mechanism::name).join(", ");
            let mechanism = Mechanism::from_name(name).ok_or_else(|| {
                format!("sasl.enabled.mechanisms: {name:?} is none of {}", known())
            })?;
            if !mechanisms.contains(&mechanism) {
                mechanisms.push(mechanism);
            }
        }
        let (mut users, mut lifetimes) = (BTreeMap::new(), Vec::new());
        let mut tokens = None;
        for &mechanism in &mechanisms {
            let line = settings.of_mechanism(mechanism.name(), "sasl.jaas.config");
            match (mechanism, line) {
                (Mechanism::Plain, Some(line)) => {
                    let wrong = |why| format!("plain.sasl.jaas.config: {why}");
                    users = jaas::plain_users(line).map_err(wrong)?;
                }
                (Mechanism::Plain, None) => {
                    let missing =
                        "who logs in by PLAIN? Set listener.name.NAME.plain.sasl.jaas.config";
                    return Err(missing.to_owned());
                }
                (Mechanism::OAuthBearer, _) => tokens = Some(Validator::new(settings)?),
                // Kafka wants a line with nothing in it.
                _ => {}
            }
            let name = "connections.max.reauth.ms";
            let lifetime = settings.of_mechanism(mechanism.name(), name);
            let lifetime = lifetime.or_else(|| settings.get(name));
            match lifetime.and_then(|text| text.parse().ok()) {
                None | Some(0) => {}
                Some(ms) => lifetimes.push((mechanism, Duration::from_millis(ms))),
            }
        }
        let max_frame = settings.get("sasl.server.max.receive.size");
        Ok(Self {
            mechanisms,
            users,
            tokens,
            lifetimes,
            max_frame: max_frame.and_then(|n| n.parse().ok()).unwrap_or(MAX_FRAME),
        })
    }

    pub(super) fn lifetime(&self, mechanism: Mechanism) -> Option<Duration> {
        let found = self.lifetimes.iter().find(|(of, _)| *of == mechanism);
        found.map(|(_, lifetime)| *lifetime)
    }

    pub(super) fn names(&self) -> Vec<StrBytes> {
        let names = self.mechanisms.iter().map(|one| one.name());
        names.map(StrBytes::from_static_str).collect()
    }
}
