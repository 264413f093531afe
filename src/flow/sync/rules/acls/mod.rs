//! Rules about who may do what with topics and groups (ACLs).

#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeSet;

use wanted::Scope;
use wire::{
    client::{Acl, AclPattern, AclResource, Client, Operation},
    error::{ApiError, ClientError},
};

use super::{
    super::groups::{Copied, GroupSelection},
    Changes, Kind, Listed, Rule, Wanted,
};
use crate::{
    config::{AclMode, FlowConfig},
    flow::{
        status::Board,
        topics::{naming::Naming, selection::Selection},
    },
    status::Follows,
};

/// Those of a flow.
#[derive(Debug)]
pub struct Acls {
    mode: AclMode,
    selection: Selection,
    naming: Naming,
    groups: GroupSelection,
}

impl Acls {
    /// As `flow` asks.
    pub fn new(flow: &FlowConfig) -> Self {
        Self {
            mode: flow.acls,
            selection: Selection::new(flow),
            naming: Naming::new(&flow.naming, &flow.source),
            groups: GroupSelection::new(flow),
        }
    }
}

impl Kind for Acls {
    type Rule = Acl;

    const NAME: &'static str = "acls";

    async fn list(client: &Client) -> Result<Listed<Acl>, ClientError> {
        let mut all = client.describe_acls(AclResource::Topic).await?;
        let groups = client.describe_acls(AclResource::Group).await?;
        all.acls.extend(groups.acls);
        Ok(Listed {
            rules: all.acls,
            unknown: all.unknown + groups.unknown,
        })
    }

    async fn create(
        &self,
        client: &Client,
        rules: &[Acl],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        client.create_acls(rules).await
    }

    async fn remove(
        client: &Client,
        rules: &[Acl],
    ) -> Result<Vec<Result<(), ApiError>>, ClientError> {
        client.delete_acls(rules).await
    }

    fn wanted(&self, source: &[Acl], copied: &Copied) -> Wanted<Acl> {
        let topics = copied.keys().map(|partition| partition.topic.as_str());
        let scope = Scope {
            mode: self.mode,
            selection: &self.selection,
            topics: &topics.collect(),
            naming: &self.naming,
            groups: &self.groups,
        };
        scope.wanted(source)
    }

    fn changes(
        &self,
        wanted: &BTreeSet<Acl>,
        there: &BTreeSet<Acl>,
        created: &BTreeSet<Acl>,
    ) -> Changes<Acl> {
        let obsolete = created.difference(wanted);
        let (remove, forget) = obsolete.cloned().partition(|acl| there.contains(acl));
        Changes {
            create: wanted.difference(there).cloned().collect(),
            remove,
            forget,
            left_out: Vec::new(),
        }
    }

    fn tell(board: &Board, told: Option<Follows>) {
        board.acls(told);
    }
}

type Key = (String, String, String, String, String, String, String);

impl Rule for Acl {
    fn key(&self) -> String {
        let parts = (
            resource(self.resource),
            pattern(self.pattern),
            &self.name,
            &self.principal,
            &self.host,
            self.operation.to_string(),
            permission(self.allows),
        );
        serde_json::to_string(&parts).expect("plain data")
    }

    fn parse(key: &[u8]) -> Result<Self, String> {
        let parsed: Result<Key, _> = serde_json::from_slice(key);
        let (of, how, name, principal, host, what, may) =
            parsed.map_err(|error| error.to_string())?;
        let unknown = |word: &str| format!("{word:?} is not known");
        let resources = [AclResource::Topic, AclResource::Group];
        let patterns = [AclPattern::Literal, AclPattern::Prefixed];
        Ok(Self {
            resource: find(resources, |one| resource(*one) == of).ok_or_else(|| unknown(&of))?,
            pattern: find(patterns, |one| pattern(*one) == how).ok_or_else(|| unknown(&how))?,
            name,
            principal,
            host,
            operation: find(Operation::EACH, |one| one.to_string() == what)
                .ok_or_else(|| unknown(&what))?,
            allows: find([true, false], |one| permission(*one) == may)
                .ok_or_else(|| unknown(&may))?,
        })
    }

    fn text(&self) -> String {
        let whose = match self.pattern {
            AclPattern::Literal => "",
            AclPattern::Prefixed => "s that begin with",
        };
        format!(
            "{} {} {} on {}{whose} {} from {}",
            permission(self.allows),
            self.principal,
            self.operation,
            resource(self.resource),
            self.name,
            self.host,
        )
    }
}

fn find<T>(all: impl IntoIterator<Item = T>, is: impl Fn(&T) -> bool) -> Option<T> {
    all.into_iter().find(is)
}

fn resource(resource: AclResource) -> &'static str {
    match resource {
        AclResource::Topic => "topic",
        AclResource::Group => "group",
    }
}

fn pattern(pattern: AclPattern) -> &'static str {
    match pattern {
        AclPattern::Literal => "literal",
        AclPattern::Prefixed => "prefixed",
    }
}

fn permission(allows: bool) -> &'static str {
    if allows { "allow" } else { "deny" }
}
