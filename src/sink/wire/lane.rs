//! The way into one target partition, through the task of its leader.

use std::sync::Arc;

use host::BoxFuture;
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{TopicPartition, produce::ProduceBatch};

use super::broker::{Item, Reply};
use crate::sink::{Answer, Lane, Outgoing, SinkError};

/// Answers that may wait for the worker: more than it ever has outstanding (EXACTNESS 3, 13).
const ANSWERS: usize = 16;

#[derive(Debug)]
pub(super) struct WireLane {
    partition: Arc<TopicPartition>,
    topic_id: Uuid,
    broker: mpsc::Sender<Item>,
    reply: Reply,
    answers: mpsc::Receiver<Answer>,
}

impl WireLane {
    pub(super) fn new(
        partition: &TopicPartition,
        topic_id: Uuid,
        broker: mpsc::Sender<Item>,
    ) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self {
            partition: Arc::new(partition.clone()),
            topic_id,
            broker,
            reply: Reply::new(sender),
            answers,
        }
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
            let sent = self.broker.send(item).await;
            sent.map_err(|_| SinkError::Lost {
                partition: (*self.partition).clone(),
                reason: "the sink has stopped".to_owned(),
                unanswered: false,
            })
        })
    }

    fn answer(&mut self) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let answer = self.answers.recv().await;
            answer.expect("this lane holds a sender itself")
        })
    }
}
