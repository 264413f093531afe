//! Rights, without any I/O: who may do what to which resource, from where.
//!
//! The rules are those of Kafka's `StandardAuthorizerData`: a rule is for a resource of one name, of all names (`*`),
//! or of all names with a prefix. One that denies wins over all that allow. To be allowed to Read, Write, Delete or Alter
//! implies Describe, and AlterConfigs implies DescribeConfigs; to be denied them implies nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::Principal;

/// Enums with the wire's numbers.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub(crate) enum $name { $($variant = $number,)* }

        impl $name {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// By its number on the wire.
            pub(crate) fn from_number(number: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.number() == number)
            }

            /// Its number on the wire.
            pub(crate) fn number(self) -> i8 {
                self as i8
            }
        }
    };
}

numbered! {
    /// What rights are about (`ResourceType`).
    Resource {
        Topic = 2,
        Group = 3,
        Cluster = 4,
        TransactionalId = 5,
        DelegationToken = 6,
        User = 7,
    }
}

numbered! {
    /// What may be done (`AclOperation`).
    Operation {
        All = 2,
        Read = 3,
        Write = 4,
        Create = 5,
        Delete = 6,
        Alter = 7,
        Describe = 8,
        ClusterAction = 9,
        DescribeConfigs = 10,
        AlterConfigs = 11,
        IdempotentWrite = 12,
        CreateTokens = 13,
        DescribeTokens = 14,
        TwoPhaseCommit = 15,
    }
}

/// The name of the only resource of type cluster.
pub(crate) const CLUSTER: &str = "kafka-cluster";
/// Every name, host, or (behind its type) principal.
const ANY: &str = "*";
const ANY_USER: &str = "User:*";

impl Resource {
    /// The operations that mean something for it (`AclEntry.supportedOperations`).
    pub(crate) fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, CreateTokens, Delete, Describe,
            DescribeConfigs, DescribeTokens, IdempotentWrite, Read, TwoPhaseCommit, Write,
        };
        #[rustfmt::skip]
        let operations: &[Operation] = match self {
            Self::Topic => &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
            Self::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            Self::Cluster => &[
                Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe,
            ],
            Self::TransactionalId => &[Describe, Write, TwoPhaseCommit],
            Self::DelegationToken => &[Describe],
            Self::User => &[CreateTokens, DescribeTokens],
        };
        operations
    }
}

/// Which resources a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pattern {
    pub(crate) resource: Resource,
    pub(crate) name: String,
    /// All names that begin with this one.
    pub(crate) is_prefix: bool,
}

/// For whom and for what a rule is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `TYPE:NAME`
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) allows: bool,
}

/// One rule (`AclBinding`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Acl {
    pub(crate) pattern: Pattern,
    pub(crate) entry: Entry,
}

/// Who asks for a right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) principal: &'a Principal,
    /// The client's address.
    pub(crate) host: &'a str,
}

impl Entry {
    fn is_for(&self, asker: Asker<'_>) -> bool {
        (self.principal == asker.principal.as_str() || self.principal == ANY_USER)
            && (self.host == ANY || self.host == asker.host)
    }

    /// Whether it says something about `operation` (`StandardAuthorizerData.findResult`).
    fn is_about(&self, operation: Operation) -> bool {
        use Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
        let implies = || match operation {
            Describe => matches!(self.operation, Read | Write | Delete | Alter),
            DescribeConfigs => self.operation == AlterConfigs,
            _ => false,
        };
        self.operation == Operation::All
            || self.operation == operation
            || (self.allows && implies())
    }
}

/// Rules by the name that they are for.
type ByName = BTreeMap<String, BTreeSet<Entry>>;

/// The rules for resources of one type.
#[derive(Clone, Debug, Default)]
struct OfType {
    literal: ByName,
    prefixed: ByName,
}

impl OfType {
    fn by_name(&self, is_prefix: bool) -> &ByName {
        match is_prefix {
            true => &self.prefixed,
            false => &self.literal,
        }
    }

    fn by_name_mut(&mut self, is_prefix: bool) -> &mut ByName {
        match is_prefix {
            true => &mut self.prefixed,
            false => &mut self.literal,
        }
    }
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acls(BTreeMap<Resource, OfType>);

impl Acls {
    /// Adds a rule; false if it is there.
    pub(crate) fn add(&mut self, acl: Acl) -> bool {
        let of_type = self.0.entry(acl.pattern.resource).or_default();
        let rules = of_type.by_name_mut(acl.pattern.is_prefix);
        rules.entry(acl.pattern.name).or_default().insert(acl.entry)
    }

    /// Whether a rule is there.
    pub(crate) fn contains(&self, acl: &Acl) -> bool {
        let of_type = self.0.get(&acl.pattern.resource);
        let rules = of_type.map(|of_type| of_type.by_name(acl.pattern.is_prefix));
        let entries = rules.and_then(|rules| rules.get(&acl.pattern.name));
        entries.is_some_and(|entries| entries.contains(&acl.entry))
    }

    /// Removes a rule; false if it is not there.
    pub(crate) fn remove(&mut self, acl: &Acl) -> bool {
        let Some(of_type) = self.0.get_mut(&acl.pattern.resource) else {
            return false;
        };
        let rules = of_type.by_name_mut(acl.pattern.is_prefix);
        let Some(entries) = rules.get_mut(&acl.pattern.name) else {
            return false;
        };
        let is_removed = entries.remove(&acl.entry);
        if entries.is_empty() {
            rules.remove(&acl.pattern.name);
        }
        is_removed
    }

