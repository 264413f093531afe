//! What the process tells about itself: [`events`] emit a log line and its metric together, so that the two
//! never disagree; [`metrics`] holds the names.

mod events;
pub mod logs;
pub mod metrics;

pub use events::{Outage, WorkerEvents, checkpoint_age, in_flight, librdkafka_log, workers};
