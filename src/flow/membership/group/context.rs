//! librdkafka's callbacks: what the group hands over and takes back, and its log lines.
//!
//! They come while the member's thread polls. A rebalance is only noted here and carried out by the
//! thread's loop, which has to wait for the workers first; librdkafka waits for the call that ends it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

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
    /// librdkafka said that the session timed out, or that a broker went away, and has not joined since.
    cut_off: AtomicBool,
}

/// How librdkafka's log calls a session that timed out.
const TIMED_OUT: &str = "SESSTMOUT";

impl Context {
    pub(super) fn new(outage: Outage) -> Self {
        Self {
            outage,
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
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

    /// The group took this member in.
    pub(super) fn joined(&self) {
        self.cut_off.store(false, Ordering::Release);
    }

    /// Whether the session timed out or a broker went away, and it has not joined since. A coordinator that
    /// crashes may have forgotten the member id that it gave out last, and takes it for a namesake's then.
    pub(super) fn was_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
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
                self.cut_off.store(true, Ordering::Release);
                self.outage.begins(reason);
            }
            Some(RDKafkaErrorCode::BrokerTransportFailure) => {
                self.cut_off.store(true, Ordering::Release);
            }
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == TIMED_OUT {
            self.cut_off.store(true, Ordering::Release);
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
