//! InitProducerId (key 22), versions 0-5.
//!
//! A producer id: always a new one without a transactional id; with one the id that belongs to it
//! and a new epoch, which fences whoever held the one before. Version 3: a producer that recovers
//! names what it holds (KIP-360). Before version 4 a fenced producer is told
//! INVALID_PRODUCER_EPOCH.

use kafka_protocol::{
    error::ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};

use super::{Context, fenced_before};
use crate::{security::acl::Operation, state::transactions::machine::Producer};

pub(super) async fn handle(
    cx: &Context,
    version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    match init(cx, &request) {
        Ok(producer) => response
            .with_producer_id(producer.id.into())
            .with_producer_epoch(producer.epoch),
        Err(error) => response
            .with_error_code(fenced_before(4, version, error).code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1),
    }
}

fn init(cx: &Context, request: &InitProducerIdRequest) -> Result<Producer, ResponseError> {
    match &request.transactional_id {
        Some(id) if !cx.may_transactional_id(Operation::Write, id) => {
            return Err(ResponseError::TransactionalIdAuthorizationFailed);
        }
        // Whoever may write somewhere may do so idempotently (KIP-679).
        None if !cx.may_cluster(Operation::IdempotentWrite)
            && !cx.may_some_topic(Operation::Write) =>
        {
            return Err(ResponseError::ClusterAuthorizationFailed);
        }
        _ => {}
    }
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest),
        (id, epoch) => Some(Producer { id, epoch }),
    };
    let transactions = &cx.state.transactions;
    match &request.transactional_id {
        None => transactions.new_producer(),
        Some(id) => transactions.init(id, request.transaction_timeout_ms, expected, &*cx.state),
    }
}
