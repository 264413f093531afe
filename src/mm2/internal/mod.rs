//! MirrorMaker 2's internal topics, byte by byte: what its Java clients (`MirrorClient`, `RemoteClusterUtils`) read on a
//! target, and MirrorMaker 2 itself. Pure.
//!
//! Keys and values are structs of Kafka's protocol types without tags (`org.apache.kafka.common.protocol.types`): numbers in
//! network order, text as a length of two bytes and UTF-8. All is in partition 0, of compacted topics, and nothing is ever
//! taken back: the Java readers do not look for values that are null.
//!
//! ```text
//! topic                                key                             value
//! mm2-offset-syncs.SOURCE.internal     topic on the source, partition  source offset, target offset of one record
//! SOURCE.checkpoints.internal          group, topic on the target,     version 0, source and target offset to go on at,
//!                                      partition                       metadata of the group's commit
//! heartbeats, SOURCE.heartbeats        source, target                  version 0, milliseconds since 1970
//! ```

mod fields;
mod names;
mod records;

pub use fields::FormatError;
pub use names::Names;
pub use records::{Checkpoint, Encoded, Heartbeat, OffsetSync};
