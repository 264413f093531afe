//! One process runs the whole flow.

use std::sync::Arc;

use host::BoxFuture;
use tokio::sync::watch;

use super::{Assignment, Membership};
use crate::checkpoint::CheckpointStore;

/// Owns everything and leads. Nothing keeps a second process of the flow away; checkpoints are
/// committed by no member, which a group with members refuses.
#[derive(Debug)]
pub struct Solo {
    assignment: watch::Sender<Assignment>,
    checkpoints: Arc<dyn CheckpointStore>,
}

impl Solo {
    /// Commits to `checkpoints`.
    pub fn new(checkpoints: Arc<dyn CheckpointStore>) -> Self {
        Self {
            assignment: watch::Sender::new(Assignment::All),
            checkpoints,
        }
    }
}

impl Membership for Solo {
    fn assignment(&self) -> watch::Receiver<Assignment> {
        self.assignment.subscribe()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.checkpoints)
    }

    fn is_leader(&self) -> bool {
        true
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        self.assignment
            .send_replace(Assignment::Partitions(Default::default()));
        Box::pin(std::future::ready(()))
    }
}
