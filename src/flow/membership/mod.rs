//! Which process runs which workers of a flow, and through whom it commits.
//!
//! [`solo`]: this process runs all of them.

mod solo;

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use host::BoxFuture;
pub use solo::Solo;
use tokio::sync::watch;
use wire::TopicPartition;

use crate::checkpoint::CheckpointStore;

/// Target partitions whose workers run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// Every one there is.
    All,
    /// These.
    Partitions(BTreeSet<TopicPartition>),
}

impl Assignment {
    /// Whether the worker of this target partition runs here.
    pub fn holds(&self, target: &TopicPartition) -> bool {
        match self {
            Self::All => true,
            Self::Partitions(partitions) => partitions.contains(target),
        }
    }
}

/// The processes of a flow, as one of them sees them.
pub trait Membership: Send + Sync + Debug {
    /// What runs here; changes as processes come and go.
    fn assignment(&self) -> watch::Receiver<Assignment>;

    /// Where checkpoints of what runs here are committed.
    fn checkpoints(&self) -> Arc<dyn CheckpointStore>;

    /// Whether this process creates topics and keeps the control topic.
    fn is_leader(&self) -> bool;

    /// Gives everything up, after the last commit.
    fn leave(&self) -> BoxFuture<'_, ()>;
}
