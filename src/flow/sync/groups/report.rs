//! What became of groups, told once per change.

use std::collections::BTreeMap;

use crate::status::{Groups, LeftAlone};

/// Groups that are left alone and told by name.
const MAX_TOLD: usize = 100;

/// The same, logged in one round.
const MAX_LOGGED: usize = 20;

/// Of one round, and of what was told before.
#[derive(Debug, Default)]
pub(super) struct Report {
    now: Groups,
    left: BTreeMap<String, (&'static str, String)>,
    /// By group: why it was left alone when that was last told.
    told: BTreeMap<String, &'static str>,
}

impl Report {
    /// A round begins.
    pub(super) fn begin(&mut self) {
        self.now = Groups::default();
        self.left.clear();
    }

    /// A group's offsets are on the target, if it has any there.
    pub(super) fn synced(&mut self, has_offsets: bool) {
        self.now.synced += usize::from(has_offsets);
    }

    /// An offset is not exact.
    pub(super) fn inexact(&mut self) {
        self.now.inexact += 1;
    }

    /// An offset is written later.
    pub(super) fn waits(&mut self) {
        self.now.waiting += 1;
    }

    /// So many are.
    pub(super) fn waiting(&mut self, count: usize) {
        self.now.waiting += count;
    }

    /// An offset is from before the map.
    pub(super) fn unknown(&mut self) {
        self.now.unknown += 1;
    }

    /// A group is left alone.
    pub(super) fn left(&mut self, group: &str, code: &'static str, text: String) {
        self.left.insert(group.to_owned(), (code, text));
    }

    /// Whether a group was left alone in the last round.
    pub(super) fn was_left(&self, group: &str) -> bool {
        self.told.contains_key(group)
    }

    /// The round is over: logs what changed.
    pub(super) fn finish(&mut self, flow: &str) -> Groups {
        let new = self.left.iter();
        let new: Vec<_> = new
            .filter(|(group, (code, _))| self.told.get(*group) != Some(code))
            .collect();
        for (group, (code, text)) in new.iter().take(MAX_LOGGED) {
            tracing::info!(%flow, %group, reason = code, "group left alone: {text}");
        }
        let gone = self.told.keys();
        let gone: Vec<_> = gone
            .filter(|group| !self.left.contains_key(*group))
            .collect();
        for group in gone.iter().take(MAX_LOGGED) {
            tracing::info!(%flow, %group, "group no longer left alone");
        }
        let more = [new.len(), gone.len()].map(|count| count.saturating_sub(MAX_LOGGED));
        if more != [0, 0] {
            tracing::info!(%flow, left_alone = more[0], no_longer = more[1], "and more groups");
        }
        let told = self.left.iter();
        self.told = told
            .map(|(group, (code, _))| (group.clone(), *code))
            .collect();
        let left = self.left.iter().take(MAX_TOLD);
        let left = left.map(|(group, (code, text))| LeftAlone {
            group: group.clone(),
            reason: (*code).to_owned(),
            text: text.clone(),
        });
        Groups {
            left_alone: self.left.len(),
            left: left.collect(),
            ..std::mem::take(&mut self.now)
        }
    }
}
