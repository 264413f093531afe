//! Which record of the source is which on the target, from the newest anchors of the offset map.
//!
//! A reader (`OffsetSyncStore`) takes a sync for one record and its copy, and says of a group that is behind that record:
//! it goes on behind the copy. An anchor says where both sides go on, which need not be at records. So the offsets right
//! before it are written: who is at the anchor goes on exactly there, who is behind it too, and who is right before it
//! reads one record again at most. Nobody goes on too far.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use host::BoxFuture;
use wire::TopicPartition;

use super::keeper::{Content, KeepError, MAX_RECORDS};
use crate::{
    checkpoint::offset_map::{Anchor, OffsetMap, View},
    flow::sync::groups::Copied,
    mm2::internal::{Encoded, OffsetSync},
};

const PERIOD: Duration = Duration::from_secs(5);

/// The newest sync of each partition.
#[derive(Debug)]
pub(super) struct OffsetSyncs {
    map: Arc<OffsetMap>,
    /// Source and target offset, by source partition.
    written: BTreeMap<TopicPartition, (i64, i64)>,
    due: Vec<(TopicPartition, (i64, i64))>,
}

impl OffsetSyncs {
    pub(super) fn new(map: Arc<OffsetMap>) -> Self {
        let (written, due) = (BTreeMap::new(), Vec::new());
        Self { map, written, due }
    }

    fn look(&mut self, copied: &Copied, view: &View) -> Result<Vec<Encoded>, KeepError> {
        self.written
            .retain(|partition, _| copied.contains_key(partition));
        let found = copied.iter().filter_map(|(source, unit)| {
            let anchors = view.ladder(&unit.target)?.anchors(unit.in_map);
            let offsets = before(anchors.last()?)?;
            (self.written.get(source) != Some(&offsets)).then(|| (source.clone(), offsets))
        });
        self.due = found.take(MAX_RECORDS).collect();
        let due = self.due.iter();
        due.map(|(source, (source_offset, target_offset))| {
            let sync = OffsetSync {
                topic: source.topic.clone(),
                partition: source.partition,
                source_offset: *source_offset,
                target_offset: *target_offset,
            };
            Ok(sync.encode()?)
        })
        .collect()
    }
}

/// What is right before an anchor, on both sides; none where there is nothing.
fn before(anchor: &Anchor) -> Option<(i64, i64)> {
    let offsets = (anchor.source_offset - 1, anchor.target_offset - 1);
    (offsets.0 >= 0 && offsets.1 >= 0).then_some(offsets)
}

impl Content for OffsetSyncs {
    fn kind(&self) -> &'static str {
        "offset_sync"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn forget(&mut self) {
        self.written.clear();
    }

    fn due<'a>(
        &'a mut self,
        copied: &'a Copied,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<Encoded>, KeepError>> {
        Box::pin(async move {
            let view = self.map.refresh().await?;
            self.look(copied, &view)
        })
    }

    fn written(&mut self) {
        self.written.extend(self.due.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where MirrorMaker 2 has a group go on that is at `offset` (`OffsetSyncStore.translateDownstream`).
    fn java((source, target): (i64, i64), offset: i64) -> Option<i64> {
        match offset.cmp(&source) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(target),
            std::cmp::Ordering::Greater => Some(target + 1),
        }
    }

    proptest! {
        /// A source with holes, and foreign records on the target between the copies.
        #[test]
        fn nobody_is_sent_past_a_record_that_it_has_not_read(
            log in proptest::collection::vec((any::<bool>(), 0i64..3), 1..60), at in 0usize..60, ask in 0i64..70,
        ) {
            let at = at.min(log.len());
            // Copies: source and target offset.
            let (mut copies, mut target, mut anchored) = (Vec::new(), 0, 0);
            for (offset, (is_record, others)) in log.iter().enumerate() {
                if offset == at {
                    anchored = target;
                }
                if *is_record {
                    target += others;
                    copies.push((offset as i64, target));
                    target += 1;
                }
            }
            if at == log.len() {
                anchored = target;
            }
            let anchor = Anchor {
                unit: 1, term: 0, number: 1, source_offset: at as i64, target_offset: anchored, sequence: 0, left_out: 0,
            };
            let Some(sync) = before(&anchor) else { return Ok(()) };
            let Some(found) = java(sync, ask) else { return Ok(()) };
            let unread = copies.iter().filter(|(source, _)| *source >= ask).map(|(_, target)| *target);
            if let Some(next) = unread.min() {
                prop_assert!(found <= next, "{} is behind {}", found, next);
            }
            // Right at the anchor it is the anchor.
            if ask == anchor.source_offset {
                prop_assert_eq!(found, anchor.target_offset);
            }
        }
    }
}
