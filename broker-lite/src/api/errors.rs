//! Errors as the wire has them.

use kafka_protocol::{error::ResponseError, protocol::StrBytes};

/// The error code; 0 is success.
pub(crate) fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

/// Kafka's own text for an error that comes without another (`org.apache.kafka.common.protocol.Errors`).
pub(crate) fn message(error: ResponseError) -> StrBytes {
    let text = match error {
        ResponseError::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        ResponseError::UnknownTopicId => "This server does not host this topic ID.",
        ResponseError::InvalidRequest => {
            "This most likely occurs because of a request being malformed by the client library or \
             the message was sent to an incompatible broker. See the broker logs for more details."
        }
        ResponseError::TopicAuthorizationFailed => "Topic authorization failed.",
        ResponseError::GroupAuthorizationFailed => "Group authorization failed.",
        ResponseError::ClusterAuthorizationFailed => "Cluster authorization failed.",
        ResponseError::TransactionalIdAuthorizationFailed => {
            "Transactional Id authorization failed."
        }
        ResponseError::UnknownServerError => {
            "The server experienced an unexpected error when processing the request."
        }
        other => return StrBytes::from_string(other.to_string()),
    };
    StrBytes::from_static_str(text)
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
