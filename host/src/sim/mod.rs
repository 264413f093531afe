//! A simulated machine: a clock that a test moves, files that a crash cuts back to what was
//! synced, randomness from a seed.

mod clock;
mod files;
mod random;

pub use clock::SimClock;
pub use files::{DISK_FAILS, Fault, NO_SPACE, Operation, OperationKind, SimFiles};
pub use random::SeededRandom;
