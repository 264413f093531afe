//! librdkafka's callbacks: that brokers are away, and its log lines.

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::telemetry::{self, Outage};

/// Shared by the consumer and its thread.
#[derive(Debug)]
pub(super) struct Context(pub(super) Outage);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.begins(reason);
        } else {
            tracing::debug!(%error, reason, "librdkafka");
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        telemetry::librdkafka_log(level, facility, message);
    }
}

impl ConsumerContext for Context {}
