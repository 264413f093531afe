//! The control plane of one flow.
//!
//! The supervisor connects to both sides, makes sure that they are the right ones and finds out what they provide
//! ([`boot`], [`provides`]), then goes round: snapshot of both clusters, [`plan`], apply ([`apply`], [`launch`]).
//! Which part of the plan is this process's own is decided by its [`membership`]. Workers and committer run beside it
//! and go on while it waits for a cluster. Nothing is written to the target before the checks that decide it is the
//! right one. Jobs of the flow's leader make more than records follow ([`sync`]).

pub mod adjust;
mod apply;
mod boot;
mod carriers;
mod configs;
mod cycles;
mod deletable;
pub mod handover;
mod launch;
pub mod membership;
pub mod once;
pub mod plan;
pub mod provides;
mod retire;
mod shared;
pub mod start;
pub mod status;
mod supervisor;
pub mod sync;
mod syncs;
mod targets;
#[cfg(test)]
mod tests;
pub mod topics;
mod workers;

use std::{path::PathBuf, sync::Arc, time::Duration};

use host::Host;
pub use status::Board;
use wire::TopicPartition;

use self::topics::cycles::Web;
use crate::{
    base::budget::Budget,
    cluster::{Cluster, guarantee::Once},
    config::FlowConfig,
    telemetry::Outages,
};

/// What a cluster answers that takes no more topics or partitions at the moment (KIP-599, `controller_mutation_rate`).
pub(crate) const THROTTLING_QUOTA_EXCEEDED: i16 = 89;

/// A flow that can be run.
#[derive(Debug)]
pub struct Flow {
    /// The configuration's file, for the commands that continue a stopped partition.
    pub file: String,
    /// What the operator asked for.
    pub config: FlowConfig,
    /// All flows of the file, among which it is one.
    pub web: Arc<Web>,
    /// The side that is read.
    pub source: Cluster,
    /// The side that is written to.
    pub target: Cluster,
    /// The machine.
    pub host: Host,
    /// Bytes in flight, shared with the other flows.
    pub budget: Budget,
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Where this process keeps its place among others; none: the usual folder.
    pub state_dir: Option<PathBuf>,
    /// What the target does, probed once for all flows to it.
    pub probe: Arc<Once>,
    /// Whether its clusters are away, for all its parts.
    pub outages: Outages,
    /// Told all that happens.
    pub board: Arc<Board>,
    /// Where operators ask it to change checkpoints.
    pub desk: Arc<adjust::Desk>,
}

/// Why a flow cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// Source and target are the same cluster.
    #[error("{source_alias} and {target_alias} are one cluster (id {id})")]
    SameCluster {
        /// Alias of the source.
        source_alias: String,
        /// Alias of the target.
        target_alias: String,
        /// The cluster's id.
        id: String,
    },
    /// What the flow committed is about other clusters.
    #[error(
        "{what} is about cluster {known}, but {alias} is cluster {found}: two files with one flow name, or an \
         alias that points elsewhere; give this flow another `name`, or correct the alias"
    )]
    ForeignCluster {
        /// Checkpoint or control topic.
        what: String,
        /// The id there.
        known: String,
        /// The alias in question.
        alias: String,
        /// The id that it has.
        found: String,
    },
    /// Records would come back to the flow that has copied them.
    #[error("topics form a cycle: {0}")]
    Cycle(String),
    /// The target does not give what `require` asks for.
    #[error("{0}")]
    Guarantee(String),
    /// The flow copied in the other direction before.
    #[error(
        "{source_alias} and {target_alias} have changed places: group {group} on {source_alias} holds checkpoints of \
         this flow that copied from {target_alias}, and {target_alias} has none; correct `source` and `target`, or give \
         the flow another `name` if its direction is to be turned round"
    )]
    Swapped {
        /// Alias of the source.
        source_alias: String,
        /// Alias of the target.
        target_alias: String,
        /// The flow's group.
        group: String,
    },
    /// The control topic is not understood.
    #[error(transparent)]
    Control(#[from] crate::checkpoint::control_topic::ControlError),
    /// Another process joined the flow's group under the same name.
    #[error(
        "another process is called {name} in group {group} ({reason}): give each one its own `instance`, or          none and its own [limits] state_dir"
    )]
    Fenced {
        /// The name of both.
        name: String,
        /// The flow's group.
        group: String,
        /// What the group said.
        reason: String,
    },
    /// Another process writes what this one would, which nobody shares with it.
    #[error(
        "another process writes {partition} on {alias}, as this one would: end it, or let both share the flow \
         (assignment = \"shared\")"
    )]
    TakenOver {
        /// A target partition.
        partition: TopicPartition,
        /// Alias of the target.
        alias: String,
    },
    /// The group will not have this process.
    #[error("group {group} on {alias}: {reason}")]
    Group {
        /// The flow's group.
        group: String,
        /// Alias of the target.
        alias: String,
        /// What it said.
        reason: String,
    },
    /// librdkafka does not start.
    #[error("source {alias}: {reason}")]
    Source {
        /// Alias of the source.
        alias: String,
        /// What it said.
        reason: String,
    },
}

impl FlowError {
    /// Whether the configuration is to blame.
    pub fn is_config(&self) -> bool {
        matches!(
            self,
            Self::SameCluster { .. }
                | Self::ForeignCluster { .. }
                | Self::Cycle(_)
                | Self::Guarantee(_)
                | Self::Swapped { .. }
        )
    }

    /// Whether another process has this one's place.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::TakenOver { .. })
    }
}
