//! One function per fact.

use std::time::Duration;

use metrics::{Counter, Histogram};
use rdkafka::config::RDKafkaLogLevel;

use super::metrics::{
    BATCH_SECONDS, BATCHES, BYTES, CHECKPOINTS, GAPS, GROUP_OFFSETS, LATENCY, LIMITED, LOST,
    MM2_RECORDS, OPENED, REBALANCES, RECORDS, RETRIES, SKIPPED, THROTTLE, TOPIC_CONFIGS,
};
use crate::{
    base::ids::Route,
    config::Transport,
    flow::{
        adjust::{Change, Changes, Position},
        start::Decision,
    },
    status::{LIBRDKAFKA, Provides, WIRE},
    worker::{Progress, Stop},
};

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Reading records from the source.
    Fetch,
    /// Writing records to the target.
    Produce,
    /// Learning what the target holds.
    Reconcile,
    /// Committing checkpoints to the target.
    Commit,
    /// Looking at topics, and making the target's follow.
    Metadata,
}

impl Retry {
    fn code(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Produce => "produce",
            Self::Reconcile => "reconcile",
            Self::Commit => "commit",
            Self::Metadata => "metadata",
        }
    }
}

/// What one worker reports. Made once, so that nothing is looked up by name per batch.
#[derive(Debug)]
pub struct WorkerEvents {
    flow: String,
    source: String,
    target: String,
    route: Route,
    records: Counter,
    bytes: Counter,
    batches: Counter,
    batch_seconds: Histogram,
    latency: Histogram,
    limited: Counter,
}

impl WorkerEvents {
    /// Of the worker of `route`; its clusters by their aliases.
    pub fn new(flow: &str, [source, target]: [&str; 2], route: &Route) -> Self {
        let labels = [flow];
        Self {
            flow: flow.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            route: route.clone(),
            records: RECORDS.counter(&labels),
            bytes: BYTES.counter(&labels),
            batches: BATCHES.counter(&labels),
            batch_seconds: BATCH_SECONDS.histogram(&labels),
            latency: LATENCY.histogram(&labels),
            limited: LIMITED.counter(&labels),
        }
    }

    /// The target acknowledged a batch of so many records and bytes, `took` after the sink got it; `latency` after it
    /// was written to the source, unless it is backfill.
    pub fn acknowledged(
        &self,
        (records, bytes): (u64, u64),
        took: Duration,
        latency: Option<Duration>,
    ) {
        self.records.increment(records);
        self.bytes.increment(bytes);
        self.batches.increment(1);
        self.batch_seconds.record(took);
        if let Some(latency) = latency {
            self.latency.record(latency);
        }
    }

    /// So many batches of the source did not travel sealed.
    pub fn opened(&self, reason: &str, batches: u64) {
        OPENED.counter(&[&self.flow, reason]).increment(batches);
    }

    /// The worker waited for its rate.
    pub fn limited(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.limited.increment(waited);
    }

