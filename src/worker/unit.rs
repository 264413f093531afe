//! What only sealed batches need: the unit's producer, its guard, and what is still to be confirmed.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use wire::batch::{BatchView, Stamp};

use super::{
    Progress,
    reconcile::{Reconciler, Skip},
    wrap,
};
use crate::checkpoint::ProducerState;

/// Batches that may be unresolved at once: the leader remembers as many (EXACTNESS 3;
/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const WINDOW: usize = 5;
/// How much younger than the leader's expiration a timestamp must be: the leader sweeps every ten minutes, and
/// clocks differ (EXACTNESS 2).
pub const GUARD_MARGIN: Duration = Duration::from_secs(20 * 60);
/// Reconciles that find what this process did not send, before it believes in another owner (EXACTNESS 9).
const FOREIGN: u32 = 3;

/// What the target's leaders do about producers.
#[derive(Clone, Debug)]
pub struct Exactness {
    /// Reads the target after a doubt.
    pub reconciler: Arc<dyn Reconciler>,
    /// `producer.id.expiration.ms` of the target; none: not known, so nothing is guarded.
    pub expiration: Option<Duration>,
    /// The source offset of the unit's latest committed checkpoint.
    pub committed: watch::Receiver<i64>,
}

/// The unit as its worker knows it.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) exactness: Exactness,
    pub(super) producer: ProducerState,
    guard: Guard,
    /// What the target holds beyond the acknowledged prefix, and how many records that were at first.
    pub(super) skip: Option<(Skip, i64)>,
    /// The first batch of a pass, until it is acknowledged and read back (EXACTNESS 5).
    pub(super) first: First,
    /// Sequence behind what this process sent, not wrapped; none before the first batch.
    sent: Option<i64>,
    foreign: u32,
    /// What was left by another transport turned out not to be what the source holds.
    pub(super) leftovers_differ: bool,
    /// Not before then, on the monotonic clock, may the target be read after an unguarded batch was lost.
    pub(super) quiet_until: Duration,
    /// Until then what was lost, guarded or not, may still be appended. An unguarded batch would make the leader forget
    /// what refuses it.
    pub(super) late_until: Duration,
}

/// The first batch of a pass.
#[derive(Debug)]
pub(super) enum First {
    /// Not sent yet.
    Awaited,
    /// Sent, with these bytes.
    Sent(BatchView),
    /// Acknowledged, and found on the target as it was sent.
    Confirmed,
}

impl Unit {
    pub(super) fn new(
        exactness: Exactness,
        producer: ProducerState,
        log_append_time: bool,
    ) -> Self {
        Self {
            guard: Guard {
                expiration: exactness.expiration,
                log_append_time,
                last: None,
            },
            exactness,
            producer,
            skip: None,
            first: First::Awaited,
            sent: None,
            foreign: 0,
            leftovers_differ: false,
            quiet_until: Duration::ZERO,
            late_until: Duration::ZERO,
        }
    }

    /// A new pass begins with what was found on the target.
    pub(super) fn begin(&mut self, skip: Option<Skip>, remembered: Option<i64>) {
        self.skip = skip.map(|skip| {
            let records = skip.left;
            (skip, records)
        });
        self.first = First::Awaited;
        self.guard.last = remembered;
    }

    /// Whether it sent anything yet.
    pub(super) fn has_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Where the source is read from, if that is not the acknowledged prefix.
    pub(super) fn rewound(&self) -> Option<&Progress> {
        self.skip.as_ref()?.0.rewound.as_deref()
    }

    /// Whether what was found is more than this process ever sent, for the third time in a row: another one
    /// writes.
    pub(super) fn is_another_owner(&mut self, progress: &Progress, skip: Option<&Skip>) -> bool {
        let found =
            progress.sequence + skip.filter(|skip| skip.certain).map_or(0, |skip| skip.left);
        match self.sent {
            Some(sent) if found > sent => self.foreign += 1,
            _ => self.foreign = 0,
        }
        self.sent = self.sent.map(|sent| sent.max(found));
        self.foreign >= FOREIGN
    }

    /// Whether a batch with this largest timestamp may be sent beside those that are unresolved, `oldest`
    /// being the smallest of theirs.
    pub(super) fn has_room(&self, unresolved: (usize, i64), timestamp: i64, wall_ms: i64) -> bool {
        let (count, oldest) = unresolved;
        let confirmed = matches!(self.first, First::Confirmed);
        count == 0 || confirmed && count < self.window(oldest, timestamp, wall_ms)
    }

