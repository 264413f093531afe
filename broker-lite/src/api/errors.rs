//! Errors as the wire has them.

use kafka_protocol::error::ResponseError;

/// The error code; 0 is success.
pub(crate) fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

/// Clients before `version` do not know PRODUCER_FENCED; they are told INVALID_PRODUCER_EPOCH (KIP-588).
pub(crate) fn fenced_before(known: i16, version: i16, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < known => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

/// How a producer is told that its write is outside of its transaction (`AddPartitionsToTxnManager`,
/// `ReplicaManager.handleProduceAppend`). `knows_abortable`: the client's version has
/// TRANSACTION_ABORTABLE (KIP-890).
pub(crate) fn outside_transaction(error: ResponseError, knows_abortable: bool) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if !knows_abortable => ResponseError::InvalidTxnState,
        other => other,
    }
}
