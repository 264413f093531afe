//! Why a worker stopped, and how a person continues it.

use std::fmt;

use serde::Serialize;
use wire::TopicPartition;

/// Why, where, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// From the closed list.
    pub reason: StopReason,
    /// The source offset that it is about; -1: none, or it takes a person to say where to go on.
    pub source_offset: i64,
    /// For people: names cluster, topic, partition and offset, and what to do.
    pub text: String,
}

impl Stop {
    /// The same with the command that continues behind its text. `next` is the source offset to read next; -1: not
    /// known.
    pub fn advised(mut self, advice: &Advice, next: i64) -> Self {
        let command = advice.command(self.reason, self.source_offset, next);
        self.text = format!("{}; to go on: {command}", self.text);
        self
    }
}

/// What to look for where the source does not say it.
const BEHIND: &str = "the one behind the last record on the target that the source has, too";

/// Where a person continues a partition.
#[derive(Clone, Debug)]
pub struct Advice {
    file: String,
    flow: String,
    source: TopicPartition,
}

impl Advice {
    /// For the partition `source` of `flow`, which is in `file`.
    pub fn new(file: &str, flow: &str, source: &TopicPartition) -> Self {
        Self {
            file: file.to_owned(),
            flow: flow.to_owned(),
            source: source.clone(),
        }
    }

    /// The command that continues after a stop about the source offset `at`, once its cause is dealt with; `next` as in
    /// [`Stop::advised`]. Where a guess would lose or double records, it has `OFFSET` in it, and what that is.
    pub fn command(&self, reason: StopReason, at: i64, next: i64) -> String {
        match reason {
            // Behind what is in the way.
            StopReason::RecordRefused => self.set(at + 1),
            StopReason::SourceCorrupt => self.ask("the first one behind the damaged batch"),
            StopReason::TargetTruncated if at < 0 => self.set("earliest"),
            StopReason::TargetTruncated => self.set(at),
            StopReason::OffsetOutOfRange if at < 0 => self.ask(BEHIND),
            StopReason::OffsetOutOfRange => self.set("earliest"),
            StopReason::CheckpointMissing => self.ask(&format!(
                "earliest, to write behind records of others; if they are this flow's, {BEHIND}"
            )),
            StopReason::SourceRecordMismatch
            | StopReason::SourceDenied
            | StopReason::TargetDiffers
            | StopReason::TakenOver
            | StopReason::TargetDenied => match next {
                0.. => self.set(next),
                _ => self.ask("where it is to go on"),
            },
            // About the topic as a whole.
            StopReason::SourceTopicMissing
            | StopReason::SourceTopicRecreated
            | StopReason::TargetTopicMissing
            | StopReason::TargetTopicRecreated
            | StopReason::TargetTopicRefused => self.reset(),
            // It goes on by itself when the other flow is gone.
            StopReason::Cycle => format!("strait check {}", self.file),
            StopReason::CheckpointUnknownVersion => {
                format!("{} --partition {}", self.reset(), self.source.partition)
            }
        }
    }

    fn set(&self, to: impl fmt::Display) -> String {
        let TopicPartition { topic, partition } = &self.source;
        let (file, flow) = (&self.file, &self.flow);
        format!(
            "strait checkpoint set {file} --flow {flow} --topic {topic} --partition {partition} --to {to}"
        )
    }

    /// A person has to say where; `what` tells what to look for.
    fn ask(&self, what: &str) -> String {
        format!("{} (OFFSET: {what})", self.set("OFFSET"))
    }

    fn reset(&self) -> String {
        let (file, flow, topic) = (&self.file, &self.flow, &self.source.topic);
        format!("strait checkpoint reset {file} --flow {flow} --topic {topic}")
    }
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

/// All of them, in the order of the RUNBOOK.
pub const REASONS: [StopReason; 17] = [
    StopReason::OffsetOutOfRange,
    StopReason::Cycle,
    StopReason::SourceTopicMissing,
    StopReason::SourceTopicRecreated,
    StopReason::SourceRecordMismatch,
    StopReason::SourceDenied,
    StopReason::SourceCorrupt,
    StopReason::RecordRefused,
    StopReason::TargetTopicMissing,
    StopReason::TargetTopicRecreated,
    StopReason::TargetTruncated,
    StopReason::TargetDiffers,
    StopReason::TakenOver,
    StopReason::TargetDenied,
    StopReason::TargetTopicRefused,
    StopReason::CheckpointMissing,
    StopReason::CheckpointUnknownVersion,
];

impl StopReason {
    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        REASONS.into_iter().find(|reason| reason.code() == code)
    }

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const RUNBOOK: &str = include_str!("../../docs/RUNBOOK.md");

    /// Each reason has its section, and each section is about a reason.
    #[test]
    fn the_runbook_has_every_reason_and_no_other() {
        let headings = RUNBOOK.lines().filter_map(|line| {
            let code = line.strip_prefix("### `")?;
            code.strip_suffix('`')
        });
        let explained: Vec<_> = headings.collect();
        let known: BTreeSet<_> = REASONS.iter().map(|reason| reason.code()).collect();
        assert_eq!(explained.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(explained.len(), REASONS.len());
        for section in RUNBOOK.split("### `").skip(1) {
            assert!(
                section.contains("**Check**") && section.contains("**Continue**"),
                "{section}"
            );
        }
    }

    #[test]
    fn every_reason_is_listed_and_found_by_its_code() {
        for reason in REASONS {
            assert_eq!(StopReason::from_code(reason.code()), Some(reason));
            let json = serde_json::to_value(reason).unwrap();
            assert_eq!(json, reason.code());
        }
        assert_eq!(StopReason::from_code("tired"), None);
    }

    #[test]
    fn commands_name_file_flow_topic_and_place() {
        let advice = Advice::new("/etc/strait.toml", "f", &TopicPartition::new("orders", 3));
        let command = |reason| advice.command(reason, 17, 12);
        let set =
            "strait checkpoint set /etc/strait.toml --flow f --topic orders --partition 3 --to";
        assert_eq!(command(StopReason::RecordRefused), format!("{set} 18"));
        assert_eq!(command(StopReason::SourceDenied), format!("{set} 12"));
        assert_eq!(
            command(StopReason::OffsetOutOfRange),
            format!("{set} earliest")
        );
        // A batch may have more records behind the damaged one, and comes whole.
        let behind = format!("{set} OFFSET (OFFSET: the first one behind the damaged batch)");
        assert_eq!(command(StopReason::SourceCorrupt), behind);
        let lost_end = advice.command(StopReason::OffsetOutOfRange, -1, 12);
        let lost_checkpoint = command(StopReason::CheckpointMissing);
        for ask in [lost_end, lost_checkpoint] {
            assert!(
                ask.starts_with(&format!("{set} OFFSET (")) && ask.contains(BEHIND),
                "{ask}"
            );
        }
        let reset = "strait checkpoint reset /etc/strait.toml --flow f --topic orders";
        assert_eq!(command(StopReason::TargetTopicMissing), reset);
    }
}
