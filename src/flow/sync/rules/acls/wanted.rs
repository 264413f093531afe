//! Which rules the target is to have, from those of the source. Pure.

use std::collections::BTreeSet;

use wire::client::{ANY_NAME, Acl, AclPattern, AclResource, Operation};

use super::Wanted;
use crate::{
    config::AclMode,
    flow::{
        sync::groups::GroupSelection,
        topics::{naming::Naming, selection::Selection, writers::GROUPS as OWN_GROUPS},
    },
};

/// What a flow's rules are made of.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// As they are, or so that nobody writes.
    pub(super) mode: AclMode,
    /// Topics that are copied, by their names.
    pub(super) selection: &'a Selection,
    /// Those of them that there are.
    pub(super) topics: &'a BTreeSet<&'a str>,
    /// What they are called on the target.
    pub(super) naming: &'a Naming,
    /// Groups that follow.
    pub(super) groups: &'a GroupSelection,
}

const ALL_TOPICS: &str =
    "it would allow for all topics of the target, not only for those that are copied";
const TOO_LONG: &str = "its topic has no name on the target";

impl Scope<'_> {
    /// The rules of the target for those of the source.
    pub(super) fn wanted(&self, source: &[Acl]) -> Wanted<Acl> {
        let mut wanted = Wanted {
            rules: BTreeSet::new(),
            left_out: Vec::new(),
        };
        for acl in source {
            match self.rule(acl) {
                Ok(rule) => wanted.rules.extend(rule),
                Err(why) => wanted.left_out.push((acl.clone(), why.to_owned())),
            }
        }
        wanted
    }

    /// The rule for one of the source; none if it is about nothing that is copied, or allows what a copy does not.
    fn rule(&self, acl: &Acl) -> Result<Option<Acl>, &'static str> {
        let Some(operation) = self.operation(acl) else {
            return Ok(None);
        };
        let name = match acl.resource {
            AclResource::Topic => self.topic(acl)?,
            AclResource::Group => self.group(acl),
        };
        Ok(name.map(|(pattern, name)| Acl {
            pattern,
            name,
            operation,
            ..acl.clone()
        }))
    }

    /// MirrorMaker 2's rule, so that consumers who move find their rights and nobody writes to a copy: Write is not
    /// allowed, All becomes Read, and what is forbidden stays so (`MirrorSourceConnector.targetAclBinding`,
    /// `shouldReplicateAcl`).
    fn operation(&self, acl: &Acl) -> Option<Operation> {
        match (self.mode, acl.allows, acl.operation) {
            (AclMode::Off, ..) | (AclMode::Read, true, Operation::Write) => None,
            (AclMode::Read, true, Operation::All) => Some(Operation::Read),
            (_, _, operation) => Some(operation),
        }
    }

    fn topic(&self, acl: &Acl) -> Result<Option<(AclPattern, String)>, &'static str> {
        let prefixed = |name: &str| (AclPattern::Prefixed, self.naming.target_prefix(name));
        match acl.pattern {
            AclPattern::Literal if acl.name == ANY_NAME => {
                let (pattern, name) = prefixed("");
                if !name.is_empty() {
                    return Ok(Some((pattern, name)));
                }
                // Who is forbidden all there is forbidden all here, or would read what others may.
                match self.mode == AclMode::Read && acl.allows {
                    true => Err(ALL_TOPICS),
                    false => Ok(Some((AclPattern::Literal, ANY_NAME.to_owned()))),
                }
            }
            AclPattern::Literal if !self.selection.selects(&acl.name, false) => Ok(None),
            AclPattern::Literal => {
                let name = self.naming.target(&acl.name);
                let name = name.map_err(|_| TOO_LONG)?;
                Ok(Some((AclPattern::Literal, name)))
            }
            AclPattern::Prefixed => {
                let mut from = self.topics.range(acl.name.as_str()..);
                let any = from
                    .next()
                    .is_some_and(|first| first.starts_with(&acl.name));
                Ok(any.then(|| prefixed(&acl.name)))
            }
        }
    }

    /// Groups keep their names. Patterns are taken whole: which groups there will be is not known. Those of flows are not
    /// the same on another cluster.
    fn group(&self, acl: &Acl) -> Option<(AclPattern, String)> {
        let one = acl.pattern == AclPattern::Literal && acl.name != ANY_NAME;
        let selected = match one {
            true => self.groups.selects(&acl.name),
            false => !acl.name.starts_with(OWN_GROUPS),
        };
        selected.then(|| (acl.pattern, acl.name.clone()))
    }
}
