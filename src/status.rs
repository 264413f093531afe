//! How far flows are: one shape, whoever tells it. Described for its readers in `docs/status.md`.
//!
//! A running process tells it of its own flows (`/v1/status`, `strait status --url`), and both clusters tell
//! it of a flow's checkpoints (`strait status FILE`). Each of the two views leaves null what only the other
//! one knows.

use serde::{Deserialize, Serialize};

use crate::flow::plan;

/// All flows of a file or process, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The flows.
    pub flows: Vec<FlowStatus>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Its name.
    pub name: String,
    /// Alias of the side that is read.
    pub source: String,
    /// Alias of the side that is written to.
    pub target: String,
    /// What its process is doing; only that knows.
    #[serde(flatten)]
    pub phase: Option<Phase>,
    /// What the process is called among those of the flow; none if it runs alone. Only that knows.
    pub member: Option<String>,
    /// Whether it leads them: creates topics and keeps the control topic. Only that knows.
    pub leader: Option<bool>,
    /// What it provides here and now; from outside what its process told last.
    #[serde(flatten)]
    pub provides: Provides,
    /// Source records that are not copied yet, counted by offsets; partitions of unknown lag are left out.
    pub lag: i64,
    /// How late the latest partition is, in milliseconds; none if that is known of no partition.
    pub lag_ms: Option<i64>,
    /// How old the oldest progress may be that is not committed, in milliseconds; only the process knows.
    pub checkpoint_age_ms: Option<i64>,
    /// How long ago the process's membership was confirmed; only that knows, while it is a member.
    pub lease_age_ms: Option<i64>,
    /// Who runs the flow; only the clusters know.
    pub members: Option<Vec<Member>>,
    /// Records acknowledged since the process began; only that knows.
    pub records: Option<u64>,
    /// Their bytes; only the process knows.
    pub bytes: Option<u64>,
    /// Partitions that stopped and wait for a person.
    pub stopped: usize,
    /// By source topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// Topics that are not, or not wholly, replicated.
    pub troubles: Vec<Trouble>,
    /// Groups whose offsets follow on the target; only the process that leads knows.
    #[serde(default)]
    pub groups: Option<Groups>,
    /// Who may do what on the target; only the process that leads knows, and only if that follows.
    #[serde(default)]
    pub acls: Option<Follows>,
    /// How much they may use; likewise.
    #[serde(default)]
    pub quotas: Option<Follows>,
    /// Who may log in there by SCRAM; likewise.
    #[serde(default)]
    pub users: Option<Follows>,
    /// Configs of topics, which follow on the target; only the process that leads knows.
    #[serde(default)]
    pub configs: Option<Configs>,
}

/// Rules of a flow's source that follow on its target, as of the last look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// Why they do not follow; none: they do.
    pub off: Option<String>,
    /// How many rules the target has because the source has them.
    pub follow: usize,
    /// How many rules of the source are of kinds that this version does not know.
    pub unknown: usize,
    /// How many are left out, or cannot be made or removed.
    pub left_out: usize,
    /// Some of those.
    pub left: Vec<LeftOutRule>,
}

/// A rule that is not on the target as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOutRule {
    /// The rule.
    pub rule: String,
    /// Why.
    pub text: String,
}

/// How the configs of a flow's topics follow, as of the last looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configs {
    /// Why none follow at the moment; none: they do.
    pub off: Option<String>,
    /// Topics whose configs follow.
    pub topics: usize,
    /// How many of them were looked at since the process leads.
    pub looked: usize,
    /// Configs that were changed on the target since then because they changed on the source, or were found to differ.
    pub changed: u64,
    /// Configs that were set back, because somebody had changed them on the target.
    pub set_back: u64,
    /// How many notes there are.
    pub noted: usize,
    /// Some of those: what does not follow, and why.
    pub notes: Vec<ConfigNote>,
}

