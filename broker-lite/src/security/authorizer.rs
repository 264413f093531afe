//! The authorizer: rules about rights, kept in a journal, and who stands above them.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
};

use host::Host;
use serde::{Deserialize, Serialize};

use super::{
    Principal,
    acl::{Acl, Acls, Asker, Filter, Operation, Resource},
    properties::Properties,
};
use crate::state::entries::Entries;

/// The only authorizer that there is.
pub(crate) const CLASS: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// One change of the rules.
#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Add(Acl),
    Remove(Acl),
}

/// Says who may do what.
#[derive(Debug)]
pub(crate) struct Authorizer {
    /// `super.users`, who may do everything.
    super_users: BTreeSet<Principal>,
    /// `allow.everyone.if.no.acl.found`
    allows_by_default: bool,
    acls: RwLock<Acls>,
    /// Held for as long as a change takes.
    journal: Mutex<Entries<Change>>,
}

/// The value of `super.users`.
pub(crate) fn super_users(value: &str) -> Option<BTreeSet<Principal>> {
    let each = value
        .split(';')
        .map(str::trim)
        .filter(|one| !one.is_empty());
    each.map(Principal::parse).collect()
}

impl Authorizer {
    /// Reads the journal in `folder`; none if no authorizer is set.
    pub(crate) fn open(
        host: &Host,
        folder: &Path,
        properties: &Properties,
    ) -> io::Result<Option<Self>> {
        let Some(CLASS) = properties.get("authorizer.class.name") else {
            return Ok(None);
        };
        let mut acls = Acls::default();
        let path = folder.join("acls.journal");
        let journal = Entries::open(host, &path, |change| {
            match change {
                Change::Add(acl) => acls.add(acl),
                Change::Remove(acl) => acls.remove(&acl),
            };
        })?;
        let supers = properties.get("super.users").and_then(super_users);
        Ok(Some(Self {
            super_users: supers.unwrap_or_default(),
            allows_by_default: properties.get("allow.everyone.if.no.acl.found") == Some("true"),
            acls: RwLock::new(acls),
            journal: Mutex::new(journal),
        }))
    }

    /// Whether `asker` may do this.
    pub(crate) fn may(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: Resource,
        name: &str,
    ) -> bool {
        self.super_users.contains(asker.principal)
            || self
                .read(|acls| acls.may(asker, operation, resource, name))
                .unwrap_or(self.allows_by_default)
    }

    /// Whether `asker` may do this to at least one resource of the type.
    pub(crate) fn may_some(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: Resource,
    ) -> bool {
        // Kafka's way to ask for super users, and for what is allowed by default.
        self.may(asker, operation, resource, "hardcode")
            || self.read(|acls| acls.may_some(asker, operation, resource))
    }

    /// The rules that pass.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Acl> {
        self.read(|acls| acls.iter().filter(|acl| filter.passes(acl)).collect())
    }

    /// Adds the rules that are not there yet; they survive when this returns.
    pub(crate) fn add(&self, acls: Vec<Acl>) -> io::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for acl in acls {
            if !self.read(|known| known.contains(&acl)) {
                journal.append(&Change::Add(acl.clone()))?;
                self.write(|known| known.add(acl));
            }
        }
        self.finish(&mut journal)
    }

    /// Removes the rules that pass one of the filters; and tells for each which they were.
    pub(crate) fn remove(&self, filters: &[Filter]) -> io::Result<Vec<Vec<Acl>>> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> = filters.iter().map(|filter| self.list(filter)).collect();
        for acl in found.iter().flatten() {
            // It may pass more than one.
            if self.read(|known| known.contains(acl)) {
                journal.append(&Change::Remove(acl.clone()))?;
                self.write(|known| known.remove(acl));
            }
        }
        self.finish(&mut journal)?;
        Ok(found)
    }

    /// Changes are rare and matter: they are synced, once for all of a request.
    fn finish(&self, journal: &mut Entries<Change>) -> io::Result<()> {
        journal.sync()?;
        journal.compact_if_large(|| self.read(|acls| acls.iter().map(Change::Add).collect()))
    }

    fn read<T>(&self, work: impl FnOnce(&Acls) -> T) -> T {
        work(&self.acls.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, work: impl FnOnce(&mut Acls) -> T) -> T {
        work(&mut self.acls.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use host::sim::SimFiles;

    use super::*;
    use crate::security::acl::{Entry, Pattern};

    fn acl(name: &str) -> Acl {
        Acl {
            pattern: Pattern {
                resource: Resource::Topic,
                name: name.to_owned(),
                is_prefix: false,
            },
            entry: Entry {
                principal: "User:ann".to_owned(),
                host: "*".to_owned(),
                operation: Operation::Read,
                allows: true,
            },
        }
    }

    #[test]
    fn rules_survive_a_loss_of_power() {
        let files = SimFiles::default();
        let host = Host {
            files: Arc::new(files.clone()),
            ..Host::real()
        };
        let folder = Path::new("/d");
        host.files.create_dir_all(folder).unwrap();
        let mut properties = Properties::default();
        assert!(
            Authorizer::open(&host, folder, &properties)
                .unwrap()
                .is_none()
        );
        assert!(properties.set("authorizer.class.name", CLASS));
        assert!(properties.set("super.users", "User:root; User:CN=a,O=b"));
        let open = || {
            Authorizer::open(&host, folder, &properties)
                .unwrap()
                .unwrap()
        };
        let authorizer = open();
        authorizer.add(vec![acl("a"), acl("b"), acl("a")]).unwrap();
        let one = Filter {
            name: Some("b".to_owned()),
            ..Filter::default()
        };
        let both = [one.clone(), one];
        assert_eq!(authorizer.remove(&both).unwrap(), [[acl("b")], [acl("b")]]);
        assert_eq!(authorizer.remove(&both).unwrap(), [[], []]);
        files.crash();
        let authorizer = open();
        assert_eq!(authorizer.list(&Filter::default()), [acl("a")]);
        let may = |user: &str, name: &str| {
            let principal = Principal::user(user);
            let asker = Asker {
                principal: &principal,
                host: "1.1.1.1",
            };
            authorizer.may(asker, Operation::Describe, Resource::Topic, name)
        };
        assert!(may("ann", "a") && !may("ann", "b") && !may("bob", "a"));
        assert!(may("root", "b") && may("CN=a,O=b", "b"));
    }
}
