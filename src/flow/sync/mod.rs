//! What follows on the target beside the records: jobs of the flow's leader.

pub mod configs;
pub mod groups;
pub mod internal_topics;
pub mod rules;

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Has a job run until `stop`, or until it is aborted; both end it wherever it waits, so it is cancel-safe.
pub fn spawn(
    job: impl Future<Output = ()> + Send + 'static,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = job => {}
        }
    })
}

/// Tells jobs what they go by, if it is not what they were told.
pub fn tell<T: PartialEq>(jobs: &watch::Sender<T>, news: T) {
    jobs.send_if_modified(|told| {
        let changes = *told != news;
        if changes {
            *told = news;
        }
        changes
    });
}