/// Something about a topic on the target that is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigNote {
    /// Its name there.
    pub topic: String,
    /// Which config; none: it is about all of them, or about the replicas.
    pub config: Option<String>,
    /// From a closed list, for scripts.
    pub code: String,
    /// For people.
    pub text: String,
}

/// Groups of a flow's source, as of the last look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Why none are synced; none: they are.
    pub off: Option<String>,
    /// How many have offsets on the target that follow.
    pub synced: usize,
    /// Partitions of theirs whose offset is not exact: who goes on there reads some records again.
    pub inexact: usize,
    /// Partitions of theirs that wait: what is to be read first is not read yet, or the target is behind.
    pub waiting: usize,
    /// Partitions of theirs whose offset is from before the offset map, and is not written.
    pub unknown: usize,
    /// How many are left alone.
    pub left_alone: usize,
    /// Some of those, by name.
    pub left: Vec<LeftAlone>,
}

/// A group that strait does not touch on the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Its name.
    pub group: String,
    /// From a closed list, for scripts.
    pub reason: String,
    /// For people.
    pub text: String,
}

impl Groups {
    /// Nothing is synced.
    pub fn off(reason: String) -> Self {
        Self {
            off: Some(reason),
            ..Self::default()
        }
    }
}

/// What a flow provides, and over which transport (`docs/GUARANTEES.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provides {
    /// [`WIRE`] or [`LIBRDKAFKA`]; none: not decided yet.
    pub transport: Option<String>,
    /// Why that.
    pub transport_reason: Option<String>,
    /// [`EXACTLY_ONCE`] or [`AT_LEAST_ONCE`].
    pub guarantee: String,
    /// What it rests on, or why it is not more.
    pub guarantee_reason: String,
}

/// Our own clients on both sides.
pub const WIRE: &str = "wire";
/// librdkafka on both sides.
pub const LIBRDKAFKA: &str = "librdkafka";
/// Every record once, save for what is written down as not guarded.
pub const EXACTLY_ONCE: &str = "exactly-once";
/// Every record, some of them twice after a crash.
pub const AT_LEAST_ONCE: &str = "at-least-once";

impl Provides {
    /// Whether batches travel sealed, by our own clients.
    pub fn is_sealed(&self) -> bool {
        self.transport.as_deref() == Some(WIRE)
    }

    /// Whether the guarantee is [`EXACTLY_ONCE`].
    pub fn is_exactly_once(&self) -> bool {
        self.guarantee == EXACTLY_ONCE
    }
}

/// What a flow's process is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Before the first try to reach both clusters.
    Starting,
    /// One of them does not answer, or does not take what must be written first.
    Waiting {
        /// Which, by alias.
        cluster: String,
        /// What it is waited for.
        reason: String,
    },
    /// Workers follow both clusters.
    Running,
    /// Workers end.
    Draining,
    /// Over.
    Ended,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Topic on the source.
    pub topic: String,
    /// Its number, on both sides.
    pub partition: i32,
    /// Topic on the target.
    pub target_topic: String,
    /// The source offset to read next; from outside that of the checkpoint, none before the first.
    pub source_offset: Option<i64>,
    /// The target offset after the last acknowledged record.
    pub target_offset: Option<i64>,
    /// Where the source ends, or ended when the process last heard of it.
    pub source_end: Option<i64>,
    /// Records between the two, counted by offsets.
    pub lag: Option<i64>,
    /// How late it is: the age of the oldest record that is not copied, in milliseconds.
    pub lag_ms: Option<i64>,
    /// For how long an open transaction has held its records back, in milliseconds; only the process knows.
    pub held_ms: Option<i64>,
    /// Records acknowledged since its worker started; only the process knows.
    pub records: Option<u64>,
    /// Their bytes; only the process knows.
    pub bytes: Option<u64>,
    /// Name of the member that runs its worker; only the clusters know.
    pub owner: Option<String>,
    /// What its worker does; from outside only `stopped` is known.
    pub state: Option<String>,
    /// Why it stopped: a code from the closed list.
    pub reason: Option<String>,
    /// In words; only the process knows.
    pub text: Option<String>,
    /// The source offset that the stop is about.
    pub stopped_offset: Option<i64>,
    /// When it stopped, in milliseconds since 1970; the checkpoint knows.
    pub stopped_since_ms: Option<i64>,
    /// What could not be found out from outside.
    pub unknown: Option<String>,
}