    /// The worker begins to copy.
    pub fn started(&self, source_offset: i64) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::debug!(%flow, partition = %source, source_offset, "worker starts");
    }

    /// The worker goes back to its acknowledged prefix.
    pub fn retrying(&self, kind: Retry, source_offset: i64, why: &str) {
        let cluster = if kind == Retry::Fetch {
            &self.source
        } else {
            &self.target
        };
        retried(&self.flow, cluster, kind);
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::warn!(%flow, partition = %source, source_offset, why, "going back and trying again");
    }

    /// The target holds records beyond what was known to be acknowledged: they are passed over.
    pub fn reconciled(&self, source_offset: i64, records: i64) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::info!(%flow, partition = %source, source_offset, records, "the target holds these already");
    }

    /// The target lost records that it had acknowledged: the worker went back from `before` to `now`, and writes them
    /// again, `records` in number.
    pub fn went_back(&self, before: &Progress, now: &Progress, records: u64) {
        let (flow, source, target) = (&self.flow, &self.route.source, &self.route.target);
        LOST.counter(&[flow, &source.topic]).increment(records);
        let (acknowledged, held) = (before.target_offset, now.target_offset);
        let (from, to) = (now.source_offset, before.source_offset);
        tracing::error!(%flow, partition = %source, %target, acknowledged, held, records, from, to, "the target lost \
            records that it had acknowledged (an unclean election, a restored backup): source offsets from..to are \
            written again");
    }

    /// A policy decided where the worker goes on.
    pub fn decided(&self, decision: Decision) {
        let (flow, source) = (&self.flow, &self.route.source);
        match decision {
            Decision::Gap { wanted, to } => {
                let missing = (to - wanted).max(0);
                GAPS.counter(&[flow, &source.topic])
                    .increment(missing.unsigned_abs());
                tracing::warn!(%flow, partition = %source, wanted, to, missing, "records are gone from the source: \
                    going on behind them (on_gap); at most so many are missing on the target");
            }
            Decision::Append { target_offset } => {
                let target = &self.route.target;
                tracing::warn!(%flow, partition = %source, %target, target_offset, "the target holds records of \
                    others: writing behind them (on_existing)");
            }
            Decision::Succeed { target_offset } => {
                let target = &self.route.target;
                tracing::warn!(%flow, partition = %source, %target, target_offset, "the source has another topic of this \
                    name: copying it behind the one before (on_recreate); what was not copied of that is not on the target");
            }
        }
    }

    /// Records were left out because the target refuses them.
    pub fn skipped(&self, count: u64) {
        let topic = &self.route.source.topic;
        SKIPPED.counter(&[&self.flow, topic]).increment(count);
    }

    /// One of them, in words.
    pub fn skipped_one(&self, source_offset: i64, why: &str) {
        let (flow, source) = (&self.flow, &self.route.source);
        tracing::warn!(%flow, partition = %source, source_offset, why, "the target refuses this record: left out");
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

/// How long the brokers of one cluster ask one flow to wait (KIP-219). Clones count together.
#[derive(Clone, Debug)]
pub struct Throttle(Counter);

impl Throttle {
    /// For `request`, "fetch" or "produce", of the cluster with this alias.
    pub(super) fn new(flow: &str, cluster: &str, request: &str) -> Self {
        Self(THROTTLE.counter(&[flow, cluster, request]))
    }

    /// An answer's `throttle_time_ms`.
    pub fn asked(&self, ms: i32) {
        self.0.increment(u64::try_from(ms).unwrap_or(0));
    }
}

/// Something of `flow` failed at `cluster` and is tried again.
pub fn retried(flow: &str, cluster: &str, kind: Retry) {
    RETRIES.counter(&[flow, cluster, kind.code()]).increment(1);
}

/// What a flow found that it provides, and how `asked` came to the transport.
pub fn provides(flow: &str, provides: &Provides, asked: Transport) {
    let Provides {
        transport,
        transport_reason,
        guarantee,
        guarantee_reason: reason,
    } = provides;
    let transport = transport.as_deref().unwrap_or_default();
    let why = transport_reason.as_deref().unwrap_or_default();
    if asked == Transport::Librdkafka || provides.is_exactly_once() {
        tracing::info!(%flow, transport, why, reason, "the flow provides {guarantee}");
    } else {
        tracing::warn!(%flow, transport, why, reason, "the flow provides {guarantee} only");
    }
}

/// So many partitions of `flow` were copied over the other transport until now.
pub fn moved(flow: &str, partitions: usize, sealed: bool) {
    let (from, to) = if sealed {
        (LIBRDKAFKA, WIRE)
    } else {
        (WIRE, LIBRDKAFKA)
    };
    tracing::info!(%flow, partitions, "moved from {from} to {to}: they go on from their checkpoints, behind a new one");
}

/// So many checkpoints were committed.
pub fn committed(flow: &str, checkpoints: usize) {
    CHECKPOINTS.counter(&[flow]).increment(checkpoints as u64);
}

/// So many offsets of groups were written to the target.
pub fn group_offsets(flow: &str, offsets: u64) {
    GROUP_OFFSETS.counter(&[flow]).increment(offsets);
}

/// So many records of this kind were written for MirrorMaker 2's clients.
pub fn mm2_records(flow: &str, kind: &str, records: u64) {
    MM2_RECORDS.counter(&[flow, kind]).increment(records);
}

/// A config of a topic was changed on the target.
pub fn config_changed(flow: &str, sets_back: bool) {
    let change = if sets_back { "set_back" } else { "followed" };
    TOPIC_CONFIGS.counter(&[flow, change]).increment(1);
}

/// The group of `flow` gave this process partitions, or took some away.
pub fn rebalanced(flow: &str) {
    REBALANCES.counter(&[flow]).increment(1);
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
