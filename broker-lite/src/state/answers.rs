//! Memory of answers that wait to be taken. Records need none, since they are sent from their files.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in memory of all answers that are on their way. Nobody waits for room: while there is little, fetches get less at
/// a time, at least a batch (as if `fetch.max.bytes` were smaller), and with it fewer aborted transactions.
#[derive(Debug)]
pub(crate) struct Answers {
    most: usize,
    held: AtomicUsize,
}

impl Answers {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: AtomicUsize::new(0),
        }
    }

    /// How many bytes more there may be.
    pub(crate) fn room(&self) -> u64 {
        self.most.saturating_sub(self.held.load(Ordering::Relaxed)) as u64
    }

    /// Counts an answer until this is dropped.
    pub(crate) fn hold(&self, bytes: usize) -> Held<'_> {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { all: self, bytes }
    }
}

/// An answer that counts.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    all: &'a Answers,
    bytes: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_until_they_are_gone() {
        let answers = Answers::new(100);
        let first = answers.hold(60);
        assert_eq!(answers.room(), 40);
        let second = answers.hold(60);
        assert_eq!(answers.room(), 0);
        drop(first);
        assert_eq!(answers.room(), 40);
        drop(second);
        assert_eq!(answers.room(), 100);
    }
}
