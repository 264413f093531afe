//! One function per fact.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use rdkafka::config::RDKafkaLogLevel;

use super::metrics::{
    BATCH_SECONDS, BYTES, CHECKPOINT_AGE, IN_FLIGHT, LAG, RECORDS, RETRIES, THROTTLE_SECONDS,
    WORKERS,
};
use crate::{base::ids::Route, worker::WorkerState};

/// What one worker reports. Made once, so that nothing is looked up by name per batch.
#[derive(Debug)]
pub struct WorkerEvents {
    flow: String,
    route: Route,
    records: Counter,
    bytes: Counter,
    lag: Gauge,
    batch_seconds: Histogram,
    retries: Counter,
    /// Of what is counted for the worker.
    labels: Vec<Label>,
    /// Of the time throttled, in nanoseconds, what is less than a second: counters count in whole numbers.
    throttled_rest: AtomicU64,
}

impl WorkerEvents {
    /// `per_partition` adds topic and partition to the labels of what is counted.
    pub fn new(flow: &str, route: &Route, per_partition: bool) -> Self {
        let of_flow = vec![Label::new("flow", flow.to_owned())];
        let mut labels = of_flow.clone();
        if per_partition {
            labels.push(Label::new("topic", route.source.topic.clone()));
            labels.push(Label::new("partition", route.source.partition.to_string()));
        }
        Self {
            flow: flow.to_owned(),
            route: route.clone(),
            records: counter!(RECORDS, labels.clone()),
            bytes: counter!(BYTES, labels.clone()),
            throttled_rest: AtomicU64::new(0),
            lag: gauge!(LAG, labels.clone()),
            labels,
            batch_seconds: histogram!(BATCH_SECONDS, of_flow.clone()),
            retries: counter!(RETRIES, of_flow),
        }
    }

    /// The target acknowledged a batch.
    pub fn acknowledged(&self, records: u64, bytes: u64, took: Duration) {
        self.records.increment(records);
        self.bytes.increment(bytes);
        self.batch_seconds.record(took);
    }

    /// How many source records are still to come. Counted by change, so that without labels per partition the
    /// gauge is the flow's sum.
    pub fn lag_changed(&self, before: i64, now: i64) {
        self.lag.increment((now - before) as f64);
    }

    /// The worker waited for its rate.
    pub fn throttled(&self, waited: Duration) {
        const SECOND: u64 = 1_000_000_000;
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let before = self.throttled_rest.fetch_add(waited, Ordering::Relaxed);
        let seconds = before.saturating_add(waited) / SECOND;
        if seconds > 0 {
            self.throttled_rest
                .fetch_sub(seconds * SECOND, Ordering::Relaxed);
            // Looked up once a second at most, and no series for those that never wait.
            counter!(THROTTLE_SECONDS, self.labels.clone()).increment(seconds);
        }
    }

    /// The worker begins to copy.
    pub fn started(&self, source_offset: i64) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::debug!(%flow, partition = %source, source_offset, "worker starts");
    }

    /// The worker goes back to its acknowledged prefix.
    pub fn retrying(&self, source_offset: i64, why: &str) {
        self.retries.increment(1);
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::warn!(%flow, partition = %source, source_offset, why, "going back and trying again");
    }

    /// The target holds records beyond what was known to be acknowledged: they are passed over.
    pub fn reconciled(&self, source_offset: i64, records: i64) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::info!(%flow, partition = %source, source_offset, records, "the target holds these already");
    }

    /// The worker stopped for a reason that needs a person.
    pub fn stopped(&self, reason: &str, source_offset: i64, text: &str) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::error!(%flow, partition = %source, source_offset, reason, "worker stopped: {text}");
    }
}

/// Bytes between source and target.
pub fn in_flight(bytes: usize) {
    gauge!(IN_FLIGHT).set(bytes as f64);
}

/// How old the oldest checkpoint is that should have been committed by now.
pub fn checkpoint_age(flow: &str, age: Duration) {
    gauge!(CHECKPOINT_AGE, "flow" => flow.to_owned()).set(age.as_secs_f64());
}

/// How many workers are in which state; states that are left are set to 0.
pub fn workers(flow: &str, known: &mut BTreeMap<(String, String), u64>, states: &[WorkerState]) {
    known.values_mut().for_each(|count| *count = 0);
    for state in states {
        let reason = state.reason().unwrap_or_default();
        *known
            .entry((state.name().to_owned(), reason.to_owned()))
            .or_default() += 1;
    }
    for ((state, reason), count) in known {
        let labels = [
            Label::new("flow", flow.to_owned()),
            Label::new("state", state.clone()),
            Label::new("reason", reason.clone()),
        ];
        gauge!(WORKERS, labels.to_vec()).set(*count as f64);
    }
}

/// A line of librdkafka's log. What it calls an error it mostly repairs by itself.
pub fn librdkafka_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(target: "librdkafka", facility, "{message}");
        }
    }
}
