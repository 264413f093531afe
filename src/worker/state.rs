//! What a worker is doing, and why it stopped.

use std::fmt;

use serde::Serialize;

/// A worker's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Opening both sides.
    Starting,
    /// Copying, or waiting for records.
    Running,
    /// Waiting before it goes back to its acknowledged prefix.
    Retrying {
        /// What went wrong.
        why: String,
    },
    /// Waiting for the last answers.
    Draining,
    /// Ended because it was asked to.
    Ended,
    /// Stopped for a reason that needs a person.
    Stopped(Stop),
}

/// Why, where, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// From the closed list.
    pub reason: StopReason,
    /// The source offset that it is about.
    pub source_offset: i64,
    /// For people: names cluster, topic, partition and offset, and what to do.
    pub text: String,
}

/// The closed list of reasons for which a worker stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The wanted source offset is gone, or beyond the end.
    OffsetOutOfRange,
    /// Another flow copies the target topic back into the source topic.
    Cycle,
    /// The source topic or partition is gone.
    SourceTopicMissing,
    /// The name now belongs to another source topic.
    SourceTopicRecreated,
    /// The source is not what was copied: another record, or an end before it.
    SourceRecordMismatch,
    /// Not allowed to read the source topic.
    SourceDenied,
    /// Damaged bytes in the source.
    SourceCorrupt,
    /// The target refuses a record and always will.
    RecordRefused,
    /// The target topic or partition is gone.
    TargetTopicMissing,
    /// The name now belongs to another target topic, or the target's offsets went back.
    TargetTopicRecreated,
    /// The target ends before the checkpoint.
    TargetTruncated,
    /// The target holds other records than the source where this flow wrote.
    TargetDiffers,
    /// Another process writes this unit.
    TakenOver,
    /// Not allowed to write the target topic.
    TargetDenied,
    /// The target topic could not be created or grown.
    TargetTopicRefused,
    /// The target holds records and there is no checkpoint.
    CheckpointMissing,
    /// The checkpoint's version is not known to this release, or it is no checkpoint.
    CheckpointUnknownVersion,
}

impl StopReason {
    /// The stable code of logs, metrics, status and checkpoints.
    pub fn code(self) -> &'static str {
        match self {
            Self::OffsetOutOfRange => "offset_out_of_range",
            Self::Cycle => "cycle",
            Self::SourceTopicMissing => "source_topic_missing",
            Self::SourceTopicRecreated => "source_topic_recreated",
            Self::SourceRecordMismatch => "source_record_mismatch",
            Self::SourceDenied => "source_denied",
            Self::SourceCorrupt => "source_corrupt",
            Self::RecordRefused => "record_refused",
            Self::TargetTopicMissing => "target_topic_missing",
            Self::TargetTopicRecreated => "target_topic_recreated",
            Self::TargetTruncated => "target_truncated",
            Self::TargetDiffers => "target_differs",
            Self::TakenOver => "taken_over",
            Self::TargetDenied => "target_denied",
            Self::TargetTopicRefused => "target_topic_refused",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::CheckpointUnknownVersion => "checkpoint_unknown_version",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl WorkerState {
    /// For labels and status.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying { .. } => "retrying",
            Self::Draining => "draining",
            Self::Ended => "ended",
            Self::Stopped(_) => "stopped",
        }
    }

    /// The code of the reason, where there is one.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Stopped(stop) => Some(stop.reason.code()),
            _ => None,
        }
    }

    /// The reason in words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Stopped(stop) => Some(&stop.text),
            Self::Retrying { why } => Some(why),
            _ => None,
        }
    }
}
