//! What SCRAM logins are checked with: users by mechanism, in a journal.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use host::Host;
use serde::{Deserialize, Serialize};

use super::sasl::{Credential, Mechanism};
use crate::state::entries::Entries;

/// A mechanism as the wire and the journal number it (`ScramMechanism.type`); 0 for one that is not SCRAM.
pub(crate) fn number(mechanism: Mechanism) -> i8 {
    match mechanism {
        Mechanism::Plain | Mechanism::OAuthBearer => 0,
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

/// A user that is there from the first start on.
#[derive(Clone)]
pub(crate) struct ScramUser {
    name: String,
    mechanism: Mechanism,
    password: String,
    iterations: u32,
}

impl std::fmt::Debug for ScramUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl ScramUser {
    /// `SCRAM-SHA-256=[name=NAME,password=PASSWORD]` (`ScramParser`): names and passwords have no commas.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mechanism, options) = text.split_once('=')?;
        let mechanism = Mechanism::from_name(mechanism).filter(|one| number(*one) > 0)?;
        let options = options.strip_prefix('[')?.strip_suffix(']')?;
        let mut user = Self {
            name: String::new(),
            mechanism,
            password: String::new(),
            iterations: 4096,
        };
        for option in options.split(',') {
            match option.split_once('=')? {
                ("name", name) => user.name = name.to_owned(),
                ("password", password) => user.password = password.to_owned(),
                ("iterations", number) => user.iterations = number.parse().ok()?,
                _ => return None,
            }
        }
        let is_whole = !user.name.is_empty() && !user.password.is_empty();
        (is_whole && (4096..=16384).contains(&user.iterations)).then_some(user)
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

    /// Adds those users that are not there yet.
    pub(crate) fn add_missing(&self, host: &Host, users: &[ScramUser]) -> io::Result<()> {
        for user in users {
            if self.get(&user.name, user.mechanism).is_none() {
                let mut salt = [0; 16];
                host.random.fill(&mut salt);
                self.change(Change {
                    user: user.name.clone(),
                    mechanism: number(user.mechanism),
                    credential: Credential::of_password(
                        user.mechanism,
                        &user.password,
                        &salt,
                        user.iterations,
                    ),
                })?;
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_written_as_for_kafkas_tool() {
        let user =
            ScramUser::parse("SCRAM-SHA-512=[name=ann,password=a=b,iterations=8192]").unwrap();
        assert_eq!(
            (&*user.name, &*user.password, user.iterations),
            ("ann", "a=b", 8192)
        );
        assert!(!format!("{user:?}").contains("a=b"));
        for wrong in [
            "",
            "PLAIN=[name=ann,password=x]",
            "SCRAM-SHA-256=name=ann,password=x",
            "SCRAM-SHA-256=[name=ann]",
            "SCRAM-SHA-256=[name=ann,password=x,iterations=1]",
            "SCRAM-SHA-256=[name=ann,password=x,salt=y]",
        ] {
            assert!(ScramUser::parse(wrong).is_none(), "{wrong}");
        }
    }

    /// A password that was changed since stays.
    #[test]
    fn who_is_there_stays() {
        let host = Host {
            files: std::sync::Arc::new(host::sim::SimFiles::default()),
            ..Host::real()
        };
        let folder = Path::new("/d");
        host.files.create_dir_all(folder).unwrap();
        let users = [ScramUser::parse("SCRAM-SHA-256=[name=ann,password=x]").unwrap()];
        let credentials = Credentials::open(&host, folder).unwrap();
        credentials.add_missing(&host, &users).unwrap();
        let first = credentials.get("ann", Mechanism::ScramSha256);
        assert!(first.is_some());
        let credentials = Credentials::open(&host, folder).unwrap();
        credentials.add_missing(&host, &users).unwrap();
        assert!(credentials.get("ann", Mechanism::ScramSha256) == first);
    }
}
