//! librdkafka's callbacks: what the group hands over and takes back, and its log lines.
//!
//! They come while the member's thread polls. A rebalance is only noted here and carried out by the
//! thread's loop, which has to wait for the workers first; librdkafka waits for the call that ends it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use host::Clock;
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};

use crate::telemetry::{self, Outage};

/// What the group wants of this member.
#[derive(Debug)]
pub(super) enum Rebalance {
    /// More partitions, or none more: the member is in.
    Assign(TopicPartitionList),
    /// Some back.
    Revoke {
        partitions: TopicPartitionList,
        /// They are gone already: the session ended, or the member's place is taken.
        lost: bool,
    },
}

/// Shared by the consumer and its thread.
#[derive(Debug)]
pub(super) struct Context {
    outage: Outage,
    /// librdkafka begins none before the last one is answered.
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
    clock: Arc<dyn Clock>,
    /// When the session last timed out, or a broker went away.
    cut_off: Mutex<Option<Duration>>,
}

/// How long a broker may take to be itself again after it went away.
const OF_LATE: Duration = Duration::from_secs(60);
/// How librdkafka's log calls a session that timed out.
const TIMED_OUT: &str = "SESSTMOUT";

impl Context {
    pub(super) fn new(outage: Outage, clock: Arc<dyn Clock>) -> Self {
        Self {
            outage,
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
            clock,
            cut_off: Mutex::default(),
        }
    }

    /// The next rebalance to carry out.
    pub(super) fn rebalance(&self) -> Option<Rebalance> {
        self.rebalances().pop_front()
    }

    /// From now on nobody carries out rebalances: they are answered at once.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether the session timed out or a broker went away of late. A coordinator that crashes may have forgotten
    /// the member id that it gave out last, and takes it for a namesake's then; and what had waited for it is sent
    /// under the former id after the member has joined again.
    pub(super) fn was_cut_off(&self) -> bool {
        let at = *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < OF_LATE)
    }

    /// The member may have lost its place now.
    pub(super) fn cut_off(&self) {
        let now = self.clock.monotonic();
        *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn rebalances(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.cut_off();
                self.outage.begins(reason);
            }
            Some(RDKafkaErrorCode::BrokerTransportFailure) => {
                self.cut_off();
            }
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == TIMED_OUT {
            self.cut_off();
        }
        telemetry::librdkafka_log(level, facility, message);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigns = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            if assigns {
                take_up(consumer, partitions);
            } else {
                give_up(consumer, partitions);
            }
            return;
        }
        let partitions = partitions.clone();
        self.rebalances().push_back(if assigns {
            Rebalance::Assign(partitions)
        } else {
            let lost = consumer.assignment_lost();
            Rebalance::Revoke { partitions, lost }
        });
    }
}

/// Answers an assignment. Nothing is ever fetched: partitions are paused as they are taken up.
pub(super) fn take_up(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let taken = consumer.incremental_assign(partitions);
    told("incremental_assign", taken);
    if partitions.count() > 0 {
        told("pause", consumer.pause(partitions));
    }
}

/// Answers a revocation.
pub(super) fn give_up(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
    let given = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        // Before it has joined, or after a fatal error, there is none.
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    };
    told("unassign", given);
}

fn told(call: &str, outcome: KafkaResult<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, call, "librdkafka refuses a rebalance");
    }
}
