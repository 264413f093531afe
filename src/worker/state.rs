//! What a worker is doing.

use super::Stop;

/// A worker's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Opening both sides.
    Starting,
    /// Copying, or waiting for records.
    Running,
    /// Waiting before it goes back to its acknowledged prefix.
    Retrying {
        /// What went wrong.
        why: String,
    },
    /// Waiting for the last answers.
    Draining,
    /// Ended because it was asked to.
    Ended,
    /// Stopped for a reason that needs a person.
    Stopped(Stop),
}

impl WorkerState {
    /// For labels and status.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying { .. } => "retrying",
            Self::Draining => "draining",
            Self::Ended => "ended",
            Self::Stopped(_) => "stopped",
        }
    }

    /// The code of the reason, where there is one.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Stopped(stop) => Some(stop.reason.code()),
            _ => None,
        }
    }

    /// The reason in words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Stopped(stop) => Some(&stop.text),
            Self::Retrying { why } => Some(why),
            _ => None,
        }
    }
}
