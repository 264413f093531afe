//! Names of the metrics, and the recorder that Prometheus reads from.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Records acknowledged by the target. Labels: flow, and topic and partition if switched on.
pub(super) const RECORDS: &str = "strait_records_total";
/// Bytes of keys, values and headers of these records.
pub(super) const BYTES: &str = "strait_bytes_total";
/// Source records that are not acknowledged by the target yet.
pub(super) const LAG: &str = "strait_lag_records";
/// Bytes of batches between source and target, as the budget counts them.
pub(super) const IN_FLIGHT: &str = "strait_in_flight_bytes";
/// From a batch's arrival at the worker to its acknowledgement.
pub(super) const BATCH_SECONDS: &str = "strait_batch_seconds";
/// Times a worker went back to its acknowledged prefix. Labels: flow.
pub(super) const RETRIES: &str = "strait_retries_total";
/// Seconds that workers waited for the rates of their topic and flow, added up. Labels as of [`RECORDS`].
pub(super) const THROTTLE_SECONDS: &str = "strait_throttle_seconds_total";
/// Times a cluster became unreachable. Labels: flow, cluster.
pub(super) const OUTAGES: &str = "strait_outages_total";
/// Seconds since the checkpoints were last complete. Labels: flow.
pub(super) const CHECKPOINT_AGE: &str = "strait_checkpoint_age_seconds";
/// Workers by state. Labels: flow, state, reason.
pub(super) const WORKERS: &str = "strait_workers";

/// Upper bounds of the buckets of [`BATCH_SECONDS`].
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Between two clean-ups of the recorder, without which it keeps every sample until it is scraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// Makes the process's recorder, or finds that another flow of the same process has.
///
/// # Errors
/// If something else than strait records the process's metrics.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(BATCH_SECONDS.to_owned()), SECONDS)?
        .install_recorder()?;
    describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(RECORDS, "Records acknowledged by the target");
    describe_counter!(
        BYTES,
        "Bytes of keys, values and headers acknowledged by the target"
    );
    describe_gauge!(LAG, "Source records not acknowledged by the target yet");
    describe_gauge!(IN_FLIGHT, "Bytes of batches between source and target");
    describe_histogram!(
        BATCH_SECONDS,
        "From a batch's arrival to its acknowledgement"
    );
    describe_counter!(
        RETRIES,
        "Times a worker went back to its acknowledged prefix"
    );
    describe_counter!(
        THROTTLE_SECONDS,
        "Seconds that partitions waited for `rate_bytes` or `rate_records`, added up"
    );
    describe_counter!(OUTAGES, "Times a cluster became unreachable");
    describe_gauge!(
        CHECKPOINT_AGE,
        "Seconds since the checkpoints were last complete"
    );
    describe_gauge!(WORKERS, "Workers by state and reason");
}
