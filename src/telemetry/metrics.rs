//! Every metric by name, kind, labels and help, and the recorder that Prometheus reads from.
//!
//! [`ALL`] is the only place that names a metric: `docs/METRICS.md` is compared with it, and a metric can
//! only be touched with a value for each of its labels. Counters and histograms are kept where things
//! happen. What is known at any time (gauges, and all series of partitions) is filled into a recorder that
//! lives for one scrape, so a partition that moved away leaves nothing behind.

use std::{sync::Arc, time::Duration};

use host::Clock;
use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// The present value.
    Gauge,
    /// Counts of observations by upper bound ([`SECONDS`]), their sum and number.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, and its unit.
    pub help: &'static str,
}

/// Declares the metrics and the list of all of them.
macro_rules! metrics {
    ($($kind:ident $id:ident = $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(super) const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &$labels,
                help: $help,
            };
        )*
        /// All metrics, in the order of `docs/METRICS.md`.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    Gauge LAG_SECONDS = "strait_lag_seconds" ["flow"]
        "How late the flow's latest partition is: now minus the time of its oldest record that the target has not acknowledged";
    Gauge LAG_RECORDS = "strait_lag_records" ["flow"]
        "Source records that the target has not acknowledged, counted by offsets";
    Histogram LATENCY = "strait_latency_seconds" ["flow"]
        "From the time of a batch's first record to its acknowledgement by the target; without backfill";
    Counter RECORDS = "strait_records_total" ["flow"]
        "Records acknowledged by the target";
    Counter BYTES = "strait_bytes_total" ["flow"]
        "Bytes acknowledged by the target: of batches as they lie on the wire, over librdkafka of keys, values and headers";
    Counter BATCHES = "strait_batches_total" ["flow"]
        "Batches acknowledged by the target";
    Counter OPENED = "strait_opened_batches_total" ["flow", "reason"]
        "Source batches that did not travel sealed: trimmed, compacted, too_large, append_time, coalesced";
    Histogram BATCH_SECONDS = "strait_batch_seconds" ["flow"]
        "From handing a batch to the sink to its acknowledgement";
    Gauge WORKERS = "strait_workers" ["flow", "state", "reason"]
        "Partitions by the state of their worker: starting, running, retrying, draining, ended, stopped; the reason is empty save for stopped";
    Gauge TROUBLES = "strait_troubles" ["flow", "code"]
        "Topics that are not, or not wholly, replicated";
    Gauge RUNNING = "strait_flow_running" ["flow"]
        "1 while the flow's supervisor reaches both clusters, else 0";
    Gauge EXACTLY_ONCE = "strait_exactly_once" ["flow", "transport"]
        "1 if the flow's guarantee is exactly-once, 0 if it is at-least-once; absent until its target was probed";
    Gauge HELD = "strait_held_partitions" ["flow"]
        "Partitions at whose end an open transaction holds records back (wire transport, read_committed)";
    Gauge HELD_SECONDS = "strait_held_seconds" ["flow"]
        "How long the longest of them has been held";
    Counter RETRIES = "strait_retries_total" ["flow", "cluster", "kind"]
        "Tries again after a failure: fetch, produce, reconcile, commit, metadata";
    Counter OUTAGES = "strait_outages_total" ["flow", "cluster"]
        "Times a cluster became unreachable";
    Gauge REACHABLE = "strait_cluster_reachable" ["flow", "cluster"]
        "1 unless the cluster is unreachable";
    Counter CONNECTIONS = "strait_connections_total" ["flow", "cluster", "outcome"]
        "Connections to brokers that were opened, and that failed before they could be used (without librdkafka's)";
    Counter THROTTLE = "strait_throttle_milliseconds_total" ["flow", "cluster", "request"]
        "Time for which brokers asked to wait, by quota: produce, fetch (wire transport)";
    Counter SET_ASIDE = "strait_slow_partitions_total" ["flow", "cluster"]
        "Times a partition held others back and went by the second connection to its broker: its replicas were late, or requests with it ended the connection";
    Counter LIMITED = "strait_limited_milliseconds_total" ["flow"]
        "Time for which partitions waited for rate_bytes or rate_records, added up";
    Counter CHECKPOINTS = "strait_checkpoints_total" ["flow"]
        "Checkpoints committed";
    Gauge CHECKPOINT_AGE = "strait_checkpoint_age_seconds" ["flow"]
        "Since when the checkpoints may be behind what was acknowledged: seconds since all that was due was committed";
    Gauge LEASE_AGE = "strait_lease_age_seconds" ["flow"]
        "Since when this process's membership in the flow's group was last confirmed; absent while it is no member, or runs alone";
    Gauge GROUPS = "strait_groups" ["flow", "state"]
        "Groups of the source by what becomes of their offsets on the target: synced, left_alone; where the flow is led";
    Gauge GROUP_PARTITIONS = "strait_group_partitions" ["flow", "state"]
        "Their partitions whose offset on the target is not exact (inexact), is written later (waiting), or is not known (unknown)";
    Counter GROUP_OFFSETS = "strait_group_offsets_total" ["flow"]
        "Offsets of groups written to the target";
    Counter MM2_RECORDS = "strait_mm2_records_total" ["flow", "kind"]
        "Records written to the topics that MirrorMaker 2's clients read: heartbeat, checkpoint, offset_sync";
    Counter TOPIC_CONFIGS = "strait_topic_configs_total" ["flow", "change"]
        "Configs of topics changed on the target: followed (the source's changed, or they differed), set_back (changed there by others)";
    Counter REBALANCES = "strait_rebalances_total" ["flow"]
        "Times the flow's group gave this process partitions, or took some away";
    Gauge PARTITION_LAG_SECONDS = "strait_partition_lag_seconds" ["flow", "topic", "partition"]
        "As strait_lag_seconds, of one source partition";
    Gauge PARTITION_LAG_RECORDS = "strait_partition_lag_records" ["flow", "topic", "partition"]
        "As strait_lag_records, of one source partition";
    Counter PARTITION_RECORDS = "strait_partition_records_total" ["flow", "topic", "partition"]
        "Records of one source partition acknowledged by the target since its worker started here";
    Counter PARTITION_BYTES = "strait_partition_bytes_total" ["flow", "topic", "partition"]
        "Their bytes, counted as strait_bytes_total";
    Counter GAPS = "strait_gap_records_total" ["flow", "topic"]
        "Source offsets passed over because their records were gone (on_gap): so many records are missing at most";
    Counter SKIPPED = "strait_skipped_records_total" ["flow", "topic"]
        "Records left out because the target refuses them (on_poison)";
    Counter LOST = "strait_target_lost_records_total" ["flow", "topic"]
        "Records that the target had acknowledged and lost (an unclean election), and that are written again";
    Gauge IN_FLIGHT = "strait_in_flight_bytes" []
        "Bytes of batches between source and target, all flows together";
    Gauge BUDGET = "strait_budget_bytes" []
        "How many there may be: [limits] memory";
    Gauge BUILD = "strait_build_info" ["version"]
        "1; the version of strait";
    Gauge STARTED = "process_start_time_seconds" []
        "When the process started, in seconds since 1970";
}

