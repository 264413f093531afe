//! After a doubt: what the target holds, and where to go on in the source (EXACTNESS 6).
//!
//! Every pass of a worker that writes sealed batches begins here: a start, a take-over, and a lost answer are
//! one case. Nothing of the unit is on its way from this process any more; what the leader appended meanwhile
//! is found in the target's tail by the unit's own producer id, counted by sequence, and *confirmed by
//! content* while the source is read again: [`Skip`]. [`verdict`] decides, [`evidence`] reads.

mod evidence;
mod skip;
mod verdict;

use std::fmt::Debug;

use host::BoxFuture;
use wire::{TopicPartition, batch::BatchView, client::Client};

pub use evidence::{Evidence, Memory, Newest, STEPS, TRACES, Tail};
pub(super) use skip::{Passed, Skip};
pub(super) use verdict::{Verdict, verdict};

/// Reads the target for a worker in doubt.
pub trait Reconciler: Send + Sync + Debug {
    /// What `target` holds of producer `producer_id` from offset `from` on.
    ///
    /// # Errors
    /// A reason, if it cannot be read now.
    fn look<'a>(
        &'a self,
        target: &'a TopicPartition,
        from: i64,
        producer_id: i64,
    ) -> BoxFuture<'a, Result<Evidence, String>>;

    /// The batch that holds `offset`; none if there is none.
    ///
    /// # Errors
    /// A reason, if it cannot be read now.
    fn read_back<'a>(
        &'a self,
        target: &'a TopicPartition,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<BatchView>, String>>;
}

/// Reads through the wire client.
#[derive(Debug)]
pub struct TargetReader {
    client: Client,
}

impl TargetReader {
    /// Reads through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}
