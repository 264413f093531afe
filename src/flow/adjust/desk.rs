//! Where a running flow takes requests.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use host::Clock;
use tokio::sync::{mpsc, oneshot};

use super::{AdjustError, Changes, Request};

/// Requests that may wait at a time; people make them.
const QUEUE: usize = 4;
/// A worker may have to drain first. Less than an HTTP connection lives.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// The flow keeps the time itself, save for what it is at when the request comes.
const GRACE: Duration = Duration::from_secs(1);

/// One request, and where its outcome goes.
#[derive(Debug)]
pub(in crate::flow) struct Job {
    pub(in crate::flow) request: Request,
    pub(in crate::flow) reply: oneshot::Sender<Result<Changes, AdjustError>>,
}

impl Job {
    /// Whether nobody waits for it any more: whoever asked was told that there is no answer, and may have asked for
    /// something else since.
    pub(super) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The desk of one flow: requests come in from HTTP, the flow's supervisor serves them one by one.
#[derive(Debug)]
pub struct Desk {
    jobs: mpsc::Sender<Job>,
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
}

impl Default for Desk {
    fn default() -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        Self {
            jobs,
            waiting: Mutex::new(Some(waiting)),
        }
    }
}

impl Desk {
    /// Asks the flow, and waits for its outcome.
    ///
    /// # Errors
    /// As the flow says, or if it does not answer in time.
    pub async fn ask(&self, request: Request, clock: &dyn Clock) -> Result<Changes, AdjustError> {
        let unavailable =
            |why: &str| AdjustError::Unavailable(format!("flow {}: {why}", request.flow));
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            request: request.clone(),
            reply,
        };
        if self.jobs.try_send(job).is_err() {
            return Err(unavailable(
                "it is not running, or has other requests to serve first",
            ));
        }
        tokio::select! {
            biased;
            outcome = outcome => outcome.unwrap_or_else(|_| Err(unavailable("it ended"))),
            () = clock.sleep(PATIENCE + GRACE) => {
                Err(unavailable("no answer yet; whether it did what was asked shows in `strait checkpoint list`"))
            }
        }
    }

    /// The requests, for the one who serves them; none if they are taken already.
    pub(in crate::flow) fn open(&self) -> Option<mpsc::Receiver<Job>> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
