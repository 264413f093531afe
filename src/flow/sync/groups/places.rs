//! Where groups are on the target, from what they committed on the source.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    Class, Isolation, TopicPartition,
    client::{GroupOffsets, OffsetSpec},
};

use crate::checkpoint::offset_map::Ladder;

use super::{GroupSync, Round, RoundError, decide::Place, translate::Told};

impl GroupSync {
    /// What groups committed, by group and target partition.
    pub(super) async fn translate(
        &mut self,
        round: &mut Round,
        committed: &BTreeMap<String, GroupOffsets>,
    ) -> Result<BTreeMap<String, BTreeMap<TopicPartition, Place>>, RoundError> {
        let mut asked: BTreeMap<&TopicPartition, BTreeSet<i64>> = BTreeMap::new();
        for (partition, committed) in committed.values().flatten() {
            if round.copied.contains_key(partition) {
                asked.entry(partition).or_default().insert(committed.offset);
            }
        }
        let targets = asked
            .keys()
            .map(|partition| round.copied[*partition].target.clone());
        self.learn_extents(round, targets.collect()).await?;
        let mut told = BTreeMap::new();
        for (partition, offsets) in &asked {
            let unit = &round.copied[*partition];
            let nothing = Ladder::default();
            let ladder = round.view.ladder(&unit.target).unwrap_or(&nothing);
            let end = self.ends.of(unit);
            let translated = self.translator.translate(unit, ladder, end, offsets);
            let answers = match translated.await {
                Ok(answers) => answers,
                // One partition that cannot be read holds up no other.
                Err(error) if error.class() == Class::Fatal || error.api_error().is_some() => {
                    let (flow, partition) = (&self.settings.flow, &unit.source);
                    tracing::debug!(%flow, %partition, %error, "cannot count its records now");
                    offsets
                        .iter()
                        .map(|offset| (*offset, Told::Waits))
                        .collect()
                }
                Err(error) => return Err(RoundError::Source(error)),
            };
            told.insert(*partition, answers);
        }
        let mut wanted: BTreeMap<String, BTreeMap<TopicPartition, Place>> = BTreeMap::new();
        for (group, offsets) in committed {
            for (partition, committed) in offsets {
                let Some(answer) = told.get(partition).map(|told| told[&committed.offset]) else {
                    continue;
                };
                let places = wanted.entry(group.clone()).or_default();
                let target = &round.copied[partition].target;
                let extent = round.extents.get(target).copied();
                let place = self.settle(committed.offset, answer, extent);
                places.extend(place.map(|place| (target.clone(), place)));
            }
        }
        Ok(wanted)
    }

    /// What to write for an answer, within what the target holds.
    fn settle(
        &mut self,
        source_offset: i64,
        told: Told,
        extent: Option<(i64, i64)>,
    ) -> Option<Place> {
        let (answer, (start, end)) = match (told, extent) {
            (Told::Answer(answer), Some(extent)) => (answer, extent),
            (Told::Lost { held, end }, Some((start, _))) => {
                self.report.waits();
                return Some(Place {
                    source_offset,
                    target_offset: held.max(start),
                    only_behind: Some(end),
                });
            }
            (Told::Unknown, _) => {
                self.report.unknown();
                return None;
            }
            (Told::Waits, _) | (_, None) => {
                self.report.waits();
                return None;
            }
        };
        // It lost its end, and the map is not cut yet (EXACTNESS 10).
        if answer.high > end {
            self.report.waits();
            return None;
        }
        if !answer.is_exact() && answer.high > start {
            self.report.inexact();
        }
        Some(Place {
            source_offset,
            // Before its first record there is nothing to read.
            target_offset: answer.low.max(start),
            only_behind: None,
        })
    }

    async fn learn_extents(
        &self,
        round: &mut Round,
        targets: BTreeSet<TopicPartition>,
    ) -> Result<(), RoundError> {
        let new: Vec<_> = targets
            .into_iter()
            .filter(|target| !round.extents.contains_key(target))
            .collect();
        let mut both = Vec::new();
        for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
            let wanted: Vec<_> = new.iter().map(|target| (target.clone(), spec)).collect();
            let listed = self
                .settings
                .target
                .list_offsets(&wanted, Isolation::ReadUncommitted);
            both.push(listed.await.map_err(RoundError::Target)?);
        }
        let ends = both.pop().unwrap_or_default();
        let starts = both.pop().unwrap_or_default();
        for ((target, start), (_, end)) in starts.into_iter().zip(ends) {
            if let (Ok(start), Ok(end)) = (start, end) {
                round.extents.insert(target, (start.offset, end.offset));
            }
        }
        Ok(())
    }
}
