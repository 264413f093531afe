//! One producer, from its start until it breaks.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{Producer, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::Notify;
use wire::{TopicPartition, record::Codec};

use super::Settings;
use crate::{
    sink::{Appended, SinkError},
    telemetry::{self, Outage},
};

/// A producer and whether it still is one.
pub(super) struct Generation {
    pub(super) producer: ThreadedProducer<Context>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    broken: AtomicBool,
    outstanding: AtomicUsize,
    breaks: Notify,
    outage: Outage,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Generation {
    pub(super) fn start(settings: &Settings, codec: Codec, batch: usize) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            broken: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            breaks: Notify::new(),
            outage: settings.outage.clone(),
        });
        let context = Context(Arc::clone(&state));
        let producer: ThreadedProducer<Context> =
            configure(settings, codec, batch).create_with_context(context)?;
        tokio::spawn(purge_when_broken(producer.clone(), Arc::downgrade(&state)));
        Ok(Self { producer, state })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    /// Messages without an answer.
    pub(super) fn outstanding(&self) -> usize {
        self.state.outstanding.load(Ordering::Acquire)
    }

    /// A message was handed over.
    pub(super) fn sent(&self) {
        self.state.outstanding.fetch_add(1, Ordering::AcqRel);
    }

    /// It was not, after all.
    pub(super) fn not_sent(&self) {
        self.state.outstanding.fetch_sub(1, Ordering::AcqRel);
    }

    /// A message could not be handed over for good: what stands behind it must not go out.
    pub(super) fn fail(&self) {
        self.state.fail();
    }
}

impl State {
    fn fail(&self) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            self.breaks.notify_one();
        }
    }
}

/// Drops everything that a broken producer holds; its messages are answered with an error each. A
/// delivery callback may not do this itself.
async fn purge_when_broken(producer: ThreadedProducer<Context>, state: std::sync::Weak<State>) {
    loop {
        let Some(alive) = state.upgrade() else { return };
        if alive.broken.load(Ordering::Acquire) {
            producer.purge(PurgeConfig::default().queue().inflight());
            return;
        }
        tokio::select! {
            () = alive.breaks.notified() => {}
            // Look now and then whether the sink that made this producer still wants it.
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
        }
        if Arc::strong_count(&alive) <= 2 && alive.outstanding.load(Ordering::Acquire) == 0 {
            // Only this task and the producer's own context are left.
            return;
        }
    }
}

/// One batch on its way; its messages share it as their opaque.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    partition: TopicPartition,
    remaining: AtomicUsize,
    first: AtomicI64,
    last: AtomicI64,
    failure: Mutex<Option<SinkError>>,
    /// Told when the last message is answered.
    done: Arc<Notify>,
}

impl Ticket {
    /// For `records` messages that will be handed over.
    pub(super) fn new(
        number: u64,
        partition: TopicPartition,
        records: usize,
        done: Arc<Notify>,
    ) -> Self {
        Self {
            number,
            partition,
            remaining: AtomicUsize::new(records),
            first: AtomicI64::new(i64::MAX),
            last: AtomicI64::new(-1),
            failure: Mutex::new(None),
            done,
        }
    }

    /// Where all messages are, or the first failure; none while answers are missing.
    pub(super) fn outcome(&self) -> Option<Result<Appended, SinkError>> {
        if self.remaining.load(Ordering::Acquire) > 0 {
            return None;
        }
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Some(failure.map_or_else(
            || {
                let first_offset = self.first.load(Ordering::Acquire);
                Ok(Appended {
                    first_offset,
                    last_offset: self.last.load(Ordering::Acquire),
                })
            },
            Err,
        ))
    }

    /// `messages` are answered, all with this failure.
    pub(super) fn fail(&self, messages: usize, failure: SinkError) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What was purged says less than what it was purged for.
        let weak = matches!(*first, None | Some(SinkError::Lost { .. }));
        if first.is_none() || (weak && !matches!(failure, SinkError::Lost { .. })) {
            *first = Some(failure);
        }
        drop(first);
        self.answered(messages);
    }

    fn delivered(&self, offset: i64) {
        self.first.fetch_min(offset, Ordering::AcqRel);
        self.last.fetch_max(offset, Ordering::AcqRel);
        self.answered(1);
    }

    fn answered(&self, messages: usize) {
        if self.remaining.fetch_sub(messages, Ordering::AcqRel) == messages {
            self.done.notify_one();
        }
    }
}

/// Receives librdkafka's callbacks on the producer's own thread.
pub(super) struct Context(Arc<State>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.outage.begins(reason),
            Some(RDKafkaErrorCode::Fatal) => self.0.fail(),
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::librdkafka_log(level, facility, message);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        match result {
            Ok(message) => {
                ticket.delivered(message.offset());
            }
            Err((error, message)) => {
                let failure = failure(&ticket.partition, error, message.timestamp().to_millis());
                tracing::debug!(partition = %ticket.partition, %failure, "delivery failed");
                self.0.fail();
                ticket.fail(1, failure);
            }
        }
        self.0.outstanding.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a delivery error means. The record is not named here: a refused batch is refused as a whole, and
/// the lane knows where it begins.
fn failure(partition: &TopicPartition, error: &KafkaError, timestamp: Option<i64>) -> SinkError {
    use RDKafkaErrorCode as Code;
    let partition = partition.clone();
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidMessage
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::MessageBatchTooLarge
            | Code::PolicyViolation,
        ) => {
            let reason = format!("{error} (record time {})", timestamp.unwrap_or(-1));
            SinkError::Refused {
                partition,
                source_offset: -1,
                reason,
            }
        }
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
            SinkError::Missing { partition }
        }
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            SinkError::Denied { partition }
        }
        _ => SinkError::Lost {
            partition,
            reason: error.to_string(),
            unanswered: true,
        },
    }
}

/// The operator's properties, and what EXACTNESS 15 asks for.
fn configure(settings: &Settings, codec: Codec, batch: usize) -> ClientConfig {
    let queue_kilobytes = (settings.budget / 1024).max(1 << 10) * 2;
    let mut config = settings.properties.clone();
    config
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("message.timeout.ms", "0")
        .set("request.timeout.ms", "30000")
        .set("message.max.bytes", "1000000000")
        .set("compression.codec", codec.name())
        .set("batch.size", batch.to_string())
        .set("batch.num.messages", "100000")
        .set("linger.ms", "5")
        .set(
            "queue.buffering.max.kbytes",
            queue_kilobytes.min(1 << 21).to_string(),
        )
        .set("queue.buffering.max.messages", "10000000")
        .set("retry.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000");
    config
}
