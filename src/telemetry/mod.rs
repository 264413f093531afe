//! What the process tells about itself: [`events`] emit a log line and its metric together, so that the two
//! never disagree; `outage` sees to it that what several parts notice is told once; [`metrics`] holds the names.

mod events;
pub mod logs;
pub mod metrics;
mod outage;

pub use events::{WorkerEvents, adjusted, checkpoint_age, in_flight, librdkafka_log, workers};
pub use outage::{Attempt, Outage, Outages};
