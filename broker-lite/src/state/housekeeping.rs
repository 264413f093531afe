//! What is done from time to time: old records are removed, superseded ones are compacted away (`LogManager`,
//! `LogCleaner`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{State, partition::Partition};

/// Looks for records that are out of date every `log.retention.check.interval.ms`, until `stop`.
pub(crate) async fn expire(state: Arc<State>, stop: CancellationToken) {
    let mut wait = state.config.log_initial_task_delay;
    while sleep(&state, wait, &stop).await {
        wait = state.config.log_retention_check_interval;
        for_each_partition(&state, &stop, |partition, _| {
            partition.expire_records().map(|()| false)
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
        // In turns: one that gets dirty as fast as it is cleaned does not keep the others waiting.
        let mut has_more = true;
        while has_more {
            has_more = for_each_partition(&state, &stop, move |partition, stop| {
                partition.compact(max_bytes, &|| stop.is_cancelled())
            })
            .await;
        }
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

/// Does it with each partition, one after the other, where it holds nobody up. One that fails is told of and left
/// to the next time. True if some work found something to do.
async fn for_each_partition(
    state: &Arc<State>,
    stop: &CancellationToken,
    work: impl Fn(&Partition, &CancellationToken) -> std::io::Result<bool> + Send + 'static,
) -> bool {
    let (topics, stop) = (state.topics.all(), stop.clone());
    let has_worked = Arc::<AtomicBool>::default();
    let worked = Arc::clone(&has_worked);
    let work = state.host.files.spawn(Box::new(move || {
        let partitions = topics.iter().flat_map(|topic| topic.partitions());
        for partition in partitions {
            if stop.is_cancelled() {
                break;
            }
            match work(&partition, &stop) {
                Ok(one) => {
                    worked.fetch_or(one, Ordering::Relaxed);
                }
                Err(error) => {
                    partition.log_error(&error);
                }
            }
        }
        Ok(())
    }));
    // A panic was told of by its thread.
    if work.await.is_err() {
        tracing::error!("housekeeping ended early");
    }
    has_worked.load(Ordering::Relaxed)
}