/// Upper bounds of the buckets of all histograms, in seconds.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0,
];
/// Between two clean-ups of the recorder, without which it keeps every sample until it is scraped.
const UPKEEP: Duration = Duration::from_secs(5);

impl Metric {
    /// The counter with these label values.
    pub(super) fn counter(&self, values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        counter!(self.name, self.labelled(values))
    }

    /// The gauge with these label values.
    pub(super) fn gauge(&self, values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        gauge!(self.name, self.labelled(values))
    }

    /// The histogram with these label values.
    pub(super) fn histogram(&self, values: &[&str]) -> Histogram {
        debug_assert_eq!(self.kind, Kind::Histogram, "{}", self.name);
        histogram!(self.name, self.labelled(values))
    }

    fn labelled(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels = self.labels.iter().zip(values);
        labels
            .map(|(name, value)| Label::new(*name, (*value).to_owned()))
            .collect()
    }
}

/// Makes the process's recorder. Its memory is bounded with nobody reading from it as well.
///
/// # Errors
/// If something else than strait records the process's metrics.
pub fn install(clock: Arc<dyn Clock>) -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    tokio::spawn(keep_up(handle.clone(), clock));
    Ok(handle)
}

/// What `fill` sets, as Prometheus reads it, and nothing of any time before.
pub fn once(fill: impl FnOnce()) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        fill();
    });
    recorder.handle().render()
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        let name = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(name, SECONDS)?;
    }
    Ok(builder)
}

async fn keep_up(handle: PrometheusHandle, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

fn describe() {
    for Metric {
        name, kind, help, ..
    } in ALL
    {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, *help),
        }
    }
}

#[cfg(test)]
mod tests;
