//! One batch on its way, and where its answer goes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;
use wire::produce::ProduceBatch;

use crate::sink::{Answer, Appended, SinkError};

/// One batch on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) ticket: u64,
    pub(super) source_offset: i64,
    pub(super) records: i32,
    pub(super) guarded: bool,
    pub(super) batch: ProduceBatch,
    pub(super) reply: Reply,
}

/// Where a lane's answers go, and whether it is broken.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    answers: mpsc::Sender<Answer>,
    broken: Arc<AtomicBool>,
    /// The lane was dropped.
    gone: Arc<AtomicBool>,
}

impl Reply {
    pub(super) fn new(answers: mpsc::Sender<Answer>) -> Self {
        Self {
            answers,
            broken: Arc::default(),
            gone: Arc::default(),
        }
    }

    /// Nobody waits for answers any more.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
        self.gone.store(true, Ordering::Release);
    }

    /// Whether the lane was dropped: what it had to send may not be sent any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl Item {
    /// Answered, but not as hoped; or never sent.
    pub(super) fn lost(&self, reason: impl ToString) -> SinkError {
        SinkError::Lost {
            partition: (*self.batch.partition).clone(),
            reason: reason.to_string(),
            unanswered: false,
        }
    }

    pub(super) fn unanswered(&self, reason: &str) -> SinkError {
        SinkError::Lost {
            partition: (*self.batch.partition).clone(),
            reason: reason.to_owned(),
            unanswered: true,
        }
    }

    pub(super) fn answer(self, outcome: Result<Appended, SinkError>) {
        if outcome.is_err() {
            self.reply.broken.store(true, Ordering::Release);
        }
        let answer = Answer {
            ticket: self.ticket,
            outcome: outcome.map_err(Box::new),
        };
        // There is room for all that a worker may have outstanding; a lane that is gone does not mind.
        self.reply.answers.try_send(answer).ok();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.reply.broken.load(Ordering::Acquire)
    }
}
