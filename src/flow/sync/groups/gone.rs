//! Groups that are gone from the source. What strait wrote for them on the target stays until it expires there, as
//! consumers that moved over may not have begun yet; it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHUNK, GroupSync, Round, RoundError, decide::Leave, in_turn, marked};

impl GroupSync {
    /// Looks at some more groups that only the target has; `on_source` are the source's.
    pub(super) async fn look_for_gone(
        &mut self,
        round: &Round,
        on_source: &BTreeSet<String>,
    ) -> Result<(), RoundError> {
        let selection = &self.settings.selection;
        let only_there = round
            .states
            .keys()
            .filter(|group| selection.selects(group) && !on_source.contains(*group));
        let only_there: Vec<String> = only_there.cloned().collect();
        self.gone
            .retain(|group| only_there.binary_search(group).is_ok());
        let (turn, last) = in_turn(&only_there, &self.last_gone, CHUNK);
        self.last_gone = last;
        let asked = turn.into_iter().map(|group| (group, None));
        let asked: BTreeMap<_, _> = asked.collect();
        let found = self.settings.target.offsets_of_groups(&asked).await;
        for (group, found) in found.map_err(RoundError::Target)? {
            // Of those that are not told nothing is known.
            let Ok(found) = found else { continue };
            let flow = &self.settings.flow;
            let is_ours = found
                .values()
                .any(|one| marked(&one.metadata, flow).is_some());
            if is_ours {
                self.gone.insert(group);
            } else {
                self.gone.remove(&group);
            }
        }
        for group in std::mem::take(&mut self.gone) {
            self.leave(&group, &Leave::Gone);
            self.gone.insert(group);
        }
        Ok(())
    }
}
