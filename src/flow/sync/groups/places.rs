//! Where groups are on the target, from what they committed on the source.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    Class, Isolation, TopicPartition,
    client::{GroupOffsets, OffsetSpec},
};

use crate::checkpoint::offset_map::Ladder;

use super::{GroupSync, Round, RoundError, commit::Writes, decide::Place, translate::Told};

impl GroupSync {
    /// What groups committed, by group and target partition.
    pub(super) async fn translate(
        &mut self,
        round: &Round,
        committed: &BTreeMap<String, GroupOffsets>,
    ) -> Result<BTreeMap<String, BTreeMap<TopicPartition, Place>>, RoundError> {
        let mut asked: BTreeMap<&TopicPartition, BTreeSet<i64>> = BTreeMap::new();
        for (partition, committed) in committed.values().flatten() {
            if round.copied.contains_key(partition) {
                asked.entry(partition).or_default().insert(committed.offset);
            }
        }
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
        let targets = told
            .iter()
            .map(|(partition, told)| (&round.copied[*partition].target, told));
        let lacking = targets.filter(|(target, told)| self.extents.lacks(target, told));
        let lacking = lacking.map(|(target, _)| target.clone()).collect();
        self.learn_extents(lacking).await?;
        let mut wanted: BTreeMap<String, BTreeMap<TopicPartition, Place>> = BTreeMap::new();
        for (group, offsets) in committed {
            for (partition, committed) in offsets {
                let Some(answers) = told.get(partition) else {
                    continue;
                };
                let answer = answers[&committed.offset];
                let places = wanted.entry(group.clone()).or_default();
                let target = &round.copied[partition].target;
                let extent = self.extents.tell(target, answers);
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

    /// What of `wanted` lies outside of what the target holds now: another round says where it is.
    pub(super) async fn outside(
        &mut self,
        wanted: &BTreeMap<String, Writes>,
    ) -> Result<BTreeSet<(TopicPartition, i64)>, RoundError> {
        let all = || wanted.values().flatten();
        let remembered = self.extents.remembered(all().map(|(target, _)| target));
        self.learn_extents(remembered).await?;
        let outside = all().filter(|(target, it)| !self.extents.holds(target, it.offset));
        Ok(outside
            .map(|(target, it)| (target.clone(), it.offset))
            .collect())
    }

    async fn learn_extents(&mut self, asked: BTreeSet<TopicPartition>) -> Result<(), RoundError> {
        if asked.is_empty() {
            return Ok(());
        }
        let mut both = Vec::new();
        for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
            let wanted: Vec<_> = asked.iter().map(|target| (target.clone(), spec)).collect();
            let listed = self
                .settings
                .target
                .list_offsets(&wanted, Isolation::ReadUncommitted);
            both.push(listed.await.map_err(RoundError::Target)?);
        }
        let ends = both.pop().unwrap_or_default();
        let starts = both.pop().unwrap_or_default();
        for ((target, start), (_, end)) in starts.into_iter().zip(ends) {
            match (start, end) {
                (Ok(start), Ok(end)) => self.extents.learn(target, (start.offset, end.offset)),
                _ => self.extents.forget(&target),
            }
        }
        Ok(())
    }
}
