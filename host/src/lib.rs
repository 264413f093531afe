//! What strait and broker-lite ask of the machine: time, sockets, files, randomness.
//!
//! Everything above this crate reaches the machine through a [`Host`], so that a test can hand in
//! a clock that it moves itself, files that forget what was not synced, and randomness from a seed.
//! The traits are used as `dyn`: a caller never becomes generic over its machine.
//!
//! * [`clock`]: wall time, time that counts suspend, sleep
//! * [`net`]: connect and listen, byte streams
//! * [`bounded`]: a listener that lets few in, for so long
//! * [`files`]: files by position, and the few durable steps (sync, rename, sync the folder)
//! * [`random`]: random bytes and jitter
//! * [`sim`]: the simulated ones

pub mod bounded;
pub mod clock;
pub mod files;
pub mod net;
pub mod random;
pub mod sim;

use std::{future::Future, pin::Pin, sync::Arc};

pub use clock::Clock;
pub use files::{File, Files, Lock};
pub use net::{ByteStream, Listener, Net};
pub use random::Random;

/// A boxed future, so that the traits of this crate work as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The machine as one value. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Sockets.
    pub net: Arc<dyn Net>,
    /// Files.
    pub files: Arc<dyn Files>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Host {
    /// The real machine.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(clock::SystemClock),
            net: Arc::new(net::Tcp),
            files: Arc::new(files::Disk),
            random: Arc::new(random::SystemRandom),
        }
    }
}
