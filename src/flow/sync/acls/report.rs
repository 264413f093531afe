//! What became of rules: each that is made or removed is logged, whatever is left out or refused once per change.

use std::collections::BTreeMap;

use wire::{
    client::{Acl, AclPattern},
    error::ApiError,
};

use super::{
    created::{permission, resource},
    wanted::Wanted,
};
use crate::status::{Acls, LeftOutAcl};

/// Rules that are told by name.
const MAX_TOLD: usize = 100;

/// Of one round, and of what was told before.
#[derive(Debug, Default)]
pub(super) struct Report {
    now: Acls,
    left: BTreeMap<Acl, String>,
    /// Why rules were left out when that was last told.
    told: BTreeMap<Acl, String>,
    unknown: usize,
    /// Why there was no round, when that was last told.
    failing: Option<String>,
}

impl Report {
    /// A round begins; so many rules of the source were not understood.
    pub(super) fn begin(&mut self, wanted: &Wanted, unknown: usize) {
        self.now = Acls {
            follow: wanted.acls.len(),
            unknown,
            ..Acls::default()
        };
        let left = wanted.left_out.iter();
        self.left = left
            .map(|(acl, why)| (acl.clone(), (*why).to_owned()))
            .collect();
    }

    /// Some were to be created; those that were not.
    pub(super) fn created(
        &mut self,
        flow: &str,
        acls: &[Acl],
        outcomes: &[Result<(), ApiError>],
    ) -> Vec<Acl> {
        let mut refused = Vec::new();
        for (acl, outcome) in acls.iter().zip(outcomes) {
            match outcome {
                Ok(()) => tracing::info!(%flow, acl = %text(acl), "rule created on the target"),
                Err(error) => {
                    self.now.follow -= 1;
                    self.left.insert(acl.clone(), error.to_string());
                    refused.push(acl.clone());
                }
            }
        }
        refused
    }

    /// Some were to be removed; those that were.
    pub(super) fn removed(
        &mut self,
        flow: &str,
        acls: &[Acl],
        outcomes: &[Result<(), ApiError>],
    ) -> Vec<Acl> {
        let mut removed = Vec::new();
        for (acl, outcome) in acls.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    tracing::info!(%flow, acl = %text(acl), "rule removed from the target");
                    removed.push(acl.clone());
                }
                Err(error) => {
                    self.left
                        .insert(acl.clone(), format!("is not removed: {error}"));
                }
            }
        }
        removed
    }

    /// The round is over: logs what changed.
    pub(super) fn finish(&mut self, flow: &str) -> Acls {
        if self.failing.take().is_some() {
            tracing::info!(%flow, "rules (ACLs) follow again");
        }
        for (acl, why) in &self.left {
            if self.told.get(acl) != Some(why) {
                tracing::warn!(%flow, acl = %text(acl), "rule left out: {why}");
            }
        }
        if self.now.unknown > self.unknown {
            let unknown = self.now.unknown;
            tracing::warn!(%flow, unknown, "the source has rules of kinds that this version does not know; they are left out");
        }
        self.unknown = self.now.unknown;
        self.told = std::mem::take(&mut self.left);
        let left = self.told.iter().take(MAX_TOLD);
        let left = left.map(|(acl, why)| LeftOutAcl {
            acl: text(acl),
            text: why.clone(),
        });
        Acls {
            left_out: self.told.len(),
            left: left.collect(),
            ..std::mem::take(&mut self.now)
        }
    }

    /// There was no round.
    pub(super) fn failed(&mut self, flow: &str, reason: String) -> Acls {
        if self.failing.as_ref() != Some(&reason) {
            tracing::warn!(%flow, %reason, "rules (ACLs) do not follow now");
            self.failing = Some(reason.clone());
        }
        Acls {
            off: Some(reason),
            ..Acls::default()
        }
    }
}

/// A rule for people.
fn text(acl: &Acl) -> String {
    let whose = match acl.pattern {
        AclPattern::Literal => "",
        AclPattern::Prefixed => "s with prefix",
    };
    format!(
        "{} {} {} on {}{whose} {} from {}",
        permission(acl.allows),
        acl.principal,
        acl.operation,
        resource(acl.resource),
        acl.name,
        acl.host,
    )
}
