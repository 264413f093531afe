//! What the process tells about itself: [`events`] emit a log line and its metric together, so that the two
//! never disagree; `outage` sees to it that what several parts notice is told once; [`gauges`] tell what is
//! known at any time; [`metrics`] holds the names.

mod events;
pub mod gauges;
pub mod logs;
pub mod metrics;
mod outage;

pub use events::{
    Retry, Throttle, WorkerEvents, adjusted, committed, config_changed, group_offsets,
    librdkafka_log, mm2_records, moved, provides, rebalanced, retried,
};
pub use outage::{Attempt, Outage, Outages};
