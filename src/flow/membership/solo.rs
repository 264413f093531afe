//! One process runs the whole flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use host::BoxFuture;
use tokio::sync::watch;

use super::{Assignment, Membership, Standing, View};
use crate::{
    checkpoint::CheckpointStore,
    worker::{Lease, Unlimited},
};

/// Owns everything and leads. Nothing keeps a second process of the flow away; checkpoints are
/// committed by no member, which a group with members refuses.
#[derive(Debug)]
pub struct Solo {
    view: watch::Sender<View>,
    checkpoints: Arc<dyn CheckpointStore>,
}

impl Solo {
    /// Commits to `checkpoints`.
    pub fn new(checkpoints: Arc<dyn CheckpointStore>) -> Self {
        let view = View {
            standing: Standing::Member,
            assignment: Assignment::All,
        };
        Self {
            view: watch::Sender::new(view),
            checkpoints,
        }
    }
}

impl Membership for Solo {
    fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    fn hold(&self) -> View {
        self.view.borrow().clone()
    }

    fn settled(&self, _kept: &Assignment) {}

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.checkpoints)
    }

    fn lease(&self) -> Arc<dyn Lease> {
        Arc::new(Unlimited)
    }

    fn share(&self, _topics: BTreeMap<String, i32>) {}

    fn name(&self) -> Option<&str> {
        None
    }

    fn rejoin(&self) {}

    fn leave(&self) -> BoxFuture<'_, ()> {
        self.view
            .send_modify(|view| view.assignment = Assignment::Partitions(BTreeSet::new()));
        Box::pin(std::future::ready(()))
    }
}
