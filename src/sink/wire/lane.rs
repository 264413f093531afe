//! The way into one target partition, through a task of its leader.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use host::BoxFuture;
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{TopicPartition, produce::ProduceBatch};

use super::{
    Ways,
    item::{Item, Reply},
};
use crate::sink::{Answer, Lane, Outgoing, SinkError};

/// Answers that may wait for the worker: more than it ever has outstanding (EXACTNESS 3, 13).
const ANSWERS: usize = 16;

#[derive(Debug)]
pub(super) struct WireLane {
    partition: Arc<TopicPartition>,
    topic_id: Uuid,
    ways: Arc<Ways>,
    /// Whether what is outstanding went by the second connection.
    slow: bool,
    reply: Reply,
    answers: mpsc::Receiver<Answer>,
    /// Answers that came before they were asked for.
    early: VecDeque<Answer>,
    /// Batches sent whose answer has not been taken from `answers`.
    outstanding: usize,
}

impl WireLane {
    pub(super) fn new(partition: &TopicPartition, topic_id: Uuid, ways: Arc<Ways>) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self {
            partition: Arc::new(partition.clone()),
            topic_id,
            ways,
            slow: false,
            reply: Reply::new(sender),
            answers,
            early: VecDeque::new(),
            outstanding: 0,
        }
    }

    /// The queue of the connection that the partition goes by now. It moves to the other one only when nothing of
    /// it is on its way (EXACTNESS 3, 13).
    async fn way(&mut self) -> &mpsc::Sender<Item> {
        let slow = self.ways.is_slow(&self.partition);
        if slow != self.slow {
            while self.outstanding > 0 {
                let answer = self.next_answer().await;
                self.early.push_back(answer);
            }
            self.slow = slow;
        }
        self.ways.queue(slow)
    }

    async fn next_answer(&mut self) -> Answer {
        let answer = self.answers.recv().await;
        self.outstanding -= 1;
        answer.expect("this lane holds a sender itself")
    }
}

impl Drop for WireLane {
    /// What was not sent yet never is: the partition may be about to belong to another process.
    fn drop(&mut self) {
        self.reply.give_up();
    }
}

impl Lane for WireLane {
    fn send<'a>(
        &'a mut self,
        ticket: u64,
        batch: Outgoing,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let Outgoing::Sealed(sealed) = batch else {
            unreachable!("the worker hands over what Sink::form asks for");
        };
        let item = Item {
            ticket,
            source_offset: sealed.source_offset,
            records: sealed.records,
            guarded: sealed.guarded,
            batch: ProduceBatch {
                partition: Arc::clone(&self.partition),
                topic_id: self.topic_id,
                header: sealed.header,
                payload: sealed.payload,
            },
            reply: self.reply.clone(),
        };
        Box::pin(async move {
            let sent = self.way().await.send(item).await;
            sent.map_err(|_| SinkError::Lost {
                partition: (*self.partition).clone(),
                reason: "the sink has stopped".to_owned(),
                unanswered: false,
            })?;
            self.outstanding += 1;
            Ok(())
        })
    }

    fn answer(&mut self) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            match self.early.pop_front() {
                Some(answer) => answer,
                None => self.next_answer().await,
            }
        })
    }

    fn round_trip(&self) -> Option<Duration> {
        self.ways.distance.get()
    }
}
