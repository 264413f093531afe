//! Time passes: sessions end, join and sync phases run out.

use std::time::Duration;

use super::group::{Group, GroupState, JoinPhase, Moment};

impl Group {
    /// When the next thing happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let members = self.members.values().filter_map(|m| m.deadline);
        let pending = self.pending_members.values().copied();
        let phases = self
            .join_phase
            .map(JoinPhase::until)
            .into_iter()
            .chain(self.sync_deadline);
        members.chain(pending).chain(phases).min()
    }

    /// Does everything whose time has come.
    pub(crate) fn expire(&mut self, at: &Moment<'_>) {
        self.expire_pending(at);
        self.expire_sessions(at);
        self.expire_syncs(at);
        self.expire_join_phase(at);
    }

    fn expire_pending(&mut self, at: &Moment<'_>) {
        let before = self.pending_members.len();
        self.pending_members.retain(|_, until| *until > at.now);
        if self.pending_members.len() < before {
            self.complete_after_removal(at);
        }
    }

    fn expire_sessions(&mut self, at: &Moment<'_>) {
        let over = |deadline: Option<Duration>| deadline.is_some_and(|d| d <= at.now);
        let ended = self.members.values_mut().filter(|m| over(m.deadline));
        let mut gone = Vec::new();
        for member in ended {
            member.deadline = None;
            if !member.is_expected_silent() {
                gone.push(member.id.clone());
            }
        }
        for id in gone {
            tracing::info!(group = %self.name, member = %id, "session ended");
            self.remove(&id);
            match self.state {
                GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(at),
                GroupState::PreparingRebalance | GroupState::Empty => {
                    self.complete_after_removal(at);
                }
            }
        }
    }

    /// Who did not ask for its assignment in time is dropped.
    fn expire_syncs(&mut self, at: &Moment<'_>) {
        if self.sync_deadline.is_none_or(|d| d > at.now) {
            return;
        }
        self.sync_deadline = None;
        let late = std::mem::take(&mut self.pending_syncs);
        let settled = matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        );
        if late.is_empty() || !settled {
            return;
        }
        for id in &late {
            self.remove(id);
        }
        self.prepare_rebalance(at);
    }

    fn expire_join_phase(&mut self, at: &Moment<'_>) {
        match self.join_phase {
            Some(JoinPhase::Rejoin { until }) if until <= at.now => self.complete_join(at),
            Some(JoinPhase::Initial {
                until,
                delay,
                remaining,
            }) if until <= at.now => {
                if self.new_member_added && !remaining.is_zero() {
                    self.new_member_added = false;
                    let next = at.settings.initial_rebalance_delay.min(remaining);
                    self.join_phase = Some(JoinPhase::Initial {
                        until: at.now + next,
                        delay: next,
                        remaining: remaining.saturating_sub(delay),
                    });
                } else {
                    self.complete_join(at);
                }
            }
            _ => {}
        }
    }

    fn complete_after_removal(&mut self, at: &Moment<'_>) {
        if self.state == GroupState::PreparingRebalance && self.all_joined() {
            self.complete_join(at);
        }
    }
}
