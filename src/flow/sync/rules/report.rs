//! What became of rules: each that is made or removed is logged, whatever is left out or refused once per change.

use std::collections::BTreeMap;

use wire::error::ApiError;

use super::Rule;
use crate::status::{Follows, LeftOutRule};

/// Rules that are told by name.
const MAX_TOLD: usize = 100;

/// Of one round, and of what was told before.
#[derive(Debug)]
pub(super) struct Report<R> {
    /// What they are called.
    kind: &'static str,
    now: Follows,
    left: BTreeMap<R, String>,
    /// Why rules were left out when that was last told.
    told: BTreeMap<R, String>,
    unknown: usize,
    /// Why there was no round, when that was last told.
    failing: Option<String>,
}

impl<R: Rule> Report<R> {
    /// Of rules that are called so.
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            now: Follows::default(),
            left: BTreeMap::new(),
            told: BTreeMap::new(),
            unknown: 0,
            failing: None,
        }
    }

    /// A round begins: so many follow if all goes well, so many of the source are not understood.
    pub(super) fn begin(&mut self, follow: usize, unknown: usize, left: BTreeMap<R, String>) {
        self.now = Follows {
            follow,
            unknown,
            ..Follows::default()
        };
        self.left = left;
    }

    /// Some were to be created; those that were not.
    pub(super) fn created(
        &mut self,
        flow: &str,
        rules: &[R],
        outcomes: &[Result<(), ApiError>],
    ) -> Vec<R> {
        let mut refused = Vec::new();
        for (rule, outcome) in rules.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    tracing::info!(%flow, kind = self.kind, "rule set on the target: {}", rule.text());
                }
                Err(error) => {
                    self.now.follow -= 1;
                    self.left.insert(rule.clone(), error.to_string());
                    refused.push(rule.clone());
                }
            }
        }
        refused
    }

    /// Some were to be removed; those that were.
    pub(super) fn removed(
        &mut self,
        flow: &str,
        rules: &[R],
        outcomes: &[Result<(), ApiError>],
    ) -> Vec<R> {
        let mut removed = Vec::new();
        for (rule, outcome) in rules.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    tracing::info!(%flow, kind = self.kind, "rule removed from the target: {}", rule.text());
                    removed.push(rule.clone());
                }
                Err(error) => {
                    let why = format!("is not removed: {error}");
                    self.left.insert(rule.clone(), why);
                }
            }
        }
        removed
    }

    /// The round is over: logs what changed.
    pub(super) fn finish(&mut self, flow: &str) -> Follows {
        let kind = self.kind;
        if self.failing.take().is_some() {
            tracing::info!(%flow, "{kind} follow again");
        }
        for (rule, why) in &self.left {
            if self.told.get(rule) != Some(why) {
                tracing::warn!(%flow, kind, rule = rule.text(), "rule left out: {why}");
            }
        }
        let unknown = self.now.unknown;
        if unknown > self.unknown {
            tracing::warn!(%flow, kind, unknown, "rules of the source are left out: this version does not know what they say");
        }
        self.unknown = unknown;
        self.told = std::mem::take(&mut self.left);
        let left = self.told.iter().take(MAX_TOLD);
        let left = left.map(|(rule, why)| LeftOutRule {
            rule: rule.text(),
            text: why.clone(),
        });
        Follows {
            left_out: self.told.len(),
            left: left.collect(),
            ..std::mem::take(&mut self.now)
        }
    }

    /// There was no round.
    pub(super) fn failed(&mut self, flow: &str, reason: String) -> Follows {
        if self.failing.as_ref() != Some(&reason) {
            tracing::warn!(%flow, %reason, "{} do not follow now", self.kind);
            self.failing = Some(reason.clone());
        }
        Follows {
            off: Some(reason),
            ..Follows::default()
        }
    }
}
