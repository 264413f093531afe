//! From what groups committed on the target to what that is on the source: the offset map, and where it does not tell alone,
//! the source's records between two anchors, counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::{
    Class, Isolation,
    client::{Client, FetchRequest},
    error::ClientError,
};

use super::{super::Unit, find::Find, source::Held};
use crate::checkpoint::offset_map::{Anchor, SourcePlace, records_before, source_place};

const FETCH_BYTES: i32 = 4 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// What is said of a target offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is this source offset: all before it that was copied is read.
    At {
        source_offset: i64,
        /// So many records from there on may have been read, at most; 0: it is exact.
        again: i64,
    },
    /// It is behind all that was copied, which ends here on the target.
    Beyond(i64),
    /// It is behind this, where the target lost its end: what was copied there nobody knows any more.
    Lost(i64),
    /// The map does not reach back so far.
    Unknown,
    /// The source's records cannot be counted, and why.
    Unread(String),
}

/// What is known of one unit.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) unit: &'a Unit,
    /// What is to be believed of its map, in order.
    pub(super) anchors: Vec<Anchor>,
    /// The target lost what was copied behind them.
    pub(super) is_lost: bool,
    /// What the source still holds of it.
    pub(super) held: Held,
}

/// Reads the source.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a Client,
    pub(super) isolation: Isolation,
}

impl Known<'_> {
    /// Where the copy began on the source, if what was there before was left out.
    pub(super) fn began_late_at(&self) -> Option<i64> {
        let first = self.anchors.first().filter(|first| first.number == 0);
        let first = first.filter(|first| self.unit.begins_late && first.source_offset > 0);
        first.map(|first| first.source_offset)
    }

    /// Whether `target_offset` is among what the target held before the copy began, and what the source held then was not
    /// copied: they may be the same records.
    fn is_before(&self, target_offset: i64) -> bool {
        let first = self.anchors.first();
        self.began_late_at().is_some()
            && first.is_some_and(|first| target_offset < first.target_offset)
    }

    fn beyond(&self) -> Told {
        let end = self.anchors.last().map_or(0, |last| last.target_offset);
        match self.is_lost {
            true => Told::Lost(end),
            false => Told::Beyond(end),
        }
    }

    /// Within what the source holds: before its first record there is nothing to read, and behind what it lost neither.
    fn within(&self, told: Told) -> Told {
        let Told::At {
            source_offset,
            again,
        } = told
        else {
            return told;
        };
        let Held { start, end } = self.held;
        Told::At {
            source_offset: source_offset.min(end).max(start),
            again,
        }
    }

    /// The answer for all target offsets between `a` and `b`, if counting makes it no better.
    fn bound(&self, a: &Anchor, b: &Anchor) -> Option<Told> {
        let Held { start, end } = self.held;
        let left_out = b.left_out.saturating_sub(a.left_out);
        let all_left_out = left_out >= b.source_offset.abs_diff(a.source_offset);
        let (from, to) = (a.source_offset.max(start), b.source_offset.min(end));
        (all_left_out || end < b.source_offset || from >= to).then_some(Told::At {
            source_offset: a.source_offset,
            again: (to - from).max(0),
        })
    }
}

impl Reader<'_> {
    /// What the target offsets `asked` are on the source.
    ///
    /// # Errors
    /// If the source does not answer.
    pub(super) async fn answers(
        &self,
        known: &Known<'_>,
        asked: &BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, Told>, ClientError> {
        let mut told = BTreeMap::new();
        let mut between: Vec<(Anchor, Anchor, Vec<i64>)> = Vec::new();
        for offset in asked {
            let answer = match source_place(&known.anchors, *offset) {
                _ if known.is_before(*offset) => Told::Unknown,
                SourcePlace::At(source_offset) => Told::At {
                    source_offset,
                    again: 0,
                },
                SourcePlace::Between(a, b) => {
                    match between.last_mut().filter(|last| (last.0, last.1) == (a, b)) {
                        Some((_, _, offsets)) => offsets.push(*offset),
                        None => between.push((a, b, vec![*offset])),
                    }
                    continue;
                }
                SourcePlace::Beyond => known.beyond(),
                SourcePlace::Unknown => Told::Unknown,
            };
            told.insert(*offset, answer);
        }
        for (a, b, offsets) in between {
            told.extend(self.counted(known, &a, &b, offsets).await?);
        }
        let told = told.into_iter();
        Ok(told
            .map(|(offset, told)| (offset, known.within(told)))
            .collect())
    }

    async fn counted(
        &self,
        known: &Known<'_>,
        a: &Anchor,
        b: &Anchor,
        offsets: Vec<i64>,
    ) -> Result<BTreeMap<i64, Told>, ClientError> {
        let alike = |told: Told| {
            offsets
                .iter()
                .map(|offset| (*offset, told.clone()))
                .collect()
        };
        if let Some(told) = known.bound(a, b) {
            return Ok(alike(told));
        }
        // Where the source has all that was copied, these are the ones.
        let wanted = offsets.iter().map(|offset| offset - a.target_offset);
        let (all, mut found) = match self.find(known, a, b, wanted.collect()).await? {
            Ok(found) => found,
            Err(reason) => return Ok(alike(Told::Unread(reason))),
        };
        let before = |offset: i64| records_before(a, b, all, offset);
        let places = offsets.iter().map(|offset| before(*offset).0);
        let missing: BTreeSet<i64> = places
            .filter(|place| *place < all && !found.contains_key(place))
            .collect();
        if !missing.is_empty() {
            match self.find(known, a, b, missing).await? {
                Ok((_, more)) => found.extend(more),
                Err(reason) => return Ok(alike(Told::Unread(reason))),
            }
        }
        let told = offsets.iter().map(|offset| {
            let (least, most) = before(*offset);
            let told = Told::At {
                source_offset: found.get(&least).copied().unwrap_or(b.source_offset),
                again: most - least,
            };
            (*offset, told)
        });
        Ok(told.collect())
    }

    /// How many records the source has between `a` and `b`, and where those are that are wanted; or why that cannot be
    /// told.
    async fn find(
        &self,
        known: &Known<'_>,
        a: &Anchor,
        b: &Anchor,
        wanted: BTreeSet<i64>,
    ) -> Result<Result<(i64, BTreeMap<i64, i64>), String>, ClientError> {
        let from = a.source_offset.max(known.held.start);
        let mut find = Find::new(from, b.source_offset, wanted);
        while !find.is_done() {
            let before = find.next();
            let request = FetchRequest {
                partition: known.unit.source.clone(),
                offset: before,
                max_bytes: FETCH_BYTES,
                max_wait: FETCH_WAIT,
                isolation: self.isolation,
            };
            let read = match self.source.fetch(request).await {
                Ok(fetched) => find.take(&fetched, self.isolation),
                Err(error) => Err(error),
            };
            match read {
                Ok(()) if find.next() > before => {}
                Ok(()) => return Ok(Err(format!("offset {before} cannot be read now"))),
                Err(error) if error.class() == Class::Fatal || error.api_error().is_some() => {
                    return Ok(Err(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(find.result()))
    }
}

#[cfg(test)]
mod tests;
