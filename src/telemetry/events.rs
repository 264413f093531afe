//! One function per fact.

use std::{collections::BTreeMap, time::Duration};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use rdkafka::config::RDKafkaLogLevel;

use super::metrics::{
    BATCH_SECONDS, BYTES, CHECKPOINT_AGE, GAPS, IN_FLIGHT, LAG, RECORDS, RETRIES, SKIPPED, WORKERS,
};
use crate::{
    base::ids::Route,
    flow::{
        adjust::{Change, Changes, Position},
        start::Decision,
    },
    worker::{Stop, WorkerState},
};

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
            lag: gauge!(LAG, labels),
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

    /// A policy decided where the worker goes on.
    pub fn decided(&self, decision: Decision) {
        let (flow, source) = (&self.flow, &self.route.source);
        match decision {
            Decision::Gap { wanted, to } => {
                let missing = (to - wanted).max(0);
                self.topic_counter(GAPS).increment(missing.unsigned_abs());
                tracing::warn!(%flow, partition = %source, wanted, to, missing, "records are gone from the source: \
                    going on behind them (on_gap); at most so many are missing on the target");
            }
            Decision::Append { target_offset } => {
                let target = &self.route.target;
                tracing::warn!(%flow, partition = %source, %target, target_offset, "the target holds records of \
                    others: writing behind them (on_existing)");
            }
        }
    }

    /// Records were left out because the target refuses them.
    pub fn skipped(&self, count: u64) {
        self.topic_counter(SKIPPED).increment(count);
    }

    /// One of them, in words.
    pub fn skipped_one(&self, source_offset: i64, why: &str) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::warn!(%flow, partition = %source, source_offset, why, "the target refuses this record: left out");
    }

    /// Rare, so looked up by name.
    fn topic_counter(&self, name: &'static str) -> Counter {
        let topic = self.route.source.topic.clone();
        counter!(name, "flow" => self.flow.clone(), "topic" => topic)
    }

    /// The worker stopped for a reason that needs a person.
    pub fn stopped(&self, stop: &Stop) {
        let (flow, source) = (&self.flow, &self.route.source);
        let (source_offset, reason, text) = (stop.source_offset, stop.reason.code(), &stop.text);
        tracing::error!(%flow, partition = %source, source_offset, reason, "worker stopped: {text}");
    }
}

/// An operator moved or reset checkpoints.
pub fn adjusted(changes: &Changes) {
    for change in &changes.changes {
        let Change {
            topic,
            partition,
            meaning,
            ..
        } = change;
        let offset =
            |position: &Option<Position>| position.as_ref().and_then(|at| at.source_offset);
        let (before, after) = (offset(&change.before), offset(&change.after));
        tracing::warn!(flow = %changes.flow, partition = %format_args!("{topic}-{partition}"), before, after,
            "the checkpoint was changed by hand: {meaning}");
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
