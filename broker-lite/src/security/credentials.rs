//! What SCRAM logins are checked with: users by mechanism, in a journal.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use host::Host;
use serde::{Deserialize, Serialize};
use wire::security::Mechanism;

use super::sasl::Credential;
use crate::state::entries::Entries;

/// A mechanism as the wire and the journal number it (`ScramMechanism.type`).
pub(crate) fn number(mechanism: Mechanism) -> i8 {
    match mechanism {
        Mechanism::Plain => 0,
        Mechanism::ScramSha256 => 1,
        Mechanism::ScramSha512 => 2,
    }
}

/// The SCRAM mechanism of that number.
pub(crate) fn mechanism(number: i8) -> Option<Mechanism> {
    match number {
        1 => Some(Mechanism::ScramSha256),
        2 => Some(Mechanism::ScramSha512),
        _ => None,
    }
}

/// One change; without a credential the user has none any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) user: String,
    pub(crate) mechanism: i8,
    pub(crate) credential: Option<Credential>,
}

/// Everyone's credentials.
#[derive(Debug)]
pub(crate) struct Credentials(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Entries<Change>,
    known: Known,
}

type Known = BTreeMap<(String, i8), Credential>;

impl Credentials {
    /// Reads the journal in `folder`.
    pub(crate) fn open(host: &Host, folder: &Path) -> io::Result<Self> {
        let mut known = Known::new();
        let path = folder.join("credentials.journal");
        let journal = Entries::open(host, &path, |change| apply(&mut known, change))?;
        Ok(Self(Mutex::new(Inner {
            // Changes are rare and matter.
            journal: journal.flushing(true),
            known,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a user's proof is checked with.
    pub(crate) fn get(&self, user: &str, mechanism: Mechanism) -> Option<Credential> {
        let key = (user.to_owned(), number(mechanism));
        self.inner().known.get(&key).cloned()
    }

    /// All users, with their mechanisms and iterations.
    pub(crate) fn users(&self) -> BTreeMap<String, Vec<(i8, i32)>> {
        let mut users: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for ((user, mechanism), credential) in &self.inner().known {
            let of_user = users.entry(user.clone()).or_default();
            of_user.push((*mechanism, credential.iterations));
        }
        users
    }

    /// Makes a change; it survives when this returns.
    pub(crate) fn change(&self, change: Change) -> io::Result<()> {
        let mut inner = self.inner();
        let Inner { journal, known } = &mut *inner;
        journal.append(&change)?;
        apply(known, change);
        journal.compact_if_large(|| {
            let each = known.iter().map(|((user, mechanism), credential)| Change {
                user: user.clone(),
                mechanism: *mechanism,
                credential: Some(credential.clone()),
            });
            each.collect()
        })
    }
}

fn apply(known: &mut Known, change: Change) {
    let key = (change.user, change.mechanism);
    match change.credential {
        Some(credential) => known.insert(key, credential),
        None => known.remove(&key),
    };
}
