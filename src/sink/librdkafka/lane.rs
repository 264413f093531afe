//! The way into one target partition.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use host::BoxFuture;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::BaseRecord,
};
use tokio::sync::Notify;
use wire::{TopicPartition, record::Record};

use super::producer::{Generation, Ticket};
use crate::sink::{Answer, Lane, Outgoing, SinkError};

/// Pause before librdkafka's full queue is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// Records handed over before other tasks get their turn.
const TURN: usize = 512;
/// What a record costs in a batch beside its bytes, at most.
const RECORD_OVERHEAD: u64 = 100;

pub(super) struct LibrdkafkaLane {
    generation: Arc<Generation>,
    partition: TopicPartition,
    /// Largest record, where compression cannot make it smaller.
    limit: Option<usize>,
    /// Batches that wait for their answer, with the source offset they begin at.
    waiting: VecDeque<(Arc<Ticket>, i64)>,
    done: Arc<Notify>,
}

impl std::fmt::Debug for LibrdkafkaLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LibrdkafkaLane")
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl LibrdkafkaLane {
    pub(super) fn new(
        generation: Arc<Generation>,
        partition: TopicPartition,
        limit: Option<usize>,
    ) -> Self {
        Self {
            generation,
            partition,
            limit,
            waiting: VecDeque::new(),
            done: Arc::default(),
        }
    }

    /// What the target would refuse, or librdkafka would change, before anything is handed over.
    fn check(&self, record: &Record) -> Result<(), SinkError> {
        let refuse = |reason: String| {
            let (partition, source_offset) = (self.partition.clone(), record.offset);
            Err(SinkError::Refused {
                partition,
                source_offset,
                reason,
            })
        };
        match self.limit {
            Some(limit) if record.bytes() + RECORD_OVERHEAD > limit as u64 => refuse(format!(
                "{} bytes where the topic takes {limit}",
                record.bytes()
            )),
            // librdkafka takes 0 for "no time given" and would send the current one.
            _ if record.timestamp == 0 => refuse("timestamp 0 cannot be sent".to_owned()),
            _ if record.timestamp < -1 => refuse(format!("timestamp {}", record.timestamp)),
            _ => Ok(()),
        }
    }

    /// Hands one record to librdkafka; waits while its queue is full.
    async fn hand_over(&self, record: Record, ticket: &Arc<Ticket>) -> Result<(), KafkaError> {
        let mut message = BaseRecord::with_opaque_to(&self.partition.topic, Arc::clone(ticket))
            .partition(self.partition.partition)
            .timestamp(record.timestamp);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            message.headers = Some(headers(&record));
        }
        loop {
            self.generation.sent();
            let Err((error, back)) = self.generation.producer.send(message) else {
                return Ok(());
            };
            self.generation.not_sent();
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            message = back;
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }

    async fn send_all(&mut self, number: u64, records: Vec<Record>) -> Result<(), SinkError> {
        for record in &records {
            self.check(record)?;
        }
        let (count, first) = (
            records.len(),
            records.first().map_or(-1, |record| record.offset),
        );
        let (partition, done) = (self.partition.clone(), Arc::clone(&self.done));
        let ticket = Arc::new(Ticket::new(number, partition, count, done));
        self.waiting.push_back((Arc::clone(&ticket), first));
        for (index, record) in records.into_iter().enumerate() {
            if let Err(error) = self.hand_over(record, &ticket).await {
                // The rest of the batch will never be answered by librdkafka.
                self.generation.fail();
                let (partition, reason) = (self.partition.clone(), error.to_string());
                ticket.fail(
                    count - index,
                    SinkError::Lost {
                        partition,
                        reason,
                        unanswered: true,
                    },
                );
                return Ok(());
            }
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

impl Lane for LibrdkafkaLane {
    fn send<'a>(
        &'a mut self,
        ticket: u64,
        batch: Outgoing,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let Outgoing::Open(records) = batch else {
            unreachable!("the worker hands over what Sink::form asks for");
        };
        Box::pin(self.send_all(ticket, records))
    }

    fn answer(&mut self) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            loop {
                let told = self.done.notified();
                if let Some((ticket, first)) = self.waiting.front()
                    && let Some(outcome) = ticket.outcome()
                {
                    let (ticket, first) = (ticket.number, *first);
                    drop(told);
                    self.waiting.pop_front();
                    return Answer {
                        ticket,
                        outcome: outcome.map_err(|e| Box::new(located(e, first))),
                    };
                }
                told.await;
            }
        })
    }
}

/// A refused batch, by where it begins on the source.
fn located(error: SinkError, first: i64) -> SinkError {
    match error {
        SinkError::Refused {
            partition,
            source_offset: -1,
            reason,
        } => SinkError::Refused {
            partition,
            source_offset: first,
            reason,
        },
        other => other,
    }
}

fn headers(record: &Record) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for header in &record.headers {
        // Kafka's header keys are UTF-8; librdkafka takes them as such.
        headers = headers.insert(Header {
            key: &String::from_utf8_lossy(&header.key),
            value: header.value.as_deref(),
        });
    }
    headers
}
