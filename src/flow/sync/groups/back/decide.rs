//! What becomes of a group that goes back to the source. Pure.
//!
//! A place on the source is written only where the map tells it, and never one behind records that the group may not have
//! read: of an answer that is not exact the lower bound. What the group itself committed there further on stays, for it has
//! read that far there; going back repeats, going too far loses.

use wire::{
    TopicPartition,
    client::{CommittedOffset, GroupOffsets},
};

use super::{
    super::{decide::any_mark, mark, marked, resume::UNTRANSLATED},
    Outcome, Partition,
    answer::Told,
};

/// What one partition of a group has on the target, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) source: TopicPartition,
    pub(super) target: TopicPartition,
    /// What is committed there.
    pub(super) committed: CommittedOffset,
    /// What that is on the source, or why the flow does not copy the partition now.
    pub(super) told: Result<Told, String>,
    /// Where the copy began on the source, if what was there before was left out.
    pub(super) began_late_at: Option<i64>,
    /// The flow that brings back what is written on the target there.
    pub(super) reverse: Option<String>,
    /// More was perhaps copied than the map says.
    pub(super) is_unsettled: bool,
}

/// By what a group is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) flow: &'a str,
    pub(super) source: &'a str,
    pub(super) target: &'a str,
    /// Groups also go back to before what they committed on the source.
    pub(super) rewind: bool,
}

/// What a group's partitions are to have on the source.
pub(super) type Writes = Vec<(TopicPartition, CommittedOffset)>;

impl Terms<'_> {
    /// Decides for a group that has committed `there` on the source.
    pub(super) fn decide(&self, found: &[Found], there: &GroupOffsets) -> (Vec<Partition>, Writes) {
        let rows = found
            .iter()
            .map(|one| self.judge(one, there.get(&one.source)));
        let rows: Vec<Partition> = rows.collect();
        // A flow of the other direction leaves groups alone of which anything has not its mark.
        let hands_over = rows.iter().zip(found).find_map(|(row, one)| {
            let reverse = one.reverse.as_deref();
            reverse.filter(|_| row.outcome == Outcome::HandedOver)
        });
        let writes = rows.iter().zip(found).filter_map(|(row, one)| {
            let there = there.get(&one.source);
            let wanted = match (row.outcome, row.source_offset) {
                (Outcome::Moves, Some(offset)) => {
                    let is_known = hands_over.map(|flow| mark(flow, one.committed.offset));
                    let metadata = is_known.unwrap_or_else(|| self.carried(&one.committed));
                    Some((offset, metadata))
                }
                // Without a mark, so that the other flow leaves the group alone until an operator has settled it.
                (Outcome::Left, _) => None,
                _ => there.zip(hands_over).and_then(|(there, flow)| {
                    let is_marked = marked(&there.metadata, flow).is_some();
                    (!is_marked).then(|| (there.offset, mark(flow, UNTRANSLATED)))
                }),
            };
            let (offset, metadata) = wanted?;
            let committed = CommittedOffset {
                offset,
                leader_epoch: -1,
                metadata,
            };
            Some((one.source.clone(), committed))
        });
        let writes = writes.collect();
        (rows, writes)
    }

    /// What an application keeps beside its offsets goes with them.
    fn carried(&self, committed: &CommittedOffset) -> String {
        match any_mark(&committed.metadata) {
            Some(_) => String::new(),
            None => committed.metadata.clone(),
        }
    }

    fn judge(&self, one: &Found, there: Option<&CommittedOffset>) -> Partition {
        let (source, target) = (self.source, self.target);
        let row = |outcome, told: Option<(i64, i64)>, text: String| Partition {
            topic: one.source.topic.clone(),
            partition: one.source.partition,
            target_topic: one.target.topic.clone(),
            target_offset: one.committed.offset,
            source_offset: told.map(|(offset, _)| offset),
            again: told.map(|(_, again)| again),
            before: there.map(|there| there.offset),
            outcome,
            text,
        };
        // Ours counts where the group has lost its own.
        let by = any_mark(&one.committed.metadata).map(|(flow, _)| flow);
        if let Some(flow) = by.filter(|flow| *flow != self.flow || there.is_some()) {
            let text = format!("nobody committed there on {target} but flow {flow}");
            return row(Outcome::Same, None, text);
        }
        let left = |text: String| row(Outcome::Left, None, text);
        // Before all else: a flow of the other direction would pass over that as well.
        let began = one.began_late_at.zip(there);
        if let Some((began, _)) = began.filter(|(began, there)| there.offset < *began) {
            return left(format!(
                "its offset on {source} is before {began}, where the flow began: what is between was never on {target}"
            ));
        }
        let is_exact = matches!(one.told, Ok(Told::At { again: 0, .. }));
        if let Some(reverse) = one.reverse.as_ref().filter(|_| !is_exact) {
            let text = format!("flow {reverse} has brought what it read, and commits for it");
            return row(Outcome::HandedOver, None, text);
        }
        let (offset, again) = match &one.told {
            Ok(Told::At {
                source_offset,
                again,
            }) => (*source_offset, *again),
            Ok(Told::Beyond(end)) => return left(self.beyond(*end, one.is_unsettled)),
            Ok(Told::Lost(end)) => {
                return left(format!(
                    "{target} lost its end: what was read there behind {end} is not known any more"
                ));
            }
            Ok(Told::Unknown) => {
                return left("the offset map does not reach back so far".to_owned());
            }
            Ok(Told::Unread(reason)) => {
                return left(format!(
                    "its records on {source} cannot be counted: {reason}"
                ));
            }
            Err(reason) => return left(reason.clone()),
        };
        let told = Some((offset, again));
        let bound = match again {
            0 => String::new(),
            again => format!("not exact: reads up to {again} records again"),
        };
        let Some(there) = there else {
            return row(Outcome::Moves, told, bound);
        };
        match there.offset {
            at if at == offset => row(Outcome::Same, told, bound),
            at if at > offset && !self.rewind && is_its_own(there) => {
                let text = format!("it has read further on {source}; --rewind takes it back");
                row(Outcome::Kept, told, text)
            }
            _ => row(Outcome::Moves, told, bound),
        }
    }

    fn beyond(&self, end: i64, is_unsettled: bool) -> String {
        let (source, target) = (self.source, self.target);
        let more = match is_unsettled {
            true => {
                "; the flow runs, or was not stopped cleanly: once it has run and stopped its map may tell more"
            }
            false => "",
        };
        format!(
            "it has read on behind {end}, where the copy on {target} ends: {source} has nothing of that{more}"
        )
    }
}

/// Whether the group committed it itself; another flow's place for it follows from where it is on the target, as this one does.
fn is_its_own(there: &CommittedOffset) -> bool {
    any_mark(&there.metadata).is_none_or(|(_, offset)| offset < 0)
}

#[cfg(test)]
mod tests;
