//! What is done from time to time: old records are removed, superseded ones are compacted away (`LogManager`,
//! `LogCleaner`).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{State, partition::Partition};

/// Looks for records that are out of date every `log.retention.check.interval.ms`, until `stop`.
pub(crate) async fn expire(state: Arc<State>, stop: CancellationToken) {
    let mut wait = state.config.log_initial_task_delay;
    while sleep(&state, wait, &stop).await {
        wait = state.config.log_retention_check_interval;
        for_each_partition(&state, &stop, |partition, _| {
            partition.expire_records().map(drop)
        })
        .await;
    }
}

/// Looks for what to compact every `log.cleaner.backoff.ms`, until `stop`.
pub(crate) async fn compact(state: Arc<State>, stop: CancellationToken) {
    if !state.config.log_cleaner_enable {
        return;
    }
    let max_bytes = state.config.log_cleaner_dedupe_buffer_size;
    while sleep(&state, state.config.log_cleaner_backoff, &stop).await {
        for_each_partition(&state, &stop, move |partition, stop| {
            let is_stopped = || stop.is_cancelled();
            while partition.compact(max_bytes, &is_stopped)? {}
            Ok(())
        })
        .await;
    }
}

/// False if the broker ends.
async fn sleep(state: &State, duration: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = state.host.clock.sleep(duration) => true,
    }
}

/// Does it with each partition, one after the other, on a thread that may block. One that fails is told of and left
/// to the next time.
async fn for_each_partition(
    state: &Arc<State>,
    stop: &CancellationToken,
    work: impl Fn(&Partition, &CancellationToken) -> std::io::Result<()> + Send + 'static,
) {
    let (topics, stop) = (state.topics.all(), stop.clone());
    let work = tokio::task::spawn_blocking(move || {
        let partitions = topics.iter().flat_map(|topic| topic.partitions());
        for partition in partitions {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = work(&partition, &stop) {
                tracing::error!(partition = %partition.name(), %error, "housekeeping failed");
            }
        }
    });
    // A panic was told of by its thread.
    if work.await.is_err() {
        tracing::error!("housekeeping ended early");
    }
}
