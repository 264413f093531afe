//! What is ready becomes one batch, where that pays.

use super::Task;
use crate::{
    base::budget::Permit,
    source::PartitionReader,
    worker::{
        coalesce::{Goal, Run, coalesce},
        prepare::Body,
    },
};

impl Task {
    /// How much of what is ready is paid for.
    pub(super) fn paid(&self) -> usize {
        let unpaid = self.toll.as_ref().map_or(0, |(_, parts)| *parts);
        self.ready.len() - unpaid
    }

    /// Takes what has arrived and may go together with what is ready.
    pub(super) async fn gather(&mut self, reader: &mut PartitionReader) {
        let Some(goal) = self.wanted() else {
            return;
        };
        let mut known = 0;
        let mut run = Run::default();
        loop {
            for (part, _) in self.ready.iter().skip(known) {
                run.take(part, goal);
            }
            known = self.ready.len();
            if self.toll.is_some() || self.behind.is_some() || !run.is_open() {
                return;
            }
            let Some(batch) = reader.here() else {
                return;
            };
            self.behind = self.take_batch(batch).await.err();
        }
    }

    /// Makes what is ready and paid for one batch, as far as it goes together.
    pub(super) fn join(&mut self) {
        if self.ready.len() < 2 {
            return;
        }
        let Some(goal) = self.wanted() else {
            return;
        };
        let paid = self.ready.iter().take(self.paid()).map(|(part, _)| part);
        let run = Run::of(paid.clone(), goal);
        let Some((parts, batches, part)) = coalesce(paid.take(run.parts), goal.bytes) else {
            return;
        };
        self.settings.events.opened("coalesced", batches);
        let permits = self.ready.drain(..parts).map(|(_, permit)| permit);
        let permit = permits.fold(Permit::default(), Permit::and);
        self.ready.push_front((part, permit));
    }

    /// What is made of what is ready and what follows it; none if it goes as it is.
    fn wanted(&self) -> Option<Goal> {
        let (unit, (part, _)) = (self.unit.as_ref()?, self.ready.front()?);
        let Body::Sealed(view) = &part.body else {
            return None;
        };
        if !self.poison.lets_join() {
            return None;
        }
        let (_, oldest) = self.ledger.unresolved();
        let wall_ms = self.settings.host.clock.wall_ms();
        let window = unit.window(oldest, view.header.max_timestamp, wall_ms);
        let mut goal = self.pace.wanted(window, part)?;
        goal.bytes = goal.bytes.min(self.settings.limits.max_batch_bytes);
        Some(goal)
    }
}
