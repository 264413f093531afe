//! Which process runs which workers of a flow, and through whom it commits.
//!
//! [`solo`]: this process runs all of them. [`group`]: the processes of the flow share them as members of
//! the flow's consumer group on the target. [`lease`] is good for as long as the group cannot have given this
//! process up, [`name`] is what it is called in the group, [`orphans`] finds partitions that the group forgot.
//!
//! What runs here changes in two steps, so that a partition never has two workers. A [`Membership`]
//! takes it out of the assignment; the supervisor ends its worker, commits what is acknowledged, and says
//! so ([`Membership::settled`]); only then it is handed to another process (EXACTNESS 9).

mod group;
pub mod lease;
pub mod name;
pub mod orphans;
mod solo;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

pub use group::{Group, Settings as GroupSettings};
use host::BoxFuture;
pub use solo::Solo;
use tokio::sync::watch;
use wire::TopicPartition;

use crate::{checkpoint::CheckpointStore, worker::Lease};

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

/// Whether this process is one of the flow's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet, or not at the moment.
    Joining,
    /// It is, even if nothing runs here.
    Member,
    /// It never will be again.
    Over {
        /// Whether another process joined under the same name.
        fenced: bool,
        /// What the group said.
        reason: String,
    },
}

/// The processes of a flow, as one of them sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether this is one of them.
    pub standing: Standing,
    /// What runs here.
    pub assignment: Assignment,
}

/// This process among those of its flow.
pub trait Membership: Send + Sync + Debug {
    /// Changes as processes come and go.
    fn view(&self) -> watch::Receiver<View>;

    /// The view as of now. What is in its assignment is handed to no other process before
    /// [`Membership::settled`] says that it may be, or the time for that is over.
    fn hold(&self) -> View;

    /// Nothing outside `kept` runs here any more, and its checkpoints are committed.
    fn settled(&self, kept: &Assignment);

    /// Where checkpoints of what runs here are committed.
    fn checkpoints(&self) -> Arc<dyn CheckpointStore>;

    /// Whether this process may write to the target now.
    fn lease(&self) -> Arc<dyn Lease>;

    /// The topics on the target whose partitions are shared out, each with how many it has; the same for all processes of
    /// a flow.
    fn share(&self, topics: BTreeMap<String, i32>);

    /// What this process is called; none if there is nobody to tell it from.
    fn name(&self) -> Option<&str>;

    /// Joins again, because something is nobody's.
    fn rejoin(&self);

    /// Gives everything up, after the last commit. The others take over at once.
    fn leave(&self) -> BoxFuture<'_, ()>;
}
