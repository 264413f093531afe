//! A simulated machine: a clock that a test moves, files that a crash cuts back to what was
//! synced, randomness from a seed.

mod clock;
mod files;
mod random;

pub use clock::SimClock;
pub use files::SimFiles;
pub use random::SeededRandom;