    /// How many batches may be unresolved once a pass is under way, a batch with this largest timestamp among them.
    pub(super) fn window(&self, oldest: i64, timestamp: i64, wall_ms: i64) -> usize {
        if self.guard.holds(oldest.min(timestamp), wall_ms) {
            WINDOW
        } else {
            1
        }
    }

    /// Whether the leader would refuse a late or repeated append of what is unresolved.
    pub(super) fn is_guarded(&self, oldest: i64, wall_ms: i64) -> bool {
        self.guard.holds(oldest, wall_ms)
    }

    /// The same of what is on its way from another process, if the leader remembers a batch of this time.
    pub(super) fn is_guarded_by(&self, remembered: Option<i64>, wall_ms: i64) -> bool {
        let guard = Guard {
            last: remembered,
            ..self.guard
        };
        guard.holds(i64::MAX, wall_ms)
    }

    /// Stamps a batch whose first record has this sequence.
    pub(super) fn stamp(
        &mut self,
        view: &BatchView,
        sequence: i64,
    ) -> [u8; wire::batch::HEADER_LEN] {
        if matches!(self.first, First::Awaited) {
            self.first = First::Sent(view.clone());
        }
        let behind = sequence + i64::from(view.header.record_count);
        self.sent = Some(self.sent.map_or(behind, |sent| sent.max(behind)));
        view.stamped(Stamp {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: wrap(sequence),
        })
    }

    /// A batch with this largest timestamp was acknowledged.
    pub(super) fn acknowledged(&mut self, max_timestamp: i64, wall_ms: i64) {
        self.guard.last = Some(if self.guard.log_append_time {
            wall_ms
        } else {
            max_timestamp
        });
    }
}

/// Whether the leader surely still remembers the unit's producer (EXACTNESS 2): it forgets it by the time of the
/// last record.
#[derive(Clone, Copy, Debug)]
struct Guard {
    expiration: Option<Duration>,
    log_append_time: bool,
    /// Largest timestamp of the last acknowledged batch; none: the leader may remember nothing.
    last: Option<i64>,
}

impl Guard {
    fn holds(&self, oldest: i64, wall_ms: i64) -> bool {
        let (Some(expiration), Some(last)) = (self.expiration, self.last) else {
            return false;
        };
        let safe = expiration.saturating_sub(GUARD_MARGIN);
        let limit = wall_ms.saturating_sub(i64::try_from(safe.as_millis()).unwrap_or(i64::MAX));
        last > limit && (self.log_append_time || oldest > limit)
    }
}

/// Whether the target has at `offset` what was sent.
pub(super) fn is_there(sent: &BatchView, found: Option<&BatchView>, offset: i64) -> bool {
    let Some(found) = found.filter(|found| found.header.base_offset == offset) else {
        return false;
    };
    if found.header.record_count != sent.header.record_count {
        return false;
    }
    found.payload_crc() == sent.payload_crc() || same_records(sent, found)
}

/// The target compressed them anew, or sets the times itself.
fn same_records(sent: &BatchView, found: &BatchView) -> bool {
    let open = |view| wire::record::decode(view, 1 << 30).unwrap_or_default();
    let (sent, stored) = (open(sent), open(found));
    let timeless = found.header.is_log_append_time();
    sent.len() == stored.len()
        && sent.into_iter().zip(stored).all(|(mut sent, stored)| {
            if timeless {
                sent.timestamp = stored.timestamp;
            }
            sent.crc() == stored.crc()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_800_000_000_000;

    fn guard(last: Option<i64>) -> Guard {
        Guard {
            expiration: Some(Duration::from_millis(DAY.unsigned_abs())),
            log_append_time: false,
            last,
        }
    }

    #[test]
    fn rule_2_old_records_and_a_forgotten_producer_are_not_guarded() {
        assert!(guard(Some(NOW)).holds(NOW, NOW));
        assert!(!guard(None).holds(NOW, NOW), "first append, or forgotten");
        assert!(!guard(Some(NOW - DAY)).holds(NOW, NOW), "a quiet partition");
        assert!(
            !guard(Some(NOW)).holds(NOW - DAY, NOW),
            "one old batch in a fresh stream"
        );
        assert!(!guard(Some(NOW)).holds(-1, NOW), "no timestamp");
        let margin = NOW - DAY + 15 * 60_000;
        assert!(
            !guard(Some(margin)).holds(NOW, NOW),
            "within the margin of the sweep"
        );
        let unknown = Guard {
            expiration: None,
            ..guard(Some(NOW))
        };
        assert!(!unknown.holds(NOW, NOW));
        let append_time = Guard {
            log_append_time: true,
            ..guard(Some(NOW))
        };
        assert!(append_time.holds(-1, NOW), "the leader sets the time");
    }
}
