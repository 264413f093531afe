//! Whether the source still is what was copied (EXACTNESS 11), and up to where.

use wire::{TopicPartition, client::Client, error::ClientError};

use crate::{
    checkpoint::{Checkpoint, LastRecord},
    flow::{
        launch::{epoch_end, last_seen},
        start::{Extent, LastSeen, is_the_same},
    },
};

/// What a source partition holds of what was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The first offset that is there.
    pub(super) start: i64,
    /// From here on it is not what was copied: the source lost its end, or ends.
    pub(super) end: i64,
}

/// What the source holds of a unit whose checkpoint is `known`; none if it is not what was copied, and nothing tells since
/// where. Without a checkpoint only its extent is known.
///
/// # Errors
/// If the source does not answer.
pub(super) async fn held(
    client: &Client,
    partition: &TopicPartition,
    known: Option<&Checkpoint>,
    extent: Extent,
) -> Result<Option<Held>, ClientError> {
    let Extent { start, end } = extent;
    let whole = Held { start, end };
    let Some(last) = known.and_then(|known| known.last_record) else {
        return Ok(Some(whole));
    };
    let mut seen = last_seen(client, partition.clone(), last, extent).await?;
    let differs = matches!(seen, LastSeen::Found { .. }) && !is_the_same(&last, seen);
    if differs && last.leader_epoch >= 0 {
        seen = epoch_end(client, partition.clone(), last.leader_epoch).await?;
    }
    let end = agrees_to(&last, seen, extent);
    Ok(end.map(|end| Held { start, end }))
}

/// Up to where the source is what was copied.
fn agrees_to(last: &LastRecord, seen: LastSeen, extent: Extent) -> Option<i64> {
    let lost_end = last.source_offset >= extent.end;
    match seen {
        LastSeen::Found { .. } if !is_the_same(last, seen) => None,
        // This log never had the epoch.
        LastSeen::EpochEnds(..0) => None,
        // What two logs have of one epoch, and before it, is the same (KIP-101).
        LastSeen::EpochEnds(end) if end <= last.source_offset => Some(end),
        LastSeen::Gone if lost_end => None,
        LastSeen::Found { .. } | LastSeen::EpochEnds(_) | LastSeen::Gone => Some(extent.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_lost_its_end_is_believed_up_to_there() {
        let last = LastRecord {
            source_offset: 99,
            crc: 7,
            leader_epoch: 3,
            payload_crc: None,
        };
        let found = |crc| LastSeen::Found {
            crc,
            payload_crc: 0,
            leader_epoch: 3,
        };
        let to = |seen, end| agrees_to(&last, seen, Extent { start: 10, end });
        assert_eq!(to(found(7), 200), Some(200));
        assert_eq!(to(found(8), 200), None);
        // Compacted, or past retention.
        assert_eq!(to(LastSeen::Gone, 200), Some(200));
        assert_eq!(to(LastSeen::EpochEnds(100), 200), Some(200));
        // Cut, and written on in another epoch or not.
        assert_eq!(to(LastSeen::EpochEnds(80), 200), Some(80));
        assert_eq!(to(LastSeen::EpochEnds(-1), 200), None);
        assert_eq!(to(LastSeen::Gone, 99), None);
    }
}