    /// All rules, those of a pattern one behind the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Acl> {
        let types = self.0.iter().flat_map(|(resource, of_type)| {
            let literal = of_type.literal.iter().map(|one| (false, one));
            let prefixed = of_type.prefixed.iter().map(|one| (true, one));
            literal.chain(prefixed).map(move |one| (*resource, one))
        });
        types.flat_map(|(resource, (is_prefix, (name, entries)))| {
            entries.iter().map(move |entry| Acl {
                pattern: Pattern {
                    resource,
                    name: name.clone(),
                    is_prefix,
                },
                entry: entry.clone(),
            })
        })
    }

    /// Whether `asker` may do this; none if there is no rule for the resource, whoever it is for.
    pub(crate) fn may(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: Resource,
        name: &str,
    ) -> Option<bool> {
        let of_type = self.0.get(&resource)?;
        let literal = [name, ANY]
            .into_iter()
            .take(if name == ANY { 1 } else { 2 });
        let literal = literal.filter_map(|name| of_type.literal.get(name));
        let mut verdict = None;
        for entries in literal.chain(prefixes(&of_type.prefixed, name)) {
            verdict = verdict.or(Some(false));
            let mut told = entries
                .iter()
                .filter(|entry| entry.is_for(asker) && entry.is_about(operation))
                .peekable();
            if told.peek().is_some() {
                if told.any(|entry| !entry.allows) {
                    return Some(false);
                }
                verdict = Some(true);
            }
        }
        verdict
    }

    /// Whether `asker` may do this to at least one resource of the type (`Authorizer.authorizeByResourceType`): rules
    /// that deny it are held against those that allow it.
    pub(crate) fn may_some(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: Resource,
    ) -> bool {
        let Some(of_type) = self.0.get(&resource) else {
            return false;
        };
        let tells = |entries: &BTreeSet<Entry>, allows: bool| {
            entries.iter().any(|entry| {
                let is_about = [operation, Operation::All].contains(&entry.operation);
                entry.allows == allows && entry.is_for(asker) && is_about
            })
        };
        let told = |rules: &ByName, name: &str, allows| {
            rules
                .get(name)
                .is_some_and(|entries| tells(entries, allows))
        };
        if told(&of_type.literal, ANY, false) {
            return false;
        }
        if told(&of_type.literal, ANY, true) {
            return true;
        }
        let is_denied =
            |name: &str| prefixes(&of_type.prefixed, name).any(|entries| tells(entries, false));
        let mut literal = of_type.literal.iter();
        let mut prefixed = of_type.prefixed.iter();
        literal.any(|(name, entries)| {
            tells(entries, true) && !tells(entries, false) && !is_denied(name)
        }) || prefixed.any(|(name, entries)| tells(entries, true) && !is_denied(name))
    }
}

/// What stands behind each key that is a prefix of `name`. From the longest on: what sorts before a key that is none
/// and is a prefix itself has to end where the two part.
fn prefixes<'a, T>(map: &'a BTreeMap<String, T>, name: &'a str) -> impl Iterator<Item = &'a T> {
    let mut end = Some(name);
    std::iter::from_fn(move || {
        while let Some(longest) = end {
            let (key, value) = map
                .range::<str, _>((Bound::Unbounded, Bound::Included(longest)))
                .next_back()?;
            let common = common(key, name);
            if common < key.len() {
                end = Some(&name[..common]);
                continue;
            }
            // All that is shorter.
            end = key.char_indices().next_back().map(|(at, _)| &name[..at]);
            return Some(value);
        }
        None
    })
}

/// Bytes of whole characters that both begin with.
fn common(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}

/// Which rules are meant (`AclBindingFilter`); none is any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) resource: Option<Resource>,
    pub(crate) name: Option<String>,
    pub(crate) kind: PatternFilter,
    pub(crate) principal: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) operation: Option<Operation>,
    pub(crate) allows: Option<bool>,
}

/// Which patterns are meant (`PatternType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PatternFilter {
    #[default]
    Any,
    /// Those that are for the name.
    Match,
    Literal,
    Prefixed,
}

impl Filter {
    /// Whether a rule is meant.
    pub(crate) fn passes(&self, acl: &Acl) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        let Acl { pattern, entry } = acl;
        is(self.resource.as_ref(), &pattern.resource)
            && self.passes_name(pattern)
            && is(self.principal.as_ref(), &entry.principal)
            && is(self.host.as_ref(), &entry.host)
            && is(self.operation.as_ref(), &entry.operation)
            && is(self.allows.as_ref(), &entry.allows)
    }

    fn passes_name(&self, pattern: &Pattern) -> bool {
        let is_kind = match self.kind {
            PatternFilter::Any | PatternFilter::Match => true,
            PatternFilter::Literal => !pattern.is_prefix,
            PatternFilter::Prefixed => pattern.is_prefix,
        };
        let Some(name) = &self.name else {
            return is_kind;
        };
        let is_name = match (self.kind, pattern.is_prefix) {
            (PatternFilter::Match, true) => name.starts_with(&pattern.name),
            (PatternFilter::Match, false) => pattern.name == *name || pattern.name == ANY,
            _ => pattern.name == *name,
        };
        is_kind && is_name
    }
}

#[cfg(test)]
mod tests;
