//! Whether this process may write to the target now (EXACTNESS 7).

use std::{fmt::Debug, time::Duration};

use host::BoxFuture;

/// Asked right before each write.
pub trait Lease: Send + Sync + Debug {
    /// Whether a write may begin now.
    fn may_write(&self) -> bool;

    /// Ends once a write may begin. Cancel-safe.
    fn granted(&self) -> BoxFuture<'_, ()>;

    /// How long ago what it rests on was confirmed; none if it is not, or needs no confirmation.
    fn age(&self) -> Option<Duration>;
}

/// Of a process that shares with nobody.
#[derive(Debug)]
pub struct Unlimited;

impl Lease for Unlimited {
    fn may_write(&self) -> bool {
        true
    }

    fn granted(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn age(&self) -> Option<Duration> {
        None
    }
}
