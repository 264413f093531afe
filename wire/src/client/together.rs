//! Many ask the same at the same time: one question answers all who asked before it was sent.
//!
//! Nobody gets an answer that is older than their asking, so that sharing is not seen, and however many ask, at
//! most one question for a key is on the way. A thousand partitions of one topic that start together would each
//! ask for the metadata of all thousand otherwise.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Questions by their key; only those that somebody waits for are kept.
#[derive(Debug)]
pub(super) struct Together<V>(Mutex<BTreeMap<String, Arc<Line<V>>>>);

/// Those who ask for one key, in a line before the lock.
#[derive(Debug)]
struct Line<V> {
    sent: AtomicU64,
    /// The last answer, and which question it belongs to.
    answer: tokio::sync::Mutex<Option<(u64, V)>>,
}

impl<V> Default for Together<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Together<V> {
    /// What a question that is sent from now on answers for `key`: that of another caller, or else `ask`.
    pub(super) async fn ask(&self, key: &str, ask: impl Future<Output = V>) -> V {
        let line = self.line(key);
        let sent_before = line.sent.load(Ordering::SeqCst);
        let mut last = line.answer.lock().await;
        let shared = last.as_ref().filter(|(number, _)| *number > sent_before);
        let answer = match shared {
            Some((_, answer)) => answer.clone(),
            None => {
                let number = line.sent.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = ask.await;
                *last = Some((number, answer.clone()));
                answer
            }
        };
        drop(last);
        self.leave(key, line);
        answer
    }

    fn line(&self, key: &str) -> Arc<Line<V>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(key) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line {
            sent: AtomicU64::new(0),
            answer: tokio::sync::Mutex::new(None),
        });
        lines.insert(key.to_owned(), Arc::clone(&line));
        line
    }

    /// The last one out takes the line away. Whoever was dropped while waiting leaves this to the next.
    fn leave(&self, key: &str, line: Arc<Line<V>>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(line);
        if lines
            .get(key)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            lines.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::atomic::AtomicU32, task::Poll};

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers with how many questions were sent, once it may.
    async fn count(sent: &AtomicU32, may: &Semaphore) -> u32 {
        let number = sent.fetch_add(1, Ordering::SeqCst) + 1;
        may.acquire().await.unwrap().forget();
        number
    }

    async fn waits(asking: &mut (impl Future + Unpin)) -> bool {
        poll_fn(|cx| Poll::Ready(pin!(&mut *asking).poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn who_asks_while_a_question_is_on_the_way_gets_the_answer_of_the_next() {
        let together = Together::default();
        let (sent, may) = (AtomicU32::new(0), Semaphore::new(0));
        let ask = |key| Box::pin(together.ask(key, count(&sent, &may)));
        let mut first = ask("t");
        assert!(waits(&mut first).await, "it is on the way");
        let mut later: Vec<_> = (0..100).map(|_| ask("t")).collect();
        for one in &mut later {
            assert!(waits(one).await);
        }
        may.add_permits(5);
        assert_eq!(first.await, 1);
        for answer in later {
            assert_eq!(answer.await, 2);
        }
        assert_eq!(ask("t").await, 3, "an old answer is nobody's");
        assert_eq!([ask("u").await, ask("v").await], [4, 5], "other keys");
        assert_eq!(sent.load(Ordering::SeqCst), 5);
        assert!(together.0.lock().unwrap().is_empty(), "nobody waits");
    }

    #[tokio::test]
    async fn who_gives_up_holds_up_nobody() {
        let together = Together::default();
        let (sent, may) = (AtomicU32::new(0), Semaphore::new(0));
        let mut given_up = Box::pin(together.ask("t", count(&sent, &may)));
        assert!(waits(&mut given_up).await);
        drop(given_up);
        may.add_permits(1);
        assert_eq!(together.ask("t", count(&sent, &may)).await, 2);
        assert!(together.0.lock().unwrap().is_empty());
    }
}
