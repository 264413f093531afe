//! Idempotent producers: what a leader remembers of them.

use super::topic;
use crate::{
    batches::{Topic, produce, sequenced},
    talk::Talk,
};

const VERSIONS: [i16; 4] = [3, 8, 11, 13];

/// Producer id, epoch, first sequence, records.
type Batch = (i64, i16, i32, i32);

fn write(
    talk: &mut Talk,
    topic: &Topic,
    version: i16,
    what: &str,
    (id, epoch, sequence, count): Batch,
) {
    let records = sequenced(id, epoch, sequence, count);
    let what = format!("{what}: epoch {epoch}, {count} from {sequence}");
    talk.ask(
        &what,
        version,
        &produce(version, topic, &[(0, Some(records))]),
    );
}

/// Gaps, overlaps, repeats; each version with a producer of its own.
pub fn one_epoch(talk: &mut Talk) {
    let topic = topic(talk, "sequences-one", 1, &[]);
    for version in VERSIONS {
        let id = 9_000 + i64::from(version);
        let batches: [(&str, (i16, i32, i32)); 19] = [
            ("unknown, not at 0", (4, 10, 3)),
            ("repeat", (4, 10, 3)),
            ("gap", (4, 14, 1)),
            ("next", (4, 13, 2)),
            ("sub-range", (4, 13, 1)),
            ("overlap", (4, 12, 3)),
            ("overlap with new", (4, 14, 3)),
            ("from 0 again", (4, 0, 1)),
            ("next", (4, 15, 1)),
            ("next", (4, 16, 1)),
            ("next", (4, 17, 1)),
            ("oldest of five", (4, 10, 3)),
            ("next", (4, 18, 1)),
            ("older than five", (4, 10, 3)),
            ("oldest of five", (4, 13, 2)),
            ("older epoch", (3, 19, 1)),
            ("older epoch, repeat", (3, 18, 1)),
            ("older epoch from 0", (3, 0, 1)),
            ("next", (4, 19, 1)),
        ];
        for (what, (epoch, sequence, count)) in batches {
            write(talk, &topic, version, what, (id, epoch, sequence, count));
        }
    }
}

/// Newer epochs begin at 0.
pub fn epochs(talk: &mut Talk) {
    let topic = topic(talk, "sequences-epochs", 1, &[]);
    for version in VERSIONS {
        let id = 9_100 + i64::from(version);
        let batches: [(&str, (i16, i32, i32)); 10] = [
            ("first", (0, 0, 2)),
            ("newer, goes on", (1, 2, 1)),
            ("newer, from 0", (1, 0, 1)),
            ("older, repeat", (0, 0, 2)),
            ("older, next", (0, 2, 1)),
            ("next", (1, 1, 1)),
            ("much newer", (i16::MAX, 0, 1)),
            ("epoch -1", (-1, 0, 1)),
            ("epoch -5", (-5, 1, 1)),
            ("next", (i16::MAX, 1, 1)),
        ];
        for (what, (epoch, sequence, count)) in batches {
            write(talk, &topic, version, what, (id, epoch, sequence, count));
        }
        write(
            talk,
            &topic,
            version,
            "unknown, epoch -1",
            (id + 40, -1, 5, 1),
        );
        write(talk, &topic, version, "negative id", (-2, 0, 5, 1));
        write(talk, &topic, version, "negative id, again", (-2, 0, 5, 1));
    }
}

/// After 2^31 - 1 comes 0.
pub fn wrapping(talk: &mut Talk) {
    let topic = topic(talk, "sequences-wrapping", 1, &[]);
    for version in VERSIONS {
        let id = 9_200 + i64::from(version);
        let batches: [(&str, (i16, i32, i32)); 6] = [
            ("at the end", (0, i32::MAX - 1, 1)),
            ("across the end", (0, i32::MAX, 3)),
            ("repeat", (0, i32::MAX, 3)),
            ("from 0", (0, 0, 1)),
            ("next", (0, 2, 1)),
            ("a repeat of 0", (0, 0, 1)),
        ];
        for (what, (epoch, sequence, count)) in batches {
            write(talk, &topic, version, what, (id, epoch, sequence, count));
        }
    }
}
