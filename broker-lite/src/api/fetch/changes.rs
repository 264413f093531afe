//! Waiting for more to read.

use std::{future::poll_fn, pin::Pin, task::Poll};

use host::BoxFuture;
use tokio::sync::watch;

/// Tells which partition changed, as long as the request waits.
pub(super) struct Changes(Vec<BoxFuture<'static, (usize, watch::Receiver<i64>)>>);

impl Changes {
    /// Watches partitions; each has a number that is told.
    pub(super) fn of(all: impl Iterator<Item = (usize, watch::Receiver<i64>)>) -> Self {
        Self(all.map(|(at, changes)| Self::change(at, changes)).collect())
    }

    fn change(
        at: usize,
        mut changes: watch::Receiver<i64>,
    ) -> BoxFuture<'static, (usize, watch::Receiver<i64>)> {
        Box::pin(async move {
            // The sender belongs to the partition, which the request holds.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            (at, changes)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next partition that changed. Cancel-safe: a change that is not returned is not forgotten.
    pub(super) async fn next(&mut self) -> usize {
        poll_fn(|cx| {
            for change in &mut self.0 {
                if let Poll::Ready((at, changes)) = Pin::new(&mut *change).poll(cx) {
                    *change = Self::change(at, changes);
                    return Poll::Ready(at);
                }
            }
            Poll::Pending
        })
        .await
    }
}