/// A process that runs a part of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it is called in the flow's group.
    pub name: String,
    /// Where it is, as the target's coordinator sees it.
    pub host: String,
    /// How many of the flow's partitions it has.
    pub partitions: usize,
    /// Whether it owns the control topic.
    pub leader: bool,
}

/// A topic that is not, or not wholly, replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its name on the source.
    pub topic: String,
    /// From a closed list, for scripts.
    pub code: String,
    /// For people.
    pub text: String,
}

impl From<&plan::Trouble> for Trouble {
    fn from(trouble: &plan::Trouble) -> Self {
        Self {
            topic: trouble.topic.clone(),
            code: trouble.code.to_owned(),
            text: trouble.text.clone(),
        }
    }
}

impl Phase {
    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting { .. } => "waiting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }
}

/// What is told of a flow's partitions together.
pub(crate) struct Sums {
    /// Records to copy.
    pub(crate) lag: i64,
    /// The largest lag in time.
    pub(crate) lag_ms: Option<i64>,
    pub(crate) stopped: usize,
}

impl Sums {
    pub(crate) fn of(partitions: &[PartitionStatus]) -> Self {
        let stopped = partitions
            .iter()
            .filter(|partition| partition.reason.is_some());
        Self {
            lag: partitions.iter().filter_map(|p| p.lag).sum(),
            lag_ms: partitions.iter().filter_map(|p| p.lag_ms).max(),
            stopped: stopped.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(phase: Option<Phase>) -> FlowStatus {
        FlowStatus {
            name: "f".to_owned(),
            source: "east".to_owned(),
            target: "west".to_owned(),
            phase,
            member: None,
            leader: None,
            provides: Provides {
                transport: None,
                transport_reason: None,
                guarantee: AT_LEAST_ONCE.to_owned(),
                guarantee_reason: "why".to_owned(),
            },
            lag: 7,
            lag_ms: None,
            checkpoint_age_ms: None,
            lease_age_ms: None,
            members: None,
            records: None,
            bytes: None,
            stopped: 0,
            partitions: vec![PartitionStatus::default()],
            troubles: Vec::new(),
            groups: None,
            acls: None,
            quotas: None,
            users: None,
            configs: None,
        }
    }

    #[test]
    fn every_phase_is_read_back_and_none_is_none() {
        let waiting = Phase::Waiting {
            cluster: "west".to_owned(),
            reason: "refused".to_owned(),
        };
        let phases = [
            Phase::Starting,
            waiting,
            Phase::Running,
            Phase::Draining,
            Phase::Ended,
        ];
        for phase in phases.map(Some).into_iter().chain([None]) {
            let name = phase.as_ref().map(Phase::name);
            let written = flow(phase);
            let json = serde_json::to_value(&written).unwrap();
            assert_eq!(json.get("phase").and_then(|name| name.as_str()), name);
            assert_eq!(serde_json::from_value::<FlowStatus>(json).unwrap(), written);
        }
    }

    #[test]
    fn what_is_not_known_is_null_and_what_another_release_adds_is_passed_over() {
        let mut json = serde_json::to_value(flow(None)).unwrap();
        assert!(json["records"].is_null() && json["partitions"][0]["lag"].is_null());
        json["new"] = 1.into();
        json.as_object_mut().unwrap().remove("bytes");
        assert_eq!(
            serde_json::from_value::<FlowStatus>(json).unwrap(),
            flow(None)
        );
    }
}
