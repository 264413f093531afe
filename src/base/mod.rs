//! Small things that everything else uses; imports nothing else of the crate.

pub mod backoff;
pub mod budget;
pub mod ids;
pub mod meter;
