//! The topics that MirrorMaker 2's clients read.

use super::*;
use crate::config::Mm2Topics;

#[track_caller]
fn kept(lines: &str) -> (Import, Mm2Topics) {
    let import = imported(&with(lines));
    let mm2 = config(&import).flows[0].mm2;
    (import, mm2)
}

fn seconds(seconds: u64) -> Option<std::time::Duration> {
    Some(std::time::Duration::from_secs(seconds))
}

#[test]
fn they_are_kept_as_mirror_maker_2_keeps_them() {
    let (_, mm2) = kept("");
    let usual = Mm2Topics {
        heartbeats: seconds(1),
        checkpoints: true,
        offset_syncs: false,
        replication_factor: 3,
    };
    assert_eq!(mm2, usual);
    let (import, mm2) = kept(
        "emit.heartbeats.enabled = false\nemit.heartbeats.interval.seconds = 5\nA->B.emit.checkpoints.enabled = False\n\
         heartbeats.topic.replication.factor = 2\nemit.offset-syncs.enabled = true\noffset.lag.max = 0\n",
    );
    assert_eq!(mm2, Mm2Topics::default());
    are(
        &import,
        "
         emit.heartbeats.enabled | renamed | mm2_heartbeats = false
         emit.heartbeats.interval.seconds | not_needed | not kept
         A->B.emit.checkpoints.enabled | renamed | mm2_checkpoints = false
         heartbeats.topic.replication.factor | not_needed | not kept
         emit.offset-syncs.enabled | not_needed | on the source
         offset.lag.max | not_needed | every offset",
    );
}

#[test]
fn what_is_said_of_them_counts() {
    let (import, mm2) = kept(
        "emit.heartbeats.interval.seconds = 30\noffset-syncs.topic.location = target\n\
         checkpoints.topic.replication.factor = 1\nheartbeats.topic.replication.factor = 1\n\
         offset-syncs.topic.replication.factor = -1\nreplication.policy.separator = -\n\
         replication.policy.internal.topic.separator.enabled = false\n",
    );
    assert_eq!((mm2.heartbeats, mm2.offset_syncs), (seconds(30), true));
    assert_eq!(mm2.replication_factor, 1);
    are(
        &import,
        "
         emit.heartbeats.interval.seconds | renamed | mm2_heartbeats_interval = \"30s\"
         offset-syncs.topic.location | renamed | mm2_offset_syncs = true
         checkpoints.topic.replication.factor | renamed | mm2_replication_factor = 1
         heartbeats.topic.replication.factor | renamed | mm2_replication_factor = 1
         offset-syncs.topic.replication.factor | not_supported | one factor
         replication.policy.internal.topic.separator.enabled | not_supported | separator of",
    );
    let (import, mm2) = kept(
        "offset-syncs.topic.location = target\nemit.offset-syncs.enabled = false\nemit.heartbeats.interval.seconds = 0\n",
    );
    assert_eq!((mm2.heartbeats, mm2.offset_syncs), (None, false));
    is(
        &import,
        "offset-syncs.topic.location",
        NotNeeded,
        "not kept",
    );
    let (import, mm2) =
        kept("emit.checkpoints.enabled = yes\nemit.heartbeats.interval.seconds = 90000\n");
    assert_eq!((mm2.checkpoints, mm2.heartbeats), (false, seconds(3600)));
    are(
        &import,
        "
         emit.checkpoints.enabled | not_supported | neither true nor false
         emit.heartbeats.interval.seconds | not_supported | an hour",
    );
}
